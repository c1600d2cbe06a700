"""Laws of the memory of a step: what holds at all its moments, for all trainers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.memory.moments import MEMORY_CATEGORIES, MEMORY_MOMENTS
from planner.cost.memory.peak import (
    StageMemory,
    compute_memory_totals_bytes,
    compute_peak_memory,
    compute_stage_memory,
)
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import (
    Scenario,
    build_scenario,
    compute_required_memory_bytes,
    compute_runtime_reserve_bytes,
)
from planner.cost.setting_values import apply_setting
from planner.cost.settings import SETTINGS
from planner.cost.strategies import Strategies, build_strategy
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.operators import Workload
from tests.examples import lab, tiny, workloads

CLUSTER = lab()
LOSS = MEMORY_MOMENTS.index("loss")
SHARDED: dict[TrainerName, int] = {
    "fsdp2": 3,
    "fsdp": 3,
    "deepspeed": 3,
    "megatron-fsdp": 3,
    "composer": 3,
    "megatron": 1,
    "nanotron": 1,
}
"""Trainers, with a ZeRO stage that each of them has."""


def set_values(scenario: Scenario, **values: str) -> Scenario:
    """The scenario with these values of settings."""
    for name, value in values.items():
        scenario = apply_setting(scenario, SETTINGS[name], value)
    return scenario


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any trainer, loss, resharding and schedule."""
    scenario = build_scenario(
        draw(workloads()), CLUSTER, global_batch=64, framework=draw(st.sampled_from([*TRAINERS_BY_NAME]))
    )
    return set_values(
        scenario,
        loss=draw(st.sampled_from(["plain", "compiled", "chunked"])),
        reshard=draw(st.sampled_from(["default", "always", "never"])),
        schedule=draw(st.sampled_from(["1f1b", "gpipe", "zero-bubble"])),
    )


@st.composite
def plans(draw: st.DrawFn) -> Strategies:
    """Plans of one micro-batch and of several, of all ZeRO stages and recompute modes."""
    pp = draw(st.sampled_from([1, 2]))
    return build_strategy(
        pp=pp,
        dp=16 // pp,
        micro_batch=draw(st.sampled_from([1, 2, 4])),
        zero_stage=draw(st.integers(0, 3)),
        recompute=draw(st.integers(0, 2)),
    )


def compute_memory(scenario: Scenario, plan: Strategies) -> StageMemory:
    return compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan))


def compute_peak_bytes(scenario: Scenario, plan: Strategies) -> float:
    return float(compute_memory(scenario, plan).total_bytes.max())


def build_sharded(trainer: TrainerName = "fsdp2", workload: Workload | None = None, **values: str) -> Scenario:
    """A scenario of a model with much of head and embedding."""
    model = workload or tiny(vocab_size=32768)
    version = "torchtitan@0.3" if trainer == "fsdp2" else ""
    scenario = build_scenario(model, CLUSTER, global_batch=64, framework=trainer, trainer_version=version)
    return set_values(scenario, **values)


@settings(max_examples=25)
@given(scenarios(), plans())
def test_the_peak_is_the_largest_moment_of_the_fullest_stage_and_categories_add_up(scenario, plan) -> None:
    memory = compute_memory(scenario, plan)
    total_bytes = memory.total_bytes
    assert total_bytes == pytest.approx(sum(memory.moment_bytes[category] for category in MEMORY_CATEGORIES))
    assert all((sizes >= 0).all() and np.isfinite(sizes).all() for sizes in memory.moment_bytes.values())
    peak = compute_peak_memory(scenario, plan)
    peak_bytes = sum(float(sizes[0]) for sizes in peak.category_bytes.values())
    assert peak_bytes == pytest.approx(total_bytes.max())
    assert total_bytes[0, peak.moment[0]].max() == pytest.approx(peak_bytes)
    assert memory.compute_stage_peaks_bytes().max() == pytest.approx(peak_bytes)
    # the search adds states and activations up on its own
    tables = build_plan_tables(scenario, plan)
    totals = compute_memory_totals_bytes(scenario, plan, tables, [plan.zero_stage[0]], [plan.recompute[0]])
    assert totals.item() == pytest.approx(peak_bytes)


@settings(max_examples=25)
@given(scenarios(), plans())
def test_no_moment_of_a_step_of_more_micro_batches_has_less(scenario, plan) -> None:
    more = replace(scenario, global_batch=2 * scenario.global_batch)
    assert compute_peak_bytes(more, plan) >= compute_peak_bytes(scenario, plan) * (1 - 1e-12)


@settings(max_examples=25)
@given(scenarios(), plans())
def test_what_stays_gathered_takes_memory(scenario, plan) -> None:
    never, default, always = (
        compute_memory(replace(scenario, reshard=reshard), plan).moment_bytes["weights"]
        for reshard in ("never", "default", "always")
    )
    # without the 16th digit of sums in another order
    assert (never >= default * (1 - 1e-12)).all()
    assert (default >= always * (1 - 1e-12)).all()


@pytest.mark.parametrize("trainer", SHARDED)
@pytest.mark.parametrize("recompute", [0, 2])
def test_a_chunked_loss_takes_no_more_than_a_plain_one_of_long_sequences(
    trainer: TrainerName, recompute: int
) -> None:
    plan = build_strategy(dp=16, zero_stage=SHARDED[trainer], recompute=recompute)
    workload = tiny(vocab_size=32768, seq_length=16384)
    plain, chunked = (
        compute_peak_bytes(build_sharded(trainer, workload, loss=loss), plan) for loss in ("plain", "chunked")
    )
    assert chunked <= plain


@pytest.mark.parametrize("pp", [2, 4])
def test_fully_sharded_gradients_are_whole_while_a_pipeline_accumulates_them(pp: int) -> None:
    scenario = build_sharded()
    plan = build_strategy(pp=pp, dp=16 // pp, zero_stage=3)
    few = replace(scenario, global_batch=16 // pp)
    parameters = build_plan_tables(scenario, plan).parameters
    whole = 4.0 * (parameters.dense + parameters.expert)
    accumulated, first = (compute_memory(q, plan).moment_bytes["gradients"][:, LOSS] for q in (scenario, few))
    # a chunked loss reduces the head's in each micro-batch: beside its buffer there is a shard
    assert accumulated - first == pytest.approx(whole + 4.0 * parameters.head / int(plan.dp[0]))
    # without a pipeline each micro-batch is reduced: a shard
    alone = build_strategy(dp=16, zero_stage=3)
    accumulated, first = (
        compute_memory(replace(scenario, global_batch=batch), alone).moment_bytes["gradients"][0, LOSS]
        for batch in (32, 16)
    )
    assert accumulated - first == pytest.approx(4.0 * scenario.workload.parameters / 16)


def test_a_program_of_jax_has_gradients_from_the_backward_pass_on_and_of_all_layers_at_once() -> None:
    plan = build_strategy(dp=16, zero_stage=3)
    first = replace(build_sharded("maxtext"), global_batch=16)
    gradients = compute_memory(first, plan).moment_bytes["gradients"][0, :, 0]
    shard_bytes = 4.0 * first.workload.parameters / 16
    assert gradients[LOSS] == 0.0
    for moment in ("last_layer_backward", "first_layer_backward", "embedding_backward"):
        assert gradients[MEMORY_MOMENTS.index(moment)] > shard_bytes
    assert gradients[MEMORY_MOMENTS.index("optimizer_step")] == pytest.approx(shard_bytes)
    later = compute_memory(build_sharded("maxtext"), plan).moment_bytes["gradients"][0, LOSS, 0]
    assert later == pytest.approx(shard_bytes)


def test_what_a_part_states_as_reserved_stands_in_the_place_of_our_choice() -> None:
    part = CLUSTER.accelerator
    stated = replace(part, reserved_memory_bytes=1e9)
    assert compute_runtime_reserve_bytes(stated) == 1e9 != compute_runtime_reserve_bytes(part)
    for one in (part, stated):
        fitting = replace(one, memory_bytes=compute_required_memory_bytes(5e9, one))
        assert 5e9 + compute_runtime_reserve_bytes(fitting) == pytest.approx(fitting.memory_bytes)


def test_the_allocator_keeps_what_a_trainer_frees_and_allocates_again() -> None:
    for trainer, record in TRAINERS_BY_NAME.items():
        plan = build_strategy(dp=16, zero_stage=SHARDED.get(trainer, 0))
        allocator = compute_memory(build_sharded(trainer), plan).moment_bytes["allocator"]
        assert record.has_stream_pools or record.frees_gradient_copies or not allocator.any(), trainer
    for trainer in ("megatron", "megatron-classic", "megatron-fsdp"):
        assert not TRAINERS_BY_NAME[trainer].has_stream_pools
        assert not TRAINERS_BY_NAME[trainer].frees_gradient_copies
    assert compute_memory(build_sharded(), build_strategy(dp=16, zero_stage=3)).moment_bytes["allocator"].any()
