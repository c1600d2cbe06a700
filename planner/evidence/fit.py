"""Fit the calibration factors to all measured runs together.

With v_p the p-th number of the calibration, a its architecture and f the framework of a run,

    log v_p = log default_p + G_p + A_p,a + F_p,f

G is what all runs have in common: of hardware and trainers without runs it is all that is known.

Least squares of the logarithm of predicted over measured time over all runs, with a pull of every G, A and F
towards zero (a Gaussian prior in the logarithm), so that parameters that the runs do not determine stay at the
default. The loss is robust (pseudo-Huber): an error much larger than `RUN_LOG_STD` counts linearly, not
quadratically, so that a single outlier does not change the fit much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.cluster.network.build import build_network
from planner.cost.arrays import sum_in_order
from planner.cost.calibration import (
    CALIBRATION_PARAMETERS,
    Calibration,
    combine_calibration,
    read_prior_calibration,
    read_prior_widths,
    stack_calibrations,
)
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.setting_values import read_settings
from planner.cost.step import compute_step_terms, count_micro_batches
from planner.cost.strategies import Strategies
from planner.evidence.bind_run import BoundRun
from planner.evidence.predict import convert_step_time
from planner.evidence.runs import MeasuredRun
from planner.trainers.trainer import find_calibration_name

Floats = NDArray[np.float64]
T = TypeVar("T")
C = TypeVar("C")

COMMON = "measured"
"""The owner of the factors that all runs have in common."""
PRIOR_WIDTHS = read_prior_widths()
"""Widths of the priors in the logarithm, of the common, of an architecture's and of a framework's factor: how far a
number may lie from the default without being pulled back. Numbers of the chip alone have no trainer width, and vice
versa."""
RUN_LOG_STD = 0.05
"""Assumed standard deviation of the logarithm of a run's measured time."""
_DERIVATIVE_STEP = 1e-3


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
        return self.predict_figures([calibration])[0]

    def predict_figures(self, calibrations: Sequence[Calibration]) -> list[float]:
        """The run's measured figure with each of the calibrations; those of one network are scored together."""
        figures = [0.0] * len(calibrations)
        for indices in _group_by_network(calibrations):
            group = [calibrations[index] for index in indices]
            scenario = replace_calibration(self.bound_run, group[0])
            plans = self.plan.take(np.zeros(len(group), dtype=np.int64))
            if len(group) > 1:
                scenario = replace(scenario, calibration=stack_calibrations(group))
            micro_batches = count_micro_batches(scenario, plans)
            terms, _ = compute_step_terms(scenario, plans, build_plan_tables(scenario, plans), micro_batches)
            for index, step_time_s in zip(indices, sum_in_order(terms.values()).tolist(), strict=True):
                figures[index] = convert_step_time(self.run, scenario, step_time_s)
        return figures

    def compute_log_errors(self, calibrations: Sequence[Calibration]) -> Floats:
        """Logarithm of predicted over measured time, with each of the calibrations."""
        return np.array([compute_log_error(self.run, figure) for figure in self.predict_figures(calibrations)])

    def compute_log_error(self, calibration: Calibration) -> float:
        """The same with one."""
        return float(self.compute_log_errors([calibration])[0])


@dataclass(frozen=True)
class ArchitectureReference:
    """The highest power of an architecture's accelerators, in watts, and the year of the first one; 0: unknown."""

    power_w: float = 0.0
    first_year: int = 0


@dataclass(frozen=True)
class FittedFactors:
    """Common factors, and by architecture and by trainer, with the relative standard deviation of each."""

    common: dict[str, float]
    architectures: dict[str, dict[str, float]]
    frameworks: dict[str, dict[str, float]]
    log_std: dict[tuple[str, str], float]
    """By (architecture or framework, parameter)."""
    references: dict[str, ArchitectureReference]

    def compute_unmeasured_factors(self) -> dict[str, tuple[float, float]]:
        """Factors of an architecture without runs, and their spread: of every share that kernels and links reach the
        lower quartile of the measured architectures, since nobody has tuned kernels against a figure that nobody
        published.
        """
        factors: dict[str, tuple[float, float]] = {}
        for name, (_, width, _) in PRIOR_WIDTHS.items():
            logs = [math.log(values[name]) for values in self.architectures.values() if name in values]
            if name.endswith(("efficiency", "efficiency_8bit", "efficiency_4bit")) and len(logs) > 1:
                factors[name] = math.exp(float(np.quantile(logs, 0.25))), max(float(np.std(logs)), width)
        return factors

    @cached_property
    def unmeasured(self) -> dict[str, float]:
        """Factors of an architecture without runs."""
        return {name: value for name, (value, _) in self.compute_unmeasured_factors().items()}

    def build_calibration(self, architecture: str, framework: str) -> Calibration:
        """The calibration of an architecture and a trainer; factors that were not fitted are 1."""
        calibration = combine_calibration(
            read_prior_calibration(),
            self.common,
            self.architectures.get(architecture, self.unmeasured),
            self.frameworks.get(framework, {}),
        )
        reference = self.references.get(architecture, ArchitectureReference())
        return msgspec.structs.replace(
            calibration, reference_power_w=reference.power_w, first_year=reference.first_year
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


def _group_by_network(calibrations: Sequence[Calibration]) -> list[list[int]]:
    """Positions of the calibrations by what they say of the network."""
    groups: dict[tuple[float, float], list[int]] = {}
    for index, calibration in enumerate(calibrations):
        groups.setdefault((calibration.link_efficiency, calibration.nic_efficiency), []).append(index)
    return list(groups.values())


def find_references(cases: Sequence[CalibrationCase]) -> dict[str, ArchitectureReference]:
    """What the accelerators of each architecture are compared with."""
    references: dict[str, ArchitectureReference] = {}
    for case in cases:
        accelerator, known = case.bound_run.scenario.accelerator, references.get(case.architecture)
        years = [year for year in (accelerator.year, known and known.first_year) if year]
        power_w = max(accelerator.tdp_w or 0.0, known.power_w if known else 0.0)
        references[case.architecture] = ArchitectureReference(power_w, min(years, default=0))
    return references


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
    references: dict[str, ArchitectureReference]

    @property
    def columns(self) -> NDArray[np.int64]:
        """The position of each unknown's parameter among the calibration's, [unknowns]."""
        return np.array([CALIBRATION_PARAMETERS.index(name) for name in self.names])

    def read_logarithms(self, factors: FittedFactors | None) -> Floats:
        """The logarithms of these factors, [unknowns]; 0 for one that has none."""
        if factors is None:
            return np.zeros(len(self.names))
        by_owner = {COMMON: factors.common, **factors.architectures, **factors.frameworks}
        values = [by_owner.get(owner, {}).get(name, 1.0) for owner, name in zip(self.owners, self.names, strict=True)]
        return np.log(values)

    def build_calibrations(self, x: Floats) -> list[Calibration]:
        """The calibration of each run."""
        factors = self.build_fitted_factors(x, np.zeros_like(x))
        pairs = [(case.architecture, case.framework) for case in self.cases]
        calibration_by_pair = {pair: factors.build_calibration(*pair) for pair in set(pairs)}
        return [calibration_by_pair[pair] for pair in pairs]

    def build_fitted_factors(self, x: Floats, log_std: Floats) -> FittedFactors:
        """The unknowns by architecture and trainer."""
        common: dict[str, float] = {}
        architectures: dict[str, dict[str, float]] = {}
        frameworks: dict[str, dict[str, float]] = {}
        architecture_names = {case.architecture for case in self.cases}
        for owner, name, value in zip(self.owners, self.names, np.exp(x).tolist(), strict=True):
            if owner == COMMON:
                common[name] = value
            else:
                (architectures if owner in architecture_names else frameworks).setdefault(owner, {})[name] = value
        log_std_by_factor = dict(zip(zip(self.owners, self.names, strict=True), log_std.tolist(), strict=True))
        return FittedFactors(common, architectures, frameworks, log_std_by_factor, self.references)


def build_calibration_problem(
    cases: Sequence[CalibrationCase], references: dict[str, ArchitectureReference]
) -> CalibrationProblem:
    """The least-squares problem of these runs."""
    unknowns = [
        (owner, name, prior_widths[width_index], [label == owner for label in labels])
        for width_index, labels in enumerate(
            ([COMMON] * len(cases), [c.architecture for c in cases], [c.framework for c in cases])
        )
        for owner in sorted(set(labels))
        for name, prior_widths in PRIOR_WIDTHS.items()
        if prior_widths[width_index]
    ]
    owners, names, widths, has_factor = zip(*unknowns, strict=True)
    return CalibrationProblem(
        tuple(cases), owners, names, np.array(widths), np.array(has_factor, dtype=bool).T, references
    )


def compute_loss(p: CalibrationProblem, x: Floats, log_errors: Floats) -> float:
    """Half the sum of the squared residuals of runs and priors; `x`: logarithms of the factors, [unknowns],
    `log_errors`: of predicted over measured time at them, [runs].
    """
    residuals = _compute_robust_residuals(log_errors / RUN_LOG_STD)
    return 0.5 * float(residuals @ residuals + np.sum((x / p.widths) ** 2))


def compute_log_std(p: CalibrationProblem, precision: Floats) -> Floats:
    """Standard deviation of each unknown, [unknowns], so that those of an architecture and of a trainer can be taken
    as independent; `precision`: the inverse of their covariance, [unknowns, unknowns].

    What runs determine is the sum of a common, an architecture's and a trainer's factor, far better than each of
    them. So an architecture has the deviation of that sum, with the trainer of most of its runs; the others have
    theirs where all else is known.
    """
    covariance, log_std = np.linalg.inv(precision), 1 / np.sqrt(np.diag(precision))
    index = {key: position for position, key in enumerate(zip(p.owners, p.names, strict=True))}
    for architecture in {case.architecture for case in p.cases}:
        trainers = Counter(case.framework for case in p.cases if case.architecture == architecture)
        trainer = max(sorted(trainers), key=lambda name: trainers[name])
        for name in PRIOR_WIDTHS:
            if (architecture, name) not in index:
                continue
            keys = [(owner, name) for owner in (COMMON, architecture, trainer)]
            summed = [index[key] for key in keys if key in index]
            log_std[index[architecture, name]] = math.sqrt(covariance[np.ix_(summed, summed)].sum())
    return log_std


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
    # downward, since shares end at a maximum
    factors = [{}, *({name: 1 - _DERIVATIVE_STEP} for name in CALIBRATION_PARAMETERS)]
    trials = [[combine_calibration(entry, factor) for factor in factors] for entry in calibrations]
    log_errors = compute_trial_log_errors(cases, trials)
    slopes: Floats = (log_errors[:, :1] - log_errors[:, 1:]) / _DERIVATIVE_STEP
    return slopes


def compute_trial_log_errors(
    cases: Sequence[CalibrationCase], calibrations: Sequence[Sequence[Calibration]]
) -> Floats:
    """Logarithm of predicted over measured time of each run with each of its calibrations, [runs, calibrations]."""
    work = [(case, tuple(trials)) for case, trials in zip(cases, calibrations, strict=True)]
    with ProcessPoolExecutor() as pool:
        size = -(-len(work) // 8)
        parts = pool.map(_compute_part, [work[start : start + size] for start in range(0, len(work), size)])
        return np.concatenate(list(parts))


def _compute_part(work: Sequence[tuple[CalibrationCase, tuple[Calibration, ...]]]) -> Floats:
    figures = evaluate_distinct(work, CalibrationCase.predict_figures)
    return np.array(
        [
            [compute_log_error(case.run, figure) for figure in row]
            for (case, _), row in zip(work, figures, strict=True)
        ]
    )


def compute_log_errors(cases: Sequence[CalibrationCase], calibrations: Sequence[Calibration]) -> Floats:
    """Logarithm of predicted over measured time of each run; equal configurations are predicted once."""
    predicted = evaluate_distinct(zip(cases, calibrations, strict=True), CalibrationCase.predict_figure)
    return np.array([compute_log_error(case.run, figure) for case, figure in zip(cases, predicted, strict=True)])


def evaluate_distinct(
    work: Iterable[tuple[CalibrationCase, C]], evaluate: Callable[[CalibrationCase, C], T]
) -> list[T]:
    """`evaluate(case, calibrations)` of each pair, computed once for equal configurations."""
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
        scenario.software_month,
        scenario.trainer,
        repr(read_settings(scenario)),
        scenario.techniques,
        tuple(scenario.network.tier_group_ranks),
        tuple(level.bandwidth_bytes_per_s for level in case.bound_run.cluster.levels),
        tuple(case.plan.get_row(0).items()),
    )
