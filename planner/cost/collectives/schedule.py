"""What an algorithm sends over the tiers that a group crosses, and the seconds of the fastest algorithm and protocol.

    seconds = base + Σ steps_i · α_i + max(link seconds / share, volume / LL's cap)

with α_i the tier's latency times the protocol's share of a bulk step, as NCCL's tuner has it (NCCL,
src/graph/tuning.cc, ncclTopoTuneModel). An algorithm is a function from a `TierCrossing` to a `CollectiveSchedule`,
one a file beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from planner.cluster.network.network import Network, TrafficPattern
from planner.cost.arrays import Bools, Floats, Ints, round_significant, sum_products
from planner.cost.collectives.library import CollectiveLibrary, Protocol
from planner.cost.rank_groups import RankGroup

CollectiveAlgorithm = Literal["ring", "tree", "halving", "hierarchical", "in-network", "torus", "exchange"]


@dataclass(frozen=True)
class TierCrossing:
    """What each plan's group of ranks crosses of the network, arrays of shape [plans, tiers].

    `ranks_in_tier` of the group lie below one part of the tier, `ranks_in_inner_tier` of them below one part of the
    tier inside it; `crossed_tiers` says whether there are more. `device_bytes_per_s`: bandwidth of one device in each
    tier, in bytes/s. `group_size` and `node_count`, shape [plans]: ranks, and parts that only NICs join.
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
    """The tiers that each plan's group crosses; `pattern`: who sends to whom."""
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


@dataclass(frozen=True)
class CollectiveSchedule:
    """One algorithm over each plan's group.

    `link_time_s`: seconds of the links at the rate of bulk copies, shape [plans]. `volume_bytes`: bytes that pass a
    device, [plans]. `step_counts`: messages of each tier that follow one another, [plans, tiers]. `message_counts`:
    messages that a device posts to its NIC, [plans]. `is_available`: whether the network and the group allow it,
    [plans].
    """

    algorithm: CollectiveAlgorithm
    link_time_s: Floats
    volume_bytes: Floats
    step_counts: Floats
    message_counts: Floats | None = None
    is_available: Bools | None = None


def double_schedule(schedule: CollectiveSchedule) -> CollectiveSchedule:
    """A reduce-scatter, then an all-gather, which are each other's mirror images."""
    return CollectiveSchedule(
        schedule.algorithm,
        2 * schedule.link_time_s,
        2 * schedule.volume_bytes,
        2 * schedule.step_counts,
        schedule.message_counts,
        schedule.is_available,
    )


def compute_fastest_s(
    crossing: TierCrossing, library: CollectiveLibrary, schedules: Iterable[CollectiveSchedule], size_bytes: Floats
) -> Floats:
    """Seconds of each plan's collective, shape [plans]; zero for a group of one."""
    times_s = [
        _compute_schedule_s(crossing, library, schedule, protocol, size_bytes)
        for schedule in schedules
        for protocol in library.algorithms[schedule.algorithm]
    ]
    return np.where(crossing.group_size > 1, reduce(np.minimum, times_s), 0.0)


def _compute_schedule_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    network = crossing.network
    step_latency_s = network.latency_s * np.where(
        network.through_nic, protocol.network_step_ratio, protocol.link_step_ratio
    )
    latency_s = protocol.base_s + sum_products(schedule.step_counts, step_latency_s)
    if protocol.per_rank_s:
        latency_s = latency_s + protocol.per_rank_s * crossing.group_size
    if schedule.message_counts is not None:
        latency_s = latency_s + library.message_post_s * schedule.message_counts
    time_s = latency_s + _compute_transfer_s(crossing, library, schedule, protocol, size_bytes)
    return time_s if schedule.is_available is None else np.where(schedule.is_available, time_s, np.inf)


def _compute_transfer_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    """Seconds in which the bytes move."""
    bandwidth_share: float | Floats = protocol.bandwidth_share
    if protocol.inter_node_bandwidth_share != protocol.bandwidth_share:
        bandwidth_share = np.where(
            crossing.node_count > 1, protocol.inter_node_bandwidth_share, protocol.bandwidth_share
        )
    time_s = schedule.link_time_s / bandwidth_share
    if len(protocol.bandwidth_share_by_size):
        # between the tuner's sizes along the line, so that more data never takes less time
        size_index = round_significant(np.log2(np.maximum(size_bytes, 64.0) / 64.0))
        time_s = time_s / np.interp(
            size_index, np.arange(len(protocol.bandwidth_share_by_size)), protocol.bandwidth_share_by_size
        )
    if protocol.is_low_latency:
        generation = library.find_generation(crossing.network.architecture)
        if generation is not None and generation.low_latency is not None:
            max_bytes_per_s = np.array(generation.low_latency)[
                np.minimum(np.ceil(crossing.node_count), 3.0).astype(np.int64) - 1
            ]
            time_s = np.maximum(time_s, schedule.volume_bytes / max_bytes_per_s)
    return time_s
