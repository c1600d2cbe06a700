"""One ring a tier, one tier after the other: between the nodes each device moves only its own share.

Jia et al. 2018 (Highly scalable deep learning training system with mixed precision, arXiv 1807.11205, section 3.3).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_hierarchical_gather(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """All-gather to `size_bytes` from the outermost tier inwards, or reduce-scatter the other way: a device sends
    (r-1)/members · S at a tier of r parts, in r-1 steps.
    """
    sent_bytes = (crossing.inner_parts - 1) / crossing.ranks_in_tier * size_bytes[:, None]
    step_counts = np.where(crossing.crossed_tiers, crossing.inner_parts - 1, 0.0)
    return CollectiveSchedule(
        "hierarchical",
        crossing.compute_sequential_s(sent_bytes),
        (crossing.group_size - 1) / crossing.group_size * size_bytes,
        step_counts,
    )
