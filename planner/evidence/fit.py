"""Fit the calibration's factors to measured runs, all runs together.

With v_p the p-th number of the calibration, a its architecture and f the framework of a run,

    log v_p = log default_p + A_p,a + F_p,f

Least squares of the logarithm of predicted over measured time over all runs, with a pull of every A and F towards
zero (a Gaussian prior in the logarithm), so that what the runs do not tell stays at the default. Robust: a run that
is off by much more than `_SPREAD` counts by its distance, not by its square (a pseudo-Huber loss), so that one odd
release does not move the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.network.build import build_network
from planner.cost.calibration import PARAMETERS, Calibration, combined, default_calibration
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.errors import InputError
from planner.evidence.bind_run import Question
from planner.evidence.predict import figure
from planner.evidence.runs import Run

Floats = NDArray[np.float64]

# Widths of the priors in the logarithm, of an architecture's and of a framework's factor: how far a number may lie
# from the default without being pulled back. What belongs to the chip alone has no framework's width, and vice versa.
PRIORS = {
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
_SPREAD = 0.05
"""Standard deviation of the logarithm that a run is taken to have."""
_STEP = 1e-3
_MOST_STEPS = 12


@dataclass(frozen=True)
class Case:
    """One run with the plan that it is scored with."""

    run: Run
    question: Question
    plan: Strategies

    @property
    def architecture(self) -> str:
        """The accelerator's generation."""
        return self.question.training.accelerator.architecture

    @property
    def framework(self) -> str:
        """The software stack."""
        return self.question.training.framework.name

    def predicted(self, fitted: Calibration) -> float:
        """The run's own figure under other fitted numbers."""
        return figure(self.run, with_calibration(self.question, fitted), self.plan)

    def log_error(self, fitted: Calibration) -> float:
        """Logarithm of predicted over measured time."""
        return _log_error(self.run, self.predicted(fitted))


@dataclass(frozen=True)
class Fitted:
    """Factors by architecture and by framework, with the relative standard deviation of each; powers in watts."""

    architectures: dict[str, dict[str, float]]
    frameworks: dict[str, dict[str, float]]
    spread: dict[tuple[str, str], float]
    """By (architecture or framework, parameter)."""
    powers: dict[str, float]

    def calibration(self, architecture: str, framework: str) -> Calibration:
        """The numbers for a pair; a factor that was not fitted is one."""
        return combined(
            default_calibration(),
            self.architectures.get(architecture, {}),
            self.frameworks.get(framework, {}),
            reference_power_w=self.powers.get(architecture, 0.0),
        )


def with_calibration(question: Question, fitted: Calibration) -> Training:
    """The question's training under other fitted numbers."""
    network = build_network(
        question.cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency
    )
    return replace(question.training, calibration=fitted, network=network)


def reference_powers(cases: Sequence[Case]) -> dict[str, float]:
    """Watts of the strongest part of each architecture."""
    powers: dict[str, float] = {}
    for case in cases:
        watts = case.question.training.accelerator.tdp_w or 0.0
        powers[case.architecture] = max(powers.get(case.architecture, 0.0), watts)
    return powers


@dataclass(frozen=True)
class Problem:
    """The least-squares problem: which factor is the i-th unknown, and the runs.

    `owners[i]` is an architecture or a framework, `names[i]` the parameter, `widths[i]` its prior's. `member` of
    shape [runs, unknowns] says whose factors a run has.
    """

    cases: tuple[Case, ...]
    owners: tuple[str, ...]
    names: tuple[str, ...]
    widths: Floats
    member: NDArray[np.bool_]
    powers: dict[str, float]

    def calibrations(self, x: Floats) -> list[Calibration]:
        """Each run's numbers."""
        fitted = self.fitted(x, np.zeros_like(x))
        known: dict[tuple[str, str], Calibration] = {}
        for case in self.cases:
            pair = (case.architecture, case.framework)
            if pair not in known:
                known[pair] = fitted.calibration(*pair)
        return [known[case.architecture, case.framework] for case in self.cases]

    def fitted(self, x: Floats, spread: Floats) -> Fitted:
        """The unknowns by their owners."""
        architectures: dict[str, dict[str, float]] = {}
        frameworks: dict[str, dict[str, float]] = {}
        chips = {case.architecture for case in self.cases}
        for owner, name, value in zip(self.owners, self.names, np.exp(x).tolist(), strict=True):
            (architectures if owner in chips else frameworks).setdefault(owner, {})[name] = value
        spreads = dict(zip(zip(self.owners, self.names, strict=True), spread.tolist(), strict=True))
        return Fitted(architectures, frameworks, spreads, self.powers)


def problem(cases: Sequence[Case], powers: dict[str, float]) -> Problem:
    """The unknowns that these runs have."""
    owners, names, widths, member = [], [], [], []
    for place, labels in enumerate(([c.architecture for c in cases], [c.framework for c in cases])):
        for owner in sorted(set(labels)):
            for name, both in PRIORS.items():
                if both[place]:
                    owners.append(owner)
                    names.append(name)
                    widths.append(both[place])
                    member.append([label == owner for label in labels])
    return Problem(
        tuple(cases), tuple(owners), tuple(names), np.array(widths), np.array(member, dtype=bool).T, powers
    )


def fit(cases: Sequence[Case], powers: dict[str, float], *, known: Floats | None = None) -> Fitted:
    """The factors that these runs tell. Raises InputError where scipy is not installed.

    `known`: each run's derivatives by parameter, shape [runs, parameters], to be used as they are (a quasi-Newton
    method: the residuals stay exact); without it they are computed anew at every step.
    """
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "fitting needs scipy", key="planner", expected="an installation with it: pip install 'planner[calibrate]'"
        ) from None
    p = problem(cases, powers)
    column = np.array([PARAMETERS.index(name) for name in p.names])

    def residuals(x: Floats) -> Floats:
        return np.concatenate([_robust(log_errors(p.cases, p.calibrations(x)) / _SPREAD), x / p.widths])

    def jacobian(x: Floats) -> Floats:
        fitted = p.calibrations(x)
        slopes = derivatives(p.cases, fitted) if known is None else known
        rows = np.where(p.member, slopes[:, column], 0.0) / _SPREAD
        weight = _robust_slope(log_errors(p.cases, fitted) / _SPREAD)
        return np.concatenate([weight[:, None] * rows, np.diag(1 / p.widths)])

    found = least_squares(residuals, np.zeros(len(p.names)), jac=jacobian, max_nfev=_MOST_STEPS, ftol=1e-4)
    last = jacobian(found.x)
    spread = np.sqrt(np.diag(np.linalg.inv(last.T @ last)))
    return p.fitted(found.x, spread)


def _robust(errors: Floats) -> Floats:
    """Pseudo-Huber: quadratic up to about two standard deviations, linear beyond."""
    told: Floats = np.sign(errors) * np.sqrt(8 * (np.sqrt(1 + errors**2 / 4) - 1))
    return told


def _robust_slope(errors: Floats) -> Floats:
    away = np.where(np.abs(errors) < 1e-6, 1e-6, errors)
    slope: Floats = np.abs(away) / (np.sqrt(1 + away**2 / 4) * np.abs(_robust(away)))
    return slope


def derivatives(cases: Sequence[Case], fitted: Sequence[Calibration]) -> Floats:
    """Slope of each run's log time by the logarithm of each parameter, shape [runs, parameters]."""
    work = list(zip(cases, fitted, strict=True))
    with ProcessPoolExecutor() as pool:
        size = -(-len(work) // 8)
        parts = pool.map(_slopes, [work[start : start + size] for start in range(0, len(work), size)])
        return np.concatenate(list(parts))


def _slopes(work: Sequence[tuple[Case, Calibration]]) -> Floats:
    told: dict[object, Floats] = {}
    rows = []
    for case, fitted in work:
        key = (_asked(case), fitted)
        if key not in told:
            told[key] = _slope(case, fitted)
        rows.append(told[key])
    return np.array(rows)


def _slope(case: Case, fitted: Calibration) -> Floats:
    base = case.log_error(fitted)
    moved = [combined(fitted, {name: 1 + _STEP}, reference_power_w=fitted.reference_power_w) for name in PARAMETERS]
    return np.array([(case.log_error(one) - base) / _STEP for one in moved])


def log_errors(cases: Sequence[Case], fitted: Sequence[Calibration]) -> Floats:
    """Each run's logarithm of predicted over measured time; what several runs share is predicted once."""
    told: dict[object, float] = {}
    errors = []
    for case, numbers in zip(cases, fitted, strict=True):
        key = (_asked(case), numbers)
        if key not in told:
            told[key] = case.predicted(numbers)
        errors.append(_log_error(case.run, told[key]))
    return np.array(errors)


def _log_error(run: Run, predicted: float) -> float:
    """Logarithm of predicted over measured time, of a figure in the run's own metric: of rates the reciprocal."""
    ratio = predicted / run.value
    return float(np.log(ratio if run.metric == "step_time_s" else 1 / ratio))


def _asked(case: Case) -> object:
    """A key of all that a prediction depends on, equal for runs of one configuration: releases measure it again."""
    training = case.question.training
    return (
        case.run.metric,
        case.run.flops_convention,
        training.workload.kinds,
        training.workload.layer_count,
        training.workload.seq_length,
        training.accelerator.name,
        training.devices,
        training.global_batch,
        training.precision,
        training.attention,
        training.launch,
        training.framework,
        tuple(training.network.joined),
        tuple(level.bandwidth_bytes_per_s for level in case.question.cluster.levels),
        tuple(case.plan.row(0).items()),
    )
