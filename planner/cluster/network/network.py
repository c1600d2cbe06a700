"""Bandwidth and latency of every group of ranks, read off the communication graph.

A tier is a level of the graph as a group sees it: how many neighbouring ranks it joins, what one device can
send into it, and what one step through it costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.cluster.model.cluster import Cluster, FabricLevel, compute_group_devices
from planner.cluster.model.wiring import Bools, Floats, Ints
from planner.cluster.regular.shares import BandwidthShares, build_bandwidth_shares
from planner.cluster.regular.shares import TrafficPattern as TrafficPattern
from planner.cluster.regular.torus import Torus, find_cluster_torus


@dataclass(frozen=True)
class Network:
    """Tiers from the inside out, arrays of shape [tiers].

    `tier_group_ranks`: ranks below one part of the tier; `bandwidth_bytes_per_s`: one device's share, one direction;
    `latency_s`: one step; `torus_axes`: for each tier the strides at which its axes begin and end, shape
    [axes, 2], empty for a switched tier; `through_nic`: whether the tier is reached by NICs;
    `shares`: what of a tier a group has, None where it is all; `in_network`: whether its switches add up what passes
    through them (empty: none do); `architecture`: the accelerators' generation, as far as a collective's speed
    depends on it.
    """

    tier_group_ranks: Ints
    bandwidth_bytes_per_s: Floats
    latency_s: Floats
    through_nic: Bools
    torus_axes: tuple[Floats, ...]
    shares: BandwidthShares | None
    in_network: Bools = field(default_factory=lambda: np.zeros(0, dtype=np.bool_), kw_only=True)
    architecture: str = field(default="", kw_only=True)

    @property
    def reducing_tiers(self) -> Bools:
        """Tiers whose switches reduce in the network, shape [tiers]."""
        return self.in_network if len(self.in_network) else np.zeros(self.tier_count, dtype=np.bool_)

    @property
    def tier_count(self) -> int:
        """How many tiers there are."""
        return len(self.tier_group_ranks)

    def compute_members(self, sizes: Ints, strides: Ints) -> Floats:
        """How many of a group's ranks lie below one part of each tier, on average over the parts that it touches, of
        the group that touches the most: shape [groups, tiers].

        `sizes` and `strides` of shape [groups, parts]; parts that follow one another without a gap are one, of
        others the members are multiplied.
        """
        members = np.ones((len(sizes), self.tier_count))
        size, stride = np.ones_like(sizes[:, 0]), np.ones_like(sizes[:, 0])
        for part_size, part_stride in zip(sizes.T, strides.T, strict=True):
            is_contiguous = (size == 1) | (part_size == 1) | (part_stride == size * stride)
            if not is_contiguous.all():
                members *= np.where(
                    is_contiguous[:, None], 1.0, size[:, None] / self._count_touched_parts(size, stride)
                )
            stride = np.where((part_size > 1) & ((size == 1) | ~is_contiguous), part_stride, stride)
            size = np.where(is_contiguous, size * part_size, part_size)
        return members * (size[:, None] / self._count_touched_parts(size, stride))

    def _count_touched_parts(self, size: Ints, stride: Ints) -> Ints:
        """How many parts of each tier groups of `size` ranks, `stride` apart, lie in, of the group that lies in the
        most: shape [groups, tiers].

        Ranks are laid out in order, J in a part. With b = size x stride groups begin at multiples of b, and up to
        stride - 1 ranks behind them: within a part as late as at J - gcd(b, J) + stride - 1, and at J - 1 at the
        latest. Of groups that take all ranks none begins later than at stride - 1. The outermost tier has one part.
        """
        block, group_ranks = (size * stride)[:, None], self.tier_group_ranks[None, :]
        latest = (
            np.where(block < self.tier_group_ranks[-1], group_ranks - np.gcd(block, group_ranks), 0)
            + stride[:, None]
            - 1
        )
        span = np.minimum(latest, group_ranks - 1) + block - stride[:, None]
        touched_parts: Ints = np.minimum(span // group_ranks + 1, size[:, None])
        touched_parts[:, -1] = np.where(block[:, 0] <= self.tier_group_ranks[-1], 1, touched_parts[:, -1])
        return touched_parts

    @property
    def link_domain_ranks(self) -> int:
        """Ranks that links join without a NIC: of a node, or of a rack of them."""
        return max(
            (int(n) for n, is_nic in zip(self.tier_group_ranks, self.through_nic, strict=True) if not is_nic),
            default=1,
        )

    @property
    def devices(self) -> int:
        """All ranks."""
        return int(self.tier_group_ranks[-1])

    def count_members(self, groups: Ints) -> Floats:
        """The same for groups that are listed, ranks of shape [groups, ranks], of one plan: shape [tiers]."""
        return count_part_members(groups[None] // self.tier_group_ranks[:, None, None])

    def compute_rates_bytes_per_s(self, sizes: Ints, strides: Ints, pattern: TrafficPattern = "ring") -> Floats:
        """Bytes/s of each tier for each group, shape [groups, tiers]: a torus gives only the axes it spans, a mesh
        only the links to its members.

        Switched tiers give a device the same in every `pattern`, by symmetry.
        """
        rates = np.broadcast_to(self.bandwidth_bytes_per_s, (len(sizes), self.tier_count)).copy()
        if self.shares is not None:
            rates *= self.shares.compute_group_shares(self.compute_members(sizes, strides), sizes, strides, pattern)
        return rates

    def compute_slowest_hop(self, stride: Ints, ranks: Ints) -> tuple[Floats, Floats]:
        """Bytes/s and seconds of latency of the slowest hop of chains of `ranks`, `stride` apart, shape [plans]."""
        return self._compute_hop_rates(self._find_hop_tier(stride, ranks), stride)

    def _find_hop_tier(self, stride: Ints, ranks: Ints) -> Ints:
        """The tier that the slowest of all hops crosses, shape [plans]."""
        tier: Ints = np.minimum((self._count_touched_parts(ranks, stride) > 1).sum(axis=1), self.tier_count - 1)
        return tier

    def _compute_hop_rates(self, tier: Ints, stride: Ints) -> tuple[Floats, Floats]:
        """Bytes/s and seconds of a hop across each tier, shape [plans]."""
        rates = self.bandwidth_bytes_per_s[tier]
        return rates if self.shares is None else rates * self.shares.compute_hop_shares(tier, stride), self.latency_s[
            tier
        ]


def count_part_members(parts: Ints) -> Floats:
    """How many ranks of a group lie below one part, on average, of the group that touches the most parts, [tiers];
    `parts`: of each rank, shape [tiers, groups, ranks].
    """
    touched_parts = 1 + (np.diff(np.sort(parts, axis=2), axis=2) != 0).sum(axis=2).max(axis=1, initial=0)
    members: Floats = parts.shape[2] / touched_parts
    return members


def build_tiers(cluster: Cluster, *, link_efficiency: float, nic_efficiency: float) -> Network:
    """The tiers of a cluster's levels, without routes. Efficiencies as of `build_network`."""
    layout, paths = cluster.layout, compute_level_paths(cluster.levels)
    efficiencies = [nic_efficiency if level.through_nic else link_efficiency for level in cluster.levels]
    return Network(
        tier_group_ranks=np.array(compute_group_devices(layout), dtype=np.int64),
        bandwidth_bytes_per_s=np.array(
            [bandwidth * share for (bandwidth, _), share in zip(paths, efficiencies, strict=True)]
        ),
        latency_s=np.array([latency for _, latency in paths]),
        through_nic=np.array([level.through_nic for level in cluster.levels]),
        torus_axes=_compute_tier_axes(layout),
        shares=build_bandwidth_shares(layout),
        in_network=np.array([level.in_network for level in cluster.levels]),
        architecture=cluster.accelerator.architecture,
    )


def compute_level_paths(levels: Sequence[FabricLevel]) -> list[tuple[float, float]]:
    """Bandwidth (bytes/s, one device's share) and latency (s) of the path from a device up to each level's switch.

    A path over NICs passes the network levels below, and has the least of their bandwidths.
    """
    paths: list[tuple[float, float]] = []
    nic_rate, nic_latency_s, steps = math.inf, 0.0, [0.0]
    for level in levels:
        if not level.through_nic:
            paths.append((level.bandwidth_bytes_per_s, level.latency_s))
            continue
        nic_rate = min(nic_rate, level.bandwidth_bytes_per_s)
        # summed as steps, so that the last digit does not depend on the number of levels
        steps.append(level.latency_s - nic_latency_s)
        nic_latency_s = level.latency_s
        paths.append((nic_rate, math.fsum(steps)))
    return paths


def _compute_tier_axes(cluster: Cluster) -> tuple[Floats, ...]:
    """Each tier's torus axes: those of the whole torus, since a part of it has no wiring of its own."""
    torus = find_cluster_torus(cluster)
    axes = np.zeros((0, 2)) if torus is None else _compute_torus_axes(torus)
    return tuple(np.zeros((0, 2)) if level.axes is None else axes for level in cluster.levels)


def _compute_torus_axes(torus: Torus) -> Floats:
    """Strides at which each axis of a torus begins and ends, shape [axes, 2]."""
    axis_stops = np.cumprod(torus.shape)
    return np.stack([axis_stops / torus.shape, axis_stops], axis=1).astype(np.float64)
