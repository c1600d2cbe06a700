"""Time of a collective over groups of ranks: the fastest algorithm and protocol that fabric and library offer.

    seconds = base + Σ steps_i · α_i + members · β + messages · o + max(link seconds / share, volume / LL's cap)

with α_i the latency of tier i times what the protocol's step has of the step that this latency stands for, as in
NCCL's tuner (NCCL, src/graph/tuning.cc, ncclTopoTuneModel). Every device takes part in one group of each axis at the
same time, so a device's share of each tier is what its group has: groups that use the same link share it by that. The
library's own figures, among them what it reaches of links and NICs, are data: `planner.cost.collectives.library`.

All functions of collectives: `size_bytes` of shape [plans], `group` the ranks of each plan's group, result seconds of
shape [plans], zero for a group of one. NCCL's definition of bus bandwidth for the factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np

from planner.cluster.network.network import Network, TrafficPattern
from planner.cost.arrays import Bools, Floats, Ints, find_unique_rows, round_significant, sum_products
from planner.cost.collectives import algorithms
from planner.cost.collectives.algorithms import (
    CollectiveAlgorithm,
    CollectiveSchedule,
    TierCrossing,
    compute_tier_crossing,
)
from planner.cost.collectives.library import CollectiveLibrary, Protocol, ProtocolName, find_collective_library
from planner.cost.rank_groups import RankAxis, RankGroup

CollectiveName = Literal["all-gather", "reduce-scatter", "all-reduce", "all-to-all"]


@dataclass(frozen=True)
class CollectiveChoice:
    """How one collective of a plan is carried out: the fastest algorithm and protocol. `size_bytes` as of the
    collective's function.
    """

    axis: RankAxis | None
    collective: CollectiveName
    ranks: int
    size_bytes: float
    algorithm: CollectiveAlgorithm
    protocol: ProtocolName
    seconds: float


_RECORDED_CHOICES: ContextVar[list[CollectiveChoice] | None] = ContextVar("recorded choices", default=None)


@contextmanager
def record_choices() -> Iterator[list[CollectiveChoice]]:
    """The algorithm of every collective that is computed in the `with` block, in order."""
    choices: list[CollectiveChoice] = []
    token = _RECORDED_CHOICES.set(choices)
    try:
        yield choices
    finally:
        _RECORDED_CHOICES.reset(token)


def compute_all_gather_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-gather; `size_bytes` is the gathered size."""
    return _compute_gather_s(network, size_bytes, group, "all-gather")


def compute_reduce_scatter_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """Reduce-scatter; `size_bytes` is the size before scattering. The all-gather's mirror image."""
    return _compute_gather_s(network, size_bytes, group, "reduce-scatter")


def _compute_gather_s(network: Network, size_bytes: Floats, group: RankGroup, collective: CollectiveName) -> Floats:
    if not (group.size > 1).any():
        return np.zeros(len(group.sizes))
    library = find_collective_library(network)
    crossing = _compute_crossing(network, group, library)
    gathers = _enumerate_gathers(crossing, library, size_bytes, library.own_part)
    return compute_fastest_s(crossing, library, gathers, size_bytes, collective)


def compute_all_reduce_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-reduce: a reduce-scatter and an all-gather, trees, or switches that add."""
    if not (group.size > 1).any():
        return np.zeros(len(group.sizes))
    library = find_collective_library(network)
    crossing = _compute_crossing(network, group, library)
    gathers = _enumerate_gathers(crossing, library, size_bytes, library.own_part / 2)
    schedules = [algorithms.double_schedule(gather) for gather in gathers]
    if library.has_algorithm("tree"):
        schedules.append(algorithms.build_tree_all_reduce(crossing, size_bytes))
    if library.has_algorithm("in-network") and network.reducing_tiers.any():
        generation = library.find_generation(network.architecture)
        shares = generation.in_network / generation.link_share, library.switch_reduction_share
        schedules.append(algorithms.build_in_network_all_reduce(crossing, size_bytes, *shares))
    return compute_fastest_s(crossing, library, schedules, size_bytes, "all-reduce")


def compute_all_to_all_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-to-all, pairwise; `size_bytes` is what each device has, 1/g of it for every member."""
    if not (group.size > 1).any():
        return np.zeros(len(group.sizes))
    library = find_collective_library(network)
    crossing = _compute_crossing(network, group, library, "all-to-all")
    posting_s_per_byte, own_part = library.message.posting_s_per_byte, library.own_part
    schedule = algorithms.build_all_to_all(crossing, size_bytes, posting_s_per_byte, own_part)
    return compute_fastest_s(crossing, library, [schedule], size_bytes, "all-to-all")


def compute_expert_all_to_all_s(network: Network, size_bytes: Floats, topk: int, group: RankGroup) -> Floats:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens."""
    if not (group.size > 1).any():
        return np.zeros(len(group.sizes))
    library = find_collective_library(network)
    crossing = _compute_crossing(network, group, library, "all-to-all")
    schedule = algorithms.build_expert_all_to_all(crossing, size_bytes, topk)
    return compute_fastest_s(crossing, library, [schedule], size_bytes, "all-to-all")


def compute_point_to_point_s(network: Network, size_bytes: Floats, stride: Ints, ranks: Ints) -> Floats:
    """Point to point between neighbours of a chain of `ranks`, `stride` apart: where the chain leaves a tier, one of
    its hops does, and the slowest hop sets the pace of all.
    """
    unique = find_unique_rows(stride, ranks)
    shares = find_collective_library(network).find_bandwidth_shares(network)
    reached = replace(network, bandwidth_bytes_per_s=network.bandwidth_bytes_per_s * shares)
    bytes_per_s, latency_s = reached.compute_slowest_hop(stride[unique.first_index], ranks[unique.first_index])
    time_s: Floats = size_bytes / bytes_per_s[unique.inverse] + latency_s[unique.inverse]
    return time_s


def find_used_tiers(network: Network, group: RankGroup) -> Bools:
    """Which tiers a group's collectives use, shape [plans, tiers]."""
    return compute_tier_crossing(network, group).is_crossed


def _compute_crossing(
    network: Network, group: RankGroup, library: CollectiveLibrary, pattern: TrafficPattern = "ring"
) -> TierCrossing:
    """The tiers that each plan's group crosses, at what the library reaches of their bandwidth.

    The channels of rings and trees leave a domain of links, a node or rack, by the NICs of `library.rails` members at
    most; all-to-alls by everyone's own.
    """
    crossing, shares = compute_tier_crossing(network, group, pattern), library.find_bandwidth_shares(network)
    if pattern == "ring" and math.isfinite(library.rails):
        used = np.minimum(library.rails * crossing.node_count / crossing.group_size, 1.0)
        shares = np.where(network.through_nic, used[:, None] * shares, shares)
    return replace(crossing, device_bytes_per_s=crossing.device_bytes_per_s * shares)


def _enumerate_gathers(
    crossing: TierCrossing, library: CollectiveLibrary, size_bytes: Floats, own_part: float
) -> Iterator[CollectiveSchedule]:
    """The algorithms of an all-gather, or of a reduce-scatter."""
    if library.has_algorithm("torus"):
        yield algorithms.build_torus_gather(crossing, size_bytes)
        return
    yield algorithms.build_ring_gather(crossing, size_bytes, own_part)
    if library.has_algorithm("halving"):
        yield algorithms.build_halving_gather(
            crossing, size_bytes, single_rank_per_node="halving" in library.single_rank_per_node
        )
    if library.has_algorithm("hierarchical"):
        yield algorithms.build_hierarchical_gather(crossing, size_bytes)


def compute_fastest_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedules: Iterable[CollectiveSchedule],
    size_bytes: Floats,
    collective: CollectiveName,
) -> Floats:
    """Seconds of the fastest of all algorithms and protocols, shape [plans]; zero for a group of one."""
    competing = [
        (schedule, protocol) for schedule in schedules for protocol in library.algorithms[schedule.algorithm]
    ]
    times_s = [
        _compute_schedule_s(crossing, library, schedule, protocol, size_bytes) for schedule, protocol in competing
    ]
    if (choices := _RECORDED_CHOICES.get()) is not None:
        for plan in np.flatnonzero(crossing.group_size > 1):
            fastest = int(np.argmin([time_s[plan] for time_s in times_s]))
            schedule, protocol = competing[fastest]
            choices.append(
                CollectiveChoice(
                    axis=crossing.group.axis,
                    collective=collective,
                    ranks=int(crossing.group_size[plan]),
                    size_bytes=float(size_bytes[plan]),
                    algorithm=schedule.algorithm,
                    protocol=protocol.name,
                    seconds=float(times_s[fastest][plan]),
                )
            )
    return np.where(crossing.group_size > 1, reduce(np.minimum, times_s), 0.0)


def _compute_schedule_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    """Seconds of one algorithm under one protocol, [plans]; infinite where the group cannot have it."""
    network = crossing.network
    scale = library.find_generation(network.architecture).latency
    step_ratio = np.where(network.through_nic, protocol.network_step_ratio, scale * protocol.link_step_ratio)
    latency_s = scale * protocol.base_s + sum_products(schedule.steps, network.latency_s * step_ratio)
    if protocol.per_rank_s:
        latency_s = latency_s + protocol.per_rank_s * crossing.group_size
    if protocol.per_linked_rank_s:
        latency_s = latency_s + protocol.per_linked_rank_s * crossing.group_size / crossing.node_count
    if schedule.messages is not None:
        latency_s = latency_s + library.message.network * schedule.messages
    time_s = latency_s + _compute_transfer_s(crossing, library, schedule, protocol, size_bytes)
    return time_s if schedule.is_available is None else np.where(schedule.is_available, time_s, np.inf)


def _compute_transfer_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    """Seconds in which the bytes move, [plans]."""
    share: float | Floats = protocol.bandwidth_share
    if protocol.inter_node_bandwidth_share != share:
        share = np.where(crossing.node_count > 1, protocol.inter_node_bandwidth_share, share)
    time_s = schedule.link_time_s / share
    if len(protocol.bandwidth_share_by_size):
        # between the tuner's sizes along the line, so that more data never takes less time
        size_index = round_significant(np.log2(np.maximum(size_bytes, 64.0) / 64.0))
        indices = np.arange(len(protocol.bandwidth_share_by_size))
        time_s = time_s / np.interp(size_index, indices, protocol.bandwidth_share_by_size)
    if protocol.is_low_latency:
        generation = library.find_generation(crossing.network.architecture)
        if generation.low_latency is not None:
            # caps of one node, of two, of more
            cap_index = np.minimum(np.ceil(crossing.node_count), 3.0).astype(np.int64) - 1
            time_s = np.maximum(time_s, schedule.volume_bytes / np.array(generation.low_latency)[cap_index])
    return time_s
