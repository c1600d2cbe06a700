"""Time of a collective over groups of ranks: alpha-beta over the tiers that a group crosses.

Thakur, Rabenseifner, Gropp 2005 (Optimization of Collective Communication Operations in MPICH) for the
algorithms; NCCL's definition of bus bandwidth for the factors. Every device takes part in one group of each
kind at the same time, so a device's share of each tier is what its group has.

All functions: `size_bytes` of shape [plans], `group` the ranks of each plan's group, result seconds of shape
[plans], zero for a group of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.network import Network
from planner.cost.arrays import weighted
from planner.cost.ranks import Group

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Crossing:
    """What a group meets at each tier, arrays of shape [plans, tiers].

    `members` of the group lie below one part of the tier, `below` of them below one part of the tier inside it;
    the tier is `crossed` where there are more. `rates`: bytes/s of one device.
    """

    size: Ints
    members: Floats
    below: Floats
    crossed: NDArray[np.bool_]
    rates: Floats


def crossing(network: Network, group: Group) -> Crossing:
    """The tiers of each plan's group."""
    members = network.members(group.sizes, group.strides)
    below = np.concatenate([np.ones((len(members), 1)), members[:, :-1]], axis=1)
    return Crossing(group.size, members, below, members > below, network.rates(group.sizes, group.strides))


def _ring_bandwidth(network: Network, at: Crossing) -> tuple[Floats, Floats]:
    """Bytes/s at which rings over a group run, and the latency of one round of all its steps.

    Rings leave a part of a tier through every member's own way out (one rail a member), so a tier carries
    as many rings as the part below it has members. Each of the group-1 steps pays the tier it crosses.
    """
    rates = np.where(at.crossed, at.rates * at.below, np.inf)
    # whoever is not joined by any tier (a group that ends in a broken part) pays the outermost one
    steps = at.size[:, None] / at.below - at.size[:, None] / at.members
    latency = weighted(np.where(at.crossed, steps, 0.0), network.latency_s[None, :])
    return np.min(rates, axis=1), latency


def all_gather(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """Ring all-gather; `size_bytes` is the gathered size. (g-1)/g of it passes each device."""
    at = crossing(network, group)
    bandwidth, latency = _ring_bandwidth(network, at)
    return np.where(at.size > 1, (at.size - 1) / at.size * size_bytes / bandwidth + latency, 0.0)


def reduce_scatter(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """Ring reduce-scatter; `size_bytes` is the size before scattering. The all-gather's mirror image."""
    return all_gather(network, size_bytes, group)


def all_reduce(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """The faster of a ring (reduce-scatter, then all-gather) and a double binary tree.

    Tree: Sanders, Speck, Traeff 2009 (Two-tree algorithms for full bandwidth broadcast, reduction and scan):
    2 log2(g) steps of latency, twice the size through each device.
    """
    at = crossing(network, group)
    bandwidth, ring_latency = _ring_bandwidth(network, at)
    ring = 2 * ((at.size - 1) / at.size * size_bytes / bandwidth + ring_latency)
    depth = np.log2(at.members / at.below)
    tree = 2 * (size_bytes / bandwidth + weighted(depth, network.latency_s[None, :]))
    return np.where(at.size > 1, np.minimum(ring, tree), 0.0)


def all_to_all(network: Network, size_bytes: Floats, group: Group) -> Floats:
    """Pairwise exchange; `size_bytes` is what each device holds, 1/g of it for every member.

    Each tier carries what leaves the part below it; the slowest tier decides. One latency a partner.
    """
    at = crossing(network, group)
    leaving = (at.size[:, None] - at.below) / at.size[:, None] * size_bytes[:, None]
    return _exchanged(network, at, leaving)


def routed(network: Network, size_bytes: Floats, topk: int, group: Group) -> Floats:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens.

    A token that goes to several experts below one part of a tier is sent there once and copied inside
    (DeepSeek-V3, arXiv 2412.19437, section 3.2.2): of P parts, k even choices visit P (1 - (1 - 1/P)^k).
    """
    at = crossing(network, group)
    parts = at.size[:, None] / at.below
    copies = (parts - 1) * (1 - (1 - 1 / parts) ** topk)
    return _exchanged(network, at, copies * size_bytes[:, None])


def _exchanged(network: Network, at: Crossing, leaving: Floats) -> Floats:
    """The slowest tier's time; `leaving`: bytes that each device sends out of the part below each tier."""
    seconds = np.where(at.crossed, leaving / at.rates, 0.0).max(axis=1)
    # messages to different partners are in flight together: the farthest one's latency, once a tier
    latency = weighted(np.where(at.crossed, 1.0, 0.0), network.latency_s[None, :])
    return np.where(at.size > 1, seconds + latency, 0.0)


def send(network: Network, size_bytes: Floats, stride: Ints, ranks: Ints) -> Floats:
    """Point to point between neighbours of a chain of `ranks`, `stride` apart: where the chain leaves a tier, one of
    its hops does, and the slowest hop sets the pace of all.
    """
    rate, latency = network.hop(stride, ranks)
    seconds: Floats = size_bytes / rate + latency
    return seconds
