"""The Pareto front: plans that no other plan beats in every figure."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints


def find_pareto_front(figures: Floats) -> Ints:
    """Positions of the rows that no other row dominates, ascending; of equal rows the first.

    `figures` of shape [plans, objectives], smaller is better. In lexicographic order a row can only be dominated by
    one before it (Kung, Luccio, Preparata 1975, On finding the maxima of a set of vectors), so that of two figures
    the second must be a new minimum, and of more the first row left is always on the front.
    """
    if not len(figures):
        return np.zeros(0, dtype=np.int64)
    order = np.lexsort((np.arange(len(figures)), *figures.T[::-1]))
    rows = figures[order]
    is_first = np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])
    order, rows = order[is_first], rows[is_first]
    if figures.shape[1] == 2:
        running_least = np.minimum.accumulate(rows[:, 1])
        return np.sort(order[np.concatenate([[True], rows[1:, 1] < running_least[:-1]])])
    kept = []
    while len(rows):
        kept.append(order[0])
        is_better = (rows < rows[0]).any(axis=1)
        rows, order = rows[is_better], order[is_better]
    return np.sort(np.array(kept))
