"""A cluster's wiring, link by link: hosts, switches, and the links between them.

Regular clusters are described by levels (`planner.cluster.model.cluster`); this is for those that are not, and for
those whose parts are needed one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Integer = TypeVar("Integer", np.int16, np.int32)


@dataclass(frozen=True, eq=False)
class Wiring:
    """Vertices are the hosts, then the switches; a link joins two of them.

    Of hosts: `devices` (accelerators left), `scale_up_bytes_per_s` and `scale_up_latency_s` (one device, one
    direction, inside the host), `nic_latency_s`; shape [hosts]. Of switches: `switch_latency_s`, `in_network`; shape
    [switches]. Of links: `endpoints` (vertices, shape [links, 2]), `nic_index` (the NIC of the first end,
    -1: none in particular), `bandwidth_bytes_per_s` (all parallel links together, one direction), `scale_up`
    (joins devices of several hosts as if they were one host's: an NVLink rack); shape [links].
    """

    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    devices: Ints
    scale_up_bytes_per_s: Floats
    scale_up_latency_s: Floats
    nic_latency_s: Floats
    switch_latency_s: Floats
    in_network: Bools
    endpoints: Ints
    nic_index: Ints
    bandwidth_bytes_per_s: Floats
    scale_up: Bools

    @property
    def vertex_names(self) -> tuple[str, ...]:
        """Names of hosts and switches, as `endpoints` counts them."""
        return self.hosts + self.switches

    @property
    def in_rack(self) -> Bools:
        """Which links lead into a scale-up switch that several hosts share; shape [links]."""
        return self.scale_up & (self.endpoints >= len(self.hosts)).any(axis=1)

    @property
    def scale_up_domains(self) -> Ints:
        """For each host the first one of its scale-up rack, itself where it is in none; shape [hosts]."""
        return find_connected_parts(self, self.in_rack & (self.bandwidth_bytes_per_s > 0))

    def sum_host_bytes_per_s(self, links: Bools) -> Floats:
        """Bytes/s of those of each host's links together, shape [hosts]."""
        vertex_bytes_per_s = np.zeros(len(self.vertex_names))
        for endpoint in self.endpoints[links].T:
            np.add.at(vertex_bytes_per_s, endpoint, self.bandwidth_bytes_per_s[links])
        return vertex_bytes_per_s[: len(self.hosts)]


def compute_uplink_bytes_per_s(wiring: Wiring) -> Floats:
    """Bytes/s of each host's links to the network together, shape [hosts]."""
    return wiring.sum_host_bytes_per_s(~wiring.in_rack)


def compute_hops(head: Ints, first_link: Ints, sources: Ints, integer: type[Integer]) -> NDArray[Integer]:
    """Hops from each source to every vertex, shape [vertices, sources], by breadth-first search from all at once.

    Links are directed and ordered by the vertex that they leave: `head`, where they lead, shape [links];
    `first_link`, where the links of each vertex begin, shape [vertices + 1]. They stand in both directions. The
    largest number of the type `integer` stands for vertices that are not joined.
    """
    vertices = len(first_link) - 1
    reached = np.zeros((vertices, len(sources)), dtype=np.bool_)
    reached[sources, np.arange(len(sources))] = True
    hops = np.full(reached.shape, np.iinfo(integer).max, dtype=integer)
    hops[reached] = 0
    linked = np.flatnonzero(np.diff(first_link) > 0)
    packed = np.packbits(reached, axis=1)
    for distance in range(1, vertices if len(linked) else 1):
        grown = packed.copy()
        grown[linked] |= np.bitwise_or.reduceat(packed[head], first_link[linked], axis=0)
        newly_reached = np.unpackbits(grown & ~packed, axis=1, count=len(sources)).astype(np.bool_)
        if not newly_reached.any():
            break
        hops[newly_reached] = distance
        packed = grown
    return hops


def find_connected_parts(wiring: Wiring, links: Bools) -> Ints:
    """For each host the first one that the given links join it to, directly or through switches; shape [hosts]."""
    part = np.arange(len(wiring.vertex_names))
    endpoints = wiring.endpoints[links]
    while True:
        low = np.minimum(part[endpoints[:, 0]], part[endpoints[:, 1]])
        grown = part.copy()
        for endpoint in endpoints.T:
            np.minimum.at(grown, endpoint, low)
        grown = grown[grown]
        if (grown == part).all():
            return grown[: len(wiring.hosts)]
        part = grown


def find_leaf_parts(wiring: Wiring) -> Ints:
    """For each host the first one that is wired to the same switches, or to those and more; shape [hosts]."""
    neighbours: list[set[int]] = [set() for _ in wiring.hosts]
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    for source, target in wiring.endpoints[network].tolist():
        if source < len(neighbours):
            neighbours[source].add(target)
        if target < len(neighbours):
            neighbours[target].add(source)
    hosts = len(wiring.hosts)
    # a host that is wired to others passes their traffic on: it stands alone
    switch_sets = [
        frozenset(host_neighbours) if min(host_neighbours, default=hosts) >= hosts else frozenset({-1 - host})
        for host, host_neighbours in enumerate(neighbours)
    ]
    distinct_sets = sorted(set(switch_sets), key=lambda switch_set: (-len(switch_set), switch_sets.index(switch_set)))
    # a host that lacks a NIC is where the others with its switches are
    covering_set = {
        switch_set: next(target for target in distinct_sets if switch_set <= target) for switch_set in distinct_sets
    }
    first_host: dict[frozenset[int], int] = {}
    for host, switch_set in enumerate(switch_sets):
        first_host.setdefault(covering_set[switch_set], host)
    return np.array([first_host[covering_set[switch_set]] for switch_set in switch_sets], dtype=np.int64)
