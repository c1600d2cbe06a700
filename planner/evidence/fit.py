"""Fit the calibration factors to all measured runs together.

With v_p the p-th number of the calibration, a its architecture and f the framework of a run,

    log v_p = log default_p + A_p,a + F_p,f

Least squares of the logarithm of predicted over measured time over all runs, with a pull of every A and F towards
zero (a Gaussian prior in the logarithm), so that parameters that the runs do not determine stay at the default. The
loss is robust (pseudo-Huber): an error much larger than `RUN_LOG_STD` counts linearly, not quadratically, so that a
single outlier does not change the fit much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.cluster.network.build import build_network
from planner.cost.calibration import (
    CALIBRATION_PARAMETERS,
    Calibration,
    combine_calibration,
    read_default_calibration,
)
from planner.cost.pipeline.stages import build_plan_tables, replace_layer_tables
from planner.cost.scenario import Scenario
from planner.cost.setting_values import read_settings
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies
from planner.cost.uncertainty.posterior import perturb_scenario
from planner.errors import InputError
from planner.evidence.bind_run import BoundRun
from planner.evidence.predict import convert_step_time
from planner.evidence.runs import MeasuredRun
from planner.trainers.trainer import find_calibration_name

Floats = NDArray[np.float64]
T = TypeVar("T")

# Widths of the priors in the logarithm, of an architecture's and of a framework's factor: how far a number may lie
# from the default without being pulled back. Parameters of the chip alone have no trainer width, and vice versa.
PRIOR_WIDTHS = {
    "gemm_efficiency": (0.15, 0.05),
    "gemm_efficiency_8bit": (0.1, 0.05),
    "gemm_efficiency_4bit": (0.1, 0.05),
    "expert_efficiency": (0.0, 0.2),
    "gemm_half_rows": (0.3, 0.0),
    "gemm_half_depth": (0.3, 0.0),
    "attention_forward_efficiency": (0.15, 0.3),
    "attention_backward_efficiency": (0.15, 0.3),
    "softmax_width": (0.6, 0.0),
    "memory_efficiency": (0.1, 0.05),
    "eager_traffic": (0.0, 0.4),
    "routing_traffic": (0.0, 0.4),
    "kernel_launch_s": (0.0, 0.3),
    "host_launch_s": (0.0, 0.4),
    "link_efficiency": (0.15, 0.1),
    "nic_efficiency": (0.15, 0.1),
    "overlap": (0.0, 0.2),
    "contention": (0.0, 0.5),
    "step_overhead_s": (0.0, 0.3),
    "power_exponent": (0.3, 0.0),
}
RUN_LOG_STD = 0.05
"""Assumed standard deviation of the logarithm of a run's measured time."""
_DERIVATIVE_STEP = 1e-3
_MAX_EVALUATIONS = 12


@dataclass(frozen=True)
class CalibrationCase:
    """One run with the plan for its prediction."""

    run: MeasuredRun
    bound_run: BoundRun
    plan: Strategies

    @property
    def architecture(self) -> str:
        """The accelerator's generation."""
        return self.bound_run.scenario.accelerator.architecture

    @property
    def framework(self) -> str:
        """The trainer whose calibration the run has."""
        return find_calibration_name(self.bound_run.scenario.trainer)

    def predict_figure(self, calibration: Calibration) -> float:
        """The run's measured figure, predicted with a calibration."""
        scenario = replace_calibration(self.bound_run, calibration)
        step_time_s = float(compute_step_costs(scenario, self.plan).step_time_s[0])
        return convert_step_time(self.run, scenario, step_time_s)

    def compute_log_error(self, calibration: Calibration) -> float:
        """Logarithm of predicted over measured time."""
        return compute_log_error(self.run, self.predict_figure(calibration))


@dataclass(frozen=True)
class FittedFactors:
    """Factors by architecture and by trainer, with the relative standard deviation of each; powers in watts."""

    architectures: dict[str, dict[str, float]]
    frameworks: dict[str, dict[str, float]]
    log_std: dict[tuple[str, str], float]
    """By (architecture or framework, parameter)."""
    reference_powers_w: dict[str, float]

    def build_calibration(self, architecture: str, framework: str) -> Calibration:
        """The calibration of an architecture and a trainer; factors that were not fitted are 1."""
        return combine_calibration(
            read_default_calibration(),
            self.architectures.get(architecture, {}),
            self.frameworks.get(framework, {}),
            reference_power_w=self.reference_powers_w.get(architecture, 0.0),
        )


def replace_calibration(bound_run: BoundRun, calibration: Calibration) -> Scenario:
    """The scenario of a run with another calibration."""
    network = build_network(
        bound_run.cluster, link_efficiency=calibration.link_efficiency, nic_efficiency=calibration.nic_efficiency
    )
    return replace(bound_run.scenario, calibration=calibration, network=network)


def list_parameters() -> tuple[str, ...]:
    """The parameters of a calibration, in the order of derivatives."""
    return CALIBRATION_PARAMETERS


def compute_reference_powers_w(cases: Sequence[CalibrationCase]) -> dict[str, float]:
    """The highest accelerator power of each architecture, in watts."""
    powers_w: dict[str, float] = {}
    for case in cases:
        power_w = case.bound_run.scenario.accelerator.tdp_w or 0.0
        powers_w[case.architecture] = max(powers_w.get(case.architecture, 0.0), power_w)
    return powers_w


@dataclass(frozen=True)
class CalibrationProblem:
    """The least-squares problem: its unknowns and its runs.

    `owners[i]`: architecture or trainer of the i-th unknown; `names[i]`: its parameter; `widths[i]`: width of its
    prior. `has_factor`: whether a run depends on an unknown, shape [runs, unknowns].
    """

    cases: tuple[CalibrationCase, ...]
    owners: tuple[str, ...]
    names: tuple[str, ...]
    widths: Floats
    has_factor: NDArray[np.bool_]
    reference_powers_w: dict[str, float]

    @property
    def columns(self) -> NDArray[np.int64]:
        """The position of each unknown's parameter among the calibration's, [unknowns]."""
        return np.array([CALIBRATION_PARAMETERS.index(name) for name in self.names])

    def build_calibrations(self, x: Floats) -> list[Calibration]:
        """The calibration of each run."""
        factors = self.build_fitted_factors(x, np.zeros_like(x))
        pairs = [(case.architecture, case.framework) for case in self.cases]
        calibration_by_pair = {pair: factors.build_calibration(*pair) for pair in set(pairs)}
        return [calibration_by_pair[pair] for pair in pairs]

    def build_fitted_factors(self, x: Floats, log_std: Floats) -> FittedFactors:
        """The unknowns by architecture and trainer."""
        architectures: dict[str, dict[str, float]] = {}
        frameworks: dict[str, dict[str, float]] = {}
        architecture_names = {case.architecture for case in self.cases}
        for owner, name, value in zip(self.owners, self.names, np.exp(x).tolist(), strict=True):
            (architectures if owner in architecture_names else frameworks).setdefault(owner, {})[name] = value
        log_std_by_factor = dict(zip(zip(self.owners, self.names, strict=True), log_std.tolist(), strict=True))
        return FittedFactors(architectures, frameworks, log_std_by_factor, self.reference_powers_w)


def build_calibration_problem(
    cases: Sequence[CalibrationCase], reference_powers_w: dict[str, float]
) -> CalibrationProblem:
    """The least-squares problem of these runs."""
    unknowns = [
        (owner, name, prior_widths[width_index], [label == owner for label in labels])
        for width_index, labels in enumerate(([c.architecture for c in cases], [c.framework for c in cases]))
        for owner in sorted(set(labels))
        for name, prior_widths in PRIOR_WIDTHS.items()
        if prior_widths[width_index]
    ]
    owners, names, widths, has_factor = zip(*unknowns, strict=True)
    return CalibrationProblem(
        tuple(cases), owners, names, np.array(widths), np.array(has_factor, dtype=bool).T, reference_powers_w
    )


def fit_calibration(cases: Sequence[CalibrationCase], reference_powers_w: dict[str, float]) -> FittedFactors:
    """Fit the factors to these runs. Raises InputError where scipy is not installed."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "fitting needs scipy", key="planner", expected="an installation with it: pip install 'planner[calibrate]'"
        ) from None
    p = build_calibration_problem(cases, reference_powers_w)

    def compute_residuals(x: Floats) -> Floats:
        errors = compute_log_errors(p.cases, p.build_calibrations(x)) / RUN_LOG_STD
        return np.concatenate([_compute_robust_residuals(errors), x / p.widths])

    def compute_jacobian(x: Floats) -> Floats:
        calibrations = p.build_calibrations(x)
        slopes = compute_log_derivatives(p.cases, calibrations)
        rows = np.where(p.has_factor, slopes[:, p.columns], 0.0) / RUN_LOG_STD
        weight = compute_robust_slopes(compute_log_errors(p.cases, calibrations) / RUN_LOG_STD)
        return np.concatenate([weight[:, None] * rows, np.diag(1 / p.widths)])

    solution = least_squares(
        compute_residuals, np.zeros(len(p.names)), jac=compute_jacobian, max_nfev=_MAX_EVALUATIONS, ftol=1e-4
    )
    last_jacobian = compute_jacobian(solution.x)
    log_std = np.sqrt(np.diag(np.linalg.inv(last_jacobian.T @ last_jacobian)))
    return p.build_fitted_factors(solution.x, log_std)


def _compute_robust_residuals(errors: Floats) -> Floats:
    """Pseudo-Huber: quadratic up to about two standard deviations, linear beyond."""
    residuals: Floats = np.sign(errors) * np.sqrt(8 * (np.sqrt(1 + errors**2 / 4) - 1))
    return residuals


def compute_robust_slopes(errors: Floats) -> Floats:
    """The derivative of the robust residuals by the errors."""
    nonzero_errors = np.where(np.abs(errors) < 1e-6, 1e-6, errors)
    slope: Floats = np.abs(nonzero_errors) / (
        np.sqrt(1 + nonzero_errors**2 / 4) * np.abs(_compute_robust_residuals(nonzero_errors))
    )
    return slope


def compute_log_derivatives(cases: Sequence[CalibrationCase], calibrations: Sequence[Calibration]) -> Floats:
    """Derivative of each run's log time by the logarithm of each parameter, shape [runs, parameters]."""
    work = list(zip(cases, calibrations, strict=True))
    with ProcessPoolExecutor() as pool:
        size = -(-len(work) // 8)
        parts = pool.map(_compute_slopes, [work[start : start + size] for start in range(0, len(work), size)])
        return np.concatenate(list(parts))


def _compute_slopes(work: Sequence[tuple[CalibrationCase, Calibration]]) -> Floats:
    return np.array(evaluate_distinct(work, _compute_slope))


def _compute_slope(case: CalibrationCase, calibration: Calibration) -> Floats:
    scenario = replace_calibration(case.bound_run, calibration)
    tables = build_plan_tables(scenario, case.plan)
    base_s, slopes = compute_step_costs(scenario, case.plan, tables).step_time_s[0], []
    for name in CALIBRATION_PARAMETERS:
        perturbed = perturb_scenario(scenario, {name: 1 + _DERIVATIVE_STEP})
        perturbed_tables = replace_layer_tables(tables, perturbed, case.plan)
        step_time_s = compute_step_costs(perturbed, case.plan, perturbed_tables).step_time_s[0]
        slopes.append(np.log(step_time_s / base_s) / _DERIVATIVE_STEP)
    return np.array(slopes)


def compute_log_errors(cases: Sequence[CalibrationCase], calibrations: Sequence[Calibration]) -> Floats:
    """Logarithm of predicted over measured time of each run; equal configurations are predicted once."""
    predicted = evaluate_distinct(zip(cases, calibrations, strict=True), CalibrationCase.predict_figure)
    return np.array([compute_log_error(case.run, figure) for case, figure in zip(cases, predicted, strict=True)])


def evaluate_distinct(
    work: Iterable[tuple[CalibrationCase, Calibration]], evaluate: Callable[[CalibrationCase, Calibration], T]
) -> list[T]:
    """`evaluate(case, calibration)` of each pair, computed once for equal configurations."""
    results: dict[object, T] = {}
    keys = []
    for case, calibration in work:
        keys.append((_build_prediction_key(case), calibration))
        if keys[-1] not in results:
            results[keys[-1]] = evaluate(case, calibration)
    return [results[key] for key in keys]


def compute_log_error(run: MeasuredRun, predicted: float) -> float:
    """Logarithm of predicted over measured time; for rates, of the reciprocal."""
    ratio = predicted / run.value
    return float(np.log(ratio if run.metric == "step_time_s" else 1 / ratio))


def _build_prediction_key(case: CalibrationCase) -> object:
    """A key of everything that a prediction depends on, equal for repeated measurements of one configuration."""
    scenario = case.bound_run.scenario
    return (
        case.run.metric,
        case.run.flops_convention,
        scenario.workload.layer_types,
        scenario.workload.layer_count,
        scenario.workload.seq_length,
        scenario.accelerator.name,
        scenario.devices,
        scenario.global_batch,
        scenario.precision,
        scenario.attention_kernel,
        scenario.launch_mode,
        scenario.trainer,
        repr(read_settings(scenario)),
        scenario.techniques,
        tuple(scenario.network.tier_group_ranks),
        tuple(level.bandwidth_bytes_per_s for level in case.bound_run.cluster.levels),
        tuple(case.plan.get_row(0).items()),
    )
