"""Settings that a search leaves open: each combination is a scenario of its own, and the laws that each obeys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.model.cluster import Host
from planner.cost.memory.peak import compute_host_memory_bytes, compute_peak_memory_bytes
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.settings import SETTINGS
from planner.cost.step import STEP_TERMS, compute_step_costs
from planner.cost.strategies import Strategies, build_strategy, join_strategies
from planner.search.search import SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.studies.plan_parts import build_settings_part
from planner.workload.operators import Workload
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


def add_host(scenario: Scenario) -> Scenario:
    return replace(scenario, host=HOST, devices_per_host=4)


PRECISIONS = {
    **{("fp8_recipe", recipe): "fp8" for recipe in ("delayed", "tensorwise", "rowwise", "blockwise")},
    **{("fp8_recipe", recipe): recipe for recipe in ("mxfp8", "nvfp4")},
    ("weights", "fp8"): "fp8",
}
"""Precisions with which alone a setting can have a value."""


def add_host_and_formats(scenario: Scenario, name: str, value: str) -> Scenario:
    """A scenario in which the setting can have this value."""
    peak_flops = {**scenario.accelerator.peak_flops, **dict.fromkeys(("fp8", "mxfp8", "nvfp4"), 6e14)}
    accelerator = replace(scenario.accelerator, peak_flops=peak_flops, architecture="blackwell")
    precision = PRECISIONS.get((name, value), scenario.precision)
    return add_host(replace(scenario, accelerator=accelerator, precision=precision))


def compute_step_s(scenario: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(scenario, s).step_time_s[0])


def compute_memory_bytes(scenario: Scenario, s: Strategies) -> float:
    return float(sum(part[0] for part in compute_peak_memory_bytes(scenario, s).values()))


def apply_settings(scenario: Scenario, **values: str) -> Scenario:
    (changed,) = enumerate_setting_scenarios(scenario, {name: (value,) for name, value in values.items()})
    return changed


def format_setting(value: object) -> str:
    """A setting of the document as an option names it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_a_setting_is_applied_and_stands_in_the_document(name: str, value: str) -> None:
    scenario = apply_settings(add_host_and_formats(lab_scenario(), name, value), **{name: value})
    assert format_setting(getattr(build_settings_part(scenario), name)) == value


@settings(max_examples=2)
@given(workloads(), st.lists(plans, min_size=8, max_size=8))
def test_terms_add_up_under_every_setting(workload: Workload, several: list[Strategies]) -> None:
    scenario, s = lab_scenario(workload), join_strategies(several)
    for name, value in VALUES:
        changed = apply_settings(add_host_and_formats(scenario, name, value), **{name: value})
        tables = build_plan_tables(changed, s)
        costs = compute_step_costs(changed, s, tables)
        assert list(costs.terms) == list(STEP_TERMS)
        assert np.abs(sum(costs.terms.values()) - costs.step_time_s).max() < 1e-9, (name, value)
        assert all(np.isfinite(term_s).all() and (term_s >= 0).all() for term_s in costs.terms.values()), (
            name,
            value,
        )
        memory_bytes = sum(compute_peak_memory_bytes(changed, s, tables).values())
        assert (np.isfinite(memory_bytes) & (memory_bytes > 0)).all(), (name, value)


def test_the_best_over_settings_is_the_best_of_each_alone() -> None:
    scenario, space = add_host(lab_scenario(tiny(), lab(memory=3))), Space(16, 32, {"vpp": (1, 2)})
    allowed = {
        "schedule": ("1f1b", "zero-bubble"),
        "offload": ("none", "optimizer"),
        "order": SETTINGS["order"].values[::8],
    }
    every = list(enumerate_setting_scenarios(scenario, allowed))
    assert len(every) == 12
    together = search_plans(every, space, SearchTarget(top=4))
    # a setting that makes no difference to a plan does not make it two plans
    alone = {
        (float(result.figures[row, 0]), tuple(result.best.get_row(row).values()))
        for result in (search_plans(single, space, SearchTarget(top=4)) for single in every)
        for row in range(4)
    }
    assert together.figures[:, 0].tolist() == [figure for figure, _ in sorted(alone)[:4]]
    tallies = [search_plans(single, space).stats for single in every]
    assert together.stats.candidates == sum(single.candidates for single in tallies)
    assert together.stats.feasible == sum(single.feasible for single in tallies)
    for figure, number, row in zip(together.figures[:, 0], together.scenario_index, range(4), strict=True):
        assert compute_step_s(every[int(number)], together.best.take(np.array([row]))) == figure


def test_no_plan_is_listed_twice() -> None:
    scenario = lab_scenario()
    every = list(
        enumerate_setting_scenarios(scenario, {"schedule": ("1f1b", "zero-bubble"), "tp_overlap": ("no", "yes")})
    )
    result = search_plans(every, Space(16, 32, {"tp": (1,), "pp": (1,), "vpp": (1,)}), SearchTarget(top=30))
    rows = [tuple(result.best.get_row(i).values()) for i in range(30)]
    assert len(set(rows)) == 30


def search_under(**values: str) -> tuple[dict[str, int], set[tuple[int, ...]]]:
    """How many candidates each rule rejects, and the splits of the best plans, under some settings."""
    space = Space(16, 32, {"vpp": (1, 2), "micro_batch": (1,), "recompute": (0,), "sequence_parallel": (0,)})
    result = search_plans(apply_settings(lab_scenario(), **values), space, SearchTarget(top=10_000))
    assert result.stats.candidates == result.stats.feasible + sum(result.stats.rejected_by.values())
    names = ("tp", "pp", "cp", "dp", "vpp", "zero_stage")
    rows = [result.best.get_row(i) for i in range(len(result.best))]
    return result.stats.rejected_by, {tuple(row[name] for name in names) for row in rows}


def test_the_zero_bubble_schedule_is_not_interleaved() -> None:
    rejected, plans = search_under(schedule="zero-bubble")
    assert rejected["zero-bubble-has-one-chunk"] > 0
    assert {plan[4] for plan in plans} == {1}
    assert search_under()[0]["zero-bubble-has-one-chunk"] == 0


def test_all_to_all_has_a_head_for_every_rank() -> None:
    rejected, plans = search_under(cp_exchange="all-to-all")
    assert rejected["all-to-all-divides-heads"] > 0
    assert all(8 % (tp * cp) == 0 for tp, _, cp, *_ in plans)
    assert any(tp * cp > 8 and cp > 1 for tp, _, cp, *_ in search_under()[1])


def test_a_sharding_group_divides_the_ranks() -> None:
    rejected, plans = search_under(shard_group="4")
    assert rejected["shard-group-divides"] > 0
    assert all(cp * dp % 4 == 0 for _, _, cp, dp, _, zero in plans if zero)
    assert any(cp * dp == 2 for _, _, cp, dp, _, zero in plans if not zero)


def test_recomputation_of_some_layers_counts_in_part() -> None:
    scenario, plan = lab_scenario(), build_strategy(dp=16, recompute=2)
    partly, every = (
        compute_step_costs(apply_settings(scenario, recompute_layers="2"), plan),
        compute_step_costs(scenario, plan),
    )
    repeated = [float(costs.hfu[0] / costs.mfu[0] - 1) for costs in (partly, every)]
    assert repeated[0] == pytest.approx(repeated[1] / 4)  # two of eight layers


@settings(max_examples=20)
@given(workloads(), plans)
def test_zero_bubble_never_waits_longer(workload, plan) -> None:
    scenario = lab_scenario(workload)
    plain, zero = (
        compute_step_costs(scenario, plan),
        compute_step_costs(apply_settings(scenario, schedule="zero-bubble"), plan),
    )
    assert zero.terms["pipeline_bubble"][0] <= plain.terms["pipeline_bubble"][0]
    assert zero.step_time_s[0] <= plain.step_time_s[0]


@settings(max_examples=20)
@given(workloads(), plans, st.sampled_from(["tp_overlap", "dp_overlap", "gather_overlap"]))
def test_overlapping_communication_never_slows_a_step(workload, plan, name) -> None:
    scenario = lab_scenario(workload)
    assert compute_step_s(apply_settings(scenario, **{name: "yes"}), plan) <= compute_step_s(
        apply_settings(scenario, **{name: "no"}), plan
    ) * (1 + 1e-12)


@settings(max_examples=20)
@given(workloads(), plans, st.sampled_from(["optimizer", "activations", "weights"]))
def test_offload_trades_time_for_memory(workload, plan, offload) -> None:
    scenario = add_host(lab_scenario(workload))
    there = apply_settings(scenario, offload=offload)
    assert compute_memory_bytes(there, plan) <= compute_memory_bytes(scenario, plan)
    here_costs, there_tables = compute_step_costs(scenario, plan), build_plan_tables(there, plan)
    there_s = float(compute_step_costs(there, plan, there_tables).step_time_s[0])
    assert there_s >= float(here_costs.step_time_s[0]) - float(here_costs.terms["optimizer"][0])
    kept = compute_host_memory_bytes(there, plan, there_tables, (int(plan.zero_stage[0]),), (int(plan.recompute[0]),))
    assert kept[0, 0, 0] >= 0


def test_an_offloaded_optimizer_that_updates_on_the_device_keeps_its_master_weights_there() -> None:
    scenario = add_host(lab_scenario(tiny(), lab(nodes=1)))
    scenario = replace(scenario, trainer=replace(scenario.trainer, updates_on_host=False))
    there, plan = apply_settings(scenario, offload="optimizer"), build_strategy(dp=4, zero_stage=1)
    here_costs, there_costs = (compute_step_costs(one, plan) for one in (scenario, there))
    parameters = (compute_memory_bytes(scenario, plan) - compute_memory_bytes(there, plan)) / 8
    # 8 bytes of moments a parameter, there and back, and the update where it was
    assert there_costs.terms["offload"][0] == pytest.approx(2 * 8 * parameters / HOST.link_bytes_per_s)
    assert there_costs.terms["optimizer"][0] == here_costs.terms["optimizer"][0] > 0
    assert parameters == pytest.approx(scenario.workload.parameters / 4, rel=0.01)


def test_weights_come_from_the_host_in_shards() -> None:
    scenario = apply_settings(add_host(lab_scenario(tiny(), lab(nodes=1))), offload="weights")
    whole, shared = (compute_step_costs(scenario, build_strategy(dp=4, zero_stage=zero)) for zero in (0, 3))
    moved = [float(costs.terms["offload"][0] + costs.overlapped["offload"][0]) for costs in (whole, shared)]
    assert moved[1] == pytest.approx(moved[0] / 4)


def test_only_saved_activations_go_to_the_host() -> None:
    scenario = apply_settings(add_host(lab_scenario(tiny(vocab_size=64))), offload="activations")
    kept, none = (compute_step_costs(scenario, build_strategy(dp=16, recompute=mode)) for mode in (2, 0))
    moved = [float(costs.terms["offload"][0] + costs.overlapped["offload"][0]) for costs in (kept, none)]
    # 2 bytes of each value of each layer's input, down and up again, for two micro-batches
    assert moved[0] == pytest.approx(2 * 2 * 8 * 1024 * 512 * 2 / HOST.link_bytes_per_s)
    assert moved[1] > 10 * moved[0]


def test_offloaded_tensors_must_fit_in_the_host() -> None:
    space = Space(16, 32, {"vpp": (1,), "zero_stage": (0,)})
    scenario = apply_settings(add_host(lab_scenario()), offload="optimizer")
    roomy = search_plans(scenario, space).stats
    tight = search_plans(replace(scenario, host=replace(HOST, memory_bytes=4e8)), space).stats
    assert roomy.rejected_by["host-memory"] == 0
    assert 0 < tight.rejected_by["host-memory"] < roomy.feasible
    assert tight.feasible + tight.rejected_by["host-memory"] == roomy.feasible
    assert tight.candidates == tight.feasible + sum(tight.rejected_by.values())
    # 12 bytes of each parameter of the device's stage, for four devices
    plan = build_strategy(dp=16)
    on_host = compute_host_memory_bytes(scenario, plan, build_plan_tables(scenario, plan), (0,), (0,))[0, 0, 0]
    assert on_host == pytest.approx(4 * 12 * scenario.workload.parameters)


@settings(max_examples=15)
@given(workloads(), plans, st.integers(1, 4))
def test_recomputing_part_of_the_layers_lies_between_none_and_all(workload, plan, layers) -> None:
    scenario = lab_scenario(workload)
    none, full = replace(plan, recompute=0 * plan.recompute), replace(plan, recompute=0 * plan.recompute + 2)
    partly = apply_settings(scenario, recompute_layers=str(layers))
    none_s, partly_s, full_s = (
        compute_step_s(scenario, none),
        compute_step_s(partly, full),
        compute_step_s(scenario, full),
    )
    assert none_s <= partly_s * (1 + 1e-12) and partly_s <= full_s * (1 + 1e-12)
    more = apply_settings(scenario, recompute_layers=str(layers + 1))
    assert partly_s <= compute_step_s(more, full) * (1 + 1e-12)
    assert compute_memory_bytes(more, full) <= compute_memory_bytes(partly, full) * (1 + 1e-12)
    assert compute_step_s(apply_settings(scenario, recompute_layers="1000"), full) == full_s


def test_hybrid_sharding_takes_more_memory_and_less_communication() -> None:
    scenario = lab_scenario(tiny(), lab(nic=25))
    wide = build_strategy(dp=16, zero_stage=3)
    inside = apply_settings(scenario, shard_group="4")
    assert compute_memory_bytes(inside, wide) > compute_memory_bytes(scenario, wide)
    communicated = [float(compute_step_costs(state, wide).terms["data_parallel"][0]) for state in (scenario, inside)]
    assert communicated[1] < communicated[0]
    assert compute_step_s(apply_settings(scenario, shard_group="16"), wide) == compute_step_s(scenario, wide)


def test_the_order_of_dimensions_decides_which_ranks_are_near() -> None:
    scenario = lab_scenario(tiny(), lab(nic=25))
    plan = build_strategy(cp=4, dp=4)
    near, far = apply_settings(scenario, order="tp-cp-dp-pp"), apply_settings(scenario, order="tp-dp-cp-pp")
    assert (
        compute_step_costs(near, plan).terms["context_parallel"][0]
        < compute_step_costs(far, plan).terms["context_parallel"][0]
    )
    stages = build_strategy(pp=4, dp=4, micro_batch=2)
    inner, outer = apply_settings(scenario, order="tp-pp-dp-cp"), apply_settings(scenario, order="tp-dp-cp-pp")
    assert (
        compute_step_costs(inner, stages).terms["pipeline_send"][0]
        < compute_step_costs(outer, stages).terms["pipeline_send"][0]
    )
    assert (
        compute_step_costs(inner, stages).terms["data_parallel"][0]
        > compute_step_costs(outer, stages).terms["data_parallel"][0]
    )
