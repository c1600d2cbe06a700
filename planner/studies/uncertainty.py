"""Uncertainty of the first plan: the uncertainty of the fitted parameters, propagated to the best plans.

Each sample multiplies every fitted parameter by exp(s z), with z standard normal and independent and s the spread of
the parameter. All plans are scored with the same samples, so that common errors cancel in comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from planner.cost.arrays import Floats, Ints, round_significant, sum_in_order
from planner.cost.calibration import CALIBRATION_PARAMETERS, compute_calibration_spreads
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.operations.energy import compute_energy_j
from planner.cost.pipeline.stages import build_plan_tables, replace_layer_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, join_strategies
from planner.cost.uncertainty import perturb_scenario
from planner.documents.plan import QuantilesPart, RegretPart, RivalPart, UncertaintyPart
from planner.errors import InputError
from planner.progress import track_steps
from planner.search.objective import Objective
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.plan_parts import build_settings_part, build_strategy_part
from planner.trainers.trainer import find_calibration_name

MAX_CONTENDERS = 50
"""Plans that compete in each sample."""
_SEED = 20
_MAX_RIVALS = 3
_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class ContenderPlans:
    """Plans that compete, best first, and the scenario of each; arrays of [plans]."""

    scenarios: tuple[Scenario, ...]
    strategies: Strategies
    scenario_index: Ints

    def __len__(self) -> int:
        return len(self.strategies)


def estimate_first_plan_uncertainty(
    scenarios: Sequence[Scenario], space: Space, objective: Objective, samples: int, margin: float = 0.0
) -> UncertaintyPart:
    """Step time, rank and regret of the first plan over `samples` samples. The space must have a plan that fits.
    `margin`: that of the search target, which may prefer a simpler plan to the best.

    Raises InputError for an objective that does not depend on fitted parameters.
    """
    if objective.name == "memory-headroom":
        expected = "an objective of time, cost or energy"
        problem = "memory has no fitted parameters, so this objective has no uncertainty"
        raise InputError(problem, key="--uncertainty", value=objective.name, expected=expected)
    contender_plans = find_contenders(scenarios, space, objective, margin)
    spread = compute_calibration_spreads(
        scenarios[0].accelerator.architecture, find_calibration_name(scenarios[0].trainer)
    )
    times, figures = score_samples(contender_plans, objective, spread, samples)
    return _build_uncertainty_part(contender_plans, spread, times[:, 0], figures)


def find_contenders(
    scenarios: Sequence[Scenario], space: Space, objective: Objective, margin: float = 0.0
) -> ContenderPlans:
    """The best plan of each of the best combinations of degrees; where these are few, the next best plans as well.
    With a margin the plan that it prefers is the first.

    Plans that differ only in `vpp` are nearly equal: fifty of them would not represent the other combinations.
    """
    result = search_plans(scenarios, space, SearchTarget((objective,), MAX_CONTENDERS, diverse=True, margin=margin))
    best, scenario_index = result.best, result.scenario_index
    if len(best) < MAX_CONTENDERS:
        extra_result = search_plans(scenarios, space, SearchTarget((objective,), MAX_CONTENDERS))
        best, scenario_index = (
            join_strategies([best, extra_result.best]),
            np.concatenate([scenario_index, extra_result.scenario_index]),
        )
        rows = np.stack([scenario_index, *(getattr(best, name) for name in vars(best))], axis=1)
        first_positions = np.sort(np.unique(rows, axis=0, return_index=True)[1])[:MAX_CONTENDERS]
        best, scenario_index = best.take(first_positions), scenario_index[first_positions]
    return ContenderPlans(result.scenarios, best, scenario_index)


def score_samples(
    contender_plans: ContenderPlans, objective: Objective, spread: Mapping[str, float], samples: int
) -> tuple[Floats, Floats]:
    """Step times and the objective's figures, shape [samples, plans] each."""
    widths = np.array([spread[name] for name in CALIBRATION_PARAMETERS])
    draws = round_significant(
        np.exp(np.random.default_rng(_SEED).standard_normal((samples, len(widths))) * widths), 32
    )
    times, figures = np.zeros((2, samples, len(contender_plans)))
    for scenario_index in np.unique(contender_plans.scenario_index).tolist():
        positions = np.flatnonzero(contender_plans.scenario_index == scenario_index)
        scenario, strategies = contender_plans.scenarios[scenario_index], contender_plans.strategies.take(positions)
        plan_tables = build_plan_tables(scenario, strategies)
        total_bytes = sum_in_order(compute_peak_memory_bytes(scenario, strategies, plan_tables).values())
        for row, factors in enumerate(track_steps("sampling", draws.tolist())):
            perturbed_scenario = perturb_scenario(scenario, dict(zip(CALIBRATION_PARAMETERS, factors, strict=True)))
            perturbed_tables = replace_layer_tables(plan_tables, perturbed_scenario, strategies)
            step_costs = compute_step_costs(perturbed_scenario, strategies, perturbed_tables)
            times[row, positions] = step_costs.step_time_s
            evaluate_energy_j = partial(compute_energy_j, perturbed_scenario, strategies, step_costs)
            figures[row, positions] = objective.compute_value(
                perturbed_scenario, step_costs.step_time_s, evaluate_energy_j, total_bytes
            )
    return times, figures


def _build_uncertainty_part(
    contender_plans: ContenderPlans, spread: dict[str, float], times: Floats, figures: Floats
) -> UncertaintyPart:
    """`times`: step times of the first plan, shape [samples]; `figures`: shape [samples, plans]."""
    samples, count = figures.shape
    wins = np.bincount(figures.argmin(axis=1), minlength=count)  # ties go to the better-ranked plan
    regret = figures[:, 0] / figures.min(axis=1) - 1.0
    low, middle, high = np.quantile(times, _QUANTILES).tolist()
    return UncertaintyPart(
        samples=samples,
        plans=count,
        step_time_s=QuantilesPart(p10=low, p50=middle, p90=high),
        first_share=int(wins[0]) / samples,
        regret=RegretPart(mean=float(regret.mean()), p90=float(np.quantile(regret, _QUANTILES[-1]))),
        rivals=_build_rival_parts(contender_plans, wins, samples),
        spread=spread,
    )


def _build_rival_parts(contender_plans: ContenderPlans, wins: Ints, samples: int) -> list[RivalPart]:
    """The other plans that are the best in most samples."""
    order = 1 + np.argsort(-wins[1:], kind="stable")[:_MAX_RIVALS]
    parts = []
    for index in order.tolist():
        scenario = contender_plans.scenarios[int(contender_plans.scenario_index[index])]
        if wins[index]:
            part = RivalPart(
                strategy=build_strategy_part(contender_plans.strategies, index),
                settings=build_settings_part(scenario),
                global_batch=scenario.global_batch,
                share=int(wins[index]) / samples,
            )
            parts.append(part)
    return parts
