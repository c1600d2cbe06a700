"""Bisection of any cluster and any wiring: the least that one half can send to the other, in one direction.

By max-flow min-cut it is the narrowest cut between two halves (Dally and Towles 2004, section 3.2.1). Fabrics are
trees, or nearly, once like parts are taken together, and then it is exact
(`planner.cluster.analysis.min_bisection`). Of a graph that is too tangled for that it is the least of
the halvings that were tried: the true one is at most that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from planner.cluster.analysis.bisection import compute_regular_bisection_bytes_per_s, is_first_halving_narrowest
from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.analysis.min_bisection import (
    BisectionCut,
    CapacityGraph,
    build_capacity_graph,
    compute_narrowest_cut_bytes_per_s,
)
from planner.cluster.analysis.torus_bisection import is_single_torus, is_torus_cut_narrowest
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import find_cluster_torus

if TYPE_CHECKING:
    import networkx as nx


_MAX_HOSTS = 16_384
_MAX_DEVICES = 64
"""Hosts, and devices of one torus or node, whose halves are looked for."""


def compute_bisection(cluster: Cluster, wiring: Wiring | None) -> BisectionCut:
    """Of a cluster, regular or not; `wiring`: it cable by cable, None where it is too large for that."""
    if cluster.wiring is not None and cluster.nodes > 1:
        return compute_wiring_bisection(cluster.wiring)
    first_cut_bytes_per_s, torus = compute_regular_bisection_bytes_per_s(cluster), find_cluster_torus(cluster)
    by_device = cluster.nodes == 1 or is_single_torus(cluster)
    if torus is not None and is_single_torus(cluster):
        is_certain = is_torus_cut_narrowest(torus)
    else:
        is_certain = is_first_halving_narrowest(cluster, first_cut_bytes_per_s)
    if is_certain:
        return BisectionCut(first_cut_bytes_per_s, True)
    narrowest_cut = None
    if wiring is not None and by_device and cluster.devices <= _MAX_DEVICES:
        narrowest_cut = _compute_device_cut_bytes_per_s(build_device_graph(wiring, cluster.intra_node, torus))
    elif wiring is not None and not by_device and cluster.nodes <= _MAX_HOSTS:
        graph = build_capacity_graph(
            len(wiring.hosts), len(wiring.switches), wiring.endpoints, wiring.bandwidth_bytes_per_s
        )
        narrowest_cut = compute_narrowest_cut_bytes_per_s(graph, cluster.nodes // 2)
    return BisectionCut(first_cut_bytes_per_s, False) if narrowest_cut is None else BisectionCut(narrowest_cut, True)


def count_half_devices(cluster: Cluster) -> int:
    """Devices that are on the side that sends."""
    by_device = cluster.nodes == 1 or (cluster.wiring is None and is_single_torus(cluster))
    return cluster.devices // 2 if by_device else cluster.nodes // 2 * cluster.devices_per_node


def _compute_device_cut_bytes_per_s(graph: nx.Graph[str]) -> float | None:
    """Between halves of the devices of a device graph."""
    names = sorted(graph, key=lambda name: graph.nodes[name]["kind"] != "device")
    vertex_by_name = {name: number for number, name in enumerate(names)}
    devices = sum(attributes["kind"] == "device" for _, attributes in graph.nodes(data=True))
    endpoints = np.array(
        [(vertex_by_name[source], vertex_by_name[target]) for source, target in graph.edges], dtype=np.int64
    ).reshape(-1, 2)
    rate = np.array(
        [attributes["bandwidth_bytes_per_s"] for *_, attributes in graph.edges(data=True)], dtype=np.float64
    )
    return compute_narrowest_cut_bytes_per_s(
        build_capacity_graph(devices, len(names) - devices, endpoints, rate), devices // 2
    )


def compute_wiring_bisection(wiring: Wiring) -> BisectionCut:
    """Between two halves of a wiring's hosts, over all its links: the narrowest ones, or of many tangled links the
    narrower of two that lie near.
    """
    half = len(wiring.hosts) // 2
    if not half:
        return BisectionCut(0.0, True)
    graph = build_capacity_graph(
        len(wiring.hosts), len(wiring.switches), wiring.endpoints, wiring.bandwidth_bytes_per_s
    )
    narrowest = compute_narrowest_cut_bytes_per_s(graph, half)
    if narrowest is not None:
        return BisectionCut(narrowest, True)
    flow_graph = _build_flow_graph(graph)
    orders = (list(range(graph.host_count)), _sort_hosts_by_hops(flow_graph, graph.host_count))
    flows = [
        compute_max_flow_bytes_per_s(
            flow_graph, {str(host) for host in order[:half]}, {str(host) for host in order[half:]}
        )
        for order in orders
    ]
    return BisectionCut(min(flows), False)


def _build_flow_graph(graph: CapacityGraph) -> nx.Graph[str]:
    """The same for networkx, vertices named by their numbers."""
    import networkx as nx

    flow_graph: nx.Graph[str] = nx.Graph()
    flow_graph.add_nodes_from(str(host) for host in range(graph.host_count))
    for (source, target), rate in zip(graph.endpoints.tolist(), graph.edge_bytes_per_s.tolist(), strict=True):
        flow_graph.add_edge(str(source), str(target), bandwidth_bytes_per_s=rate)
    return flow_graph


def _sort_hosts_by_hops(graph: nx.Graph[str], hosts: int) -> Sequence[int]:
    """Hosts by their hops from the first one; of those as far those with the same neighbours together."""
    import networkx as nx

    hops = nx.single_source_shortest_path_length(graph, "0")
    first_by_neighbours: dict[tuple[str, ...], int] = {}
    host_groups = [first_by_neighbours.setdefault(tuple(sorted(graph[str(host)])), host) for host in range(hosts)]
    return sorted(range(hosts), key=lambda host: (hops.get(str(host), len(graph)), host_groups[host], host))


def compute_max_flow_bytes_per_s(graph: nx.Graph[str], first: set[str], second: set[str]) -> float:
    """The most that the vertices `first` can send to `second` at once, over any ways: bytes/s.

    Goldberg and Tarjan 1988 (push-relabel), as networkx has it, on whole bytes/s so that the result is exact.
    """
    import networkx as nx

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
