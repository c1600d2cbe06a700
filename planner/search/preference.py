"""Which of several plans is the simplest: a total order, by which the search puts one of nearly equal plans first.

Fewer kinds of parallelism beside data parallelism; then the smallest tp x cp x vpp; then the shortest step, in
classes of one percent; then the least memory; then the shortest step. Memory counts only among plans of a class,
since recomputation and offloading, which free it, cost time for certain.
"""

from __future__ import annotations

import math

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.strategies import Strategies

_CLASS_WIDTH = math.log(1.01)


def count_dimensions(strategies: Strategies) -> Ints:
    """Kinds of parallelism that a plan has beside data parallelism, shape [plans]."""
    count: Ints = sum((getattr(strategies, name) > 1).astype(np.int64) for name in ("tp", "pp", "cp", "ep"))
    return count


def sort_by_simplicity(strategies: Strategies, figures: Floats, total_bytes: Floats) -> Ints:
    """Positions of the plans, the simplest first; equal ones in their order. Arrays of shape [plans].

    `figures`: of the objective, smaller is better.
    """
    degrees = strategies.tp * strategies.cp * strategies.vpp
    classes = np.floor(np.log(figures) / _CLASS_WIDTH)
    return np.lexsort((figures, total_bytes, classes, degrees, count_dimensions(strategies)))


def find_simplest_plans(strategies: Strategies, figures: Floats, total_bytes: Floats) -> Ints:
    """Positions of the plans that are the simplest of all up to some figure, ascending; `figures` are ascending.

    A plan that is left out has a simpler one with no greater figure, wherever the limit is drawn.
    """
    rank = np.empty(len(figures), dtype=np.int64)
    rank[sort_by_simplicity(strategies, figures, total_bytes)] = np.arange(len(figures))
    simplest_before = np.minimum.accumulate(np.concatenate([[len(figures)], rank]))[:-1]
    return np.flatnonzero(rank < simplest_before)
