"""Time of a collective over groups of ranks: the fastest algorithm and protocol that fabric and library offer.

    seconds = base + Σ steps_i · α_i + messages · o + max(link seconds / share, volume / LL's cap)

with α_i the latency of tier i times the protocol's share of a bulk step, as NCCL's tuner has it (NCCL,
src/graph/tuning.cc, ncclTopoTuneModel). Every device takes part in one group of each axis at the same time, so a
device's share of each tier is what its group has: groups that use the same link share it by that.

All functions: `size_bytes` of shape [plans], `group` the ranks of each plan's group, result seconds of shape
[plans], zero for a group of one. NCCL's definition of bus bandwidth for the factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Bools, Floats, Ints, find_unique_rows, round_significant, sum_products
from planner.cost.collectives import algorithms
from planner.cost.collectives.algorithms import CollectiveSchedule, TierCrossing, compute_tier_crossing
from planner.cost.collectives.library import CollectiveLibrary, Protocol, find_collective_library
from planner.cost.rank_groups import RankGroup


def compute_all_gather_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-gather; `size_bytes` is the gathered size."""
    crossing, library = compute_tier_crossing(network, group), find_collective_library(network)
    return compute_fastest_s(crossing, library, _enumerate_gathers(crossing, library, size_bytes), size_bytes)


def compute_reduce_scatter_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """Reduce-scatter; `size_bytes` is the size before scattering. The all-gather's mirror image."""
    return compute_all_gather_s(network, size_bytes, group)


def compute_all_reduce_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-reduce: a reduce-scatter and an all-gather, trees, or switches that add."""
    crossing, library = compute_tier_crossing(network, group), find_collective_library(network)
    gathers = _enumerate_gathers(crossing, library, size_bytes)
    schedules = [algorithms.double_schedule(gather) for gather in gathers]
    if library.has_algorithm("tree"):
        schedules.append(algorithms.build_tree_all_reduce(crossing, size_bytes))
    if library.has_algorithm("in-network") and network.reducing_tiers.any():
        schedules.append(algorithms.build_in_network_all_reduce(crossing, size_bytes, library))
    return compute_fastest_s(crossing, library, schedules, size_bytes)


def compute_all_to_all_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-to-all, pairwise; `size_bytes` is what each device has, 1/g of it for every member."""
    crossing, library = compute_tier_crossing(network, group, "all-to-all"), find_collective_library(network)
    schedule = algorithms.build_all_to_all(crossing, size_bytes, library)
    return compute_fastest_s(crossing, library, [schedule], size_bytes)


def compute_expert_all_to_all_s(network: Network, size_bytes: Floats, topk: int, group: RankGroup) -> Floats:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens."""
    crossing, library = compute_tier_crossing(network, group, "all-to-all"), find_collective_library(network)
    schedule = algorithms.build_expert_all_to_all(crossing, size_bytes, topk)
    return compute_fastest_s(crossing, library, [schedule], size_bytes)


def compute_point_to_point_s(network: Network, size_bytes: Floats, stride: Ints, ranks: Ints) -> Floats:
    """Point to point between neighbours of a chain of `ranks`, `stride` apart: where the chain leaves a tier, one of
    its hops does, and the slowest hop sets the pace of all.
    """
    unique = find_unique_rows(stride, ranks)
    bytes_per_s, latency_s = network.compute_slowest_hop(stride[unique.first_index], ranks[unique.first_index])
    time_s: Floats = size_bytes / bytes_per_s[unique.inverse] + latency_s[unique.inverse]
    return time_s


def find_used_tiers(network: Network, group: RankGroup) -> Bools:
    """Which tiers a group's collectives use, shape [plans, tiers]."""
    return compute_tier_crossing(network, group).is_crossed


def _enumerate_gathers(
    crossing: TierCrossing, library: CollectiveLibrary, size_bytes: Floats
) -> Iterator[CollectiveSchedule]:
    """The algorithms of an all-gather, or of a reduce-scatter."""
    if library.has_algorithm("torus"):
        yield algorithms.build_torus_gather(crossing, size_bytes)
        return
    yield algorithms.build_ring_gather(crossing, size_bytes)
    if library.has_algorithm("halving"):
        yield algorithms.build_halving_gather(
            crossing, size_bytes, single_rank_per_node="halving" in library.single_rank_per_node
        )
    if library.has_algorithm("hierarchical"):
        yield algorithms.build_hierarchical_gather(crossing, size_bytes)


def compute_fastest_s(
    crossing: TierCrossing, library: CollectiveLibrary, schedules: Iterable[CollectiveSchedule], size_bytes: Floats
) -> Floats:
    """Seconds of the fastest of all algorithms and protocols, shape [plans]; zero for a group of one."""
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
    """Seconds of one algorithm under one protocol, [plans]; infinite where the group cannot have it."""
    network = crossing.network
    step_ratio = np.where(network.through_nic, protocol.network_step_ratio, protocol.link_step_ratio)
    latency_s = protocol.base_s + sum_products(schedule.steps, network.latency_s * step_ratio)
    if protocol.per_rank_s:
        latency_s = latency_s + protocol.per_rank_s * crossing.group_size
    if schedule.messages is not None:
        latency_s = latency_s + library.message_post_s * schedule.messages
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
        if generation is not None and generation.low_latency is not None:
            # caps of one node, of two, of more
            cap_index = np.minimum(np.ceil(crossing.node_count), 3.0).astype(np.int64) - 1
            time_s = np.maximum(time_s, schedule.volume_bytes / np.array(generation.low_latency)[cap_index])
    return time_s
