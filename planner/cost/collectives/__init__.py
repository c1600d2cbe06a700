"""Time of a collective over groups of ranks: the fastest algorithm and protocol that fabric and library offer.

alpha-beta over the tiers that a group crosses. Every device takes part in one group of each axis at the same time, so
a device's share of each tier is what its group has: groups that use the same link share it by that.

All functions: `size_bytes` of shape [plans], `group` the ranks of each plan's group, result seconds of shape
[plans], zero for a group of one. NCCL's definition of bus bandwidth for the factors.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.cluster.network.network import Network
from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.collectives import hierarchical, in_network, pairwise, recursive_halving, ring, torus, tree
from planner.cost.collectives.library import CollectiveLibrary, find_collective_library
from planner.cost.collectives.schedule import (
    CollectiveSchedule,
    TierCrossing,
    compute_fastest_s,
    compute_tier_crossing,
    double_schedule,
)
from planner.cost.rank_groups import RankGroup
from planner.cost.unique_rows import find_unique_rows

__all__ = [
    "compute_all_gather_s",
    "compute_all_reduce_s",
    "compute_all_to_all_s",
    "compute_expert_all_to_all_s",
    "compute_point_to_point_s",
    "compute_reduce_scatter_s",
    "find_used_tiers",
]


def compute_all_gather_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-gather; `size_bytes` is the gathered size."""
    crossing, library = compute_tier_crossing(network, group), find_collective_library(network)
    return compute_fastest_s(
        crossing, library, _enumerate_gather_schedules(crossing, library, size_bytes), size_bytes
    )


def compute_reduce_scatter_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """Reduce-scatter; `size_bytes` is the size before scattering. The all-gather's mirror image."""
    return compute_all_gather_s(network, size_bytes, group)


def compute_all_reduce_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-reduce: a reduce-scatter and an all-gather, trees, or switches that add."""
    crossing, library = compute_tier_crossing(network, group), find_collective_library(network)
    schedules = [
        double_schedule(gather_schedule)
        for gather_schedule in _enumerate_gather_schedules(crossing, library, size_bytes)
    ]
    if library.has_algorithm("tree"):
        schedules.append(tree.build_tree_all_reduce(crossing, size_bytes))
    if library.has_algorithm("in-network") and network.reducing_tiers.any():
        schedules.append(in_network.build_in_network_all_reduce(crossing, size_bytes, library))
    return compute_fastest_s(crossing, library, schedules, size_bytes)


def compute_all_to_all_s(network: Network, size_bytes: Floats, group: RankGroup) -> Floats:
    """All-to-all, pairwise; `size_bytes` is what each device has, 1/g of it for every member."""
    crossing, library = compute_tier_crossing(network, group, "exchange"), find_collective_library(network)
    return compute_fastest_s(
        crossing, library, [pairwise.build_all_to_all(crossing, size_bytes, library)], size_bytes
    )


def compute_expert_all_to_all_s(network: Network, size_bytes: Floats, topk: int, group: RankGroup) -> Floats:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens."""
    crossing = compute_tier_crossing(network, group, "exchange")
    return compute_fastest_s(
        crossing,
        find_collective_library(network),
        [pairwise.build_expert_all_to_all(crossing, size_bytes, topk)],
        size_bytes,
    )


def compute_point_to_point_s(network: Network, size_bytes: Floats, stride: Ints, ranks: Ints) -> Floats:
    """Point to point between neighbours of a chain of `ranks`, `stride` apart: where the chain leaves a tier, one of
    its hops does, and the slowest hop sets the pace of all.
    """
    unique_chains = find_unique_rows(stride, ranks)
    bytes_per_s, latency_s = network.compute_slowest_hop(
        stride[unique_chains.first_index], ranks[unique_chains.first_index]
    )
    time_s: Floats = size_bytes / bytes_per_s[unique_chains.inverse] + latency_s[unique_chains.inverse]
    return time_s


def find_used_tiers(network: Network, group: RankGroup) -> Bools:
    """Which tiers a group's collectives use, shape [plans, tiers]."""
    return compute_tier_crossing(network, group).crossed_tiers


def _enumerate_gather_schedules(
    crossing: TierCrossing, library: CollectiveLibrary, size_bytes: Floats
) -> Iterator[CollectiveSchedule]:
    """Ways to gather or to reduce and scatter."""
    if library.has_algorithm("torus"):
        yield torus.build_torus_gather(crossing, size_bytes)
        return
    yield ring.build_ring_gather(crossing, size_bytes)
    if library.has_algorithm("halving"):
        yield recursive_halving.build_halving_gather(
            crossing, size_bytes, single_rank_per_node="halving" in library.single_rank_per_node
        )
    if library.has_algorithm("hierarchical"):
        yield hierarchical.build_hierarchical_gather(crossing, size_bytes)
