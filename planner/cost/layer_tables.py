"""Time, communication and saved activations of one layer of each type on one device, for each distinct shard shape.

Tables of shape [keys, layer types]: the workload's layer types, then the embedding, then the head. A key is a
distinct (tp, cp, ep, etp, micro-batch, sequence parallel) at one place in the network (`_compute_placement_keys`).
Only assembled here: `operators/` says what an operator takes, `parallelism/` what its communication does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.operators.roofline import LayerShard, PassTimes, is_16bit_or_wider
from planner.cost.operators.table import get_operator_cost
from planner.cost.parallelism.intra_layer_comm import (
    AxisCommunication,
    compute_context_comm,
    compute_expert_comm,
    compute_tensor_collective_s,
    compute_tensor_comm,
)
from planner.cost.pipeline.partition import list_layer_types
from planner.cost.rank_groups import compute_rank_strides
from planner.cost.scenario import Scenario
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import adjust_pass_times, compute_teacher_s, is_adapted
from planner.cost.unique_rows import find_unique_rows
from planner.workload.operators import AttentionCore, Layer, Linear, Operator


@dataclass(frozen=True)
class LayerTables:
    """One micro-batch through one layer of each type; times in seconds, arrays of shape [keys, layer types].

    `weight_grad` is the part of `backward` that makes the weights' gradients, `selective_recompute` the forward time
    of what selective recomputation repeats. `saved_bytes` is kept per micro-batch without recomputation,
    `dropped_bytes` what selective drops of it, `input_bytes` the layer's input, all that full recomputation keeps.
    `gathered_bytes`: the gathered sequence and its gradient, which sequence parallelism has whole on each device
    while a layer is at work. `tp`, `cp`, `ep`: communication of each axis inside the layer.
    """

    forward: Floats
    backward: Floats
    weight_grad: Floats
    selective_recompute: Floats
    saved_bytes: Floats
    dropped_bytes: Floats
    input_bytes: Floats
    gathered_bytes: Floats
    tp: AxisCommunication
    cp: AxisCommunication
    ep: AxisCommunication

    @property
    def recomputable_mask(self) -> Floats:
        """One for each layer type, zero for embedding and head, which are never recomputed; shape [layer types]."""
        mask = np.ones(self.forward.shape[1])
        mask[-2:] = 0.0
        return mask

    @property
    def communication(self) -> tuple[AxisCommunication, AxisCommunication, AxisCommunication]:
        """Of tp, cp and ep, in this order."""
        return self.tp, self.cp, self.ep


def build_layer_tables(scenario: Scenario, strategies: Strategies) -> tuple[LayerTables, Ints]:
    """The tables, and for each plan its row in them."""
    s = strategies
    unique_keys = find_unique_rows(
        s.tp, s.cp, s.ep, s.etp, s.micro_batch, s.sequence_parallel, *_compute_placement_keys(scenario, s)
    )
    unique_strategies = s.take(unique_keys.first_index)
    layers = list_layer_types(scenario.workload)
    widths = {_get_input_width(scenario, layer) for layer in layers}
    tensor_collective_s = {
        width: compute_tensor_collective_s(
            scenario, unique_strategies, width * _compute_sequence_value_bytes(scenario, unique_strategies)
        )
        for width in widths
    }
    columns = [
        _compute_layer_column(
            scenario, layer, unique_strategies, tensor_collective_s[_get_input_width(scenario, layer)]
        )
        for layer in layers
    ]
    return _stack_columns(columns), unique_keys.inverse


def _stack_columns(columns: list[LayerTables]) -> LayerTables:
    """Tables from their columns, which have shape [keys]."""

    def stack(parts: list[Floats | AxisCommunication]) -> Floats | AxisCommunication:
        if isinstance(parts[0], AxisCommunication):
            names = [field.name for field in fields(AxisCommunication)]
            return AxisCommunication(**{name: np.stack([getattr(part, name) for part in parts], 1) for name in names})
        return np.stack([part for part in parts if isinstance(part, np.ndarray)], axis=1)

    names = [field.name for field in fields(LayerTables)]
    return LayerTables(**{name: stack([getattr(column, name) for column in columns]) for name in names})  # type: ignore[arg-type]


def _compute_placement_keys(scenario: Scenario, s: Strategies) -> tuple[Ints, ...]:
    """Columns that say where the groups of a layer lie in the network, beside the degrees: none in the usual order,
    in which tp and cp decide it. In others the strides of tp and cp, and where experts may be spread over
    data-parallel ranks dp's stride and dp itself.
    """
    if scenario.rank_order == RANK_ORDERS[0]:
        return ()
    rank_strides = compute_rank_strides(scenario.rank_order, s)
    return (
        (rank_strides["tp"], rank_strides["cp"], rank_strides["dp"], s.dp)
        if scenario.workload.experts
        else (rank_strides["tp"], rank_strides["cp"])
    )


def _get_input_width(scenario: Scenario, layer: Layer) -> int:
    """Values per token that a layer is given."""
    return layer.input_values or scenario.workload.hidden_size


def _compute_sequence_value_bytes(scenario: Scenario, s: Strategies) -> Floats:
    """One value of every token of a micro-batch on the ranks that share its sequence, [keys]."""
    return s.micro_batch * (scenario.workload.seq_length / s.cp) * scenario.value_bytes


def _compute_layer_column(
    scenario: Scenario, layer: Layer, s: Strategies, tensor_collective_s: Floats
) -> LayerTables:
    """The tables' column of one layer type, arrays of shape [keys]. `tensor_collective_s`: see
    `compute_tensor_collective_s`.
    """
    shard = build_layer_shard(scenario, s)
    zero = np.zeros(len(s))
    selective_recompute_s = saved_bytes = dropped_bytes = kept_output_bytes = zero
    layer_times = attention_times = multiply_times = PassTimes(zero, zero, zero)
    for op in layer.operators:
        cost = get_operator_cost(op)
        pass_times = compute_operator_times(scenario, op, shard)
        layer_times = layer_times + pass_times
        selective_recompute_s = (
            selective_recompute_s + cost.compute_selective_share(scenario, op) * pass_times.forward_s
        )
        saved_bytes = saved_bytes + cost.compute_saved_bytes(scenario, op, shard)
        dropped_bytes = dropped_bytes + cost.compute_dropped_bytes(scenario, op, shard)
        kept_output_bytes = kept_output_bytes + cost.compute_kept_output_bytes(scenario, op, shard)
        if isinstance(op, AttentionCore):
            attention_times = attention_times + pass_times
        if isinstance(op, Linear) and op.shard != "none":
            multiply_times = multiply_times + pass_times
    if scenario.techniques.teacher is not None and layer in scenario.workload.layer_types:
        # with the backward pass, which needs it: recomputation does not repeat it
        layer_times = layer_times + PassTimes(zero, compute_teacher_s(scenario, shard), zero)
    # the device waits for the host where kernels are short: three passes' worth of launches for two passes
    host_launch_s = _count_kernel_launches(scenario, layer, shard) * (
        0.0 if scenario.launch_mode == "graph" else scenario.calibration.host_launch_s
    )
    host_wait_s = PassTimes(
        np.maximum(host_launch_s - layer_times.forward_s, 0.0),
        np.maximum(2 * host_launch_s - layer_times.backward_s, 0.0),
        zero,
    )
    layer_times = layer_times + host_wait_s
    hidden_state_bytes = _get_input_width(scenario, layer) * _compute_sequence_value_bytes(scenario, s)
    input_bytes = hidden_state_bytes / shard.sequence_divisor
    if scenario.trainer.selective_recompute == "multiplies":
        dropped_bytes = np.maximum(saved_bytes - (input_bytes + kept_output_bytes), 0.0)
    # communication runs beside the kernels that overlap it, and while the device waits
    tensor_comm = compute_tensor_comm(scenario, layer, s, tensor_collective_s, multiply_times + host_wait_s)
    context_comm = compute_context_comm(scenario, layer, s, shard, attention_times + host_wait_s)
    return LayerTables(
        forward=layer_times.forward_s,
        backward=layer_times.backward_s,
        weight_grad=layer_times.weight_grad_s,
        selective_recompute=selective_recompute_s,
        saved_bytes=saved_bytes,
        dropped_bytes=dropped_bytes,
        input_bytes=input_bytes,
        gathered_bytes=np.where(shard.sequence_divisor > 1, 2 * hidden_state_bytes, 0.0),
        tp=tensor_comm,
        cp=context_comm,
        ep=compute_expert_comm(scenario, layer, s, hidden_state_bytes, layer_times, tensor_comm, context_comm),
    )


def build_layer_shard(scenario: Scenario, s: Strategies) -> LayerShard:
    """What one device has of every layer, [keys]."""
    tensor_parallel = s.tp.astype(np.float64)
    return LayerShard(
        tokens=s.micro_batch * (scenario.workload.seq_length / s.cp),
        tp=tensor_parallel,
        ep=s.ep.astype(np.float64),
        etp=s.etp.astype(np.float64),
        sequence_divisor=np.where(s.sequence_parallel == 1, tensor_parallel, 1.0),
    )


def compute_operator_times(scenario: Scenario, op: Operator, shard: LayerShard) -> PassTimes:
    """Seconds of one micro-batch in one operator, with the scenario's techniques, [keys]."""
    return adjust_pass_times(scenario, op, shard, get_operator_cost(op).compute_times(scenario, op, shard))


def _count_kernel_launches(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Launches of the host in one forward pass, those of adapters included, [keys]."""
    launch_count = np.zeros_like(shard.tokens)
    casts_per_multiply = 0.0 if is_16bit_or_wider(scenario, full_precision=False) else 1.0
    for op in layer.operators:
        cost = get_operator_cost(op)
        if scenario.techniques.lora is not None and is_adapted(op):
            launch_count = launch_count + 2.0 * cost.count_multiplies(op, shard)
        launch_count = launch_count + cost.count_launches(op, shard, casts_per_multiply)
    return launch_count
