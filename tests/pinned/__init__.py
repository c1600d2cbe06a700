"""Questions with their answers, number by number: what no change may move without its being seen."""
