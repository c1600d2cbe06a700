"""Settings that a search leaves open: each is a question of its own, and the laws that each obeys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.model.cluster import Host
from planner.cost.memory import compute_host_memory_bytes, compute_peak_memory_bytes
from planner.cost.plan_tables import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.settings import SETTINGS
from planner.cost.step import STEP_TERMS, compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.search.search import SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.studies.plan_parts import build_settings_part
from tests.examples import lab, lab_scenario, tiny, workloads

HOST = Host(memory_bytes=2e12, memory_bandwidth_bytes_per_s=4e11, link_bytes_per_s=3e10)
plans = st.builds(
    build_strategy,
    tp=st.sampled_from([1, 2]),
    pp=st.sampled_from([1, 2, 4]),
    dp=st.sampled_from([1, 2]),
    cp=st.sampled_from([1, 2]),
    vpp=st.just(1),
    micro_batch=st.sampled_from([1, 2]),
    zero_stage=st.integers(0, 3),
    recompute=st.integers(0, 2),
    sequence_parallel=st.integers(0, 1),
)
VALUES = [
    (name, value)
    for name, setting in SETTINGS.items()
    for value in (*setting.values, *(("1", "2", "3") if setting.kind == "count" else ()))
]


def with_host(q: Scenario) -> Scenario:
    return replace(q, host=HOST, devices_per_host=4)


def step(q: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(q, s).step_time_s[0])


def held(q: Scenario, s: Strategies) -> float:
    return float(sum(part[0] for part in compute_peak_memory_bytes(q, s).values()))


def under(q: Scenario, **values: str) -> Scenario:
    (changed,) = enumerate_setting_scenarios(q, {name: (value,) for name, value in values.items()})
    return changed


def in_words(told: object) -> str:
    """A setting of the document as an option names it."""
    if isinstance(told, bool):
        return "yes" if told else "no"
    if isinstance(told, list):
        return "+".join(told) or "none"
    return "all" if told is None else str(told)


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_a_setting_is_taken_and_told(name: str, value: str) -> None:
    told = getattr(build_settings_part(under(with_host(lab_scenario()), **{name: value})), name)
    assert in_words(told) == value


@pytest.mark.parametrize(("name", "value"), VALUES)
@settings(max_examples=8)
@given(workloads(), plans)
def test_terms_add_up_under_every_setting(name: str, value: str, workload, plan) -> None:
    q = under(with_host(lab_scenario(workload)), **{name: value})
    scores = compute_step_costs(q, plan)
    assert list(scores.terms) == list(STEP_TERMS)
    assert abs(sum(float(v[0]) for v in scores.terms.values()) - step(q, plan)) < 1e-9
    assert all(np.isfinite(v[0]) and v[0] >= 0 for v in scores.terms.values())
    assert np.isfinite(held(q, plan)) and held(q, plan) > 0


def test_the_best_over_settings_is_the_best_of_each_alone() -> None:
    q, space = with_host(lab_scenario(tiny(), lab(memory=3))), Space(16, 32, {"vpp": (1, 2)})
    allowed = {
        "schedule": ("1f1b", "zero-bubble"),
        "offload": ("none", "optimizer"),
        "order": SETTINGS["order"].values[::4],
    }
    every = list(enumerate_setting_scenarios(q, allowed))
    assert len(every) == 24
    together = search_plans(every, space, SearchTarget(top=4))
    # a setting that makes no difference to a plan does not make it two plans
    alone = {
        (float(found.figures[row, 0]), tuple(found.best.get_row(row).values()))
        for found in (search_plans(one, space, SearchTarget(top=4)) for one in every)
        for row in range(4)
    }
    assert together.figures[:, 0].tolist() == [figure for figure, _ in sorted(alone)[:4]]
    tallies = [search_plans(one, space).stats for one in every]
    assert together.stats.candidates == sum(one.candidates for one in tallies)
    assert together.stats.feasible == sum(one.feasible for one in tallies)
    for figure, number, row in zip(together.figures[:, 0], together.scenario_index, range(4), strict=True):
        assert step(every[int(number)], together.best.take(np.array([row]))) == figure


def test_no_plan_is_told_twice() -> None:
    q = lab_scenario()
    every = list(enumerate_setting_scenarios(q, {"schedule": ("1f1b", "zero-bubble"), "tp_overlap": ("no", "yes")}))
    found = search_plans(every, Space(16, 32, {"tp": (1,), "pp": (1,), "vpp": (1,)}), SearchTarget(top=30))
    rows = [tuple(found.best.get_row(i).values()) for i in range(30)]
    assert len(set(rows)) == 30


def tally_of(**values: str) -> tuple[dict[str, int], set[tuple[int, ...]]]:
    """What each rule cut, and the splits of the best plans, under some settings."""
    space = Space(16, 32, {"vpp": (1, 2), "micro_batch": (1,), "recompute": (0,), "sequence_parallel": (0,)})
    found = search_plans(under(lab_scenario(), **values), space, SearchTarget(top=10_000))
    assert found.stats.candidates == found.stats.feasible + sum(found.stats.rejected_by.values())
    names = ("tp", "pp", "cp", "dp", "vpp", "zero_stage")
    rows = [found.best.get_row(i) for i in range(len(found.best))]
    return found.stats.rejected_by, {tuple(row[name] for name in names) for row in rows}


def test_the_zero_bubble_schedule_is_not_interleaved() -> None:
    cut, plans = tally_of(schedule="zero-bubble")
    assert cut["zero-bubble-has-one-chunk"] > 0
    assert {plan[4] for plan in plans} == {1}
    assert tally_of()[0]["zero-bubble-has-one-chunk"] == 0


def test_all_to_all_has_a_head_for_every_rank() -> None:
    cut, plans = tally_of(cp_exchange="all-to-all")
    assert cut["all-to-all-divides-heads"] > 0
    assert all(8 % (tp * cp) == 0 for tp, _, cp, *_ in plans)
    assert any(tp * cp > 8 and cp > 1 for tp, _, cp, *_ in tally_of()[1])


def test_a_sharding_group_divides_the_ranks() -> None:
    cut, plans = tally_of(shard_group="4")
    assert cut["shard-group-divides"] > 0
    assert all(cp * dp % 4 == 0 for _, _, cp, dp, _, zero in plans if zero)
    assert any(cp * dp == 2 for _, _, cp, dp, _, zero in plans if not zero)


def test_what_is_recomputed_in_part_counts_in_part() -> None:
    q, plan = lab_scenario(), build_strategy(dp=16, recompute=2)
    some, every = compute_step_costs(under(q, recompute_layers="2"), plan), compute_step_costs(q, plan)
    again = [float(one.hfu[0] / one.mfu[0] - 1) for one in (some, every)]
    assert again[0] == pytest.approx(again[1] / 4)  # two of eight layers


@settings(max_examples=20)
@given(workloads(), plans)
def test_zero_bubble_never_waits_longer(workload, plan) -> None:
    q = lab_scenario(workload)
    plain, zero = compute_step_costs(q, plan), compute_step_costs(under(q, schedule="zero-bubble"), plan)
    assert zero.terms["pipeline_bubble"][0] <= plain.terms["pipeline_bubble"][0]
    assert zero.step_time_s[0] <= plain.step_time_s[0]


@settings(max_examples=20)
@given(workloads(), plans, st.sampled_from(["tp_overlap", "dp_overlap"]))
def test_hiding_an_exchange_never_slows_a_step(workload, plan, name) -> None:
    q = lab_scenario(workload)
    assert step(under(q, **{name: "yes"}), plan) <= step(under(q, **{name: "no"}), plan) * (1 + 1e-12)


@settings(max_examples=20)
@given(workloads(), plans, st.sampled_from(["optimizer", "activations", "weights"]))
def test_offload_trades_time_for_memory(workload, plan, what) -> None:
    q = with_host(lab_scenario(workload))
    there = under(q, offload=what)
    assert held(there, plan) <= held(q, plan)
    assert step(there, plan) >= step(q, plan) - float(compute_step_costs(q, plan).terms["optimizer"][0])
    kept = compute_host_memory_bytes(
        there, plan, build_plan_tables(there, plan), (int(plan.zero_stage[0]),), (int(plan.recompute[0]),)
    )
    assert kept[0, 0, 0] >= 0


def test_weights_come_from_the_host_in_shards() -> None:
    q = under(with_host(lab_scenario(tiny(), lab(nodes=1))), offload="weights")
    whole, shared = (compute_step_costs(q, build_strategy(dp=4, zero_stage=zero)) for zero in (0, 3))
    moved = [float(one.terms["offload"][0] + one.overlapped["offload"][0]) for one in (whole, shared)]
    assert moved[1] == pytest.approx(moved[0] / 4)


def test_only_what_is_kept_goes_to_the_host() -> None:
    q = under(with_host(lab_scenario(tiny(vocab_size=64))), offload="activations")
    kept, none = (compute_step_costs(q, build_strategy(dp=16, recompute=mode)) for mode in (2, 0))
    moved = [float(one.terms["offload"][0] + one.overlapped["offload"][0]) for one in (kept, none)]
    # 2 bytes of each value of each layer's input, down and up again, for two micro-batches
    assert moved[0] == pytest.approx(2 * 2 * 8 * 1024 * 512 * 2 / HOST.link_bytes_per_s)
    assert moved[1] > 10 * moved[0]


def test_what_is_offloaded_must_fit_in_the_host() -> None:
    space = Space(16, 32, {"vpp": (1,), "zero_stage": (0,)})
    q = under(with_host(lab_scenario()), offload="optimizer")
    roomy = search_plans(q, space).stats
    tight = search_plans(replace(q, host=replace(HOST, memory_bytes=4e8)), space).stats
    assert roomy.rejected_by["host-memory"] == 0
    assert 0 < tight.rejected_by["host-memory"] < roomy.feasible
    assert tight.feasible + tight.rejected_by["host-memory"] == roomy.feasible
    assert tight.candidates == tight.feasible + sum(tight.rejected_by.values())
    # 12 bytes of each parameter of the device's stage, for four devices
    one = build_strategy(dp=16)
    on_host = compute_host_memory_bytes(q, one, build_plan_tables(q, one), (0,), (0,))[0, 0, 0]
    assert on_host == pytest.approx(4 * 12 * q.workload.parameters)


@settings(max_examples=40)
@given(workloads(), plans, st.integers(1, 4))
def test_recomputing_some_layers_lies_between_none_and_all(workload, plan, layers) -> None:
    q = lab_scenario(workload)
    none, full = replace(plan, recompute=0 * plan.recompute), replace(plan, recompute=0 * plan.recompute + 2)
    some = under(q, recompute_layers=str(layers))
    assert step(q, none) <= step(some, full) * (1 + 1e-12) and step(some, full) <= step(q, full) * (1 + 1e-12)
    more = under(q, recompute_layers=str(layers + 1))
    assert step(some, full) <= step(more, full) * (1 + 1e-12)
    assert held(more, full) <= held(some, full) * (1 + 1e-12)
    assert step(under(q, recompute_layers="1000"), full) == step(q, full)


def test_hybrid_sharding_keeps_more_and_gathers_nearer() -> None:
    q = lab_scenario(tiny(), lab(nic=25))
    wide = build_strategy(dp=16, zero_stage=3)
    inside = under(q, shard_group="4")
    assert held(inside, wide) > held(q, wide)
    gathered = [float(compute_step_costs(one, wide).terms["data_parallel"][0]) for one in (q, inside)]
    assert gathered[1] < gathered[0]
    assert step(under(q, shard_group="16"), wide) == step(q, wide)


def test_the_order_of_dimensions_decides_who_is_near() -> None:
    q = lab_scenario(tiny(), lab(nic=25))
    plan = build_strategy(cp=4, dp=4)
    near, far = under(q, order="tp-cp-dp-pp"), under(q, order="tp-dp-cp-pp")
    assert (
        compute_step_costs(near, plan).terms["context_parallel"][0]
        < compute_step_costs(far, plan).terms["context_parallel"][0]
    )
    stages = build_strategy(pp=4, dp=4, micro_batch=2)
    inner, outer = under(q, order="tp-pp-dp-cp"), under(q, order="tp-dp-cp-pp")
    assert (
        compute_step_costs(inner, stages).terms["pipeline_send"][0]
        < compute_step_costs(outer, stages).terms["pipeline_send"][0]
    )
    assert (
        compute_step_costs(inner, stages).terms["data_parallel"][0]
        > compute_step_costs(outer, stages).terms["data_parallel"][0]
    )
