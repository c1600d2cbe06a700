"""The order of the dimensions on ranks: the usual order, or a better one for the best plan."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings

from planner.cluster.model.cluster import Cluster
from planner.cost.settings import RANK_ORDERS
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy, join_strategies
from planner.search.orders import TP_INNERMOST_ORDERS, search_rank_orders
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.operators import Workload
from planner.workload.spec import MoeSpec
from tests.examples import clusters, lab, lab_scenario, tiny, workloads
from tests.sample import mark_full

FIRST_PLAN = SearchTarget(top=1)


@pytest.mark.parametrize("order", mark_full(RANK_ORDERS, every=5))
@pytest.mark.parametrize(("experts", "trainer"), [(0, "megatron"), (8, "megatron"), (8, "maxtext")])
def test_a_plan_takes_as_long_among_others_as_alone(order: str, experts: int, trainer: TrainerName) -> None:
    # splits with the same tp and cp, whose groups lie elsewhere in the network
    splits = [(pp, dp, cp) for pp, dp, cp in itertools.product((1, 2, 4, 8), repeat=3) if pp * dp * cp == 8]
    model = tiny(moe=MoeSpec(experts=experts, topk=2, expert_ffn_size=128)) if experts else tiny()
    scenario = replace(lab_scenario(model, lab(nodes=4, oversubscription=4), batch=16), rank_order=order)
    scenario = replace(scenario, trainer=TRAINERS_BY_NAME[trainer])
    ep, etp = 4 if experts else 1, 2 if trainer == "maxtext" else 1
    plans = [
        build_strategy(tp=2, etp=etp, pp=pp, dp=dp, cp=cp, ep=ep if dp * cp >= ep else 1) for pp, dp, cp in splits
    ]
    together = compute_step_costs(scenario, join_strategies(plans)).step_time_s
    # of each order some of the splits, of all orders each
    for at in range(RANK_ORDERS.index(order) % 4, len(plans), 4):
        assert together[at] == compute_step_costs(scenario, plans[at]).step_time_s[0]


@settings(max_examples=6, deadline=None)
@given(workloads(), clusters())
def test_the_best_plan_lies_between_the_usual_order_and_the_best_of_all_orders(
    workload: Workload, cluster: Cluster
) -> None:
    scenario = lab_scenario(workload, cluster)
    space = Space(cluster.devices, scenario.global_batch, {"vpp": (1,)})
    usual, result = (
        search_plans(scenario, space, FIRST_PLAN),
        search_rank_orders([scenario], space, FIRST_PLAN, RANK_ORDERS),
    )
    if not usual.stats.feasible:
        assert not result.stats.feasible
        return
    every = search_plans([replace(scenario, rank_order=order) for order in TP_INNERMOST_ORDERS], space, FIRST_PLAN)
    assert every.figures[0, 0] <= result.figures[0, 0] <= usual.figures[0, 0]


def test_where_stages_are_far_apart_another_order_is_taken() -> None:
    # narrow uplinks: the dimension that crosses them most goes inside
    cluster = lab(nodes=4, nic=10, oversubscription=8)
    scenario = lab_scenario(tiny(seq_length=4096), cluster, batch=64)
    pins = {"tp": (1,), "pp": (4,), "dp": (4,), "cp": (1,), "zero_stage": (2,), "vpp": (1,), "micro_batch": (16,)}
    space = Space(16, 64, pins)
    result = search_rank_orders([scenario], space, FIRST_PLAN, RANK_ORDERS)
    every = search_plans([replace(scenario, rank_order=order) for order in TP_INNERMOST_ORDERS], space, FIRST_PLAN)
    assert result.figures[0, 0] == pytest.approx(every.figures[0, 0])
    assert result.figures[0, 0] < 0.5 * search_plans(scenario, space, FIRST_PLAN).figures[0, 0]
    assert result.scenarios[0].rank_order == "tp-cp-pp-dp"


def test_an_order_of_the_user_is_kept() -> None:
    cluster = lab(nodes=4, nic=10, oversubscription=8)
    scenario = replace(lab_scenario(tiny(), cluster, batch=64), rank_order="tp-pp-dp-cp")
    result = search_rank_orders([scenario], Space(16, 64), FIRST_PLAN, ["tp-pp-dp-cp"])
    assert {placed.rank_order for placed in result.scenarios} == {"tp-pp-dp-cp"}
