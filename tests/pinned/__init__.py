"""Commands with their documents, figure by figure: a change of any of them is seen."""
