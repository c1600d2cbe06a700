"""Bandwidth and latency between groups of ranks: the graph, routing, traffic."""
