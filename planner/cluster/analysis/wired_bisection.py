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

from planner.cluster.analysis.bisection import bisection_bytes_per_s, halves_are_narrowest
from planner.cluster.analysis.device_graph import device_graph
from planner.cluster.analysis.min_bisection import Capacities, Halves, merged, narrowest_bytes_per_s
from planner.cluster.analysis.torus_bisection import is_all_a_torus, torus_cut_is_narrowest
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import torus_of

if TYPE_CHECKING:
    import networkx as nx


_MOST_HOSTS = 16_384
_MOST_DEVICES = 64
"""Hosts, and devices of one torus or node, whose halves are looked for."""


def bisection(cluster: Cluster, wiring: Wiring | None) -> Halves:
    """Of a cluster, regular or not; `wiring`: it cable by cable, None where it is too large for that."""
    if cluster.wiring is not None and cluster.nodes > 1:
        return wiring_bisection(cluster.wiring)
    told, torus = bisection_bytes_per_s(cluster), torus_of(cluster)
    by_device = cluster.nodes == 1 or is_all_a_torus(cluster)
    if torus is not None and is_all_a_torus(cluster):
        certain = torus_cut_is_narrowest(torus)
    else:
        certain = halves_are_narrowest(cluster, told)
    if certain:
        return Halves(told, True)
    narrowest = None
    if wiring is not None and by_device and cluster.devices <= _MOST_DEVICES:
        narrowest = _by_device(device_graph(wiring, cluster.inside, torus))
    elif wiring is not None and not by_device and cluster.nodes <= _MOST_HOSTS:
        graph = merged(len(wiring.hosts), len(wiring.switches), wiring.ends, wiring.bandwidth_bytes_per_s)
        narrowest = narrowest_bytes_per_s(graph, cluster.nodes // 2)
    return Halves(told, False) if narrowest is None else Halves(narrowest, True)


def devices_of_half(cluster: Cluster) -> int:
    """Devices that are on the side that sends."""
    by_device = cluster.nodes == 1 or (cluster.wiring is None and is_all_a_torus(cluster))
    return cluster.devices // 2 if by_device else cluster.nodes // 2 * cluster.devices_per_node


def _by_device(graph: nx.Graph[str]) -> float | None:
    """Between halves of the devices of a device graph."""
    names = sorted(graph, key=lambda name: graph.nodes[name]["kind"] != "device")
    place = {name: number for number, name in enumerate(names)}
    devices = sum(told["kind"] == "device" for _, told in graph.nodes(data=True))
    ends = np.array([(place[one], place[other]) for one, other in graph.edges], dtype=np.int64).reshape(-1, 2)
    rate = np.array([told["bandwidth_bytes_per_s"] for *_, told in graph.edges(data=True)], dtype=np.float64)
    return narrowest_bytes_per_s(merged(devices, len(names) - devices, ends, rate), devices // 2)


def wiring_bisection(wiring: Wiring) -> Halves:
    """Between two halves of a wiring's hosts, over all its links: the narrowest ones, or of many tangled links the
    narrower of two that lie near.
    """
    half = len(wiring.hosts) // 2
    if not half:
        return Halves(0.0, True)
    graph = merged(len(wiring.hosts), len(wiring.switches), wiring.ends, wiring.bandwidth_bytes_per_s)
    narrowest = narrowest_bytes_per_s(graph, half)
    if narrowest is not None:
        return Halves(narrowest, True)
    written = _graph(graph)
    orders = (list(range(graph.hosts)), _by_nearness(written, graph.hosts))
    flows = [
        max_flow_bytes_per_s(written, {str(host) for host in order[:half]}, {str(host) for host in order[half:]})
        for order in orders
    ]
    return Halves(min(flows), False)


def _graph(graph: Capacities) -> nx.Graph[str]:
    """The same for networkx, vertices named by their numbers."""
    import networkx as nx

    written: nx.Graph[str] = nx.Graph()
    written.add_nodes_from(str(host) for host in range(graph.hosts))
    for (one, other), rate in zip(graph.ends.tolist(), graph.rate.tolist(), strict=True):
        written.add_edge(str(one), str(other), bandwidth_bytes_per_s=rate)
    return written


def _by_nearness(graph: nx.Graph[str], hosts: int) -> Sequence[int]:
    """Hosts by their hops from the first one; of those as far those with the same neighbours together."""
    import networkx as nx

    hops = nx.single_source_shortest_path_length(graph, "0")
    together: dict[tuple[str, ...], int] = {}
    group = [together.setdefault(tuple(sorted(graph[str(host)])), host) for host in range(hosts)]
    return sorted(range(hosts), key=lambda host: (hops.get(str(host), len(graph)), group[host], host))


def max_flow_bytes_per_s(graph: nx.Graph[str], first: set[str], second: set[str]) -> float:
    """The most that the vertices `first` can send to `second` at once, over any ways: bytes/s.

    Goldberg and Tarjan 1988 (push-relabel), as networkx has it, on whole bytes/s so that the result is exact.
    """
    import networkx as nx

    flow: nx.DiGraph[str] = nx.DiGraph()
    flow.add_nodes_from(("the first half", "the second half"))
    ends = {**dict.fromkeys(first, "the first half"), **dict.fromkeys(second, "the second half")}
    for one, other, edge in graph.edges(data=True):
        here, there = ends.get(one, one), ends.get(other, other)
        for tail, head in ((here, there), (there, here)):
            if tail == head:
                continue
            if not flow.has_edge(tail, head):
                flow.add_edge(tail, head, capacity=0)
            flow.edges[tail, head]["capacity"] += round(edge["bandwidth_bytes_per_s"])
    return float(nx.maximum_flow_value(flow, "the first half", "the second half"))
