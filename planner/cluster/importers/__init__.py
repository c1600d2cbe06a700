"""Readers of the descriptions that real clusters have of themselves, and the writer of a cluster file from them.

A reader gives what it found (`found`), nothing assumed; `merge` joins the findings of several files, `complete` adds
what the user's options say, and `cluster_file` writes the cluster file.
"""
