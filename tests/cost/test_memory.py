"""Memory equals published closed forms and keeps its invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.cost.memory.activations import count_micro_batches_in_flight
from planner.cost.memory.dummy_gradients import compute_dummy_gradient_bytes
from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import build_scenario
from planner.cost.strategies import build_strategy, join_strategies
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload
from tests.examples import clusters, lab, lab_scenario, tiny, workloads


def sum_memory_bytes(memory: dict[str, np.ndarray]) -> float:
    return float(sum(memory[category] for category in MEMORY_CATEGORIES)[0])


def test_activations_equal_korthikanti() -> None:
    """arXiv 2205.05198, table 2: s b h (34 + 5 a s / h) / t a layer with sequence parallelism, unfused."""
    workload = build_workload(read_model_preset("megatron-22b"))
    lab_scenario = build_scenario(workload, lab(nodes=2, devices=8), global_batch=4, attention="unfused")
    s, b, h, a, t, layers = 2048, 4, 6144, 64, 8, 48
    plan = build_strategy(tp=8, dp=2, micro_batch=2, sequence_parallel=1)
    activations = compute_peak_memory_bytes(lab_scenario, plan)["activations"][0]
    dropout_of_the_embedding = s * 2 * h / t
    assert activations - dropout_of_the_embedding == pytest.approx(layers * s * 2 * h * (34 + 5 * a * s / h) / t)
    selective = build_strategy(tp=8, dp=2, micro_batch=2, sequence_parallel=1, recompute=1)
    kept = compute_peak_memory_bytes(lab_scenario, selective)["activations"][0] - dropout_of_the_embedding
    core_bytes = 5 * a * s * s * 2 / t
    assert kept == pytest.approx(layers * s * 2 * h * 34 / t + core_bytes)
    assert b == 2 * 2


def test_model_state_equals_the_zero_paper() -> None:
    """arXiv 1910.02054, figure 1: (2 + 4 + 12) bytes a parameter, sharded by stage (32-bit gradients)."""
    q = lab_scenario(batch=16)
    q = replace(q, trainer=replace(q.trainer, keeps_dummy_gradients=False))
    parameters = q.workload.parameters
    memory = compute_peak_memory_bytes(q, build_strategy(dp=16, zero_stage=0))
    # beside them a 16-bit gradient of each shape of Transformer Engine
    shapes = compute_dummy_gradient_bytes(q, build_strategy(dp=16), build_plan_tables(q, build_strategy(dp=16)))
    state = (memory["weights"] + memory["gradients"] + memory["optimizer"])[0] - shapes[0, 0]
    assert state == pytest.approx(18 * parameters)
    shared = compute_peak_memory_bytes(q, build_strategy(dp=16, zero_stage=1))
    assert shared["optimizer"][0] == pytest.approx(12 * parameters / 16)


def test_early_stages_hold_more_micro_batches() -> None:
    q = lab_scenario(tiny(vocab_size=64), batch=64)
    few = compute_peak_memory_bytes(q, build_strategy(pp=4, dp=4, micro_batch=8))["activations"][0]  # 2 micro-batches
    many = compute_peak_memory_bytes(q, build_strategy(pp=4, dp=4, micro_batch=1))["activations"][0]  # 4 in flight
    assert few == pytest.approx(many * 8 * 2 / 4)


@pytest.mark.parametrize("cuts_further", [False, True])
def test_keys_and_values_have_no_more_parts_than_heads(cuts_further: bool) -> None:
    """Unless the trainer cuts their matrix further, as Megatron does."""
    q = lab_scenario(tiny(kv_heads=2))
    assert q.trainer.cuts_key_values
    q = replace(q, trainer=replace(q.trainer, cuts_key_values=cuts_further))

    def weights(tp: int) -> float:
        return float(compute_peak_memory_bytes(q, build_strategy(tp=tp, dp=16 // tp))["weights"][0])

    kv = 8 * 512 * 2 * 2 * 64  # of all layers, two heads of 64
    norms = (2 * 8 + 1) * 512
    rest = q.workload.parameters - kv - norms
    for tp in (1, 2, 4, 8):
        assert weights(tp) == pytest.approx(2 * (rest / tp + kv / (tp if cuts_further else min(tp, 2)) + norms))


def count_peak_layers(layers: int, pp: int, vpp: int, micro_batches: int, stage: int) -> int:
    """Most layers' activations at once on a stage, by running the interleaved schedule step by step."""
    chunks = [layers // (pp * vpp) + (i < layers % (pp * vpp)) for i in range(pp * vpp)]
    forward = [chunk for start in range(0, micro_batches, pp) for chunk in range(vpp) for _ in range(pp)]
    backward = [vpp - 1 - chunk for chunk in forward]
    warm_up = min(2 * (pp - stage - 1) + (vpp - 1) * pp, len(forward))
    in_flight, most = 0, 0
    for step, chunk in enumerate(forward):
        in_flight += chunks[chunk * pp + stage]
        most = max(most, in_flight)
        if step >= warm_up:
            in_flight -= chunks[backward[step - warm_up] * pp + stage]
    return most


@settings(max_examples=20)
@given(st.integers(8, 40), st.sampled_from([2, 4]), st.integers(2, 5), st.integers(1, 6))
def test_interleaved_stages_hold_the_layers_that_the_schedule_keeps_in_flight(layers, pp, vpp, rounds) -> None:
    chunks = pp * vpp
    assume(chunks <= layers and (layers % chunks == 0 or (layers + 2) % chunks != 0))
    q = lab_scenario(tiny(layers=layers, vocab_size=64), batch=16 // pp * pp * rounds)
    plan = build_strategy(pp=pp, dp=16 // pp, vpp=vpp)
    p = build_plan_tables(q, plan)
    passes = count_micro_batches_in_flight(q, plan, p)[0]
    layers_in_flight = passes * p.stages.layer_counts[p.stage_rows][0][:, :-2].sum(axis=1)
    most = [
        count_peak_layers(layers, pp, vpp, pp * rounds, stage)
        for stage in p.stages.stage_index[p.stage_rows][0].tolist()
    ]
    assert layers_in_flight.tolist() == pytest.approx(most)


plans = st.fixed_dictionaries(
    {
        "tp": st.sampled_from([1, 2]),
        "pp": st.sampled_from([1, 2]),
        "dp": st.sampled_from([1, 2, 4]),
        "micro_batch": st.sampled_from([1, 2, 4]),
    }
)


@settings(max_examples=20)
@given(workloads(), clusters(), plans, st.integers(0, 1), st.integers(0, 2))
def test_order_of_zero_stages_recompute_and_micro_batches(workload, cluster, plan, parallel, mode) -> None:
    q = build_scenario(workload, cluster, global_batch=32)
    plan = {**plan, "sequence_parallel": parallel}
    larger = {**plan, "micro_batch": 2 * plan["micro_batch"]}
    together = join_strategies(
        [
            *(build_strategy(**plan, zero_stage=zero, recompute=mode) for zero in range(4)),
            *(build_strategy(**plan, zero_stage=1, recompute=recompute) for recompute in range(3)),
            build_strategy(**plan),
            build_strategy(**larger),
        ]
    )
    memory = compute_peak_memory_bytes(q, together)
    total_bytes = sum(memory[category] for category in MEMORY_CATEGORIES).tolist()
    by_zero, by_mode, (small_bytes, large_bytes) = total_bytes[:4], total_bytes[4:7], total_bytes[7:]
    assert by_zero == sorted(by_zero, reverse=True)
    assert by_mode == pytest.approx(sorted(by_mode, reverse=True))
    assert large_bytes >= small_bytes
