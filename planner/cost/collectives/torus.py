"""Rings along all axes of a torus at once.

Ying et al. 2018 (Image classification at supercomputer scale, arXiv 1811.06992, section 4) for two axes; Jouppi et
al. 2023 (TPU v4, arXiv 2304.01433) for three: the data is cut in as many parts as the group spans axes, and each part
goes through the axes in another order, so that all links work all the time.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_torus_gather(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """All-gather to `size_bytes`, or reduce-scatter: (m-1)/m · S of the m members on the torus over the links of all
    axes that they span, in side - 1 steps an axis; beyond the torus one ring a tier, in turn.
    """
    torus_tiers = crossing.torus_tiers
    innermost, outermost = int(np.argmax(torus_tiers)), len(torus_tiers) - 1 - int(np.argmax(torus_tiers[::-1]))
    torus_ranks = crossing.ranks_in_tier[:, outermost]
    torus_bytes_per_s = reduce(
        np.minimum, np.where(crossing.crossed_tiers & torus_tiers, crossing.device_bytes_per_s, np.inf).T
    )
    torus_time_s = (torus_ranks - 1) / torus_ranks * size_bytes / torus_bytes_per_s
    outer_share = np.where(torus_tiers, 0.0, (crossing.inner_parts - 1) / crossing.ranks_in_tier)
    step_counts = np.where(crossing.crossed_tiers & ~torus_tiers, crossing.inner_parts - 1, 0.0)
    step_counts[:, innermost] = count_torus_steps(crossing)
    volume_bytes = (crossing.group_size - 1) / crossing.group_size * size_bytes
    return CollectiveSchedule(
        "torus",
        torus_time_s + crossing.compute_sequential_s(outer_share * size_bytes[:, None]),
        volume_bytes,
        step_counts,
    )


def compute_torus_sides(crossing: TierCrossing) -> Floats:
    """How many ranks a group has along each axis of the torus, shape [plans, axes]."""
    axes = crossing.network.torus_axes[int(np.argmax(crossing.torus_tiers))]
    innermost_stride = np.maximum(crossing.group.strides[:, :, None], axes[:, 0])
    outermost_stride = np.minimum((crossing.group.strides * crossing.group.sizes)[:, :, None], axes[:, 1])
    spanned_ranks: Floats = np.maximum(outermost_stride / innermost_stride, 1.0).prod(axis=1)
    return spanned_ranks


def count_torus_steps(crossing: TierCrossing) -> Floats:
    """Steps of rings along one axis after the other, [plans]."""
    return reduce(np.add, (compute_torus_sides(crossing) - 1).T)
