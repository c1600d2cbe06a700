"""Importers: descriptions of a cluster by schedulers, drivers and fabrics, made into a cluster file.

A reader returns a `ParsedCluster` and assumes nothing. `complete_draft`
fills the gaps from the user's options, and `cluster_file` writes the cluster file.
"""
