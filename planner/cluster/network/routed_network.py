"""The network of a cluster whose wiring is told: what groups of ranks get, by counting the flows that are routed.

Tiers are those of any network (the host, a rack of NVLink, the switch that hosts share, all of them), so that the
same formulas hold; but how many of a group's ranks lie below a part of a tier, and what a group gets of the cables,
are counted: all groups of a kind exchange at once, every flow is routed, and the fullest cable sets the pace of all.
Of a regular cluster with faults the same is counted without the faults too, and the levels' figures are taken by what
is left: counted with the faults over counted without, one at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.wiring import Wiring, way_out
from planner.cluster.network.ecmp_routing import Flows, Routes, routes
from planner.cluster.network.network import Network, Pattern
from planner.cluster.network.traffic_patterns import Layout, exchange, neighbours, ring

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RoutedNetwork(Network):
    """A network with its routes, and the hosts in the order in which ranks are laid on them.

    `parts`: the part of each tier that a host lies below, shape [tiers, hosts]; `scale_up`: the outermost tier that
    is not reached by network cards; `order`: the host of each rank's node, shape [hosts]; `share_of_card`: a
    device's share of its host's way out as it is rated, bytes/s, without the fitted efficiency of collectives;
    `way_out`: bytes/s of each host's links to the network, shape [hosts]; `sound`: the regular network without its
    faults, of which as many hosts are used as are left; None where the file tells the wiring.
    """

    routes: Routes
    layout: Layout
    parts: Ints
    scale_up: int
    order: Ints
    share_of_card: float
    way_out: Floats
    sound: RoutedNetwork | None = None
    _known: dict[tuple[object, ...], tuple[float, ...]] = field(default_factory=dict, compare=False, repr=False)
    _counted: dict[tuple[object, ...], tuple[float, ...]] = field(default_factory=dict, compare=False, repr=False)

    def placed(self, order: Ints) -> RoutedNetwork:
        """The same with ranks laid on the hosts in another order."""
        return replace(self, order=order, _known={}, _counted={})

    @property
    def devices(self) -> int:
        """All ranks."""
        return len(self.order) * self.layout.devices_per_host

    def members(self, sizes: Ints, strides: Ints) -> Floats:
        """How many of a group's ranks lie below one part of each tier, of the group that is the most scattered."""
        counted = np.array([self._members(*key) for key in _keys(sizes, strides)]).reshape(len(sizes), -1)
        if self.sound is None:
            return counted
        left: Floats = np.minimum(1.0, counted / self.sound.members(sizes, strides))
        return super().members(sizes, strides) * left

    def rates(self, sizes: Ints, strides: Ints, pattern: Pattern = "ring") -> Floats:
        """Bytes/s of each tier for each group; beyond the hosts by what routed flows leave to the slowest group."""
        rates = super().rates(sizes, strides, pattern)
        share = np.array([self._share(pattern, *key) for key in _keys(sizes, strides)])
        rates[:, self.scale_up + 1 :] *= share[:, None]
        return rates

    def hop(self, stride: Ints, ranks: Ints) -> tuple[Floats, Floats]:
        """Bytes/s and latency of the slowest hop of chains of `ranks`, `stride` apart, shape [plans]."""
        share, tier = self._hops(stride, ranks)
        if self.sound is None:
            return self.bandwidth_bytes_per_s[tier] * share, self.latency_s[tier]
        was_share, was_tier = self.sound._hops(stride, ranks)
        regular = self._hop_tier(stride, ranks)
        crossed = was_tier > self.scale_up
        left = np.minimum(1.0, np.where(crossed, share / was_share, share))
        tier = np.minimum(regular + np.maximum(tier - was_tier, 0), self.tiers - 1)
        rates, latency = self._hop_rates(tier, stride)
        return rates * left, latency

    def _members(self, sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[float, ...]:
        key = (sizes, strides)
        if key not in self._counted:
            hosts = self.layout.host(self._groups(sizes, strides))
            below = (np.sort(tier[hosts], axis=1) for tier in self.parts)
            parts = (1 + (np.diff(one, axis=1) != 0).sum(axis=1).max(initial=0) for one in below)
            self._counted[key] = tuple(hosts.shape[1] / float(count) for count in parts)
        return self._counted[key]

    def _share(self, pattern: Pattern, sizes: tuple[int, ...], strides: tuple[int, ...]) -> float:
        """Of its rated share of the way out, what a device of the slowest group has."""
        own = self._counted_share(pattern, sizes, strides)
        was = None if self.sound is None else self.sound._counted_share(pattern, sizes, strides)
        if own is None:
            return 1.0
        return own if self.sound is None else min(1.0, own if was is None else own / was)

    def _counted_share(self, pattern: Pattern, sizes: tuple[int, ...], strides: tuple[int, ...]) -> float | None:
        """The same by routing alone; None for groups that stay inside their part of the scale-up network."""
        key = (pattern, sizes, strides)
        if key not in self._known:
            inside = self._members(sizes, strides)[self.scale_up]
            groups = self._groups(sizes, strides)
            size = groups.shape[1]
            found: tuple[float, ...] = ()
            if size > inside and pattern == "ring":
                # rings cross by every member's own way: `inside` of them carry what one device is asked for
                found = (self._shared(ring(self.layout, groups)) / inside,)
            elif size > inside:
                found = (self._shared(exchange(self.layout, groups)) * (size - inside) / size,)
            self._known[key] = found
        return next(iter(self._known[key]), None)

    def _shared(self, flows: Flows) -> float:
        """Of a device's rated share of the way out, what one unit of the flows can have."""
        return self.routes.scarcest(flows) / self.share_of_card

    def _hops(self, stride: Ints, ranks: Ints) -> tuple[Floats, Ints]:
        """`_hop` of each plan."""
        found = np.array([self._hop(*pair) for pair in zip(stride.tolist(), ranks.tolist(), strict=True)])
        found = found.reshape(-1, 2)
        return found[:, 0], found[:, 1].astype(np.int64)

    def _hop(self, stride: int, ranks: int) -> tuple[float, float]:
        """Share of the outermost crossed tier's rate that the slowest of all neighbours has, and that tier."""
        key = ("hop", stride, ranks)
        if key not in self._known:
            rank = np.arange(max(self.devices - stride, 0))
            rank = rank[rank // stride % ranks < ranks - 1]
            here, there = self._device(rank), self._device(rank + stride)
            apart = self.parts[:, self.layout.host(here)] != self.parts[:, self.layout.host(there)]
            tier = int(min(apart.any(axis=1).sum(), self.tiers - 1))
            share = 1.0
            if tier > self.scale_up:
                share = min(self._shared(neighbours(self.layout, here, there)), 1.0)
            self._known[key] = (share, float(tier))
        share, at = self._known[key]
        return share, at

    def _groups(self, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Ints:
        """The devices of every group, each in the order of its ranks, shape [groups, size]."""
        rank = np.arange(self.devices)
        offset = np.zeros(1, dtype=np.int64)
        for size, stride in zip(sizes, strides, strict=True):
            rank = rank[rank // stride % size == 0]
            offset = (np.arange(size)[:, None] * stride + offset[None, :]).ravel()
        rank = rank[rank + offset[-1] < self.devices]
        return self._device(rank[:, None] + offset[None, :])

    def _device(self, rank: Ints) -> Ints:
        """The device that a rank is laid on, as the wiring counts them."""
        return (
            self.order[rank // self.layout.devices_per_host] * self.layout.devices_per_host
            + rank % self.layout.devices_per_host
        )


def routed(
    network: Network,
    wiring: Wiring,
    origin: str,
    *,
    parts: Ints,
    scale_up: int,
    hosts: int | None = None,
    sound: RoutedNetwork | None = None,
) -> RoutedNetwork:
    """A network with the routes of a wiring: `parts`, `scale_up` and `sound` as RoutedNetwork has them; `hosts`: how
    many of the hosts, the first ones, are used. Raises InputError for hosts that cannot reach each other.
    """
    found, ports = routes(wiring, origin)
    per_host, out = int(wiring.devices.max()), way_out(wiring)
    return RoutedNetwork(
        **{name: getattr(network, name) for name in Network.__dataclass_fields__},
        routes=found,
        layout=Layout(ports, wiring.domains, per_host),
        parts=parts.astype(np.int64),
        scale_up=scale_up,
        order=np.arange(len(wiring.hosts) if hosts is None else hosts),
        share_of_card=float(np.median(out)) / per_host if sound is None else sound.share_of_card,
        way_out=out,
        sound=sound,
    )


def _keys(sizes: Ints, strides: Ints) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Size and stride of each group's parts, parts of one rank left out."""
    found = []
    for size, stride in zip(sizes.tolist(), strides.tolist(), strict=True):
        kept = [(n, at) for n, at in zip(size, stride, strict=True) if n > 1] or [(1, 1)]
        found.append((tuple(n for n, _ in kept), tuple(at for _, at in kept)))
    return found
