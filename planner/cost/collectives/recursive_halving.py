"""Recursive halving and doubling: as few bytes as a ring, as few steps as a tree, for powers of two.

Thakur, Rabenseifner, Gropp 2005 (Optimization of Collective Communication Operations in MPICH). The farthest
partners come first, when messages are smallest, as in NCCL's PAT (release 2.23) and unlike MPICH's.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, compute_ceil_log2
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_halving_gather(
    crossing: TierCrossing, size_bytes: Floats, *, single_rank_per_node: bool
) -> CollectiveSchedule:
    """All-gather to `size_bytes`, or reduce-scatter. At a tier of r parts a device, which by then has gathered what
    lies outside, sends (r-1)/members · S in log2 r steps; one tier after the other.

    `single_rank_per_node`: whether the library does it only where no two ranks share a node (NCCL).
    """
    sent_bytes = (crossing.inner_parts - 1) / crossing.ranks_in_tier * size_bytes[:, None]
    step_counts = np.where(crossing.crossed_tiers, compute_ceil_log2(crossing.inner_parts), 0.0)
    is_available = (crossing.group_size & (crossing.group_size - 1)) == 0
    if single_rank_per_node:
        is_available = is_available & (crossing.node_count == crossing.group_size)
    return CollectiveSchedule(
        "halving",
        crossing.compute_sequential_s(sent_bytes),
        (crossing.group_size - 1) / crossing.group_size * size_bytes,
        step_counts,
        is_available=is_available,
    )
