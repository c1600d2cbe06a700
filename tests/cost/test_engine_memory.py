"""Bytes a parameter that DeepSpeed, DistributedDataParallel and nanotron have at each moment of a step.

Those of DeepSpeed 0.19.8 are of its own engines, of two ranks on the CPU; `tests/real/test_deepspeed.py` runs them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_host_memory_bytes, compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Offload, Scenario, build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import GradientDtype, TrainerName
from planner.trainers.trainer import LOSS_CHUNKS, replace_moment_format
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload

BUCKET = 5e8


def build_llama(
    trainer: TrainerName, gradients: GradientDtype | None = None, batch: int = 64, version: str = ""
) -> Scenario:
    workload = build_workload(read_model_preset("llama-3-8b"), seq_length=2048)
    return build_scenario(
        workload,
        read_cluster("dgx-a100", nodes=1),
        global_batch=batch,
        precision="bf16",
        framework=trainer,
        trainer_version=version,
        gradients=gradients,
    )


def compute_bytes_per_parameter(scenario: Scenario, category: str, zero_stage: int) -> dict[str, float]:
    plan = build_strategy(dp=8, zero_stage=zero_stage)
    memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan)).moment_bytes[category]
    sizes = memory[0, :, 0] / scenario.workload.parameters
    return dict(zip(MEMORY_MOMENTS, sizes.tolist(), strict=True))


@pytest.mark.parametrize(
    ("zero_stage", "gradients", "between", "step"),
    [
        (1, "bf16", 2.0, 6 / 8),
        (1, "fp32", 6.0, 6.0),
        (2, "bf16", 2 / 8, 6 / 8),
        (2, "fp32", 4 / 8, 4 / 8),
        (3, "bf16", 2 / 8, 2 / 8 + 4 / 8),
        (3, "fp32", 4 / 8, 4 / 8 + 4 / 8),
    ],
)
def test_gradients_of_deepspeed(zero_stage, gradients, between, step) -> None:
    """Between micro-batches, and in the update, for which 16-bit ones are copied in 32 bit."""
    moments = compute_bytes_per_parameter(build_llama("deepspeed", gradients), "gradients", zero_stage)
    assert moments["loss"] == pytest.approx(between, rel=1e-3)
    assert moments["optimizer_step"] == pytest.approx(step, rel=0.02)


def test_zero_1_of_deepspeed_has_16_bit_gradients_beside_the_sums() -> None:
    """2 + 4 bytes a parameter at the end of a backward pass: 9.5 with weights and the optimizer of 8 ranks."""
    scenario = build_llama("deepspeed", "fp32")
    gradients = compute_bytes_per_parameter(scenario, "gradients", 1)
    optimizer = compute_bytes_per_parameter(scenario, "optimizer", 1)
    assert gradients["embedding_backward"] == pytest.approx(6.0)
    assert 2.0 + gradients["embedding_backward"] + optimizer["embedding_backward"] == pytest.approx(9.5)


def test_first_micro_batch_of_deepspeed_finds_no_gradients() -> None:
    scenario = build_llama("deepspeed", batch=8)
    assert compute_bytes_per_parameter(scenario, "gradients", 2)["loss"] == 0.0
    kept = compute_bytes_per_parameter(scenario, "gradients", 3)["loss"]
    assert kept == pytest.approx(2 / 8, rel=1e-3)


def test_buckets_of_deepspeed() -> None:
    scenario = build_llama("deepspeed")
    without = replace(scenario, trainer=replace(scenario.trainer, reduce_bucket_elements=0.0))
    for zero_stage, dp_overlap, at_loss, in_backward in ((2, True, 0, 2), (2, False, 0, 1), (3, True, 1, 1)):
        pair = [
            compute_bytes_per_parameter(replace(each, dp_overlap=dp_overlap), "buffers", zero_stage)
            for each in (scenario, without)
        ]
        bucket = 2.0 * BUCKET / scenario.workload.parameters
        for moment, buckets in (("loss", at_loss), ("first_layer_backward", in_backward)):
            assert pair[0][moment] - pair[1][moment] == pytest.approx(buckets * bucket)


@pytest.mark.parametrize(("zero_stage", "bytes_per_parameter"), [(2, 20.0), (3, 18.0)])
def test_host_of_deepspeed(zero_stage, bytes_per_parameter) -> None:
    """State, gradients of both formats, under ZeRO 2 also the updated weights."""
    scenario = replace(build_llama("deepspeed"), offload=Offload(optimizer=True))
    plan = build_strategy(dp=8, zero_stage=zero_stage)
    tables = build_plan_tables(scenario, plan)
    host = compute_host_memory_bytes(scenario, plan, tables, [zero_stage], [0])[0, 0, 0]
    assert host / scenario.workload.parameters == pytest.approx(bytes_per_parameter, rel=0.03)


@pytest.mark.parametrize(("trainer", "bytes_per_parameter"), [("ddp", 2.0), ("hf-trainer", 4.0), ("nanotron", 2.0)])
def test_buckets_are_copies_of_all_gradients(trainer, bytes_per_parameter) -> None:
    """DistributedDataParallel's, in the format of the parameters, at all moments; none where ZeRO shards."""
    assert trainer in get_args(TrainerName)
    scenario = build_llama(trainer)
    without = replace(scenario, trainer=replace(scenario.trainer, gradient_bucket_bytes=0.0))
    for zero_stage, expected in ((0, bytes_per_parameter), (1, 0.0)):
        pair = [compute_bytes_per_parameter(each, "buffers", zero_stage) for each in (scenario, without)]
        for moment in MEMORY_MOMENTS:
            assert pair[0][moment] - pair[1][moment] == pytest.approx(expected)


def test_16_bit_gradients_of_nanotron_last_for_a_backward_pass() -> None:
    gradients = compute_bytes_per_parameter(build_llama("nanotron"), "gradients", 1)
    assert gradients["loss"] == gradients["optimizer_step"] == pytest.approx(4.0)
    assert gradients["embedding_backward"] == pytest.approx(6.0)


def test_programs_of_one_kind_of_plans_have_facts_of_their_own() -> None:
    """torchtitan reduces the gradients of each micro-batch and embedding and head are units of their own; the script
    of `planner export --to fsdp2` leaves both to the root and reduces with the last micro-batch; accelerate too, with
    units for embedding and head.
    """
    versions = {"torchtitan": "", "accelerate": "accelerate@1.15", "fsdp2": "fsdp2@2.13"}
    scenarios = {name: build_llama("fsdp2", version=version) for name, version in versions.items()}
    gradients = {name: compute_bytes_per_parameter(each, "gradients", 3) for name, each in scenarios.items()}
    assert gradients["torchtitan"]["loss"] == pytest.approx(4 / 8, rel=1e-3)
    assert gradients["fsdp2"]["loss"] == gradients["accelerate"]["loss"] == pytest.approx(2.0)
    weights = {name: compute_bytes_per_parameter(each, "weights", 3) for name, each in scenarios.items()}
    embedding_and_head = 2 * 128256 * 4096
    layer = (scenarios["fsdp2"].workload.parameters - embedding_and_head) / 32
    root = weights["fsdp2"]["last_layer_backward"] - weights["torchtitan"]["last_layer_backward"]
    assert root == pytest.approx(2.0 * embedding_and_head / scenarios["fsdp2"].workload.parameters, rel=1e-3)
    assert weights["accelerate"] == weights["torchtitan"]
    assert weights["torchtitan"]["last_layer_backward"] == pytest.approx(
        2.0 * 2.0 * layer / scenarios["fsdp2"].workload.parameters, rel=1e-3
    )


def test_autocast_has_gradients_and_buckets_of_32_bits() -> None:
    """22 bytes a parameter: weights of 16 and of 32 bits, moments, gradients, buckets."""
    scenario = build_llama("ddp", version="accelerate@1.15")
    state = {name: compute_bytes_per_parameter(scenario, name, 0) for name in ("weights", "gradients", "optimizer")}
    assert [sizes["first_layer_backward"] for sizes in state.values()] == pytest.approx([2.0, 4.0, 12.0])
    assert scenario.trainer.gradient_bucket_bytes == 4.0


def test_torchtune_frees_gradients_and_keeps_the_logits_of_all_chunks() -> None:
    chunked = build_llama("torchtune", batch=8)
    assert compute_bytes_per_parameter(chunked, "gradients", 0)["loss"] == 0.0
    plan = build_strategy(dp=8)
    logits = 2048 * 128256

    def compute_logit_bytes(scenario: Scenario) -> float:
        memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan))
        return float(memory.moment_bytes["logits"][0, MEMORY_MOMENTS.index("loss"), 0])

    without = replace(chunked, trainer=replace(chunked.trainer, kept_logit_bytes=0.0))
    # in place of those of one chunk, in 16 bit
    kept_bytes = 4.0 - 2.0 / LOSS_CHUNKS
    assert compute_logit_bytes(chunked) - compute_logit_bytes(without) == pytest.approx(kept_bytes * logits)


def test_megatron_s_update_copies_16_bit_gradients() -> None:
    """To 32 bit, of the shard of 8 ranks that each updates; not where the optimizer reads them as they are."""
    narrow = build_llama("megatron", "bf16")
    for zero_stage, copied in ((0, 4.0), (1, 4 / 8)):
        moments = compute_bytes_per_parameter(narrow, "gradients", zero_stage)
        assert moments["optimizer_step"] - moments["loss"] == pytest.approx(copied)
    wide = compute_bytes_per_parameter(build_llama("megatron", "fp32"), "gradients", 1)
    aware = replace(narrow, trainer=replace_moment_format(narrow.trainer, "bf16"))
    reads = compute_bytes_per_parameter(aware, "gradients", 1)
    assert wide["optimizer_step"] == wide["loss"] and reads["optimizer_step"] == reads["loss"]
