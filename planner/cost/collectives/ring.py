"""Rings: bandwidth-optimal, with a step for every rank.

Patarasuk, Yuan 2009 (Bandwidth optimal all-reduce algorithms for clusters of workstations); the rails as NCCL lays
them: rings leave a part of a tier through every member's own way out, so a tier carries as many rings as the part
below it has members.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.schedule import Schedule


def gather(at: Crossing, size_bytes: Floats) -> Schedule:
    """All-gather to `size_bytes`, or reduce-scatter of them: (g-1)/g of it passes each device in g-1 steps.

    Of one device's share of a tier that has `below` members beneath it, each of as many rings takes its part:
    (g-1)/g · S/below; where a ring goes on through network cards, it leaves the links inside the node out of that one
    step in `inside`. A ring of g ranks crosses tier i's own wiring g/below_i - g/members_i times.
    """
    volume = (at.size - 1) / at.size * size_bytes
    part = 1 / at.below
    leaves = np.where(at.nodes > 1, at.nodes / at.size, 0.0)
    part = np.where(at.network.through_nic, part, part - leaves[:, None])
    steps = at.size[:, None] / at.below - at.size[:, None] / at.members
    return Schedule("ring", at.slowest(volume[:, None] * part), volume, np.where(at.crossed, steps, 0.0))
