"""Models, clusters and plans as the command line reads them."""
