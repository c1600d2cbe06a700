"""Rings along all axes of a torus at once.

Ying et al. 2018 (Image classification at supercomputer scale, arXiv 1811.06992, section 4) for two axes; Jouppi et
al. 2023 (TPU v4, arXiv 2304.01433) for three: the data is cut in as many parts as the group spans axes, and each part
goes through the axes in another order, so that all links work all the time.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.schedule import Schedule


def gather(at: Crossing, size_bytes: Floats) -> Schedule:
    """All-gather to `size_bytes`, or reduce-scatter: (m-1)/m · S of the m members on the torus over the links of all
    axes that they span, in side - 1 steps an axis; beyond the torus one ring a tier, in turn.
    """
    tori = at.tori
    innermost, outermost = int(np.argmax(tori)), len(tori) - 1 - int(np.argmax(tori[::-1]))
    on_torus = at.members[:, outermost]
    rate = reduce(np.minimum, np.where(at.crossed & tori, at.rates, np.inf).T)
    inside = (on_torus - 1) / on_torus * size_bytes / rate
    outside = np.where(tori, 0.0, (at.parts - 1) / at.members)
    steps = np.where(at.crossed & ~tori, at.parts - 1, 0.0)
    steps[:, innermost] = added_sides(at)
    volume = (at.size - 1) / at.size * size_bytes
    return Schedule("torus", inside + at.in_turn(outside * size_bytes[:, None]), volume, steps)


def sides(at: Crossing) -> Floats:
    """How many ranks a group has along each axis of the torus, shape [plans, axes]."""
    axes = at.network.torus_axes[int(np.argmax(at.tori))]
    first = np.maximum(at.group.strides[:, :, None], axes[:, 0])
    last = np.minimum((at.group.strides * at.group.sizes)[:, :, None], axes[:, 1])
    spanned: Floats = np.maximum(last / first, 1.0).prod(axis=1)
    return spanned


def added_sides(at: Crossing) -> Floats:
    """Steps of rings along one axis after the other, [plans]."""
    return reduce(np.add, (sides(at) - 1).T)
