"""Recursive halving and doubling: as few bytes as a ring, as few steps as a tree, for powers of two.

Thakur, Rabenseifner, Gropp 2005 (Optimization of Collective Communication Operations in MPICH). The farthest
partners come first, when messages are smallest, as in NCCL's PAT (release 2.23) and unlike MPICH's.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, doublings
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.schedule import Schedule


def gather(at: Crossing, size_bytes: Floats, *, one_a_node: bool) -> Schedule:
    """All-gather to `size_bytes`, or reduce-scatter. At a tier of r parts a device, which by then has gathered what
    lies outside, sends (r-1)/members · S in log2 r steps; one tier after the other.

    `one_a_node`: whether the library does it only where no two ranks share a node (NCCL).
    """
    leaving = (at.parts - 1) / at.members * size_bytes[:, None]
    steps = np.where(at.crossed, doublings(at.parts), 0.0)
    offered = (at.size & (at.size - 1)) == 0
    if one_a_node:
        offered = offered & (at.nodes == at.size)
    return Schedule("halving", at.in_turn(leaving), (at.size - 1) / at.size * size_bytes, steps, offered=offered)
