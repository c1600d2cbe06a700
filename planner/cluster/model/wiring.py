"""A cluster's wiring, cable by cable: hosts, switches, and the links between them.

Regular clusters are described by levels (`planner.cluster.model.cluster`); this is for those that are not, and for
those whose parts are needed one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Wiring:
    """Vertices are the hosts, then the switches; a link joins two of them.

    Of hosts: `devices` (accelerators left), `scale_up_bytes_per_s` and `scale_up_latency_s` (one device, one
    direction, inside the host), `card_latency_s`; shape [hosts]. Of switches: `switch_latency_s`, `in_network`; shape
    [switches]. Of links: `ends` (vertices, shape [links, 2]), `card` (the network card of the first end, -1: none in
    particular), `bandwidth_bytes_per_s` (all cables of the link together, one direction), `scale_up` (joins devices
    of several hosts as if they were one host's: an NVLink rack); shape [links].
    """

    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    devices: Ints
    scale_up_bytes_per_s: Floats
    scale_up_latency_s: Floats
    card_latency_s: Floats
    switch_latency_s: Floats
    in_network: Bools
    ends: Ints
    card: Ints
    bandwidth_bytes_per_s: Floats
    scale_up: Bools

    @property
    def vertices(self) -> tuple[str, ...]:
        """Names of hosts and switches, as `ends` counts them."""
        return self.hosts + self.switches

    @property
    def in_rack(self) -> Bools:
        """Which links lead into a scale-up switch that several hosts share; shape [links]."""
        return self.scale_up & (self.ends >= len(self.hosts)).any(axis=1)

    @property
    def domains(self) -> Ints:
        """For each host the first one of its scale-up rack, itself where it is in none; shape [hosts]."""
        return joined_parts(self, self.in_rack & (self.bandwidth_bytes_per_s > 0))

    def rates(self, links: Bools) -> Floats:
        """Bytes/s of those of each host's links together, shape [hosts]."""
        out = np.zeros(len(self.vertices))
        for end in self.ends[links].T:
            np.add.at(out, end, self.bandwidth_bytes_per_s[links])
        return out[: len(self.hosts)]


def way_out(wiring: Wiring) -> Floats:
    """Bytes/s of each host's links to the network together, shape [hosts]."""
    return wiring.rates(~wiring.in_rack)


def joined_parts(wiring: Wiring, links: Bools) -> Ints:
    """For each host the first one that the given links join it to, directly or through switches; shape [hosts]."""
    part = np.arange(len(wiring.vertices))
    ends = wiring.ends[links]
    while True:
        low = np.minimum(part[ends[:, 0]], part[ends[:, 1]])
        grown = part.copy()
        for end in ends.T:
            np.minimum.at(grown, end, low)
        grown = grown[grown]
        if (grown == part).all():
            return grown[: len(wiring.hosts)]
        part = grown


def switch_parts(wiring: Wiring) -> Ints:
    """For each host the first one that is wired to the same switches, or to those and more; shape [hosts]."""
    neighbours: list[set[int]] = [set() for _ in wiring.hosts]
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    for one, other in wiring.ends[network].tolist():
        if one < len(neighbours):
            neighbours[one].add(other)
        if other < len(neighbours):
            neighbours[other].add(one)
    hosts = len(wiring.hosts)
    # a host that is wired to others passes their traffic on: it stands alone
    told = [
        frozenset(found) if min(found, default=hosts) >= hosts else frozenset({-1 - place})
        for place, found in enumerate(neighbours)
    ]
    kinds = sorted(set(told), key=lambda kind: (-len(kind), told.index(kind)))
    # a host that lacks a card is where the others with its switches are
    wider = {kind: next(other for other in kinds if kind <= other) for kind in kinds}
    first: dict[frozenset[int], int] = {}
    for place, kind in enumerate(told):
        first.setdefault(wider[kind], place)
    return np.array([first[wider[kind]] for kind in told], dtype=np.int64)
