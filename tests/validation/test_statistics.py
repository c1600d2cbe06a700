"""Errors and rank correlation equal their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.evidence.statistics import compute_prediction_errors, compute_rank_correlation

values = st.lists(st.floats(0.1, 1e6), min_size=3, max_size=30)


def test_errors_of_a_few_predictions() -> None:
    errors = compute_prediction_errors([100.0, 100.0, 100.0, 200.0], [101.0, 98.0, 103.0, 240.0])
    assert errors is not None
    assert errors.rows == 4
    assert errors.mean_pct == pytest.approx((1 + 2 + 3 + 20) / 4)
    assert errors.median_pct == pytest.approx(2.5)
    assert errors.worst_pct == pytest.approx(20)
    assert errors.p90_pct == pytest.approx(3 + 0.7 * 17)


def test_no_rows_have_no_errors_and_two_no_ranks() -> None:
    assert compute_prediction_errors([], []) is None
    two = compute_prediction_errors([1.0, 2.0], [1.0, 2.0])
    assert two is not None and two.rank_correlation is None


def test_ties_share_their_rank() -> None:
    import numpy as np

    # Spearman's rho of (1, 2.5, 2.5, 4) against (1, 2, 3, 4)
    correlation = compute_rank_correlation(np.array([1.0, 5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert correlation == pytest.approx(0.9486832980505138)


@given(values, st.floats(0.5, 2))
def test_a_common_factor_keeps_the_order(measured: list[float], factor: float) -> None:
    errors = compute_prediction_errors(measured, [value * factor for value in measured])
    assert errors is not None
    assert errors.mean_pct == pytest.approx(100 * abs(factor - 1), abs=1e-6)
    if len(set(measured)) > 1:
        assert errors.rank_correlation == pytest.approx(1)
