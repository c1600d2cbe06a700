"""Fit the few numbers of a calibration to measured runs.

Least squares of the logarithm of predicted over measured time, with a pull towards a prior (a Gaussian in the
logarithm), so that what the runs do not tell stays where it was. Robust: a run that is off by much more than
`_SPREAD` counts by its distance, not by its square (a pseudo-Huber loss), so that one odd release does not move the
rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.cluster.network import build_network
from planner.cost.calibration import Calibration
from planner.cost.strategies import Strategies
from planner.cost.training import Training
from planner.errors import InputError
from planner.validation.binding import Question
from planner.validation.predict import figure
from planner.validation.runs import Run

Floats = NDArray[np.float64]

# Width of the prior in the logarithm: how far a parameter may lie from its prior without being pulled back.
PRIORS = {
    "gemm_efficiency": 0.3,
    "gemm_efficiency_8bit": 0.4,
    "gemm_efficiency_4bit": 0.4,
    "expert_efficiency": 0.4,
    "gemm_half_rows": 0.8,
    "gemm_half_depth": 0.8,
    "attention_forward_efficiency": 0.4,
    "attention_backward_efficiency": 0.4,
    "memory_efficiency": 0.2,
    "eager_traffic": 0.5,
    "routing_traffic": 0.5,
    "kernel_launch_s": 0.7,
    "host_launch_s": 1.0,
    "link_efficiency": 0.25,
    "nic_efficiency": 0.25,
    "overlap": 0.6,
    "contention": 0.7,
    "step_overhead_s": 0.5,
    "power_exponent": 0.5,
}
_SHARES = ("efficiency", "overlap")
"""Parameters of these names are shares: at most 0.97 of what is rated."""
_SPREAD = 0.05
"""Standard deviation of the logarithm that a run is taken to have."""
_STEPS = 12


@dataclass(frozen=True)
class Case:
    """One run with the plan that it is scored with."""

    run: Run
    question: Question
    plan: Strategies

    @property
    def group(self) -> str:
        """The calibration file that it belongs to: architecture and framework."""
        training = self.question.training
        return f"{training.accelerator.architecture}.{training.framework.name}"

    def predicted(self, fitted: Calibration) -> float:
        """The run's own figure under other fitted numbers."""
        return figure(self.run, with_calibration(self.question, fitted), self.plan)

    def log_error(self, fitted: Calibration) -> float:
        """Logarithm of predicted over measured time."""
        ratio = self.predicted(fitted) / self.run.value
        return float(np.log(ratio if self.run.metric == "step_time_s" else 1 / ratio))


@dataclass(frozen=True)
class Fitted:
    """Fitted numbers, and each one's relative standard deviation."""

    calibration: Calibration
    spread: dict[str, float]


def with_calibration(question: Question, fitted: Calibration) -> Training:
    """The question's training under other fitted numbers."""
    network = build_network(
        question.cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency
    )
    return replace(question.training, calibration=fitted, network=network)


def fit(group: list[Case], prior: Calibration) -> Fitted:
    """The numbers of one group of runs, pulled towards `prior`. Raises InputError where scipy is not installed."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "fitting needs scipy", key="planner", expected="an installation with it: pip install 'planner[calibrate]'"
        ) from None

    names = list(PRIORS)
    centre = np.log([getattr(prior, name) for name in names])
    width = np.array([PRIORS[name] for name in names])

    def calibrated(x: Floats) -> Calibration:
        return msgspec.structs.replace(prior, **dict(zip(names, np.exp(x).tolist(), strict=True)))

    def residuals(x: Floats) -> Floats:
        errors = _log_errors(group, calibrated(x)) / _SPREAD
        robust = np.sign(errors) * np.sqrt(2 * 4 * (np.sqrt(1 + errors**2 / 4) - 1))
        return np.concatenate([robust, (x - centre) / width])

    upper = np.array([np.log(0.97) if any(word in name for word in _SHARES) else np.inf for name in names])
    first = np.minimum(centre, upper - 1e-3)
    found = least_squares(residuals, first, bounds=(-np.inf, upper), max_nfev=_STEPS, ftol=1e-4, diff_step=[1e-3])
    jacobian = np.asarray(found.jac, dtype=np.float64)
    spread = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    return Fitted(calibrated(found.x), dict(zip(names, spread.tolist(), strict=True)))


def _log_errors(group: list[Case], fitted: Calibration) -> Floats:
    """Each run's logarithm of predicted over measured time; what several runs share is predicted once."""
    told: dict[tuple[object, ...], float] = {}
    errors = []
    for case in group:
        training = case.question.training
        # the same model on the same cluster under the same settings: releases measure one configuration again
        key = (
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
            tuple(training.network.bandwidth_bytes_per_s),
            tuple(case.plan.row(0).items()),
        )
        if key not in told:
            told[key] = case.predicted(fitted)
        ratio = told[key] / case.run.value
        errors.append(np.log(ratio if case.run.metric == "step_time_s" else 1 / ratio))
    return np.array(errors)
