"""Diameter of a cluster: the most links on the shortest path between two devices.

A switch between two devices makes two links. A NIC belongs to its device, so that the path from a device to
its leaf is one link (Dally and Towles 2004, Principles and Practices of Interconnection Networks, section 3.2.2).
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING

from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.model.cluster import Cluster, WiredCluster, compute_group_devices
from planner.cluster.model.intra_node import IntraNodeTopology
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus, find_cluster_torus
from planner.cluster.wired.build_links import build_regular_wiring

if TYPE_CHECKING:
    import networkx as nx

_UNREACHABLE = 1_000_000


@singledispatch
def compute_diameter_hops(cluster: Cluster) -> int:
    """Links between the two farthest devices of a cluster; 0 for a single device."""
    return _compute_level_diameter_hops(cluster)


@compute_diameter_hops.register
def _(cluster: WiredCluster) -> int:
    if cluster.nodes == 1:
        return _compute_level_diameter_hops(cluster)
    return compute_wiring_diameter_hops(cluster.wiring, cluster.intra_node, find_cluster_torus(cluster))


def _compute_level_diameter_hops(cluster: Cluster) -> int:
    """The diameter by the cluster's levels."""
    torus = find_cluster_torus(cluster)
    if torus is not None and torus.devices >= cluster.devices:
        return compute_torus_diameter_hops(torus)
    for level, devices in list(zip(cluster.levels, compute_group_devices(cluster), strict=True))[1:]:
        if not level.through_nic and level.axes is None and devices >= cluster.devices:
            return 2
    network = [level for level in cluster.levels if level.through_nic]
    groups_apart = bool(network) and network[-1].topology == "dragonfly+"
    switch_levels = len(network) - groups_apart
    network_hops = 2 * switch_levels + groups_apart
    if network and (network[0].topology != "rail" or switch_levels > 1):
        return network_hops
    # inside a node, and between two nodes on one level of rails, the devices' own links count too
    levels = (cluster.levels[0], *network[:1])
    few_nodes = replace(cluster, nodes=min(cluster.nodes, 2), levels=levels)
    hops = compute_wiring_diameter_hops(build_regular_wiring(few_nodes), cluster.intra_node, torus)
    return hops + max(network_hops - 2, 0)


def compute_torus_diameter_hops(torus: Torus) -> int:
    """Half of each closed axis, all of each open one: n k / 2 of the k-ary n-cube (Dally and Towles, 5.2.2)."""
    sides = zip(torus.shape, torus.wrap, strict=True)
    return sum(side // 2 if closed else side - 1 for side, closed in sides)


def compute_worst_latency_s(cluster: Cluster, hops: int) -> float:
    """Seconds that the first byte takes between the farthest devices, `hops` links apart: the latency of the
    outermost level, or where it has no switch that of each link on the way.
    """
    outermost = cluster.levels[-1]
    has_direct_links = cluster.levels[0].topology in ("hybrid-cube-mesh", "fully-connected") and cluster.nodes == 1
    return outermost.latency_s * (hops if outermost.axes is not None or has_direct_links else 1)


def compute_wiring_diameter_hops(
    wiring: Wiring, intra_node: IntraNodeTopology | None, torus: Torus | None = None
) -> int:
    """Links between the two farthest devices of a wiring, from one host of each set of links; `torus`: of its nodes.

    Traffic does not pass through a host that is not its own, unless hosts are wired to each other; hosts of an NVLink
    rack count as one.
    """
    graph = build_device_graph(wiring, intra_node, torus)
    enclosure = _find_enclosing_hosts(graph, wiring)
    links_by_host: list[set[tuple[int, int]]] = [set() for _ in wiring.hosts]
    is_working = wiring.bandwidth_bytes_per_s > 0
    for endpoints, nic_index in zip(
        wiring.endpoints[is_working].tolist(), wiring.nic_index[is_working].tolist(), strict=True
    ):
        for vertex, neighbour in (endpoints, endpoints[::-1]):
            if vertex < len(links_by_host):
                links_by_host[vertex].add((neighbour, nic_index))
    sources = {frozenset(links): host for host, links in reversed(list(enumerate(links_by_host)))}
    return max(
        _compute_max_hops(graph, enclosure, f"{wiring.hosts[host]}/{device}")
        for host in sources.values()
        for device in range(int(wiring.devices[host]))
    )


def _compute_max_hops(graph: nx.Graph[str], enclosure: dict[str, int], source: str) -> int:
    """Links from a device to the farthest one."""
    hops, frontier = {source: 0}, [source]
    while frontier:
        reached = []
        for vertex in frontier:
            host = enclosure[vertex]
            is_passable = host < 0 or host == enclosure[source]
            for neighbour in graph[vertex]:
                if neighbour not in hops and (is_passable or enclosure[neighbour] == host):
                    hops[neighbour] = hops[vertex] + 1
                    reached.append(neighbour)
        frontier = reached
    devices = (vertex for vertex, attributes in graph.nodes(data=True) if attributes["kind"] == "device")
    return max(hops.get(device, _UNREACHABLE) for device in devices)


def _find_enclosing_hosts(graph: nx.Graph[str], wiring: Wiring) -> dict[str, int]:
    """The host, or the first one of its rack, that each vertex is inside of; -1 of network switches and of hosts that
    forward traffic.
    """
    is_working = wiring.bandwidth_bytes_per_s > 0
    between_hosts = is_working & (wiring.endpoints < len(wiring.hosts)).all(axis=1)
    enclosing_host = wiring.scale_up_domains.copy()
    enclosing_host[wiring.endpoints[between_hosts].ravel()] = -1
    by_name = dict(zip(wiring.hosts, enclosing_host.tolist(), strict=True))
    names = wiring.vertex_names
    for endpoints in wiring.endpoints[wiring.in_rack & is_working].tolist():
        by_name[names[max(endpoints)]] = by_name[names[min(endpoints)]]
    return {name: by_name.get(attributes["host"] or name, -1) for name, attributes in graph.nodes(data=True)}
