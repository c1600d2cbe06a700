"""Fits that leave runs out, from one linearisation: errors and derivatives at factors that are close to all of them.

With e0 the logarithms of predicted over measured times at the factors x0, and J their derivatives, the errors at x
are e0 + J (x - x0). A fit without some runs is then a few weighted least squares of the rows that are kept, in
milliseconds; what it predicts of the others is computed with the whole cost model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost.calibration import read_common_factors, read_fitted_factors
from planner.evidence import fit
from planner.evidence.fit import CalibrationCase, FittedFactors

Floats = NDArray[np.float64]

_ITERATIONS = 15
"""Of the weights of the robust loss, which settle within ten."""


@dataclass(frozen=True)
class LinearisedRuns:
    """Runs with what they are at `factors`.

    `log_errors`: logarithm of predicted over measured time, [runs]; `slopes`: its derivatives by the logarithm of
    each of the parameters `names`, [runs, parameters].
    """

    cases: tuple[CalibrationCase, ...]
    factors: FittedFactors
    names: tuple[str, ...]
    log_errors: Floats
    slopes: Floats


def read_shipped_factors(cases: Sequence[CalibrationCase]) -> FittedFactors:
    """The factors of hardware_db/calibration, of the runs' generations and trainers."""
    architectures: dict[str, dict[str, float]] = {}
    frameworks: dict[str, dict[str, float]] = {}
    for case in cases:
        architectures[case.architecture], frameworks[case.framework] = read_fitted_factors(
            case.architecture, case.framework
        )
    return FittedFactors(read_common_factors(), architectures, frameworks, {}, fit.find_references(cases))


def linearise_runs(cases: Sequence[CalibrationCase], factors: FittedFactors) -> LinearisedRuns:
    """The runs at these factors: the one expensive part."""
    calibrations = [factors.build_calibration(case.architecture, case.framework) for case in cases]
    return LinearisedRuns(
        tuple(cases),
        factors,
        fit.list_parameters(),
        fit.compute_log_errors(cases, calibrations),
        fit.compute_log_derivatives(cases, calibrations),
    )


def fit_kept_runs(runs: LinearisedRuns, is_kept: NDArray[np.bool_]) -> FittedFactors:
    """The factors, with their standard deviations, of a fit to the runs that are kept, of which there is one.

    Iteratively reweighted least squares of the loss and the priors of `planner.evidence.fit`.
    """
    kept_cases = [case for case, keep in zip(runs.cases, is_kept.tolist(), strict=True) if keep]
    p = fit.build_calibration_problem(kept_cases, fit.find_references(kept_cases))
    rows = np.where(p.has_factor, runs.slopes[is_kept][:, p.columns], 0.0)
    start, errors_at_start, prior = (
        p.read_logarithms(runs.factors),
        runs.log_errors[is_kept],
        np.diag(1 / p.widths**2),
    )
    x = start
    for _ in range(_ITERATIONS):
        errors = (errors_at_start + rows @ (x - start)) / fit.RUN_LOG_STD
        weights = 1 / np.sqrt(1 + errors**2 / 4)  # of the pseudo-Huber loss
        curvature = (rows.T * weights) @ rows / fit.RUN_LOG_STD**2 + prior
        x = x - np.linalg.solve(curvature, rows.T @ (weights * errors) / fit.RUN_LOG_STD + prior @ x)
    errors = (errors_at_start + rows @ (x - start)) / fit.RUN_LOG_STD
    jacobian = fit.compute_robust_slopes(errors)[:, None] * rows / fit.RUN_LOG_STD
    return p.build_fitted_factors(x, fit.compute_log_std(p, jacobian.T @ jacobian + prior))
