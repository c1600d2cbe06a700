"""What a layer keeps with PyTorch's trainers, compared with what their own layers keep.

Bytes of one layer: torchtune's at bd2a0fc7 and torchtitan's 0.3.0, on the CPU with torch 2.13, eager by
`torch.autograd.graph.saved_tensors_hooks`, compiled by what `min_cut_rematerialization_partition` hands to the
backward graph. `tests/real/test_compiled_layers.py` repeats those of torchtitan.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from planner.cost.every_second import compute_kept_shares
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables, compute_sharded_parameters
from planner.cost.scenario import Scenario
from planner.cost.strategies import build_strategy
from planner.trainers.names import LaunchMode, LossKernel, TrainerName
from planner.trainers.pytorch.torchtitan import TORCHTITAN
from planner.trainers.recompute import EVERY_SECOND_MATMUL, GRAPH_POLICY
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from tests.real.planned import build_planned, compute_planned_bytes

MIB = 2**20
LENGTH, HIDDEN, FFN, KV_WIDTH, LAYER_PARAMETERS = 8192, 4096, 14336, 2 * 1024, 218.1e6


def build_llama(launch: LaunchMode, version: str = "", **changes: object) -> Scenario:
    """Llama-3-8B as torchtitan runs it, with what its version and the test change."""
    scenario = build_planned("llama-3-8b", "fsdp2", LENGTH, launch=launch)
    named = {known.name: known for known in TORCHTITAN.versions}
    values = named[version].changes if version else {}
    return replace(scenario, trainer=replace(scenario.trainer, **{**values, **changes}))


@pytest.mark.parametrize(("launch", "real_mib"), [("eager", 1096.8), ("compiled", 768.9)])
def test_torchtune_copies_keys_and_values(launch: LaunchMode, real_mib: float) -> None:
    """Of Llama-3.2-3B, 2 x 4096 tokens; eager it also keeps the rotary table of each call, 8 MiB."""
    preset = read_model_preset("llama-3-8b")
    assert isinstance(preset, ModelSpec)
    sizes = {"hidden_size": 3072, "heads": 24, "head_dim": 128, "kv_heads": 8, "ffn_size": 8192}
    model = msgspec.structs.replace(preset, **sizes)
    scenario = build_planned(model, "torchtune", 2 * 4096, launch=launch)
    assert compute_planned_bytes(scenario)["none"] == pytest.approx(real_mib * MIB, rel=0.01)


@pytest.mark.parametrize(("tp", "real_mib"), [(1, 449.0), (2, 256.5)])
def test_a_compiled_layer_keeps_what_its_backward_pass_reads(tp: int, real_mib: float) -> None:
    scenario = build_llama("compiled", joins_qkv=True)
    assert compute_planned_bytes(scenario, tp=tp)["selective"] == pytest.approx(real_mib * MIB, rel=0.005)


def test_eager_selective_recomputation_keeps_the_last_product() -> None:
    """And of a sum that is cut afterwards all of it."""
    by_tp = {
        tp: [
            compute_planned_bytes(build_llama(launch, joins_qkv=True), tp=tp)["selective"]
            for launch in ("eager", "compiled")
        ]
        for tp in (1, 2)
    }
    product_bytes = 2 * LENGTH * HIDDEN
    assert by_tp[1][0] - by_tp[1][1] == pytest.approx(product_bytes)
    assert by_tp[2][0] - by_tp[2][1] == pytest.approx(product_bytes + product_bytes / 2)


def test_absolute_values_of_eager_8_bit_multiplies() -> None:
    """Of the inputs of seven multiplies and of all weights: 77.8 KB a token and 0.44 GB a layer."""
    kept = [
        compute_planned_bytes(replace(build_llama("eager", version), precision="fp8"))["selective"]
        for version in ("2025-02", "2024-12")
    ]
    assert kept[1] - kept[0] == pytest.approx(2 * LENGTH * (6 * HIDDEN + FFN) + 2 * LAYER_PARAMETERS, rel=0.001)
    in_16_bit = [
        compute_planned_bytes(build_llama("eager", version))["selective"] for version in ("2025-02", "2024-12")
    ]
    assert in_16_bit[0] == in_16_bit[1]


@pytest.mark.parametrize("trainer", ["fsdp2", "torchtune"])
def test_copies_of_keys_and_values_are_no_part_of_what_recomputation_keeps(trainer: TrainerName) -> None:
    scenario = build_planned("llama-3-8b", trainer, LENGTH)
    kept = {
        copies: compute_planned_bytes(
            replace(scenario, trainer=replace(scenario.trainer, copies_grouped_keys=copies))
        )
        for copies in (True, False)
    }
    assert kept[True]["none"] - kept[False]["none"] == pytest.approx(2 * LENGTH * (2 * HIDDEN - KV_WIDTH))
    assert kept[True]["full"] == kept[False]["full"]
    if trainer == "fsdp2":
        assert kept[True]["selective"] == kept[False]["selective"]


def test_a_policy_of_the_graph_keeps_every_second_multiply_up_to_0_2_2() -> None:
    graph, compiled = (
        replace(build_llama(launch, "0.2.2"), recompute_modules=modules)
        for launch, modules in (("eager", GRAPH_POLICY), ("compiled", EVERY_SECOND_MATMUL))
    )
    kept_bytes = compute_planned_bytes(graph)["selective"]
    assert kept_bytes == compute_planned_bytes(compiled)["selective"]
    later = replace(build_llama("eager", "0.3"), recompute_modules=GRAPH_POLICY)
    assert compute_planned_bytes(later)["selective"] > 1.5 * kept_bytes


def test_4_bit_multiplies_are_all_repeated() -> None:
    """Of a layer's outputs that of attention alone is kept."""
    scenario = replace(build_llama("compiled", "0.3"), precision="nvfp4")
    operators = scenario.workload.layer_types[0].operators
    shares = compute_kept_shares(scenario, operators)
    assert [op.name for op, share in zip(operators, shares, strict=True) if share] == ["attention"]


def test_a_chunked_loss_has_the_newest_gradient_of_the_head_beside_their_sum() -> None:
    scenario = build_planned("llama-3-8b", "torchtune", 2048, launch="eager")
    plan, moment = build_strategy(dp=16), MEMORY_MOMENTS.index("head_backward")
    head = 128256 * HIDDEN

    def compute_moment(loss: LossKernel) -> dict[str, float]:
        one = replace(scenario, trainer=replace(scenario.trainer, loss=loss))
        memory = compute_stage_memory(one, plan, build_plan_tables(one, plan)).moment_bytes
        return {name: float(memory[name][0, moment, 0]) for name in ("gradients", "logits")}

    chunked, plain = compute_moment("chunked"), compute_moment("plain")
    assert plain["gradients"] == pytest.approx(2 * head, rel=1e-4)
    assert chunked["gradients"] == pytest.approx(2 * 2 * head, rel=1e-4)
    # 4 bytes a logit of seven chunks, and the logits of the first one
    assert chunked["logits"] - plain["logits"] == pytest.approx(
        2048 * (128256 * (7 / 8 * 4 + 1 / 8 * 2) + 4 * HIDDEN), rel=1e-4
    )


def test_experts_on_other_ranks_are_reduced_apart() -> None:
    scenario = build_planned("deepseek-v3", "fsdp2", 4096)
    scenario = replace(scenario, trainer=replace(scenario.trainer, grad_reduce_bytes=4.0))
    moment = MEMORY_MOMENTS.index("first_layer_backward")
    for ep in (1, 16):
        plan = build_strategy(dp=16, ep=ep, etp=1, zero_stage=3, recompute=2)
        tables = build_plan_tables(scenario, plan)
        memory = compute_stage_memory(scenario, plan, tables).moment_bytes["gradients"][0, moment, 0]
        parameters = tables.parameters
        dense, expert = float(parameters.largest_dense[0]), float(parameters.largest_expert[0])
        shards = 4.0 * float(compute_sharded_parameters(scenario, plan, parameters)[0, 0])
        reduced = dense + expert if ep == 1 else max(dense, expert)
        assert memory == pytest.approx(shards + 4.0 * reduced + 2.0 * float(parameters.largest_matrix[0]))
