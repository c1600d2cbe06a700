"""The network of a cluster described link by link: the bandwidth of groups of ranks, from routed flows.

Tiers are those of any network (the host, a rack of NVLink, the switch that hosts share, all of them), so that the
same formulas hold; but how many of a group's ranks lie below a part of a tier, and what a group gets of the links,
are counted: all equal groups communicate at once, every flow is routed, and the most loaded link sets the pace of
all. Of a degraded cluster the same is counted for the healthy one too, and the levels' figures are multiplied by the
share that is left: counted with the failed parts over counted without, one at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from planner.cluster.model.wiring import Floats, Ints, Wiring, compute_uplink_bytes_per_s
from planner.cluster.network.ecmp_routing import Flows, Routes, build_routes
from planner.cluster.network.network import Network, TrafficPattern, count_part_members
from planner.cluster.network.traffic_patterns import (
    DeviceLayout,
    build_all_to_all_flows,
    build_neighbour_flows,
    build_ring_flows,
)


@dataclass(frozen=True)
class RoutedNetwork(Network):
    """A network with its routes, and the hosts in the order in which ranks are laid on them.

    `tier_parts`: the part of each tier that a host lies below, shape [tiers, hosts]; `scale_up_tier`: the outermost
    tier that is not reached by NICs; `host_order`: the host of each rank's node, shape [hosts];
    `device_uplink_bytes_per_s`: a device's share of its host's uplink as it is rated, bytes/s, without the fitted
    efficiency of collectives; `uplink_bytes_per_s`: bytes/s of each host's links to the network, shape [hosts];
    `healthy_network`: the network without its failed parts, of which as many hosts are used as are left; None where
    the cluster is wired.
    """

    routes: Routes
    layout: DeviceLayout
    tier_parts: Ints
    scale_up_tier: int
    host_order: Ints
    device_uplink_bytes_per_s: float
    uplink_bytes_per_s: Floats
    healthy_network: RoutedNetwork | None = None
    _share_cache: dict[tuple[object, ...], tuple[float, ...]] = field(default_factory=dict, compare=False, repr=False)
    _member_cache: dict[tuple[object, ...], tuple[float, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def place_ranks(self, host_order: Ints) -> RoutedNetwork:
        """The same with ranks laid on the hosts in another order."""
        return replace(self, host_order=host_order, _share_cache={}, _member_cache={})

    @property
    def devices(self) -> int:
        """All ranks."""
        return len(self.host_order) * self.layout.devices_per_host

    def compute_members(self, sizes: Ints, strides: Ints) -> Floats:
        """How many of a group's ranks lie below one part of each tier, of the group that is the most scattered."""
        counted = np.array([self._count_members(*key) for key in _build_group_keys(sizes, strides)]).reshape(
            len(sizes), -1
        )
        if self.healthy_network is None:
            return counted
        remaining_share: Floats = np.minimum(1.0, counted / self.healthy_network.compute_members(sizes, strides))
        return super().compute_members(sizes, strides) * remaining_share

    def count_members(self, groups: Ints) -> Floats:
        """The same for listed groups, of a degraded cluster as of a wired one."""
        return count_part_members(self.tier_parts[:, self.layout.get_host(self._get_device(groups))])

    def compute_rates_bytes_per_s(self, sizes: Ints, strides: Ints, pattern: TrafficPattern = "ring") -> Floats:
        """Bytes/s of each tier for each group; beyond the hosts by what routed flows leave to the slowest group."""
        rates = super().compute_rates_bytes_per_s(sizes, strides, pattern)
        share = np.array([self._compute_share(pattern, *key) for key in _build_group_keys(sizes, strides)])
        rates[:, self.scale_up_tier + 1 :] *= share[:, None]
        return rates

    def compute_slowest_hop(self, stride: Ints, ranks: Ints) -> tuple[Floats, Floats]:
        """Bytes/s and latency of the slowest hop of chains of `ranks`, `stride` apart, shape [plans]."""
        share, tier = self._compute_hop_shares(stride, ranks)
        if self.healthy_network is None:
            return self.bandwidth_bytes_per_s[tier] * share, self.latency_s[tier]
        healthy_share, healthy_tier = self.healthy_network._compute_hop_shares(stride, ranks)
        regular_tier = self._find_hop_tier(stride, ranks)
        leaves_scale_up = healthy_tier > self.scale_up_tier
        remaining_share = np.minimum(1.0, np.where(leaves_scale_up, share / healthy_share, share))
        tier = np.minimum(regular_tier + np.maximum(tier - healthy_tier, 0), self.tier_count - 1)
        rates, latency = self._compute_hop_rates(tier, stride)
        return rates * remaining_share, latency

    def _count_members(self, sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[float, ...]:
        key = (sizes, strides)
        if key not in self._member_cache:
            hosts = self.layout.get_host(self._build_groups(sizes, strides))
            self._member_cache[key] = tuple(count_part_members(self.tier_parts[:, hosts]).tolist())
        return self._member_cache[key]

    def _compute_share(self, pattern: TrafficPattern, sizes: tuple[int, ...], strides: tuple[int, ...]) -> float:
        """Of its rated share of the uplink, what a device of the slowest group has."""
        routed_share = self._compute_routed_share(pattern, sizes, strides)
        if routed_share is None or self.healthy_network is None:
            return 1.0 if routed_share is None else routed_share
        healthy_share = self.healthy_network._compute_routed_share(pattern, sizes, strides)
        return min(1.0, routed_share if healthy_share is None else routed_share / healthy_share)

    def _compute_routed_share(
        self, pattern: TrafficPattern, sizes: tuple[int, ...], strides: tuple[int, ...]
    ) -> float | None:
        """The same by routing alone; None for groups that stay inside their part of the scale-up network."""
        key = (pattern, sizes, strides)
        if key not in self._share_cache:
            members_inside = self._count_members(sizes, strides)[self.scale_up_tier]
            groups = self._build_groups(sizes, strides)
            size = groups.shape[1]
            cached_share: tuple[float, ...] = ()
            if size > members_inside and pattern == "ring":
                # the ports of `members_inside` members together carry what one device sends
                cached_share = (self._compute_flow_share(build_ring_flows(self.layout, groups)) / members_inside,)
            elif size > members_inside:
                share = self._compute_flow_share(build_all_to_all_flows(self.layout, groups))
                cached_share = (share * (size - members_inside) / size,)
            self._share_cache[key] = cached_share
        return next(iter(self._share_cache[key]), None)

    def _compute_flow_share(self, flows: Flows) -> float:
        """Of a device's rated share of the uplink, what one unit of the flows can have."""
        return self.routes.compute_bottleneck_bytes_per_s(flows) / self.device_uplink_bytes_per_s

    def _compute_hop_shares(self, stride: Ints, ranks: Ints) -> tuple[Floats, Ints]:
        """`_compute_hop_share` of each plan."""
        hop_shares = np.array(
            [self._compute_hop_share(*pair) for pair in zip(stride.tolist(), ranks.tolist(), strict=True)]
        )
        hop_shares = hop_shares.reshape(-1, 2)
        return hop_shares[:, 0], hop_shares[:, 1].astype(np.int64)

    def _compute_hop_share(self, stride: int, ranks: int) -> tuple[float, float]:
        """Share of the outermost crossed tier's rate that the slowest of all neighbours has, and that tier."""
        key = ("hop", stride, ranks)
        if key not in self._share_cache:
            rank = np.arange(max(self.devices - stride, 0))
            rank = rank[rank // stride % ranks < ranks - 1]
            source, target = self._get_device(rank), self._get_device(rank + stride)
            differs_in_part = (
                self.tier_parts[:, self.layout.get_host(source)] != self.tier_parts[:, self.layout.get_host(target)]
            )
            tier = int(min(differs_in_part.any(axis=1).sum(), self.tier_count - 1))
            share = 1.0
            if tier > self.scale_up_tier:
                share = min(self._compute_flow_share(build_neighbour_flows(self.layout, source, target)), 1.0)
            self._share_cache[key] = (share, float(tier))
        share, crossed_tier = self._share_cache[key]
        return share, crossed_tier

    def _build_groups(self, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Ints:
        """The devices of every group, each in the order of its ranks, shape [groups, size]."""
        rank = np.arange(self.devices)
        offset = np.zeros(1, dtype=np.int64)
        for size, stride in zip(sizes, strides, strict=True):
            rank = rank[rank // stride % size == 0]
            offset = (np.arange(size)[:, None] * stride + offset[None, :]).ravel()
        rank = rank[rank + offset[-1] < self.devices]
        return self._get_device(rank[:, None] + offset[None, :])

    def _get_device(self, rank: Ints) -> Ints:
        """The device that a rank is laid on, as the wiring counts them."""
        per_host = self.layout.devices_per_host
        return self.host_order[rank // per_host] * per_host + rank % per_host


def build_routed_network(
    network: Network,
    wiring: Wiring,
    *,
    tier_parts: Ints,
    scale_up_tier: int,
    hosts: int | None = None,
    healthy_network: RoutedNetwork | None = None,
) -> RoutedNetwork:
    """A network with the routes of a wiring: `tier_parts`, `scale_up_tier` and `healthy_network` as RoutedNetwork has
    them; `hosts`: how many of the hosts, the first ones, are used. Raises InputError for hosts that cannot reach each
    other.
    """
    network_routes, ports = build_routes(wiring)
    per_host, uplink_bytes_per_s = int(wiring.devices.max()), compute_uplink_bytes_per_s(wiring)
    return RoutedNetwork(
        **{name: getattr(network, name) for name in Network.__dataclass_fields__},
        routes=network_routes,
        layout=DeviceLayout(ports, wiring.scale_up_domains, per_host),
        tier_parts=tier_parts.astype(np.int64),
        scale_up_tier=scale_up_tier,
        host_order=np.arange(len(wiring.hosts) if hosts is None else hosts),
        device_uplink_bytes_per_s=float(np.median(uplink_bytes_per_s)) / per_host
        if healthy_network is None
        else healthy_network.device_uplink_bytes_per_s,
        uplink_bytes_per_s=uplink_bytes_per_s,
        healthy_network=healthy_network,
    )


def _build_group_keys(sizes: Ints, strides: Ints) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Size and stride of each group's parts, parts of one rank left out."""
    group_keys = []
    for size, stride in zip(sizes.tolist(), strides.tolist(), strict=True):
        kept = [(n, part_stride) for n, part_stride in zip(size, stride, strict=True) if n > 1] or [(1, 1)]
        group_keys.append((tuple(n for n, _ in kept), tuple(part_stride for _, part_stride in kept)))
    return group_keys
