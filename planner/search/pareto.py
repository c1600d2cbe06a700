"""The Pareto front: plans that no other plan beats in every figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def on_the_front(figures: Floats) -> Ints:
    """Positions of the rows that no other row dominates, in order; of equal rows the first.

    `figures` of shape [plans, objectives], smaller is better, sorted by the first column: a row can then only be
    dominated by one before it (Kung, Luccio, Preparata 1975, On finding the maxima of a set of vectors).
    """
    kept: list[int] = []
    front = np.zeros((0, figures.shape[1]))
    # whole blocks are tested against the front at hand first, then the few that are left one by one
    for start in range(0, len(figures), _BLOCK):
        block = figures[start : start + _BLOCK]
        open_rows = np.flatnonzero(~_dominated(block, front))
        for row in open_rows:
            if not _dominated(block[row : row + 1], front)[0]:
                front = front[~((block[row] <= front).all(axis=1) & (block[row] < front).any(axis=1))]
                front = np.concatenate([front, block[row : row + 1]])
                kept.append(start + int(row))
    # equal first figures may come in the wrong order: a later row can dominate an earlier one
    found = np.array(kept, dtype=np.int64)
    rows = figures[found]
    beaten = np.array(
        [bool(((rows <= row).all(axis=1) & (rows < row).any(axis=1)).any()) for row in rows], dtype=bool
    )
    return found[~beaten] if len(found) else found


_BLOCK = 4_096


def _dominated(rows: Floats, front: Floats) -> NDArray[np.bool_]:
    """Whether some row of the front is at most each row in every figure (equal rows count), shape [rows]."""
    beaten = np.zeros(len(rows), dtype=bool)
    for one in front:
        beaten |= (one <= rows).all(axis=1)
    return beaten
