"""Search rank orders of the parallel dimensions: the default order, then a better order for its best plan, if any.

A full search takes as many times longer as there are orders. So the best plan of the default order is scored in the
other orders; where its step is shorter in another order, the whole space is searched in that order too, and the
better result is returned. `--order all` searches all orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cost.scenario import Scenario
from planner.cost.settings import RANK_ORDERS
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies
from planner.search.program_rules import accepts_plan
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space

TP_INNERMOST_ORDERS = tuple(order for order in RANK_ORDERS if order.startswith("tp"))
MIN_RELATIVE_GAIN = 1e-9
"""Smaller relative differences of step times are rounding."""


def search_rank_orders(
    scenarios: Sequence[Scenario], space: Space, target: SearchTarget, rank_orders: Sequence[str]
) -> SearchResult:
    """Search in the scenarios' rank order, then in that order of `rank_orders` (tensor parallelism innermost) in
    which the best plan is fastest, if that is another order.
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
    """The rank order in which the plan's step is shortest; the scenario's own order where none is shorter."""
    best_order, best_step_time_s = scenario.rank_order, compute_plan_step_time_s(scenario, strategy)
    degrees = {name for name in ("cp", "dp", "pp") if int(getattr(strategy, name)[0]) > 1}
    seen = {_drop_trivial_dimensions(best_order, degrees)}
    for order in rank_orders:
        # dimensions of size 1 have no effect: orders that differ only in them are equal
        if order in TP_INNERMOST_ORDERS and _drop_trivial_dimensions(order, degrees) not in seen:
            seen.add(_drop_trivial_dimensions(order, degrees))
            reordered = replace(scenario, rank_order=order)
            if not accepts_plan(reordered, strategy):
                continue
            step_time_s = compute_plan_step_time_s(reordered, strategy)
            if step_time_s < best_step_time_s * (1 - MIN_RELATIVE_GAIN):
                best_order, best_step_time_s = order, step_time_s
    return best_order


def _drop_trivial_dimensions(order: str, degrees: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order.split("-") if name in degrees)


def compute_plan_step_time_s(scenario: Scenario, strategy: Strategies) -> float:
    """Step time of a single plan in seconds."""
    return float(compute_step_costs(scenario, strategy).step_time_s[0])


def select_better_result(result: SearchResult, alternative: SearchResult) -> SearchResult:
    """The result with the better plan by the first objective; `result` where both are equal."""
    return alternative if alternative.least_figure < result.least_figure else result


def take_first_plan(result: SearchResult) -> tuple[Scenario, Strategies]:
    """The scenario and the strategy of the best plan."""
    return result.scenarios[int(result.scenario_index[0])], result.best.take(np.zeros(1, dtype=np.int64))
