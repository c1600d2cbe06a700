"""Errors of a set of predictions, as validations of planners state them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute errors in percent of the measured figure, and Spearman's rank correlation (None below three rows)."""

    rows: int
    mean_pct: float
    median_pct: float
    p90_pct: float
    worst_pct: float
    rank_correlation: float | None


def errors(measured: Sequence[float], predicted: Sequence[float]) -> Errors | None:
    """The errors of `predicted`, equally long as `measured`; None for no rows."""
    if not measured:
        return None
    truth, told = np.array(measured), np.array(predicted)
    off = 100 * np.abs(told / truth - 1)
    return Errors(
        rows=len(off),
        mean_pct=float(off.mean()),
        median_pct=float(np.median(off)),
        p90_pct=float(np.percentile(off, 90)),
        worst_pct=float(off.max()),
        rank_correlation=rank_correlation(truth, told),
    )


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, ties sharing their mean rank; None where it has no meaning."""
    if len(a) < 3:
        return None
    first, second = _ranks(a), _ranks(b)
    spread = float(first.std() * second.std())
    if spread == 0:
        return None
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: Floats = (last - (counts - 1) / 2)[inverse]
    return mean_rank
