"""Diameter of a wiring: the most links on the shortest way between two devices, of the ways that traffic takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.model.intra_node import IntraNodeTopology
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus

if TYPE_CHECKING:
    import networkx as nx

_UNREACHABLE = 1_000_000


def compute_wiring_diameter_hops(
    wiring: Wiring, intra_node: IntraNodeTopology | None, torus: Torus | None = None
) -> int:
    """Links between the two farthest devices of a wiring: looked for from one host of each kind of place. `torus`:
    the one that nodes are blocks of.
    """
    graph = build_device_graph(wiring, intra_node, torus)
    host_by_links: dict[frozenset[tuple[int, int]], int] = {}
    links_by_host: list[set[tuple[int, int]]] = [set() for _ in wiring.hosts]
    is_working = wiring.bandwidth_bytes_per_s > 0
    for (first_vertex, second_vertex), nic_index in zip(
        wiring.endpoints[is_working].tolist(), wiring.nic_index[is_working].tolist(), strict=True
    ):
        for vertex, neighbour in ((first_vertex, second_vertex), (second_vertex, first_vertex)):
            if vertex < len(links_by_host):
                links_by_host[vertex].add((neighbour, nic_index))
    for host, host_links in enumerate(links_by_host):
        host_by_links.setdefault(frozenset(host_links), host)
    traffic_paths = _TrafficPaths(graph, wiring)
    sources = [
        f"{wiring.hosts[host]}/{n}" for host in host_by_links.values() for n in range(int(wiring.devices[host]))
    ]
    return max(traffic_paths.compute_max_hops(source) for source in sources)


class _TrafficPaths:
    """The ways that traffic takes over a device graph: no host passes on what is not its own, unless it is wired to
    other hosts. Hosts of one NVLink rack are as one.

    Each device and each switch inside of a host is there twice: where traffic sets out it leads to the network, where
    it arrives it does not.
    """

    def __init__(self, graph: nx.Graph[str], wiring: Wiring) -> None:
        """`graph`: of the wiring's devices."""
        self.devices = [name for name, attributes in graph.nodes(data=True) if attributes["kind"] == "device"]
        vertex_by_name = {name: vertex for vertex, name in enumerate(graph)}
        self.start_vertices = {name: vertex_by_name[name] for name in self.devices}
        enclosing_host = _find_enclosing_hosts(graph, wiring)
        arrival_vertex = {
            name: vertex_by_name[name]
            if enclosing_host.get(name, -1) < 0
            else vertex_by_name[name] + len(vertex_by_name)
            for name in vertex_by_name
        }
        self.arrival_vertices = [arrival_vertex[name] for name in self.devices]
        self.successors: list[list[int]] = [[] for _ in range(2 * len(vertex_by_name))]
        for source, target in graph.edges:
            is_within_host = enclosing_host.get(source, -1) >= 0 and enclosing_host.get(source) == enclosing_host.get(
                target
            )
            for tail, head in ((source, target), (target, source)):
                if is_within_host:
                    self.successors[vertex_by_name[tail]].append(vertex_by_name[head])
                    self.successors[arrival_vertex[tail]].append(arrival_vertex[head])
                else:
                    self.successors[vertex_by_name[tail]].append(arrival_vertex[head])

    def compute_max_hops(self, source: str) -> int:
        """Links to the farthest device."""
        hops = {self.start_vertices[source]: 0}
        frontier = list(hops)
        while frontier:
            frontier = [
                next_vertex for vertex in frontier for next_vertex in self._enumerate_new_vertices(vertex, hops)
            ]
        device_vertices = zip(self.arrival_vertices, self.start_vertices.values(), strict=True)
        return max(
            min(hops.get(arrival, _UNREACHABLE), hops.get(start, _UNREACHABLE)) for arrival, start in device_vertices
        )

    def _enumerate_new_vertices(self, vertex: int, hops: dict[int, int]) -> Iterator[int]:
        for next_vertex in self.successors[vertex]:
            if next_vertex not in hops:
                hops[next_vertex] = hops[vertex] + 1
                yield next_vertex


def _find_enclosing_hosts(graph: nx.Graph[str], wiring: Wiring) -> dict[str, int]:
    """The host, or the first one of its rack, that a vertex is inside of; not of those that pass traffic on."""
    first_in_domain = wiring.scale_up_domains
    is_working = wiring.bandwidth_bytes_per_s > 0
    forwarding_hosts = set(
        wiring.endpoints[is_working & (wiring.endpoints < len(wiring.hosts)).all(axis=1)].ravel().tolist()
    )
    enclosing_by_name = {
        name: int(first_in_domain[host]) if host not in forwarding_hosts else -1
        for host, name in enumerate(wiring.hosts)
    }
    enclosing_host = {
        name: enclosing_by_name[attributes["host"]]
        for name, attributes in graph.nodes(data=True)
        if attributes["host"]
    }
    names = wiring.vertex_names
    for source, target in wiring.endpoints[wiring.in_rack & is_working].tolist():
        host, switch = min(source, target), max(source, target)
        enclosing_host[names[switch]] = enclosing_by_name[names[host]]
    return enclosing_host
