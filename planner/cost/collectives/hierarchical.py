"""One ring a tier, one tier after the other: between the nodes each device moves only its own share.

Jia et al. 2018 (Highly scalable deep learning training system with mixed precision, arXiv 1807.11205, section 3.3).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.schedule import Schedule


def gather(at: Crossing, size_bytes: Floats) -> Schedule:
    """All-gather to `size_bytes` from the outermost tier inwards, or reduce-scatter the other way: a device sends
    (r-1)/members · S at a tier of r parts, in r-1 steps.
    """
    leaving = (at.parts - 1) / at.members * size_bytes[:, None]
    steps = np.where(at.crossed, at.parts - 1, 0.0)
    return Schedule("hierarchical", at.in_turn(leaving), (at.size - 1) / at.size * size_bytes, steps)
