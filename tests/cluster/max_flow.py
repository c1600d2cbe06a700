"""The most that some vertices of a graph can send to others: the slow oracle of bisections and of bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


def compute_max_flow_bytes_per_s(graph: nx.Graph[str], first: AbstractSet[str], second: AbstractSet[str]) -> float:
    """Bytes/s from the vertices `first` to `second`, over all paths at once, in whole bytes/s so that it is exact."""
    flow: nx.DiGraph[str] = nx.DiGraph()
    flow.add_nodes_from(("the first half", "the second half"))
    half_by_vertex = {**dict.fromkeys(first, "the first half"), **dict.fromkeys(second, "the second half")}
    for source, target, edge in graph.edges(data=True):
        source_vertex, target_vertex = half_by_vertex.get(source, source), half_by_vertex.get(target, target)
        for tail, head in ((source_vertex, target_vertex), (target_vertex, source_vertex)):
            if tail == head:
                continue
            if not flow.has_edge(tail, head):
                flow.add_edge(tail, head, capacity=0)
            flow.edges[tail, head]["capacity"] += round(edge["bandwidth_bytes_per_s"])
    return float(nx.maximum_flow_value(flow, "the first half", "the second half"))
