"""Activations, logits and communication buffers on a device of each stage, at each moment of a step."""

from __future__ import annotations

from functools import reduce

import numpy as np

from planner.cost.arrays import (
    Bools,
    Floats,
    Ints,
    find_last_axis_max,
    find_unique_rows,
    sum_products,
    take_columns,
)
from planner.cost.layer_tables import build_layer_shard
from planner.cost.memory.units import Progress, stack_moments
from planner.cost.operators.memory_bound import count_logits
from planner.cost.pipeline.stages import IN_FLIGHT_ROUNDS, PlanTables, compute_in_flight_passes
from planner.cost.scenario import Scenario
from planner.cost.strategies import FULL_RECOMPUTE, Strategies
from planner.workload.operators import AttentionCore, Layer, Linear, Pointwise

_ROTARY_VALUE_BYTES = 4.0
"""Of a rotated value and position: a complex number in 32 bit of each two (torchtitan 0.3.0,
models/common/rope.py)."""


def count_micro_batches_in_flight(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> Floats:
    """Most micro-batches in flight on each stage, shape [plans, stages]; `micro_batches`: those of a rank's
    step, where ranks are not all alike. GPipe runs all forward passes before the first backward pass.
    """
    step_micro_batches = scenario.global_batch // (s.dp * s.micro_batch) if micro_batches is None else micro_batches
    if scenario.pipeline_schedule == "gpipe":
        # without a pipeline each micro-batch has its backward pass before the next
        in_flight = np.where(s.pp == 1, 1.0, step_micro_batches)
        return np.repeat(in_flight[:, None], plan_tables.parameters.dense.shape[1], axis=1)
    # beyond a few rounds every round of the schedule is like the one before
    simulated = np.clip(step_micro_batches, 1, IN_FLIGHT_ROUNDS * s.pp)
    unique, rows = find_unique_rows(plan_tables.stage_rows, simulated), plan_tables.stage_rows
    first = unique.first_index
    in_flight = compute_in_flight_passes(
        plan_tables.stages, rows[first], s.pp[first], s.vpp[first], simulated[first], scenario.pipeline_schedule
    )
    return take_columns(in_flight, unique.inverse)


def compute_progress(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> Progress:
    """How many micro-batches a step has and how many of them are in flight; `micro_batches` as in
    `count_micro_batches_in_flight`.
    """
    in_flight = count_micro_batches_in_flight(scenario, s, plan_tables, micro_batches)
    if micro_batches is None:
        micro_batches = scenario.global_batch // (s.dp * s.micro_batch)
    return Progress(micro_batches, in_flight)


def compute_activation_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints, progress: Progress
) -> dict[str, Floats]:
    """Kept activations, the logits, buffers, and free blocks beside the logits that the allocator cannot use, in
    bytes under `recompute_modes`, shape [plans, moments, stages] each; of one moment for all where none changes.

    The head is left as soon as it is entered, so it has the logits of one micro-batch, and so do the layers of
    multi-token prediction before it; under recomputation the layer at work is restored beside what is kept.
    """
    activations, logits, gaps, buffers = _compute_moments(scenario, s, plan_tables, recompute_modes, progress)
    return {
        "activations": stack_moments(activations, buffers["loss"]),
        "logits": stack_moments(logits, buffers["loss"]),
        "buffers": stack_moments(buffers, buffers["loss"]),
        "allocator": stack_moments(gaps, buffers["loss"]),
    }


def compute_fullest_activation_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints, progress: Progress
) -> Floats:
    """The sum of the categories of `compute_activation_bytes` at the moment when it is largest, [plans, stages]."""
    activations, logits, gaps, buffers = _compute_moments(scenario, s, plan_tables, recompute_modes, progress)
    beside = {moment: sizes + gaps.get(moment, 0.0) for moment, sizes in logits.items()}
    sums = [
        sizes + buffers[moment] + beside[moment] if moment in beside else sizes + buffers[moment]
        for moment, sizes in activations.items()
    ]
    return reduce(np.maximum, sums)


def _compute_moments(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints, progress: Progress
) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats], dict[str, Floats]]:
    """Kept activations by moment, logits by moment where there are any, free blocks beside them, and what passes work
    in, [plans, stages] each.
    """
    tables, layer_row, in_flight = plan_tables.layer_tables, plan_tables.layer_row, progress.in_flight
    saved, dropped = tables.saved_bytes, tables.dropped_bytes
    least = np.minimum(tables.input_bytes, saved - dropped)
    kept_by_mode = np.concatenate([saved, saved - dropped, least])
    restored_by_mode = np.concatenate([np.zeros_like(saved), np.maximum(dropped, 0.0), saved - least])
    row = recompute_modes * len(saved) + layer_row
    kept, restored = (take_columns(table, row)[:, None, :] for table in (kept_by_mode, restored_by_mode))
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    kept = _keep_other_layers(scenario, s, recompute_modes, kept, saved[layer_row])
    predicting = counts[:, :, -1] * tables.prediction_bytes[layer_row, -1:]
    is_present = counts[:, :, :-2] > 0
    restored_layer = find_last_axis_max(np.where(is_present, restored[:, :, :-2], 0.0))
    with_gradients = restored + tables.backward_bytes[layer_row, None]
    gradients = find_last_axis_max(np.where(is_present, with_gradients[:, :, :-2], 0.0)) - restored_layer
    kept_layer = find_last_axis_max(np.where(is_present, kept[:, :, :-2], 0.0))
    per_micro_batch = sum_products(counts[:, :, :-1], kept[:, :, :-1])
    activations, others = in_flight * per_micro_batch, (in_flight - 1.0) * per_micro_batch
    if scenario.offload.activations:
        offloaded = compute_offloaded_layer_bytes(scenario, s, plan_tables, recompute_modes)
        offloaded_bytes = in_flight * sum_products(counts[:, :, :-1], offloaded[:, :, :-1])
        # on their way out or in: the layer at work and the one before it
        largest_offloaded = find_last_axis_max(np.where(counts[:, :, :-1] > 0, offloaded[:, :, :-1], 0.0))
        kept_bytes = in_flight * sum_products(counts[:, :, :-1], (kept - offloaded)[:, :, :-1])
        activations = kept_bytes + np.minimum(2.0 * largest_offloaded, offloaded_bytes)
        others = np.where(in_flight > 1.0, activations * (in_flight - 1.0) / np.maximum(in_flight, 1.0), 0.0)
    head_bytes = counts[:, :, -1] * saved[layer_row, -1:] - predicting
    head_backward_bytes = counts[:, :, -1] * tables.head_backward_bytes[layer_row, -1:]
    logits = {"loss": head_bytes, "head_backward": head_backward_bytes}
    if scenario.trainer.uses_torch_pipelining:
        # a stage's output, the logits too, is kept until its backward pass is done
        logits["loss"] = logits["loss"] + np.where(s.pp > 1, 1.0, 0.0)[:, None] * _compute_stage_logits(
            scenario, s, counts
        )
        activations = np.maximum(activations + _compute_kept_outputs(s, plan_tables, progress), 0.0)
    buffers = _compute_buffers(scenario, s, plan_tables, progress, gradients)
    kept_activations = {
        "loss": activations + predicting,
        "head_backward": activations + predicting,
        # the backward pass of multi-token prediction comes before that of the other layers
        "last_layer_backward": activations + np.maximum(restored_layer, predicting),
        "first_layer_backward": others + kept_layer + restored_layer,
        "embedding_backward": others,
    }
    gap_bytes = counts[:, :, -1] * tables.loss_gap_bytes[layer_row, -1:]
    return kept_activations, logits, {"head_backward" if scenario.loss == "chunked" else "loss": gap_bytes}, buffers


def _compute_stage_logits(scenario: Scenario, s: Strategies, counts: Floats) -> Floats:
    """16-bit logits of a micro-batch where all are there at once, [plans, stages]."""
    if scenario.loss == "chunked":
        return np.zeros(counts.shape[:2])
    logits = count_logits(scenario.workload.head, build_layer_shard(scenario, s))
    return counts[:, :, -1] * (logits * scenario.value_bytes)[:, None]


def _compute_kept_outputs(s: Strategies, plan_tables: PlanTables, progress: Progress) -> Floats:
    """Outputs of a stage that PyTorch keeps of each micro-batch in flight, less inputs, which lie where they are
    received; [plans, stages].
    """
    input_bytes = find_last_axis_max(plan_tables.layer_tables.input_bytes[:, :-2])[plan_tables.layer_row, None]
    has_previous, has_next = _find_neighbors(s, plan_tables)
    return progress.in_flight * input_bytes * (has_next.astype(np.float64) - has_previous)


def _find_neighbors(s: Strategies, plan_tables: PlanTables) -> tuple[Bools, Bools]:
    """Whether there is a stage before, and one after, [plans, stages]."""
    stage = plan_tables.stages.stage_index[plan_tables.stage_rows]
    return stage > 0, stage < s.pp[:, None] - 1


def _compute_buffers(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, progress: Progress, gradients: Floats
) -> dict[str, Floats]:
    """What passes work in by moment, [plans, stages] each; `gradients`: of activations while a layer is at work.

    The head's gathered sequence lies in a buffer that stays (megatron-core 0.16.1, `get_global_memory_buffer` of
    tensor_parallel/layers.py).
    """
    tables, layer_row = plan_tables.layer_tables, plan_tables.layer_row
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    largest_input, largest_gathered = (
        find_last_axis_max(table[:, :-2])[layer_row, None] for table in (tables.input_bytes, tables.gathered_bytes)
    )
    has_head = counts[:, :, -1] > 0
    gathered_head = np.where(has_head & (not scenario.trainer.keeps_gathered_sequence), largest_gathered, 0.0)
    kept = gathered_head + _compute_rotary_bytes(scenario, counts)
    received = _count_received_inputs(scenario, s, plan_tables, progress) * largest_input
    buffers = kept + received
    last_gradients = gradients
    if scenario.trainer.uses_torch_pipelining:
        # the gradient of what is sent lies where it was received
        _, has_next = _find_neighbors(s, plan_tables)
        last_gradients = gradients - np.where(has_next, largest_input, 0.0)
    return {
        "loss": buffers,
        "head_backward": buffers + np.where(has_head, largest_input, 0.0),
        "last_layer_backward": buffers + np.maximum(last_gradients, 0.0),
        "first_layer_backward": buffers + gradients,
        "embedding_backward": buffers + largest_input,
        "optimizer_step": buffers if scenario.trainer.uses_torch_pipelining else kept,
    }


def _count_received_inputs(scenario: Scenario, s: Strategies, plan_tables: PlanTables, progress: Progress) -> Floats:
    """Inputs of a layer that a stage has room for between stages, [plans, stages].

    That of one micro-batch as it is received, and what is sent; in PyTorch's schedules inputs and gradients of all
    micro-batches of a step (torch 2.13, `_setup_forward_recv_info` and `_setup_backward_recv_info` of
    torch/distributed/pipelining/stage.py), and the gradient that is sent.
    """
    has_pipeline = np.where(s.pp > 1, 1.0, 0.0)[:, None]
    if not scenario.trainer.uses_torch_pipelining:
        return np.broadcast_to(2.0 * has_pipeline, progress.in_flight.shape)
    has_previous, has_next = _find_neighbors(s, plan_tables)
    ends = (s.vpp[:, None] - 1.0) * 2.0 + has_previous + has_next
    inputs: Floats = has_pipeline * (progress.micro_batches[:, None] * ends + has_previous)
    return inputs


def _compute_rotary_bytes(scenario: Scenario, counts: Floats) -> Floats:
    """Tables of rotary positions of the layers of each stage, [plans, stages]."""
    if not scenario.trainer.keeps_rotary_tables:
        return np.zeros(counts.shape[:2])
    values = [_count_rotary_values(layer) for layer in scenario.workload.layer_types]
    table_bytes = _ROTARY_VALUE_BYTES * scenario.workload.seq_length * np.array(values, dtype=np.float64)
    return sum_products(counts[:, :, : len(values)], table_bytes[None, None])


def _count_rotary_values(layer: Layer) -> int:
    """Values of a head that are rotated; none without rotary positions."""
    operators = {op.name: op for op in layer.operators}
    attention = next((op for op in layer.operators if isinstance(op, AttentionCore)), None)
    if "rotary" not in operators or attention is None:
        return 0
    down, norm = operators.get("kv_down"), operators.get("kv_norm")
    if isinstance(down, Linear) and isinstance(norm, Pointwise):
        # what latent attention projects beside its compressed keys and values
        return down.outputs - norm.width
    return attention.qk_dim


def compute_offloaded_layer_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints
) -> Floats:
    """Bytes of one micro-batch on the host of one layer of each type, where activations are offloaded, shape
    [plans, 1, layer types].
    """
    offloaded_by_mode, layer_row = plan_tables.layer_tables.offloaded_bytes, plan_tables.layer_row
    row = recompute_modes * len(offloaded_by_mode[0]) + layer_row
    offloaded = take_columns(np.concatenate(offloaded_by_mode), row)[:, None, :]
    return _keep_other_layers(scenario, s, recompute_modes, offloaded, offloaded_by_mode[0][layer_row])


def _keep_other_layers(
    scenario: Scenario, s: Strategies, recompute_modes: Ints, kept: Floats, saved: Floats
) -> Floats:
    """What layers keep on average where full recomputation leaves some of them out, which keep `saved`
    [plans, layer types]; shape [plans, 1, layer types], as `kept`.
    """
    if scenario.recompute_layers is None:
        return kept
    other_layers_share = 1.0 - compute_full_recompute_share(scenario, s)[:, None, None]
    partly_kept = kept + other_layers_share * (saved[:, None, :] - kept)
    return np.where((recompute_modes == FULL_RECOMPUTE)[:, None, None], partly_kept, kept)


def compute_full_recompute_share(scenario: Scenario, s: Strategies) -> Floats:
    """Share of a stage's layers that full recomputation repeats, shape [plans]: all, or a number of them."""
    if scenario.recompute_layers is None:
        return np.ones(len(s))
    return np.minimum(1.0, scenario.recompute_layers * s.pp * s.vpp / scenario.workload.layer_count)


def compute_recompute_layer_share(scenario: Scenario, s: Strategies) -> Floats:
    """Share of the layers that each plan's recompute mode is at work in, shape [plans]: only full recomputation may
    leave some of them out.
    """
    return np.where(s.recompute == FULL_RECOMPUTE, compute_full_recompute_share(scenario, s), 1.0)
