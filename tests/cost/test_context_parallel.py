"""Hierarchical context parallelism: an all-to-all in a node and a ring beyond it, between both in what it sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.cost import collectives
from planner.cost.layer_tables import build_layer_tables, compute_all_to_all_ranks
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.trainers.names import CpCommType
from planner.workload.operators import Workload
from tests.examples import lab, lab_scenario, tiny


def compute_sent_bytes(workload: Workload, plan: Strategies, exchange: CpCommType) -> float:
    """Bytes that a rank sends in the forward pass of a layer to the ranks of its context-parallel group."""
    with collectives.record_choices() as choices:
        build_layer_tables(replace(lab_scenario(workload), cp_comm_type=exchange), plan)
    chosen = {(choice.collective, choice.size_bytes): choice for choice in choices if choice.axis == "context"}
    return sum(choice.size_bytes * (choice.ranks - 1) / choice.ranks for choice in chosen.values())


def compute_terms(workload: Workload, plan: Strategies, exchange: CpCommType, **node: float) -> dict[str, float]:
    costs = compute_step_costs(replace(lab_scenario(workload, lab(**node)), cp_comm_type=exchange), plan)
    return {name: float(seconds[0]) for name, seconds in costs.terms.items()}


@pytest.mark.parametrize("kv_heads", [2, 4, 8])
@pytest.mark.parametrize("cp", [8, 16])
def test_it_sends_what_lies_between_a_ring_and_an_all_to_all(kv_heads: int, cp: int) -> None:
    workload, plan = tiny(kv_heads=kv_heads, heads=16), build_strategy(cp=cp, dp=16 // cp)
    ring, hierarchical, all_to_all = (
        compute_sent_bytes(workload, plan, exchange) for exchange in ("ring", "hierarchical", "all-to-all")
    )
    assert min(ring, all_to_all) < hierarchical < max(ring, all_to_all)
    # of K bytes of keys and values and Q of queries and outputs, with a of c ranks in a node
    inner = int(compute_all_to_all_ranks(lab_scenario(workload), plan)[0])
    assert inner == min(4, kv_heads)
    keys = ring / (cp - 1)
    queries = keys * 16 / kv_heads
    assert hierarchical == pytest.approx((keys + queries) * (1 - 1 / inner) + keys * (cp / inner - 1))


@pytest.mark.parametrize(
    ("plan", "kv_heads", "same"),
    [
        (build_strategy(cp=4, dp=4), 8, "all-to-all"),
        (build_strategy(cp=4, dp=4), 1, "ring"),
        (build_strategy(tp=4, cp=4), 8, "ring"),
        (build_strategy(tp=2, cp=2, dp=4), 2, "ring"),
        (build_strategy(tp=2, cp=2, dp=4), 4, "all-to-all"),
    ],
)
def test_at_its_ends_it_is_the_one_or_the_other(plan: Strategies, kv_heads: int, same: CpCommType) -> None:
    workload = tiny(kv_heads=kv_heads)
    assert compute_terms(workload, plan, "hierarchical") == compute_terms(workload, plan, same)


def test_the_order_of_ranks_says_who_is_in_a_node() -> None:
    scenario, plan = lab_scenario(), build_strategy(cp=4, dp=4)
    inner = {
        order: int(compute_all_to_all_ranks(replace(scenario, rank_order=order), plan)[0])
        for order in ("tp-cp-dp-pp", "tp-dp-cp-pp")
    }
    assert inner == {"tp-cp-dp-pp": 4, "tp-dp-cp-pp": 1}


def test_it_beats_a_ring_where_the_network_is_slow() -> None:
    workload, plan = tiny(kv_heads=4, seq_length=65536), build_strategy(cp=16)
    ring, hierarchical = (
        compute_terms(workload, plan, x, nic=1)["context_parallel"] for x in ("ring", "hierarchical")
    )
    assert hierarchical < ring
