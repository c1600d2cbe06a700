"""Time of a collective over groups of ranks: the fastest algorithm and protocol that fabric and library offer.

alpha-beta over the tiers that a group crosses. Every device takes part in one group of each kind at the same time, so
a device's share of each tier is what its group has: groups that use the same link share it by that.

All functions: `size_bytes` of shape [plans], `group` the ranks of each plan's group, result seconds of shape
[plans], zero for a group of one. NCCL's definition of bus bandwidth for the factors.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.cluster.network.network import Network
from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.collectives import hierarchical, in_network, ring, torus, tree
from planner.cost.collectives import pairwise as exchange
from planner.cost.collectives import recursive_halving as halving
from planner.cost.collectives.choice import fastest
from planner.cost.collectives.crossing import Crossing, crossing
from planner.cost.collectives.library import Library, library_of
from planner.cost.collectives.schedule import Schedule, twice
from planner.cost.rank_groups import Group
from planner.cost.unique_rows import distinct

__all__ = ["all_gather", "all_reduce", "all_to_all", "reduce_scatter", "routed", "send", "tiers_used"]


def all_gather(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """All-gather; `size_bytes` is the gathered size."""
    at, library = crossing(network, group), library_of(network)
    return fastest(at, library, _gathers(at, library, size_bytes), size_bytes)


def reduce_scatter(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """Reduce-scatter; `size_bytes` is the size before scattering. The all-gather's mirror image."""
    return all_gather(network, size_bytes, group)


def all_reduce(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """All-reduce: a reduce-scatter and an all-gather, trees, or switches that add."""
    at, library = crossing(network, group), library_of(network)
    schedules = [twice(one) for one in _gathers(at, library, size_bytes)]
    if library.has("tree"):
        schedules.append(tree.reduce_all(at, size_bytes))
    if library.has("in-network") and network.reduces.any():
        schedules.append(in_network.reduce_all(at, size_bytes, library))
    return fastest(at, library, schedules, size_bytes)


def all_to_all(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """Pairwise exchange; `size_bytes` is what each device holds, 1/g of it for every member."""
    at, library = crossing(network, group, "exchange"), library_of(network)
    return fastest(at, library, [exchange.to_all(at, size_bytes, library)], size_bytes)


def routed(network: Network, size_bytes: Floats, topk: int, group: Group) -> Floats:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens."""
    at = crossing(network, group, "exchange")
    return fastest(at, library_of(network), [exchange.to_experts(at, size_bytes, topk)], size_bytes)


def send(network: Network, size_bytes: Floats, stride: Ints, ranks: Ints) -> Floats:
    """Point to point between neighbours of a chain of `ranks`, `stride` apart: where the chain leaves a tier, one of
    its hops does, and the slowest hop sets the pace of all.
    """
    chains = distinct(stride, ranks)
    rate, latency = network.hop(stride[chains.first], ranks[chains.first])
    seconds: Floats = size_bytes / rate[chains.of] + latency[chains.of]
    return seconds


def tiers_used(network: Network, over: Group) -> Bools:
    """Which tiers a group's collectives use, shape [plans, tiers]."""
    return crossing(network, over).crossed


def _gathers(at: Crossing, library: Library, size_bytes: Floats) -> Iterator[Schedule]:
    """Ways to gather or to reduce and scatter."""
    if library.has("torus"):
        yield torus.gather(at, size_bytes)
        return
    yield ring.gather(at, size_bytes)
    if library.has("halving"):
        yield halving.gather(at, size_bytes, one_a_node="halving" in library.one_rank_a_node)
    if library.has("hierarchical"):
        yield hierarchical.gather(at, size_bytes)
