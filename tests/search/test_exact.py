"""The search returns exactly the plans of a slow loop over every candidate."""

from __future__ import annotations

import itertools
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.model.cluster import Host
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import STRATEGY_FIELDS, build_strategy, join_strategies
from planner.search.search import SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.workload.operators import Workload
from tests.examples import clusters, lab, lab_scenario, networks, tiny, workloads


def slow_loop(scenario: Scenario, space: Space) -> tuple[int, list[tuple[float, float, tuple[int, ...]]]]:
    """All candidates by plain loops: how many there are, and those that can run and fit.

    They are scored together; tests/cost/test_step.py tests that each scores the same alone.
    """
    w, devices, batch = scenario.workload, space.devices, space.global_batch
    free = {
        "tp": range(1, devices + 1),
        "pp": range(1, devices + 1),
        "cp": range(1, devices + 1),
        "dp": range(1, devices + 1),
        "etp": (1, 0) if w.experts else (1,),  # 0: as tp
        "ep": [e for e in range(1, max(w.experts, 1) + 1) if max(w.experts, 1) % e == 0],
        "sequence_parallel": (0, 1),
        "vpp": range(1, w.layer_count + 3),
        "micro_batch": [m for m in range(1, batch + 1) if batch % m == 0],
        "zero_stage": range(4),
        "recompute": range(3),
    }
    values = {name: [v for v in free[name] if v in space.allowed.get(name, (v,))] for name in free}
    splits = [
        split
        for split in itertools.product(*(values[name] for name in ("tp", "pp", "cp", "dp")))
        if np.prod(split) == devices
    ]
    inner = list(values.items())[4:]
    count, runnable = 0, []
    for split in splits:
        for rest in itertools.product(*(options for _, options in inner)):
            count += 1
            plan = dict(zip(list(values), (*split, *rest), strict=True))
            if plan["etp"] == 0:
                if plan["tp"] == 1:
                    continue  # the same plan as with 1
                plan["etp"] = plan["tp"]
            if not can_run(scenario, plan):
                continue
            runnable.append(build_strategy(**plan))
    if not runnable:
        return count, []
    memory_bytes = sum(compute_peak_memory_bytes(scenario, join_strategies(runnable)).values())
    fits = np.flatnonzero(memory_bytes <= scenario.accelerator.memory_bytes).tolist()
    steps = (
        compute_step_costs(scenario, join_strategies([runnable[i] for i in fits])).step_time_s.tolist()
        if fits
        else []
    )
    rows = [tuple(runnable[i].get_row(0).values()) for i in fits]
    return count, list(zip(steps, memory_bytes[fits].tolist(), rows, strict=True))


def has_enough_layers(w: Workload, p: dict[str, int]) -> bool:
    """A layer for every chunk, or embedding and head as chunks of their own."""
    return p["pp"] * p["vpp"] <= w.layer_count or p["pp"] * p["vpp"] == w.layer_count + 2


def can_run(scenario: Scenario, p: dict[str, int]) -> bool:
    """The rules, written down a second time in the plainest words."""
    w = scenario.workload
    if w.heads % p["tp"] or w.ffn_size % p["tp"] or (w.experts and 256 % p["tp"]):
        return False
    if w.kv_heads % p["tp"] and p["tp"] % w.kv_heads:
        return False
    if p["pp"] > w.layer_count or (p["vpp"] > 1 and (p["pp"] == 1 or not has_enough_layers(w, p))):
        return False
    if p["cp"] > 1 and w.seq_length % (2 * p["cp"]):
        return False
    if scenario.global_batch % (p["dp"] * p["micro_batch"]):
        return False
    micro_batches = scenario.global_batch // (p["dp"] * p["micro_batch"])
    if p["vpp"] > 1 and micro_batches % p["pp"]:
        return False
    if (max(w.experts, 1) % p["ep"]) or (p["tp"] // p["etp"] * p["dp"] * p["cp"]) % p["ep"]:
        return False
    if scenario.pipeline_schedule == "zero-bubble" and p["vpp"] > 1:
        return False
    if scenario.cp_comm_type == "all-to-all" and p["cp"] > 1 and w.heads % (p["tp"] * p["cp"]):
        return False
    if scenario.shard_group and p["zero_stage"] and p["dp"] * p["cp"] % scenario.shard_group:
        return False
    if p["sequence_parallel"] and (p["tp"] == 1 or (w.seq_length // p["cp"]) % p["tp"]):
        return False
    return not (p["zero_stage"] and p["dp"] * p["cp"] == 1)


allowed_values = st.fixed_dictionaries(
    {},
    optional={
        "tp": st.sampled_from([(1,), (2,), (1, 2)]),
        "pp": st.sampled_from([(1,), (2, 4)]),
        "dp": st.sampled_from([(1, 2), (4,)]),
        "recompute": st.sampled_from([(0,), (1, 2)]),
        "zero_stage": st.sampled_from([(1,), (0, 3)]),
        "vpp": st.sampled_from([(1,), (2, 3)]),
        "sequence_parallel": st.sampled_from([(0,), (1,)]),
    },
)


setting_values = st.fixed_dictionaries(
    {},
    optional={
        "schedule": st.just("zero-bubble"),
        "tp_overlap": st.just("yes"),
        "dp_overlap": st.just("no"),
        "cp_exchange": st.sampled_from(["all-gather", "all-to-all"]),
        "offload": st.sampled_from(["optimizer", "activations", "weights"]),
        "order": st.sampled_from(["tp-dp-cp-pp", "tp-pp-dp-cp"]),
        "shard_group": st.sampled_from(["2", "4"]),
        "recompute_layers": st.just("1"),
    },
)


@settings(max_examples=8)
@given(workloads(), clusters(), st.sampled_from([1, 4, 6]), allowed_values, setting_values, st.integers(1, 4))
def test_the_best_plans_equal_those_of_a_slow_loop(workload, cluster, batch, allowed, values, top) -> None:
    space = Space(min(cluster.devices, 4), batch, {"vpp": (1, 2), "micro_batch": (1, 2), **allowed})
    bound = replace(build_scenario(workload, cluster, global_batch=batch), host=Host(2e12, 4e11, 3e10))
    (scenario,) = enumerate_setting_scenarios(bound, {name: (value,) for name, value in values.items()})
    # a layout at a time, so that the bound cuts the rest
    with patch("planner.search.search._LAYOUTS_PER_CHUNK", 1):
        result = search_plans(scenario, space, SearchTarget(top=top))
    count, kept = slow_loop(scenario, space)
    assert result.stats.candidates == count
    assert result.stats.feasible == len(kept)
    step = compute_step_costs(scenario, result.best).step_time_s if len(result.best) else []
    memory_bytes = sum(compute_peak_memory_bytes(scenario, result.best).values()) if len(result.best) else []
    best = sorted((step, memory_bytes) for step, memory_bytes, _ in kept)[:top]
    assert [(float(s), float(h)) for s, h in zip(step, memory_bytes, strict=True)] == best
    rows = {row for _, _, row in kept}
    assert all(tuple(result.best.get_row(i).values()) in rows for i in range(len(result.best)))


@settings(max_examples=6)
@given(networks(), clusters(), st.sampled_from([4, 6]), allowed_values)
def test_a_list_of_operators_is_searched_exactly(workload, cluster, batch, allowed) -> None:
    space = Space(min(cluster.devices, 4), batch, {"vpp": (1, 2), "micro_batch": (1, 2), **allowed})
    scenario = build_scenario(workload, cluster, global_batch=batch)
    result = search_plans(scenario, space, SearchTarget(top=3))
    count, kept = slow_loop(scenario, space)
    assert (result.stats.candidates, result.stats.feasible) == (count, len(kept))
    step = compute_step_costs(scenario, result.best).step_time_s if len(result.best) else []
    assert [float(step_time_s) for step_time_s in step] == sorted(step for step, _, _ in kept)[:3]


@settings(max_examples=40)
@given(workloads(), clusters(), st.sampled_from([1, 12, 32]), allowed_values)
def test_every_candidate_is_counted_once(workload, cluster, batch, allowed) -> None:
    tally = search_plans(
        build_scenario(workload, cluster, global_batch=batch), Space(cluster.devices, batch, allowed)
    ).stats
    assert tally.candidates == tally.feasible + sum(tally.rejected_by.values())


def test_the_result_does_not_depend_on_how_the_space_is_cut_into_blocks(monkeypatch) -> None:
    scenario, space = lab_scenario(), Space(16, 32)
    whole = search_plans(scenario, space, SearchTarget(top=20))
    monkeypatch.setattr("planner.search.space._LAYOUTS_PER_BLOCK", 97)
    monkeypatch.setattr("planner.search.search._LAYOUTS_PER_CHUNK", 13)
    pieces = search_plans(scenario, space, SearchTarget(top=20))
    assert pieces.stats == whole.stats
    for name in STRATEGY_FIELDS:
        assert getattr(pieces.best, name).tolist() == getattr(whole.best, name).tolist()


def test_a_longer_list_of_plans_begins_with_the_shorter_list() -> None:
    scenario, space = lab_scenario(tiny(), lab(memory=3)), Space(16, 32)
    few, many = (
        search_plans(scenario, space, SearchTarget(top=3)).best,
        search_plans(scenario, space, SearchTarget(top=30)).best,
    )
    assert [few.get_row(i) for i in range(3)] == [many.get_row(i) for i in range(3)]
    steps = compute_step_costs(scenario, many).step_time_s
    assert (np.diff(steps) >= 0).all()
