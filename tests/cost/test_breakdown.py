"""The waterfall adds up to the step, and its parts are what they are called."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.breakdown import compute_rooflines, compute_waterfall_s
from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.memory.peak import compute_peak_memory_bytes, compute_stage_memory_bytes
from planner.cost.pipeline.partition import compute_layer_prefix
from planner.cost.pipeline.stages import build_all_stage_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import STEP_TERMS, compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload
from tests.examples import clusters, lab, lab_scenario, workloads


def compute_parts(scenario: Scenario, s: Strategies) -> tuple[dict[str, float], float]:
    scores = compute_step_costs(scenario, s)
    parts = {name: float(seconds[0]) for name, seconds in compute_waterfall_s(scenario, s, scores).items()}
    return parts, float(scores.step_time_s[0])


def build_large_scenario(**changes: object) -> Scenario:
    scenario = build_scenario(build_workload(read_model_preset("llama-3-8b")), lab(devices=8), global_batch=64)
    return replace(scenario, **changes)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(workloads(), clusters(), st.integers(0, 2), st.sampled_from(["flash", "unfused"]))
def test_the_parts_add_up_to_the_step_and_the_ideal_is_the_mfu(workload, cluster, recompute, attention) -> None:  # type: ignore[no-untyped-def]
    scenario = replace(lab_scenario(workload, cluster, 32 * cluster.devices), attention_kernel=attention)
    s = build_strategy(dp=cluster.devices, recompute=recompute)
    parts, step = compute_parts(scenario, s)
    # what kernels lose, then every other term of the step
    assert list(parts) == [
        *("ideal", "attention", "other_arithmetic", "recompute", "efficiency", "memory", "launches", "host"),
        "imbalance",
        *(name for name in STEP_TERMS if name not in ("forward", "backward", "recompute")),
    ]
    assert sum(parts.values()) == pytest.approx(step, rel=1e-9)
    assert parts["ideal"] == pytest.approx(float(compute_step_costs(scenario, s).mfu[0]) * step, rel=1e-9)
    for name in ("recompute", "efficiency", "memory", "launches", "host"):
        assert parts[name] >= -1e-12 * step, name


@pytest.mark.parametrize(
    ("split", "changes"),
    [
        ({"tp": 4, "pp": 4, "dp": 2, "sequence_parallel": 1}, {}),
        ({"tp": 4, "pp": 4, "dp": 2, "vpp": 4, "recompute": 2}, {"recompute_layers": 1}),
        ({"tp": 2, "pp": 8, "dp": 2, "recompute": 1}, {"pipeline_schedule": "zero-bubble", "tp_overlap": True}),
    ],
)
def test_a_split_step_adds_up_too(split: dict[str, int], changes: dict[str, object]) -> None:
    parts, step = compute_parts(build_large_scenario(**changes), build_strategy(**split))
    assert sum(parts.values()) == pytest.approx(step, rel=1e-9)
    assert parts["tensor_parallel"] > 0
    assert parts["pipeline_bubble"] > 0


def test_attention_is_counted_in_full_or_by_half_and_computed_once() -> None:
    s = build_strategy(tp=4, pp=4, dp=2)
    full, step = compute_parts(build_large_scenario(), s)
    half, same = compute_parts(build_large_scenario(flops_convention="causal"), s)
    assert step == same
    assert full["attention"] < 0 < half["attention"]  # backward multiplies five times, counted as four
    assert full["ideal"] + full["attention"] == pytest.approx(half["ideal"] + half["attention"], rel=1e-12)


def test_a_loss_is_gone_where_its_cause_is() -> None:
    scenario, s = build_large_scenario(), build_strategy(tp=4, pp=4, dp=2)
    with_gaps, _ = compute_parts(scenario, s)
    without, _ = compute_parts(
        replace(scenario, calibration=msgspec.structs.replace(scenario.calibration, kernel_launch_s=0.0)), s
    )
    assert with_gaps["launches"] > 0 == without["launches"]
    assert without["efficiency"] == pytest.approx(with_gaps["efficiency"], rel=1e-12)


def test_operators_stay_below_their_ceilings_and_make_up_the_kernels() -> None:
    scenario = replace(build_large_scenario(), launch_mode="graph")
    s = build_strategy(tp=4, pp=4, dp=2)
    operators = compute_rooflines(scenario, s)
    for operator in operators:
        assert operator.flops[0] / operator.time_s[0] <= operator.peak_flops_per_s
        if not operator.is_fused_attention:
            bandwidth = scenario.accelerator.memory_bandwidth_bytes_per_s
            assert operator.traffic_bytes[0] / operator.time_s[0] <= bandwidth
    by_name = {(operator.layer_name, operator.operator_name): operator for operator in operators}
    assert by_name["dense", "mlp_up"].bound == ["compute"]
    assert by_name["dense", "mlp_norm"].bound == ["memory"]
    layers = int(compute_layer_prefix(scenario.workload)[-1].sum())
    assert by_name["dense", "mlp_up"].layer_count == layers
    terms = compute_step_costs(replace(scenario, global_batch=2), s.take(np.array([0]))).terms
    mean = sum(float(operator.time_s[0]) * operator.layer_count for operator in operators) / 4
    assert mean <= float((terms["forward"] + terms["backward"])[0])


@pytest.mark.parametrize("vpp", [1, 4])
def test_the_peak_memory_of_the_worst_stage_is_the_plans_memory(vpp: int) -> None:
    scenario, s = build_large_scenario(), build_strategy(tp=4, pp=4, dp=2, vpp=vpp, zero_stage=1)
    stages = compute_stage_memory_bytes(scenario, s, build_all_stage_plan_tables(scenario, s))
    totals = sum(stages[category] for category in MEMORY_CATEGORIES)
    assert isinstance(totals, np.ndarray)
    assert totals.shape == (1, 4)
    assert totals.max() == pytest.approx(
        float(sum(part[0] for part in compute_peak_memory_bytes(scenario, s).values())), rel=1e-12
    )
