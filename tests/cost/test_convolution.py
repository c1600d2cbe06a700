"""Convolutions and lists of operators obey the laws that multiplies and transformers obey."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model.presets import load_cluster_spec
from planner.cost.flops import compute_model_flops
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.operators.convolution import ConvolutionCost
from planner.cost.operators.matmul import LinearCost, compute_gemm_arithmetic_s
from planner.cost.operators.operator_cost import LayerShard
from planner.cost.operators.roofline import compute_gemm_flops_per_s, compute_memory_bytes_per_s
from planner.cost.pipeline.partition import compute_boundary_width
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import STEP_TERMS, compute_pipeline_bound_s, compute_step_costs
from planner.cost.strategies import Strategies, build_strategy, join_strategies
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.operators import Convolution, Linear
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload
from tests.examples import clusters, lab, lab_scenario, network, networks

plans = st.builds(
    build_strategy,
    pp=st.sampled_from([1, 2, 4]),
    dp=st.sampled_from([1, 2]),
    vpp=st.sampled_from([1, 2]),
    micro_batch=st.sampled_from([1, 2]),
    zero_stage=st.integers(0, 3),
    recompute=st.integers(0, 2),
)


def compute_step_s(q: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(q, s).step_time_s[0])


@settings(max_examples=10)
@given(networks(), clusters(), st.lists(plans, min_size=2, max_size=4))
def test_terms_add_up_and_a_plan_scores_the_same_alone(workload, cluster, many) -> None:
    q = build_scenario(workload, cluster, global_batch=16)
    together, memory = (
        compute_step_costs(q, join_strategies(many)),
        compute_peak_memory_bytes(q, join_strategies(many)),
    )
    for i, plan in enumerate(many):
        alone, alone_memory = compute_step_costs(q, plan), compute_peak_memory_bytes(q, plan)
        step_s = float(alone.step_time_s[0])
        assert abs(sum(float(alone.terms[name][0]) for name in STEP_TERMS) - step_s) < 1e-9
        assert step_s == together.step_time_s[i]
        assert all(alone_memory[category][0] == memory[category][i] >= 0 for category in memory)
        assert compute_pipeline_bound_s(q, plan, build_plan_tables(q, plan))[0] <= step_s * (1 + 1e-9)


@settings(max_examples=10)
@given(networks(), st.integers(0, 3))
def test_recomputation_keeps_less_and_takes_longer(workload, zero_stage) -> None:
    q = lab_scenario(workload, batch=64)
    modes = [build_strategy(dp=16, micro_batch=4, zero_stage=zero_stage, recompute=mode) for mode in range(3)]
    kept = [float(compute_peak_memory_bytes(q, plan)["activations"][0]) for plan in modes]
    assert kept[0] >= kept[1]
    assert kept[0] >= kept[2]
    assert compute_step_s(q, modes[0]) <= compute_step_s(q, modes[1])
    assert compute_step_s(q, modes[0]) < compute_step_s(q, modes[2])


def build_shard(samples: float) -> LayerShard:
    full = np.ones(1)
    return LayerShard(np.array([samples]), full, full, full, full, full)


@settings(max_examples=30)
@given(st.integers(1, 512), st.integers(1, 512), st.integers(1, 4096), st.integers(1, 64))
def test_a_kernel_of_a_single_place_is_a_multiply(inputs, outputs, places, samples) -> None:
    q = lab_scenario()
    conv = Convolution("c", inputs, outputs, 1, places, inputs * places)
    same = Linear("l", inputs, outputs, "none", full_precision=True, rows=float(places))
    first, second = (
        ConvolutionCost().compute_times(q, conv, build_shard(samples)),
        LinearCost().compute_times(q, same, build_shard(samples)),
    )
    assert first.forward_s == pytest.approx(second.forward_s)
    assert first.backward_s == pytest.approx(second.backward_s)


@given(st.sampled_from([1, 2, 8, 64]), st.sampled_from([1, 9, 49]), st.sampled_from([7, 56]))
def test_groups_do_less_and_never_take_longer(groups, kernel, side) -> None:
    q = lab_scenario()
    dense = Convolution("c", 64, 128, kernel, side**2, 64 * side**2)
    grouped = replace(dense, groups=groups)
    assert grouped.weights * groups == dense.weights
    first, second = (
        ConvolutionCost().compute_times(q, grouped, build_shard(32)),
        ConvolutionCost().compute_times(q, dense, build_shard(32)),
    )
    assert first.forward_s <= second.forward_s * (1 + 1e-12)
    assert first.backward_s <= second.backward_s * (1 + 1e-12)
    moved = 2.0 * 32 * (64 + 128) * side**2 / q.accelerator.memory_bandwidth_bytes_per_s
    assert first.forward_s > moved


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"), [(32, 128, 256), (512, 512, 512), (4, 4096, 4096), (2, 16, 16)]
)
def test_groups_are_multiplied_so_many_at_a_time_as_is_fastest(groups, inputs, outputs) -> None:
    q = lab_scenario(cluster=resolve_cluster(load_cluster_spec("dgx-a100"), "dgx-a100", nodes=1))
    op = Convolution("c", inputs, outputs, 9, 28**2, inputs * 28**2, groups=groups)
    places, window = np.array([256.0 * 28**2]), np.array([inputs // groups * 9.0])
    out, channels = np.array([outputs / groups]), np.array([inputs / groups])
    moved = 2.0 * (256 * (op.input_values + outputs * 28**2) + op.weights) / compute_memory_bytes_per_s(q)

    def least(m, n, k, packed) -> float:
        """Of block diagonals of so many groups, and of the units that multiply no matrices."""
        sizes = {0: m, 1: n, 2: k}
        seconds = (
            2.0 * groups * m[0] * n[0] * k[0] / (q.accelerator.peak_flops["fp32"] * q.calibration.gemm_efficiency)
        )
        for together in np.geomspace(1, groups, 2000):
            a, b, c = (size * together if i in packed else size for i, size in sizes.items())
            blocks = compute_gemm_arithmetic_s(
                q, a, b, c, flops_per_s=compute_gemm_flops_per_s(q, full_precision=True)
            )
            seconds = min(seconds, groups / together * blocks[0])
        return max(seconds, moved) + q.calibration.kernel_launch_s

    forward, weight = least(places, out, window, (1, 2)), least(window, out, places, (0, 1))
    into = least(places, channels, out * 9, (1, 2))
    passes = ConvolutionCost().compute_times(q, op, build_shard(256))
    assert passes.forward_s == pytest.approx(forward, rel=1e-5)
    assert passes.backward_s == pytest.approx(into + weight, rel=1e-5)
    assert passes.weight_grad_s == pytest.approx(weight, rel=1e-5)


def test_the_data_needs_no_gradient() -> None:
    q = lab_scenario()
    first = Convolution("c", 64, 64, 9, 3136, 64 * 3136, input_gradient=False)
    inner = replace(first, input_gradient=True)
    assert (
        ConvolutionCost().compute_times(q, first, build_shard(8)).backward_s
        < ConvolutionCost().compute_times(q, inner, build_shard(8)).backward_s
    )
    assert (
        ConvolutionCost().compute_times(q, first, build_shard(8)).forward_s
        == ConvolutionCost().compute_times(q, inner, build_shard(8)).forward_s
    )


def test_flops_are_the_samples() -> None:
    workload = network()
    assert compute_model_flops(workload, 7, "full") == pytest.approx(7 * compute_model_flops(workload, 1, "full"))


def test_stages_send_the_outputs_of_their_layers() -> None:
    # 16 layers: the stage that ends with conv2_x sends 256 x 56 x 56 values, conv3_x 512 x 28 x 28, ...
    workload = build_workload(read_model_preset("resnet-50"))
    two, four, all_16 = (compute_boundary_width(workload, build_strategy(pp=pp))[0] for pp in (2, 4, 16))
    assert (two, four, all_16) == (1024 * 14 * 14, 512 * 28 * 28, 256 * 56 * 56)
    llama = build_workload(read_model_preset("llama-3-8b"))
    assert compute_boundary_width(llama, build_strategy(pp=2))[0] == llama.hidden_size


def test_norms_are_part_of_convolutions_on_tpus_alone() -> None:
    workload = build_workload(read_model_preset("resnet-50"))
    plan = build_strategy(dp=16, micro_batch=64)
    times = {}
    for name in ("tpu-v3", "dgx-v100"):
        cluster = resolve_cluster(load_cluster_spec(name), name, nodes=16 // 4 if name == "tpu-v3" else 2)
        for fuses in (True, False):
            q = build_scenario(workload, cluster, global_batch=1024, framework="maxtext")
            q = replace(q, trainer=replace(TRAINERS_BY_NAME["maxtext"], fuses_convolution_neighbors=fuses))
            times[name, fuses] = compute_step_s(q, plan)
    assert times["tpu-v3", True] < 0.8 * times["tpu-v3", False]
    assert times["dgx-v100", True] == times["dgx-v100", False]


def test_a_faster_memory_helps_a_convolutional_network() -> None:
    plan = build_strategy(dp=16, micro_batch=2)
    assert compute_step_s(lab_scenario(network(), lab(hbm=4000)), plan) < compute_step_s(
        lab_scenario(network(), lab(hbm=1000)), plan
    )
