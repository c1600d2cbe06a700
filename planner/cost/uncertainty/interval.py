"""The interval in which a measured step lies in 80 % of all cases, and whether two steps can be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, round_significant
from planner.cost.pipeline.stages import PlanTables
from planner.cost.scenario import Scenario
from planner.cost.step import StepCosts
from planner.cost.strategies import Strategies
from planner.cost.uncertainty.posterior import compute_group_log_changes
from planner.cost.uncertainty.residuals import ResidualWidth, find_residual_width, read_plan_residual_width

NORMAL_Z90 = 1.2815515655446004
"""The 90 % quantile of a standard normal distribution."""


@dataclass(frozen=True)
class StepBounds:
    """The step time of one plan, and the interval that 80 % of such runs lie in, in seconds."""

    step_time_s: float
    p10_s: float
    p90_s: float

    @property
    def faster(self) -> float:
        """Standard deviation of the logarithm of the step time, towards a faster step."""
        return math.log(self.step_time_s / self.p10_s) / NORMAL_Z90

    @property
    def slower(self) -> float:
        """The same towards a slower step."""
        return math.log(self.p90_s / self.step_time_s) / NORMAL_Z90


@dataclass(frozen=True)
class StepUncertainty:
    """How far the step times of plans may be off.

    `faster`, `slower`: standard deviations of the logarithm of the step time towards either side, shape [plans];
    `log_changes`: those that the groups of fitted numbers cause, [groups, plans].
    """

    step_time_s: Floats
    faster: Floats
    slower: Floats
    log_changes: Floats

    @property
    def p10_s(self) -> Floats:
        """Seconds that a step takes at most in 10 % of all cases, [plans]."""
        return self.step_time_s * round_significant(np.exp(-NORMAL_Z90 * self.faster), 32)

    @property
    def p90_s(self) -> Floats:
        """Seconds that a step takes at most in 90 % of all cases, [plans]."""
        return self.step_time_s * round_significant(np.exp(NORMAL_Z90 * self.slower), 32)

    def take(self, index: Ints) -> StepUncertainty:
        """That of the plans at `index`."""
        return StepUncertainty(
            self.step_time_s[index], self.faster[index], self.slower[index], self.log_changes[:, index]
        )


def compute_step_uncertainty(
    scenario: Scenario, strategies: Strategies, plan_tables: PlanTables, step_costs: StepCosts
) -> StepUncertainty:
    """The uncertainty of the plans' steps; `plan_tables` and `step_costs`: those of the plans in the scenario."""
    log_changes = compute_group_log_changes(scenario, strategies, plan_tables, step_costs)
    width = find_residual_width(scenario.accelerator.architecture, scenario.trainer)
    faster, slower = compute_log_stds(np.square(log_changes).sum(axis=0), width)
    return StepUncertainty(step_costs.step_time_s, faster, slower, log_changes)


def compute_log_stds(posterior_variance: Floats, width: ResidualWidth) -> tuple[Floats, Floats]:
    """Standard deviations of the logarithm of the step time towards a faster and a slower one, [plans]."""
    excess = np.maximum(posterior_variance - width.posterior**2, 0.0)
    return np.sqrt(excess + width.faster**2), np.sqrt(excess + width.slower**2)


def compute_class_bounds(step_time_s: float, scenarios: Sequence[Scenario]) -> StepBounds:
    """The bounds of a step on several kinds of accelerators: those of the class of runs that is known least."""
    widths = [find_residual_width(scenario.accelerator.architecture, scenario.trainer) for scenario in scenarios]
    uncertainty = StepUncertainty(
        np.array([step_time_s]),
        np.array([max(width.faster for width in widths)]),
        np.array([max(width.slower for width in widths)]),
        np.zeros((0, 1)),
    )
    return StepBounds(step_time_s, float(uncertainty.p10_s[0]), float(uncertainty.p90_s[0]))


def join_step_uncertainties(parts: Sequence[StepUncertainty]) -> StepUncertainty:
    """Plans of several scenarios after each other."""
    return StepUncertainty(
        step_time_s=np.concatenate([part.step_time_s for part in parts]),
        faster=np.concatenate([part.faster for part in parts]),
        slower=np.concatenate([part.slower for part in parts]),
        log_changes=np.concatenate([part.log_changes for part in parts], axis=1),
    )


def compute_comparison_log_std(uncertainty: StepUncertainty) -> Floats:
    """Standard deviation of the logarithm of each plan's step time over the first plan's, [plans].

    All plans are of one run, on the same machine under the same trainer, so that most of what is off is off for both.
    """
    differences = uncertainty.log_changes - uncertainty.log_changes[:, :1]
    width = read_plan_residual_width().slower
    log_std: Floats = np.sqrt(np.square(differences).sum(axis=0) + width**2)
    return log_std


def is_change_told_apart(ratio: float, bounds: tuple[StepBounds, StepBounds], *, is_same_machine: bool) -> bool:
    """Whether the smaller of two figures is the smaller one in 90 % of all cases.

    `ratio`: the second over the first, which are proportional to step times of these bounds; `is_same_machine`: of
    the same accelerator and trainer, so that most of what is off is off for both; else both are off independently.
    """
    if ratio in (0.0, math.inf):
        return True
    less, more = bounds if ratio >= 1 else bounds[::-1]
    log_std = read_plan_residual_width().slower if is_same_machine else math.hypot(less.slower, more.faster)
    return abs(math.log(ratio)) > NORMAL_Z90 * log_std


def compute_tie_margin() -> float:
    """The fraction by which one plan's step may be longer than another's of the same run without being told apart,
    whatever the two plans.
    """
    log_std = read_plan_residual_width().slower
    return float(round_significant(np.exp([NORMAL_Z90 * log_std]), 32)[0]) - 1.0


def is_told_apart(log_ratio: Floats, log_std: Floats) -> Bools:
    """Whether the smaller of two figures is the smaller one in 90 % of all cases, by their ratio's logarithm."""
    return np.abs(log_ratio) > NORMAL_Z90 * log_std


def compare_with_first(uncertainty: StepUncertainty, figures: Floats) -> Bools:
    """Whether each plan is told apart from the first by `figures`, which are proportional to the step time, [plans].

    The first is not told apart from itself.
    """
    return is_told_apart(np.log(figures / figures[0]), compute_comparison_log_std(uncertainty))
