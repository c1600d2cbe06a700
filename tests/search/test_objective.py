"""Objectives: every figure by a slow loop, the Pareto front, diverse plans, ranges of batches."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.arrays import sum_in_order
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.operations.energy import compute_energy_j
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.errors import InputError
from planner.search.objective import Objective, ObjectiveName, check_objectives_known, compute_mean_critical_batch
from planner.search.pareto import find_pareto_front
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from tests.examples import clusters, lab, lab_scenario, tiny, workloads

NAMES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
ALL_PLANS = 100_000
SPACE = Space(16, 32, {"vpp": (1, 2), "micro_batch": (1, 2)})


def price_scenario(scenario: Scenario) -> Scenario:
    """With a rent and a power."""
    return replace(
        scenario, usd_per_device_hour=2.0, accelerator=replace(scenario.accelerator, tdp_w=700.0, idle_w=90.0)
    )


def test_every_objective_orders_all_plans() -> None:
    scenario = price_scenario(lab_scenario(tiny(), lab(memory=4.5)))
    for name in NAMES:
        all_plans = search_plans(scenario, SPACE, SearchTarget((Objective(name),), top=ALL_PLANS))
        assert len(all_plans.best) == all_plans.stats.feasible
        assert (np.diff(all_plans.figures[:, 0]) >= 0).all()
        few = search_plans(scenario, SPACE, SearchTarget((Objective(name),), top=7))
        assert few.figures.tolist() == all_plans.figures[:7].tolist()
        assert [few.best.get_row(i) for i in range(7)] == [all_plans.best.get_row(i) for i in range(7)]


def is_dominated(row: tuple[float, ...], rows: set[tuple[float, ...]]) -> bool:
    return any(other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows)


@settings(max_examples=15)
@given(workloads(), clusters(), st.permutations(NAMES), st.integers(2, 3))
def test_the_front_is_that_of_a_slow_loop(workload, cluster, names, count) -> None:
    scenario = price_scenario(build_scenario(workload, cluster, global_batch=4))
    space = Space(min(cluster.devices, 4), 4, {"vpp": (1,), "micro_batch": (1, 2)})
    objectives = tuple(Objective(name) for name in names[:count])
    front = search_plans(scenario, space, SearchTarget(objectives, top=None))
    if not front.stats.feasible:
        assert not len(front.best)
        return
    front_figures = {tuple(row) for row in front.figures.tolist()}
    all_plans = compute_all_figures(scenario, space, objectives)
    assert front_figures == {row for row in all_plans if not is_dominated(row, all_plans)}
    assert len(front_figures) == len(front.best)
    assert front.stats == search_plans(scenario, space).stats


def compute_all_figures(
    scenario: Scenario, space: Space, objectives: tuple[Objective, ...]
) -> set[tuple[float, ...]]:
    """The figures of every plan that fits, from the list of all by step time."""
    plans = search_plans(scenario, space, SearchTarget(top=ALL_PLANS)).best
    scores, memory_bytes = (
        compute_step_costs(scenario, plans),
        sum_in_order(compute_peak_memory_bytes(scenario, plans).values()),
    )
    joules = compute_energy_j(scenario, plans, scores)
    figures = (
        objective.compute_value(scenario, scores.step_time_s, lambda: joules, memory_bytes).tolist()
        for objective in objectives
    )
    return set(zip(*figures, strict=True))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_no_row_of_the_front_is_beaten_and_every_other_is(rows) -> None:
    table = np.array(sorted(rows), dtype=float)
    front = find_pareto_front(table)
    kept = [tuple(row) for row in table[front].tolist()]
    all_plans = {tuple(row) for row in table.tolist()}
    assert len(set(kept)) == len(kept)
    assert set(kept) == {row for row in all_plans if not is_dominated(row, all_plans)}


def test_diverse_plans_differ_in_their_degrees_and_each_is_the_best_with_its_degrees() -> None:
    scenario = lab_scenario(tiny(), lab(memory=4.5))
    all_plans = search_plans(scenario, SPACE, SearchTarget(top=ALL_PLANS))
    degrees = [
        tuple(all_plans.best.get_row(i)[name] for name in ("tp", "pp", "dp", "cp", "ep"))
        for i in range(len(all_plans.best))
    ]
    firsts = [degrees.index(split) for split in dict.fromkeys(degrees)][:6]
    diverse = search_plans(scenario, SPACE, SearchTarget(top=6, diverse=True))
    assert [diverse.best.get_row(i) for i in range(6)] == [all_plans.best.get_row(i) for i in firsts]


def test_over_several_batches_the_best_plan_is_the_fastest_by_token() -> None:
    batches = [lab_scenario(batch=batch) for batch in (16, 32, 64)]
    space = Space(16, 16, {"vpp": (1,)})
    result = search_plans(batches, space, SearchTarget((Objective(has_several_batches=True),), top=1))
    alone = [
        search_plans(scenario, replace(space, global_batch=scenario.global_batch), SearchTarget(top=1)).figures[0, 0]
        for scenario in batches
    ]
    by_token = [
        step / (scenario.global_batch * scenario.workload.seq_length)
        for step, scenario in zip(alone, batches, strict=True)
    ]
    assert result.figures[0, 0] == pytest.approx(min(by_token))
    assert int(result.scenario_index[0]) == int(np.argmin(by_token))


def test_beyond_the_critical_batch_more_tokens_help_less() -> None:
    small, large = lab_scenario(batch=16), lab_scenario(batch=64)
    ones = np.ones(1)

    def gain(critical: float) -> float:
        by_time = Objective("step-time", critical, True)
        figures = [by_time.compute_value(scenario, ones, lambda: ones, ones)[0] for scenario in (small, large)]
        return float(figures[0] / figures[1])

    tokens = 16 * small.workload.seq_length
    assert gain(0.0) == pytest.approx(4.0)
    # E (1 + B / critical) tokens: at the critical batch twice as many, at four times that five times
    assert gain(tokens) == pytest.approx(4.0 * 2 / 5)
    assert gain(tokens) < gain(100 * tokens) < 4.0


def test_a_critical_batch_that_grows_is_averaged_over_the_run() -> None:
    curve = [(0.0, 1e6), (1e12, 4e6), (9e12, 8e6)]
    assert compute_mean_critical_batch(curve[:1], 5e12) == 1e6
    assert compute_mean_critical_batch(curve, 1e12) == 1e6
    # a quarter of the run at 1M, three quarters at 4M: tokens wasted by a batch B are B (1/4 1e-6 + 3/4 0.25e-6)
    assert compute_mean_critical_batch(curve, 4e12) == pytest.approx(1 / (0.25e-6 + 0.75 * 0.25e-6))
    assert compute_mean_critical_batch(curve, 9e13) == pytest.approx(90 / (1 / 1e6 + 8 / 4e6 + 81 / 8e6))


@pytest.mark.parametrize(("name", "missing"), [("cost", "rental price"), ("energy", "power")])
def test_an_objective_without_its_figure_is_refused(name: ObjectiveName, missing: str) -> None:
    with pytest.raises(InputError, match=f"no {missing} of chip is known"):
        check_objectives_known((Objective(name),), lab_scenario())
    check_objectives_known((Objective(name),), price_scenario(lab_scenario()))
