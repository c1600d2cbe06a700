"""From a description to a cluster in SI numbers."""
