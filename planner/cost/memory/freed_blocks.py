"""Blocks that a trainer has freed and PyTorch's allocator still has, without expandable segments, for want of a use.

A block is cut for a smaller tensor, and never joined with one of another request (torch 2.6,
c10/cuda/CUDACachingAllocator.cpp). What is freed lies there until a tensor comes that fits, or until memory runs out:
then the allocator waits for the device and gives all whole blocks back (`release_cached_blocks` there). So these
bytes count where there is room for them, and decide of no plan whether it fits.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, find_last_axis_max, sum_products, take_columns
from planner.cost.layer_tables import build_layer_shard
from planner.cost.memory.units import get_units, stack_moments
from planner.cost.operators import get_operator_cost
from planner.cost.operators.memory_bound import count_logits
from planner.cost.pipeline.stages import PlanTables, compute_sharded_parameters
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import Layer

_WIDE_LOGIT_BYTES = 4.0
_FORWARD_END = ("loss", "head_backward", "last_layer_backward")


def compute_freed_block_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, in_flight: Floats, used_bytes: Floats
) -> Floats:
    """Bytes on a device of each stage, [plans, moments, stages]; none where `used_bytes`, all else, leaves no room.
    `in_flight`: micro-batches, [plans, stages].
    """
    trainer = scenario.trainer
    if not (trainer.frees_gradient_copies or trainer.gathers_copies or trainer.host_lead_layers):
        return np.zeros((1, 1, 1))
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)[:, :, :-2]
    late = _compute_freed_copy_bytes(scenario, s, plan_tables, counts)
    late = late + _compute_communicated_bytes(scenario, plan_tables, counts, in_flight)
    gathered = _compute_gathered_bytes(scenario, s, plan_tables)
    freed = stack_moments({**dict.fromkeys(_FORWARD_END, late + gathered), "first_layer_backward": gathered}, late)
    fits = (used_bytes + freed).max(axis=1, keepdims=True) <= scenario.accelerator.memory_bytes
    return np.where(fits, freed, 0.0)


def _compute_freed_copy_bytes(scenario: Scenario, s: Strategies, plan_tables: PlanTables, counts: Floats) -> Floats:
    """Of 16-bit gradients that are added up after the backward pass those of layers, [plans, stages]: each is cut
    into as many tensors of the residual stream as it has room for, the smallest large ones of a layer.
    """
    if not scenario.trainer.frees_gradient_copies:
        return np.zeros(counts.shape[:2])
    tensor_bytes = plan_tables.layer_tables.input_bytes[plan_tables.layer_row]
    rests = [
        _compute_layer_rest_bytes(scenario, s, layer, tensor_bytes[:, index])
        for index, layer in enumerate(scenario.workload.layer_types)
    ]
    rest_bytes: Floats = sum_products(counts, np.stack(rests, axis=1)[:, None])
    return rest_bytes


def _compute_layer_rest_bytes(scenario: Scenario, s: Strategies, layer: Layer, tensor_bytes: Floats) -> Floats:
    """What of the gradients of a layer's matrices tensors of this size leave, [plans]."""
    shard, rest_bytes = build_layer_shard(scenario, s), np.zeros(len(s))
    for op in layer.operators:
        cost = get_operator_cost(op)
        if cost.has_weights:
            count = cost.count_matrices(op, shard)
            matrix_bytes = scenario.trainer_state.gradient_copy_bytes * cost.count_weights(op, shard) / count
            rest_bytes = rest_bytes + count * (matrix_bytes - np.floor(matrix_bytes / tensor_bytes) * tensor_bytes)
    return rest_bytes


def _compute_communicated_bytes(
    scenario: Scenario, plan_tables: PlanTables, counts: Floats, in_flight: Floats
) -> Floats:
    """What collectives of the last layers have read, [plans, stages], which no tensor gets before the device has run
    them: of as many layers as the host may be ahead. It waits where it receives the shape of what another stage sends
    (nanotron at e24d2483, `_recv_meta` of parallel/pipeline_parallel/p2p.py): on the first stage only backward.
    """
    by_layer = plan_tables.layer_tables.communicated_bytes[plan_tables.layer_row, :-2]
    is_first = plan_tables.stages.stage_index[plan_tables.stage_rows] == 0
    layers = np.maximum(counts.sum(axis=2), 1.0)
    passes = np.minimum(np.where(is_first, in_flight, 1.0), scenario.trainer.host_lead_layers / layers)
    communicated: Floats = passes * sum_products(counts, by_layer[:, None])
    return communicated


def _compute_gathered_bytes(scenario: Scenario, s: Strategies, plan_tables: PlanTables) -> Floats:
    """Copies of an all-gather of weights, [plans, stages], that are larger than any tensor of the passes, less the
    moments of Adam, which are made after the first backward pass: later passes have room for as much in them.
    """
    parameters = plan_tables.parameters
    whole = get_units(parameters).whole
    if not scenario.trainer.gathers_copies:
        return np.zeros_like(whole)
    state, ranks = scenario.trainer_state, s.dp[:, None].astype(np.float64)
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    shard = build_layer_shard(scenario, s)
    logits = counts[:, :, -1] * (_WIDE_LOGIT_BYTES * count_logits(scenario.workload.head, shard))[:, None]
    outputs = [
        get_operator_cost(op).compute_output_bytes(scenario, op, shard)
        for layer in scenario.workload.layer_types
        for op in layer.operators
    ]
    largest = np.maximum(find_last_axis_max(np.stack(outputs, axis=1))[:, None], logits)
    copy_bytes = state.weight_bytes * whole
    # the buffer of NCCL, and those of each rank and of this one
    kept = np.where(copy_bytes > largest, copy_bytes, 0.0)
    kept = kept + np.where(copy_bytes / ranks > largest, (1.0 + 1.0 / ranks) * copy_bytes, 0.0)
    moments = state.moment_bytes * compute_sharded_parameters(scenario, s, parameters)
    is_gathered = ((s.zero_stage == 1) & (s.dp > 1))[:, None]
    return np.where(is_gathered, np.maximum(kept - moments, 0.0), 0.0)
