"""Error statistics of a set of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class PredictionErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute errors in percent of the measured figure, and Spearman's rank correlation (None below three rows)."""

    rows: int
    mean_pct: float
    median_pct: float
    p90_pct: float
    worst_pct: float
    rank_correlation: float | None


def compute_prediction_errors(measured: Sequence[float], predicted: Sequence[float]) -> PredictionErrors | None:
    """The errors of `predicted`, equally long as `measured`; None for no rows."""
    if not measured:
        return None
    measured_values, predicted_values = np.array(measured), np.array(predicted)
    errors_pct = 100 * np.abs(predicted_values / measured_values - 1)
    return PredictionErrors(
        rows=len(errors_pct),
        mean_pct=float(errors_pct.mean()),
        median_pct=float(np.median(errors_pct)),
        p90_pct=float(np.percentile(errors_pct, 90)),
        worst_pct=float(errors_pct.max()),
        rank_correlation=compute_rank_correlation(measured_values, predicted_values),
    )


def compute_rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's rank correlation (ties share their mean rank); None below three values or where one is constant."""
    if len(a) < 3:
        return None
    first, second = _compute_ranks(a), _compute_ranks(b)
    spread = float(first.std() * second.std())
    if spread == 0:
        return None
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def compute_kendall_tau(a: Floats, b: Floats) -> float | None:
    """Kendall's rank correlation (tau-b, for ties); None where one of both is constant."""
    first, second = (np.sign(values[:, None] - values[None, :]) for values in (a, b))
    pairs = float(np.abs(first).sum() * np.abs(second).sum())
    return float((first * second).sum() / np.sqrt(pairs)) if pairs else None


def _compute_ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: Floats = (last - (counts - 1) / 2)[inverse]
    return mean_rank
