"""What makes steps slower beside the size of the work: dates of kernels, copies, casts, launches, messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.calibration import (
    CALIBRATION_PARAMETERS,
    build_calibration,
    combine_calibration,
    has_measured_runs,
    stack_calibrations,
)
from planner.cost.data_parallel import count_messages, count_overlapped_passes
from planner.cost.operators.roofline import compute_kernel_speed, get_cast_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.techniques import Lora, Techniques
from planner.workload.transformer import build_workload

WORKLOAD = build_workload(read_model_preset("llama-3-8b"))


def build(framework: TrainerName = "megatron-classic", cluster: str = "dgx-h100", **options: str) -> Scenario:
    return build_scenario(WORKLOAD, read_cluster(cluster, nodes=2), global_batch=64, framework=framework, **options)  # type: ignore[arg-type]


def step_s(scenario: Scenario, plan: Strategies) -> float:
    return float(compute_step_costs(scenario, plan).step_time_s[0])


_NARROW = build("fsdp2", precision="fp8", launch="compiled")
ROWWISE = replace(_NARROW, trainer=replace(_NARROW.trainer, fp8_recipe="rowwise"))
EXPERTS = build_scenario(
    build_workload(read_model_preset("mixtral-8x7b")), read_cluster("dgx-h100", nodes=2), global_batch=64
)
TENSOR_PLAN = build_strategy(tp=8, dp=2, sequence_parallel=1, zero_stage=1)
SHARDED_PLAN = build_strategy(dp=16, zero_stage=3)


@given(st.integers(2016, 2030), st.integers(1, 11))
def test_kernels_never_get_slower_with_the_months(year: int, month: int) -> None:
    q = build()
    earlier, later, newest = (
        compute_kernel_speed(replace(q, software_month=text))
        for text in (f"{year}-{month:02}", f"{year}-{month + 1:02}", "")
    )
    assert earlier <= later <= newest
    lag = newest / compute_kernel_speed(replace(q, software_month="2022-01")) - 1
    assert lag == pytest.approx(q.calibration.immaturity)


def test_an_old_version_of_a_trainer_has_the_kernels_of_its_month() -> None:
    old = build("fsdp2", trainer_version="torchtitan@2024-10")
    assert old.software_month == "2024-10"
    assert build("fsdp2").software_month == ""
    assert compute_kernel_speed(old) < compute_kernel_speed(build("fsdp2"))


@pytest.mark.parametrize(("cluster", "is_slower"), [("dgx-h100", True), ("dgx-a100", False)])
def test_flash_attention_2_is_slower_on_hopper_alone(cluster: str, is_slower: bool) -> None:
    q, plan = build(cluster=cluster), build_strategy(dp=16, zero_stage=1)
    flash_2 = replace(q, trainer=replace(q.trainer, uses_flash_attention_2=True))
    assert (step_s(flash_2, plan) > step_s(q, plan)) == is_slower


def test_casts_in_eager_kernels_and_multiplies_scaled_by_row_are_slower() -> None:
    def narrow(launch: str) -> Scenario:
        return build("fsdp2", precision="fp8", launch=launch)

    compiled, eager = narrow("compiled"), narrow("eager")
    assert get_cast_bytes(eager) == 33
    assert get_cast_bytes(compiled) == 4
    rowwise = replace(compiled, trainer=replace(compiled.trainer, fp8_recipe="rowwise"))
    assert step_s(rowwise, SHARDED_PLAN) > step_s(compiled, SHARDED_PLAN)
    # torchao casts weights in every pass, Transformer Engine keeps what it has cast
    kept = replace(compiled, trainer=replace(compiled.trainer, saves_quantized_inputs=True))
    assert step_s(kept, SHARDED_PLAN) < step_s(compiled, SHARDED_PLAN)


def test_gathered_sequences_are_copied_where_collectives_cut_the_first_dimension() -> None:
    q = build("fsdp2")
    without = replace(q, trainer=replace(q.trainer, copies_gathered_sequence=False))
    assert step_s(q, TENSOR_PLAN) > step_s(without, TENSOR_PLAN)
    assert step_s(q, SHARDED_PLAN) == step_s(without, SHARDED_PLAN)


def test_messages_are_buckets_of_what_is_trained_or_layers() -> None:
    plan = build_strategy(dp=16, zero_stage=1)
    bucketed, by_layer = build(), build("fsdp2")
    parameters = np.array([2.0**27 * 3 + 1])
    assert count_messages(bucketed, plan, parameters) == 4
    assert count_messages(by_layer, plan, parameters) == WORKLOAD.layer_count
    assert count_messages(replace(bucketed, dp_overlap=False), plan, parameters) == 1
    lora = replace(bucketed, techniques=Techniques(lora=Lora(rank=16, bits=16, frozen_bytes=2.0, adapter_share=0.01)))
    assert count_messages(lora, plan, parameters) == 1


@given(pp=st.integers(1, 16), vpp=st.integers(1, 8), micro_batches=st.integers(1, 64))
def test_interleaved_chunks_have_more_passes_for_their_collectives(pp: int, vpp: int, micro_batches: int) -> None:
    passes = count_overlapped_passes(build_strategy(pp=pp, vpp=vpp), np.array([micro_batches]))[0]
    assert 1 <= passes <= max(1, min(pp, micro_batches))
    assert vpp > 1 or passes == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.floats(0.5, 1.5), min_size=3, max_size=3), min_size=2, max_size=4))
def test_plans_with_calibrations_of_their_own_are_scored_as_one_by_one(factors: list[list[float]]) -> None:
    for q, plan, names in (
        (build(), TENSOR_PLAN, ("gemm_efficiency", "host_launch_s", "contention")),
        # terms that multiply one number of the calibration by another
        (ROWWISE, SHARDED_PLAN, ("gemm_efficiency_8bit", "rowwise_efficiency", "immaturity")),
        (EXPERTS, TENSOR_PLAN, ("eager_traffic", "routing_traffic", "expert_efficiency")),
    ):
        calibrations = [combine_calibration(q.calibration, dict(zip(names, row, strict=True))) for row in factors]
        stacked = replace(q, calibration=stack_calibrations(calibrations))
        together = compute_step_costs(stacked, plan.take(np.zeros(len(factors), dtype=np.int64))).step_time_s
        alone = [step_s(replace(q, calibration=calibration), plan) for calibration in calibrations]
        assert together.tolist() == alone


def test_hardware_without_runs_reaches_less_than_the_mean_of_what_was_measured() -> None:
    unmeasured = build_calibration("nobody-measured-it", "megatron-classic")
    assert not has_measured_runs("nobody-measured-it")
    measured = [build_calibration(name, "megatron-classic") for name in ("ampere", "hopper", "blackwell", "gaudi2")]
    for name in CALIBRATION_PARAMETERS:
        if name in ("gemm_efficiency", "gemm_efficiency_8bit", "attention_forward_efficiency", "memory_efficiency"):
            assert getattr(unmeasured, name) < np.mean([getattr(numbers, name) for numbers in measured])
