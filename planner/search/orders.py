"""In which order the dimensions are laid on ranks: the search in the usual one, then in the one that suits its best
plan better, where there is one.

Every question has its own order, so that to search all of them takes as long as there are orders. The plan that is
best in the usual order is scored in the others; where one makes its step shorter, the whole space is searched in that
order too, and the better answer is told. `--order all` searches them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cost.rank_groups import RANK_ORDERS
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space

TP_INNERMOST_ORDERS = tuple(order for order in RANK_ORDERS if order.startswith("tp"))
MIN_RELATIVE_GAIN = 1e-9
"""Below it two step times are the same but for rounding."""


def search_rank_orders(
    scenarios: Sequence[Scenario], space: Space, target: SearchTarget, rank_orders: Sequence[str]
) -> SearchResult:
    """The search in the questions' order, and in the one of `rank_orders` (tensor parallelism innermost) that is
    better for its best plan.
    """
    result = search_plans(scenarios, space, target)
    if len(rank_orders) < 2 or not result.stats.feasible:
        return result
    scenario, strategy = take_first_plan(result)
    order = _find_best_rank_order(scenario, strategy, rank_orders)
    if order == scenario.rank_order:
        return result
    return select_better_result(
        result, search_plans([replace(reordered, rank_order=order) for reordered in scenarios], space, target)
    )


def _find_best_rank_order(scenario: Scenario, strategy: Strategies, rank_orders: Sequence[str]) -> str:
    """The order in which the plan's step is shortest; the one that it has where none is shorter."""
    best_order, best_step_time_s = scenario.rank_order, compute_plan_step_time_s(scenario, strategy)
    degrees = {name for name in ("cp", "dp", "pp") if int(getattr(strategy, name)[0]) > 1}
    seen = {_drop_trivial_dimensions(best_order, degrees)}
    for order in rank_orders:
        # dimensions of one rank are nowhere: orders that differ by them alone are the same
        if order in TP_INNERMOST_ORDERS and _drop_trivial_dimensions(order, degrees) not in seen:
            seen.add(_drop_trivial_dimensions(order, degrees))
            step_time_s = compute_plan_step_time_s(replace(scenario, rank_order=order), strategy)
            if step_time_s < best_step_time_s * (1 - MIN_RELATIVE_GAIN):
                best_order, best_step_time_s = order, step_time_s
    return best_order


def _drop_trivial_dimensions(order: str, degrees: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order.split("-") if name in degrees)


def compute_plan_step_time_s(scenario: Scenario, strategy: Strategies) -> float:
    """A plan's step time."""
    return float(compute_step_costs(scenario, strategy).step_time_s[0])


def select_better_result(result: SearchResult, alternative: SearchResult) -> SearchResult:
    """The one whose first plan is the better by the first objective; the first of equal ones."""
    return alternative if alternative.figures[0, 0] < result.figures[0, 0] else result


def take_first_plan(result: SearchResult) -> tuple[Scenario, Strategies]:
    """The best plan and its question."""
    return result.scenarios[int(result.scenario_index[0])], result.best.take(np.zeros(1, dtype=np.int64))
