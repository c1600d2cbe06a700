"""Fits of the calibration factors by linearisation: errors and derivatives at factors that are near the optimum.

With e0 the logarithms of predicted over measured times at the factors x0, and J their derivatives, the errors at x
are e0 + J (x - x0). A fit, with or without some of the runs, is then a few weighted least squares, in milliseconds.

The fit to all runs repeats that (Gauss-Newton; Nocedal and Wright, Numerical Optimization, 2006, section 10.3). Times
jump where another algorithm of a collective or another stage becomes the slowest, so a whole step may raise the loss
though the steps of most parameters lower it: each parameter's step is then tried alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost.calibration import read_common_factors, read_fitted_factors
from planner.evidence import fit
from planner.evidence.fit import CalibrationCase, CalibrationProblem, FittedFactors

Floats = NDArray[np.float64]

_ITERATIONS = 15
"""Of the weights of the robust loss, which settle within ten."""
_MAX_STEP = 1.0
"""Of a logarithm in one iteration."""
_ADDED_TIMES = ("step_overhead_s", "kernel_launch_s", "host_launch_s")
"""Parameters that are times of their own: where they are small, a step's logarithm is linear in them, not in their
logarithm."""
_MAX_ROUNDS = 8
_STEP_SHARES = (1.0, 0.5, 0.2)
_LEAST_GAIN = 1e-3
"""Share of the loss that a round has to gain for another one to follow."""


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


def fit_calibration(
    cases: Sequence[CalibrationCase],
    start: FittedFactors | None = None,
    report_round: Callable[[int, float], None] | None = None,
) -> FittedFactors:
    """Fit the factors to these runs, from those of `start`, None: from the default. `report_round`: called with the
    number of each round and the loss after it.
    """
    p = fit.build_calibration_problem(cases, fit.find_references(cases))
    x = p.read_logarithms(start)
    (loss,) = _compute_losses(p, [x])
    for round_number in range(1, _MAX_ROUNDS + 1):
        factors = p.build_fitted_factors(x, np.zeros_like(x))
        target = p.read_logarithms(fit_kept_runs(linearise_runs(cases, factors), np.ones(len(cases), dtype=np.bool_)))
        x, new_loss = _step_towards(p, x, target, loss)
        if report_round:
            report_round(round_number, new_loss)
        has_settled = loss - new_loss < _LEAST_GAIN * loss
        loss = new_loss
        if has_settled:
            break
    runs = linearise_runs(cases, p.build_fitted_factors(x, np.zeros_like(x)))
    return p.build_fitted_factors(x, _compute_log_std(p, _select_slopes(p, runs.slopes), runs.log_errors))


def _step_towards(p: CalibrationProblem, x: Floats, target: Floats, loss: float) -> tuple[Floats, float]:
    """The best of shares of the whole step, of each parameter's part of it alone, and of all of these that lower the
    loss together; with its loss.
    """
    step, names = target - x, np.array(p.names)
    parts = [np.where(names == name, step, 0.0) for name in dict.fromkeys(p.names)]
    trials = [share * step for share in _STEP_SHARES] + parts
    losses = _compute_losses(p, [x + trial for trial in trials])
    part_losses = losses[len(_STEP_SHARES) :]
    helpful = sum((part for part, part_loss in zip(parts, part_losses, strict=True) if part_loss < loss), 0.0 * step)
    trials += [share * helpful for share in _STEP_SHARES]
    losses = [*losses, *_compute_losses(p, [x + trial for trial in trials[-len(_STEP_SHARES) :]])]
    best = int(np.argmin(losses))
    return (x + trials[best], losses[best]) if losses[best] < loss else (x, loss)


def _compute_losses(p: CalibrationProblem, trials: Sequence[Floats]) -> list[float]:
    """The loss at each of these logarithms, by the whole cost model."""
    by_trial = [p.build_calibrations(x) for x in trials]
    log_errors = fit.compute_trial_log_errors(p.cases, list(zip(*by_trial, strict=True)))
    return [fit.compute_loss(p, x, errors) for x, errors in zip(trials, log_errors.T, strict=True)]


def fit_kept_runs(runs: LinearisedRuns, is_kept: NDArray[np.bool_]) -> FittedFactors:
    """The factors, with their standard deviations, of a fit to the runs that are kept, of which there is one.

    Iteratively reweighted least squares of the loss and the priors of `planner.evidence.fit`.
    """
    kept_cases = [case for case, keep in zip(runs.cases, is_kept.tolist(), strict=True) if keep]
    p = fit.build_calibration_problem(kept_cases, fit.find_references(kept_cases))
    rows = _select_slopes(p, runs.slopes[is_kept])
    start, errors_at_start, prior = (
        p.read_logarithms(runs.factors),
        runs.log_errors[is_kept],
        np.diag(1 / p.widths**2),
    )
    is_added = np.isin(p.names, _ADDED_TIMES)

    def compute_change(x: Floats) -> Floats:
        """What the slopes are multiplied by: a time that is added to others counts by itself, not its logarithm."""
        return np.where(is_added, np.expm1(np.where(is_added, x - start, 0.0)), x - start)

    x = start
    for _ in range(_ITERATIONS):
        errors = (errors_at_start + rows @ compute_change(x)) / fit.RUN_LOG_STD
        weights = 1 / np.sqrt(1 + errors**2 / 4)  # of the pseudo-Huber loss
        slopes = rows * np.where(is_added, np.exp(x - start), 1.0)
        curvature = (slopes.T * weights) @ slopes / fit.RUN_LOG_STD**2 + prior
        step = np.linalg.solve(curvature, slopes.T @ (weights * errors) / fit.RUN_LOG_STD + prior @ x)
        x = x - np.clip(step, -_MAX_STEP, _MAX_STEP)
    return p.build_fitted_factors(x, _compute_log_std(p, rows, errors_at_start + rows @ compute_change(x)))


def _select_slopes(p: CalibrationProblem, slopes: Floats) -> Floats:
    """Derivatives of the runs' log times by each unknown, [runs, unknowns], from those by each parameter."""
    return np.where(p.has_factor, slopes[:, p.columns], 0.0)


def _compute_log_std(p: CalibrationProblem, rows: Floats, log_errors: Floats) -> Floats:
    """Standard deviation of each unknown, [unknowns], of a fit with these slopes and errors."""
    jacobian = fit.compute_robust_slopes(log_errors / fit.RUN_LOG_STD)[:, None] * rows / fit.RUN_LOG_STD
    return fit.compute_log_std(p, jacobian.T @ jacobian + np.diag(1 / p.widths**2))
