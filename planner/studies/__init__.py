"""Questions built on the search."""
