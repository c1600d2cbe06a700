"""Formats of weights, scalings of narrow multiplies, graphs of parts of a layer, against the cost model's page."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from planner.cost.layer_tables import build_layer_shard
from planner.cost.operators import compute_operator_times, get_operator_cost
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy
from planner.errors import InputError
from planner.request.inputs import read_cluster
from planner.trainers.launch import parse_launch
from planner.trainers.names import TrainerName
from planner.workload.operators import Linear
from planner.workload.presets import read_model_preset
from planner.workload.spec import MoeSpec
from planner.workload.transformer import build_workload
from tests.cost.test_setting_laws import build, change, compute, held

MOE = MoeSpec(experts=16, topk=4, expert_ffn_size=512, first_dense_layers=2, shared_ffn_size=512)
HOPPER = read_cluster("dgx-h100", nodes=2)


def build_narrow(precision: str, framework: TrainerName = "megatron-classic", cluster: str = "dgx-h100") -> Scenario:
    workload = build_workload(read_model_preset("llama-3-8b"))
    return build_scenario(
        workload, read_cluster(cluster, nodes=2), global_batch=32, precision=precision, framework=framework
    )


def test_weights_are_held_and_gathered_in_their_format() -> None:
    q, plan = build("megatron"), build_strategy(dp=16, zero_stage=1)
    q = replace(q, dp_overlap=False)
    wide, parameters = change(q, weights="fp32"), q.workload.parameters
    assert held(wide, plan, "weights") == 2 * held(q, plan, "weights") == 4 * parameters
    # they are their own master weights
    assert (wide.master, held(wide, plan, "optimizer")) == ("none", held(q, plan, "optimizer") * 8 / 12)
    assert compute_step_costs(wide, plan).terms["data_parallel"] > compute_step_costs(q, plan).terms["data_parallel"]
    again = change(q, weights="fp32", gather=wide.gather_dtype, master=wide.master)
    assert held(again, plan, "optimizer") == held(wide, plan, "optimizer")
    assert compute_step_costs(again, plan).step_time_s == compute_step_costs(wide, plan).step_time_s
    narrow = replace(build_narrow("fp8"), dp_overlap=False)
    held_narrow = change(narrow, weights="fp8")
    plan = build_strategy(tp=1, dp=16, zero_stage=1)
    # transposes beside both, an 8-bit copy beside 16-bit weights; embedding and head in 16 bit
    parameters, ends = narrow.workload.parameters, 2 * 128_256 * 4096
    assert held(held_narrow, plan, "weights") == pytest.approx(2 * parameters, rel=1e-4)
    assert held(narrow, plan, "weights") == pytest.approx(4 * parameters - 2 * ends, rel=1e-4)
    assert held_narrow.gather_dtype == "fp8"
    gathered = [compute_step_costs(scenario, plan).terms["data_parallel"][0] for scenario in (held_narrow, narrow)]
    assert gathered[0] < gathered[1]
    # rowwise and columnwise copies with their scales; gathered in 16 bit
    blocks = build_narrow("mxfp8", cluster="dgx-b200")
    held_blocks = change(blocks, weights="fp8")
    both_bytes = 2 * (1 + 1 / 32)
    assert held(held_blocks, plan, "weights") == pytest.approx(both_bytes * parameters, rel=1e-4)
    copies = both_bytes * (parameters - ends)
    assert held(blocks, plan, "weights") == pytest.approx(2 * parameters + copies, rel=1e-4)
    assert held_blocks.gather_dtype == "bf16"


def test_sharded_master_weights_stay_under_wider_copies() -> None:
    q, plan = build("fsdp2"), build_strategy(dp=16, zero_stage=3)
    wide = change(q, weights="fp32")
    assert held(wide, plan, "weights") == 2 * held(q, plan, "weights")
    assert held(wide, plan, "optimizer") == held(q, plan, "optimizer")


def compute_cast_difference(q: Scenario, recipe: str, other: str) -> tuple[float, float]:
    """Bytes more that a value of an operand takes, forward and backward, in one multiply."""
    plan = build_strategy(dp=16)
    shard = build_layer_shard(q, plan)
    op = next(op for op in q.workload.layer_types[0].operators if isinstance(op, Linear) and not op.full_precision)
    more, less = (compute_operator_times(change(q, fp8_recipe=name), op, shard) for name in (recipe, other))
    bandwidth = q.accelerator.memory_bandwidth_bytes_per_s * q.calibration.memory_efficiency
    tokens = q.workload.seq_length
    return (
        float((more.forward_s - less.forward_s)[0]) * bandwidth / tokens / op.inputs,
        float((more.backward_s - less.backward_s)[0]) * bandwidth / tokens / op.outputs,
    )


def test_a_recipe_moves_its_bytes() -> None:
    engine, compiled = build_narrow("fp8"), build_narrow("fp8", "fsdp2")
    assert compute_cast_difference(engine, "tensorwise", "delayed") == pytest.approx((2, 2))
    assert compute_cast_difference(engine, "blockwise", "delayed") == pytest.approx((1 / 16, 1 / 16), rel=1e-4)
    # torchao casts weights too, and the input again for their gradient
    numbers = msgspec.structs.replace(compiled.calibration, rowwise_efficiency=1.0)
    compiled = replace(compiled, calibration=numbers, launch_mode="compiled")
    op = next(op for op in compiled.workload.layer_types[0].operators if isinstance(op, Linear))
    outputs, tokens = op.outputs, compiled.workload.seq_length
    forward, backward = 1 + outputs / tokens, 1 + op.inputs / tokens + op.inputs / outputs
    difference = compute_cast_difference(compiled, "rowwise", "tensorwise")
    assert difference == pytest.approx((2 * forward, 2 * backward), rel=1e-4)


def test_a_recipe_saves_its_bytes() -> None:
    q, plan = build_narrow("fp8"), build_strategy(dp=16)
    shard = build_layer_shard(q, plan)
    op = next(op for op in q.workload.layer_types[0].operators if isinstance(op, Linear) and not op.full_precision)

    def compute_saved_bytes(scenario: Scenario) -> float:
        saved_bytes = get_operator_cost(op).compute_saved_bytes(scenario, op, shard)
        return float(saved_bytes[0]) / scenario.workload.seq_length / op.inputs

    assert [compute_saved_bytes(change(q, fp8_recipe=name)) for name in ("delayed", "tensorwise")] == [1, 1]
    assert compute_saved_bytes(change(q, fp8_recipe="blockwise")) == 1 + 4 / 128
    assert held(change(q, fp8_recipe="blockwise"), plan, "activations") > held(q, plan, "activations")
    # torchao saves the 16-bit input whatever the recipe
    assert compute_saved_bytes(change(build_narrow("fp8", "fsdp2"), fp8_recipe="rowwise")) == 2


@pytest.mark.parametrize(
    ("precision", "framework", "cluster", "own"),
    [
        ("bf16", "megatron", "dgx-h100", "none"),
        ("fp8", "megatron", "dgx-h100", "delayed"),
        ("fp8", "fsdp2", "dgx-h100", "tensorwise"),
        ("fp8", "fsdp", "dgx-h100", "delayed"),
        ("mxfp8", "megatron", "dgx-b200", "mxfp8"),
        ("nvfp4", "megatron", "dgx-b200", "nvfp4"),
    ],
)
def test_the_recipe_is_that_of_trainer_and_precision(
    precision: str, framework: TrainerName, cluster: str, own: str
) -> None:
    q = build_narrow(precision, framework, cluster)
    assert q.fp8_recipe == own
    assert change(q, fp8_recipe=own) == q
    with pytest.raises(InputError, match="another scaling"):
        change(q, fp8_recipe="mxfp8" if precision in ("fp8", "nvfp4", "bf16") else "delayed")


def test_what_no_kernel_has_is_refused() -> None:
    with pytest.raises(InputError, match="no kernels"):
        change(build_narrow("fp8", cluster="l40s-pcie"), fp8_recipe="blockwise")
    with pytest.raises(InputError, match="no weights of fp8"):
        change(build_narrow("bf16"), weights="fp8")
    with pytest.raises(InputError, match="no weights of bf16"):
        change(build_narrow("fp32"), weights="bf16")


def test_a_graph_of_more_parts_waits_less_for_the_host() -> None:
    plan = build_strategy(dp=16, ep=4)
    q = build("megatron", moe=MOE)
    q = replace(q, calibration=msgspec.structs.replace(q.calibration, host_launch_s=1e-3))
    launches = ("fused", "graph:attn", "graph:attn+mlp", "graph:attn+mlp+moe_router", "graph:attn+mlp+moe", "graph")
    seconds = [compute(replace(q, launch_mode=launch), plan) for launch in launches]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == len(seconds)
    # attention: norm, QKV, rotary, core, output, residual become one launch, three times in eight layers
    saved_s = seconds[0] - seconds[1]
    assert saved_s == pytest.approx(2 * 8 * 3 * 5 * 1e-3)
    permuted = [compute(replace(q, launch_mode=f"graph:moe_router{more}"), plan) for more in ("", "+moe_preprocess")]
    assert permuted[0] - permuted[1] == pytest.approx(2 * 6 * 3 * 1e-3)


def test_a_way_of_launching_has_one_spelling() -> None:
    assert parse_launch("graph:mlp+attn+mlp") == "graph:attn+mlp"
    assert parse_launch("graph:full_iteration") == "graph"
    for text, part in (("graph:atn", "did you mean attn"), ("graph:", "joined by"), ("fuse", "did you mean fused")):
        with pytest.raises(InputError, match=part):
            parse_launch(text)


def test_hybridep_takes_fewer_multiprocessors_beside_compute() -> None:
    plan = build_strategy(dp=16, ep=16)
    for overlap in ("yes", "no"):
        q = change(build("megatron", moe=MoeSpec(experts=16, topk=4, expert_ffn_size=512)), ep_overlap=overlap)
        deep, hybrid = (compute_step_costs(change(q, ep_exchange=name), plan) for name in ("deepep", "hybridep"))
        beside_s = float(deep.overlapped["expert_parallel"][0])
        saved_s = float((deep.terms["expert_parallel"] - hybrid.terms["expert_parallel"])[0])
        assert saved_s == pytest.approx(q.calibration.contention * beside_s * (1 - 16 / 20), abs=1e-12)
