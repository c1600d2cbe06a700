"""Which plan comes first: the simplest of those that are nearly as good as the best, against a slow loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.arrays import sum_in_order
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import MemoryLimit, Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.uncertainty import compute_tie_margin
from planner.search import search
from planner.search.ranked_plans import RankedPlans
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from tests.examples import clusters, lab, lab_scenario, tiny, workloads

Row = dict[str, int]
SPACE = Space(16, 32, {"vpp": (1, 2), "micro_batch": (1, 2, 4)})


def list_scored_plans(scenario: Scenario, space: Space) -> list[tuple[Row, float, float]]:
    """Every plan that fits, by step time: its values, step time and memory."""
    plans = search_plans(scenario, space, SearchTarget(top=None)).best
    if not len(plans):
        return []
    times = compute_step_costs(scenario, plans).step_time_s.tolist()
    sizes = sum_in_order(compute_peak_memory_bytes(scenario, plans).values()).tolist()
    return [(plans.get_row(i), times[i], sizes[i]) for i in range(len(plans))]


def rank_simplicity(plan: tuple[Row, float, float]) -> tuple[float, ...]:
    """The total order, smaller is simpler."""
    row, step_time_s, size = plan
    dimensions = sum(row[name] > 1 for name in ("tp", "pp", "cp", "ep"))
    time_class = math.floor(math.log(step_time_s) / math.log(1.01))
    return dimensions, row["tp"] * row["cp"] * row["vpp"], time_class, size, step_time_s


def choose_slowly(plans: list[tuple[Row, float, float]], margin: float, top: int, diverse: bool) -> list[Row]:
    """The simplest of the plans within the margin, the fastest, then the others by step time."""
    tied = [plan for plan in plans if plan[1] <= plans[0][1] * (1 + margin)]
    first = min(tied, key=rank_simplicity)
    heads = [first] if first is plans[0] else [first, plans[0]]
    others = [plan for plan in plans if all(plan is not head for head in heads)]
    rows = [plan[0] for plan in heads]
    for plan in others:
        degrees = [{name: row[name] for name in ("tp", "pp", "cp", "dp", "ep")} for row in (plan[0], *rows)]
        if not diverse or degrees[0] not in degrees[1:]:
            rows.append(plan[0])
    return rows[:top]


def list_rows(result: search.SearchResult) -> list[Row]:
    return [result.best.get_row(i) for i in range(len(result.best))]


@settings(max_examples=25, deadline=None)
@given(workloads(), clusters(), st.sampled_from((0.01, 0.08, 0.5, 3.0)), st.integers(1, 6), st.booleans())
def test_the_first_plans_are_those_of_a_slow_loop(workload, cluster, margin, top, diverse) -> None:
    scenario = build_scenario(workload, cluster, global_batch=4)
    space = Space(min(cluster.devices, 4), 4, {"vpp": (1, 2), "micro_batch": (1, 2)})
    plans = list_scored_plans(scenario, space)
    if plans:
        result = search_plans(scenario, space, SearchTarget(top=top, diverse=diverse, margin=margin))
        assert list_rows(result) == choose_slowly(plans, margin, top, diverse)
        assert result.least_figure == plans[0][1]


@pytest.mark.parametrize("margin", [0.02, 0.08, 0.3, 2.0])
@pytest.mark.parametrize("chunk", [1, 7, 2_000])
def test_pruning_by_bounds_changes_nothing(margin: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = lab_scenario(tiny(), lab(memory=3))
    plans = list_scored_plans(scenario, SPACE)
    monkeypatch.setattr(search, "_LAYOUTS_PER_CHUNK", chunk)
    for diverse in (False, True):
        for top in (1, 2, 5):
            result = search_plans(scenario, SPACE, SearchTarget(top=top, diverse=diverse, margin=margin))
            assert list_rows(result) == choose_slowly(plans, margin, top, diverse)


def test_several_scenarios_compete_as_one() -> None:
    limits = [MemoryLimit(share=share) for share in (0.5, 1.0)]
    scenarios = [replace(lab_scenario(tiny(), lab(memory=3)), memory_limit=limit) for limit in limits]
    target = SearchTarget(top=4, margin=0.2)
    both = search_plans(scenarios, SPACE, target)
    assert list_rows(both)[0] == list_rows(search_plans(scenarios[1], SPACE, target))[0]


def test_the_first_is_within_the_margin_and_no_simpler_plan_is() -> None:
    scenario, margin = lab_scenario(tiny(), lab(memory=3)), compute_tie_margin()
    plans = list_scored_plans(scenario, SPACE)
    result = search_plans(scenario, SPACE, SearchTarget(top=3, margin=margin))
    assert result.figures[0, 0] <= result.least_figure * (1 + margin)
    first = next(plan for plan in plans if plan[0] == list_rows(result)[0])
    simpler = [plan for plan in plans if rank_simplicity(plan) < rank_simplicity(first)]
    assert all(plan[1] > result.least_figure * (1 + margin) for plan in simpler)


def test_without_a_margin_plans_are_in_the_order_of_the_objective() -> None:
    scenario = lab_scenario(tiny(), lab(memory=3))
    result = search_plans(scenario, SPACE, SearchTarget(top=9))
    assert (np.diff(result.figures[:, 0]) >= 0).all()


def test_no_layout_is_dropped_whose_plans_may_be_preferred() -> None:
    scenario = lab_scenario(tiny(), lab(memory=3))
    strategies = search_plans(scenario, SPACE, SearchTarget(top=1)).best
    best = RankedPlans(strategies, np.zeros(1, int), np.array([[2.0]]), np.ones(1), np.zeros(1, int))
    assert SearchTarget(top=1).compute_threshold(best) == 2.0
    assert SearchTarget(top=1, margin=0.5).compute_threshold(best) == 3.0
    assert SearchTarget(top=2, margin=0.5).compute_threshold(best) == math.inf
