"""Communication of each axis: inside a layer (tp, cp, ep), of data parallelism, and links that several axes share."""
