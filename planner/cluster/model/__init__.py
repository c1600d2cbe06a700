"""What a cluster is: its file format, nodes, levels, links."""
