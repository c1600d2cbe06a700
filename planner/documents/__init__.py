"""The documents that are printed as JSON: one struct per command."""
