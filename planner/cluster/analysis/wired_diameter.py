"""Diameter of a wiring: the most links on the shortest way between two devices, of the ways that traffic takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.cluster.analysis.device_graph import device_graph
from planner.cluster.model.intra_node import Inside
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus

if TYPE_CHECKING:
    import networkx as nx

_FAR = 1_000_000


def wiring_diameter_hops(wiring: Wiring, inside: Inside | None, torus: Torus | None = None) -> int:
    """Links between the two farthest devices of a wiring: looked for from one host of each kind of place. `torus`:
    the one that nodes are blocks of.
    """
    graph = device_graph(wiring, inside, torus)
    places: dict[frozenset[tuple[int, int]], int] = {}
    joined: list[set[tuple[int, int]]] = [set() for _ in wiring.hosts]
    works = wiring.bandwidth_bytes_per_s > 0
    for (one, other), card in zip(wiring.ends[works].tolist(), wiring.card[works].tolist(), strict=True):
        for here, there in ((one, other), (other, one)):
            if here < len(joined):
                joined[here].add((there, card))
    for host, found in enumerate(joined):
        places.setdefault(frozenset(found), host)
    ways = _Ways(graph, wiring)
    sources = [f"{wiring.hosts[host]}/{n}" for host in places.values() for n in range(int(wiring.devices[host]))]
    return max(ways.farthest(source) for source in sources)


class _Ways:
    """The ways that traffic takes over a device graph: no host passes on what is not its own, unless it is wired to
    other hosts. Hosts of one NVLink rack are as one.

    Each device and each switch inside of a host is there twice: where traffic sets out it leads to the network, where
    it arrives it does not.
    """

    def __init__(self, graph: nx.Graph[str], wiring: Wiring) -> None:
        """`graph`: of the wiring's devices."""
        self.devices = [name for name, told in graph.nodes(data=True) if told["kind"] == "device"]
        number = {name: place for place, name in enumerate(graph)}
        self.setting_out = {name: number[name] for name in self.devices}
        inside = _insides(graph, wiring)
        arriving = {name: number[name] if inside.get(name, -1) < 0 else number[name] + len(number) for name in number}
        self.arrived = [arriving[name] for name in self.devices]
        self.next: list[list[int]] = [[] for _ in range(2 * len(number))]
        for one, other in graph.edges:
            within = inside.get(one, -1) >= 0 and inside.get(one) == inside.get(other)
            for tail, head in ((one, other), (other, one)):
                if within:
                    self.next[number[tail]].append(number[head])
                    self.next[arriving[tail]].append(arriving[head])
                else:
                    self.next[number[tail]].append(arriving[head])

    def farthest(self, source: str) -> int:
        """Links to the farthest device."""
        hops = {self.setting_out[source]: 0}
        near = list(hops)
        while near:
            near = [further for here in near for further in self._new(here, hops)]
        ends = zip(self.arrived, self.setting_out.values(), strict=True)
        return max(min(hops.get(one, _FAR), hops.get(other, _FAR)) for one, other in ends)

    def _new(self, here: int, hops: dict[int, int]) -> Iterator[int]:
        for further in self.next[here]:
            if further not in hops:
                hops[further] = hops[here] + 1
                yield further


def _insides(graph: nx.Graph[str], wiring: Wiring) -> dict[str, int]:
    """The host, or the first one of its rack, that a vertex is inside of; not of those that pass traffic on."""
    first = wiring.domains
    works = wiring.bandwidth_bytes_per_s > 0
    passing = set(wiring.ends[works & (wiring.ends < len(wiring.hosts)).all(axis=1)].ravel().tolist())
    of_host = {name: int(first[host]) if host not in passing else -1 for host, name in enumerate(wiring.hosts)}
    found = {name: of_host[told["host"]] for name, told in graph.nodes(data=True) if told["host"]}
    names = wiring.vertices
    for one, other in wiring.ends[wiring.in_rack & works].tolist():
        host, switch = min(one, other), max(one, other)
        found[names[switch]] = of_host[names[host]]
    return found
