"""Double binary trees: the bandwidth of a ring in a number of steps that grows with the logarithm of the nodes.

Sanders, Speck, Träff 2009 (Two-tree algorithms for full bandwidth broadcast, reduction and scan). As NCCL lays them:
a chain through the devices of a node, trees between the nodes, all of it pipelined.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, compute_ceil_log2
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_tree_all_reduce(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """All-reduce. A part is a leaf of one tree, which sends its half of the data up, and inside the other, where it
    sends one up and two down: 2 S over the uplinks of all its members, S where there are but two parts. In a chain
    each device sends up and down but at the ends: 2 (r-1)/r · S. Up and down: 2 (r-1) steps of a chain, 2 log2 r of
    a tree.
    """
    inner_parts = crossing.inner_parts
    chain_ratio = 2 * (inner_parts - 1) / inner_parts
    sent_bytes = (
        np.where(crossing.network.through_nic, compute_tree_traffic_ratio(crossing), chain_ratio)
        * size_bytes[:, None]
        / crossing.ranks_in_inner_tier
    )
    tier_steps = np.where(crossing.network.through_nic, compute_ceil_log2(inner_parts), inner_parts - 1)
    volume_bytes = 2 * (crossing.group_size - 1) / crossing.group_size * size_bytes
    is_available = crossing.is_torus_free
    return CollectiveSchedule(
        "tree",
        crossing.compute_concurrent_s(sent_bytes),
        volume_bytes,
        2 * np.where(crossing.crossed_tiers, tier_steps, 0.0),
        is_available=is_available,
    )


def compute_tree_traffic_ratio(crossing: TierCrossing) -> Floats:
    """What a part of a double binary tree sends, over the size, [plans, tiers]: the busiest one decides. The trees
    are over all nodes, so a tier carries what goes on to the tiers outside it too.
    """
    joined_parts = crossing.group_size[:, None] / crossing.ranks_in_inner_tier
    return np.where(joined_parts > 2, 2.0, 2 * (joined_parts - 1) / joined_parts)
