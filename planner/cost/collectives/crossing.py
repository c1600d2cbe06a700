"""What a group meets on its way: which tiers it crosses, with how many members, and at what rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.cluster.network.network import Network, TrafficPattern
from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.rank_groups import RankGroup


@dataclass(frozen=True)
class TierCrossing:
    """What each plan's group meets at each tier, arrays of shape [plans, tiers].

    `ranks_in_tier` of the group lie below one part of the tier, `ranks_in_inner_tier` of them below one part of the
    tier inside it; the tier is `crossed_tiers` where there are more. `device_bytes_per_s`: bytes/s of one device.
    `group_size` and `node_count`, shape [plans]: ranks, and parts that only network cards join. `network` and `group`
    are what was asked.
    """

    network: Network
    group: RankGroup
    group_size: Ints
    node_count: Floats
    ranks_in_tier: Floats
    ranks_in_inner_tier: Floats
    crossed_tiers: Bools
    device_bytes_per_s: Floats

    @property
    def inner_parts(self) -> Floats:
        """How many parts of the tier inside it each tier joins."""
        return self.ranks_in_tier / self.ranks_in_inner_tier

    @property
    def torus_tiers(self) -> Bools:
        """Which tiers are tori, shape [tiers]."""
        axes = self.network.torus_axes or ((),) * self.network.tier_count
        return np.array([len(tier_axes) > 0 for tier_axes in axes], dtype=np.bool_)

    @property
    def is_torus_free(self) -> Bools:
        """Whether a group crosses no torus, shape [plans]."""
        is_torus_free: Bools = np.asarray(np.all(~(self.crossed_tiers & self.torus_tiers), axis=1), dtype=np.bool_)
        return is_torus_free

    def compute_concurrent_s(self, sent_bytes: Floats) -> Floats:
        """Seconds in which all tiers, at work at the same time, carry `sent_bytes` bytes of each device; [plans]."""
        return reduce(np.maximum, self._compute_tier_times_s(sent_bytes).T)

    def compute_sequential_s(self, sent_bytes: Floats) -> Floats:
        """The same where one tier works after the other."""
        return reduce(np.add, self._compute_tier_times_s(sent_bytes).T)

    def _compute_tier_times_s(self, sent_bytes: Floats) -> Floats:
        return np.where(self.crossed_tiers, sent_bytes / self.device_bytes_per_s, 0.0)


def compute_tier_crossing(network: Network, group: RankGroup, pattern: TrafficPattern = "ring") -> TierCrossing:
    """The tiers of each plan's group; `pattern`: who sends to whom."""
    ranks_in_tier = network.compute_members(group.sizes, group.strides)
    ranks_in_inner_tier = np.concatenate([np.ones((len(ranks_in_tier), 1)), ranks_in_tier[:, :-1]], axis=1)
    group_size = group.size
    intra_node_tiers = np.flatnonzero(~network.through_nic)
    node_count = (
        group_size / ranks_in_tier[:, intra_node_tiers[-1]]
        if len(intra_node_tiers)
        else group_size.astype(np.float64)
    )
    device_bytes_per_s = network.compute_rates_bytes_per_s(group.sizes, group.strides, pattern)
    return TierCrossing(
        network,
        group,
        group_size,
        node_count,
        ranks_in_tier,
        ranks_in_inner_tier,
        ranks_in_tier > ranks_in_inner_tier,
        device_bytes_per_s,
    )
