"""Time and kept activations of each kind of layer on one device, for each distinct shape of shard.

Tables of shape [keys, kinds]: the workload's kinds of layer, then the embedding, then the head. A key is a
distinct (tp, cp, ep, etp, micro-batch, sequence parallel) at one place in the network (`_compute_placement_keys`).
Tensor, context and expert parallel collectives are counted here, since they happen inside the layer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.operators.compute import (
    LayerShard,
    PassTimes,
    compute_attention_times,
    compute_expert_linear_times,
    compute_linear_times,
    compute_loss_times,
    compute_pointwise_times,
    compute_selective_share,
    is_16bit_or_wider,
)
from planner.cost.operators.convolution import compute_convolution_times
from planner.cost.parallelism.intra_layer_comm import (
    compute_context_comm_s,
    compute_expert_comm_s,
    compute_tensor_collective_s,
    compute_tensor_comm_s,
)
from planner.cost.pipeline.partition import list_layer_types
from planner.cost.rank_groups import RANK_ORDERS, compute_rank_strides
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import adjust_pass_times, compute_teacher_s, is_adapted
from planner.cost.unique_rows import find_unique_rows
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Layer,
    Linear,
    Loss,
    Operator,
    Pointwise,
)

_TEACHER_LOGIT_BYTES = 6.0
"""Of one logit where there is a teacher: its logit in 16 bit, and its probability in 32."""
_NARROW_VALUE_BYTES = {"fp8": 1.0, "mxfp8": 1.0 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
"""Of one value with its share of the block's scale (OCP Microscaling Formats v1.0; NVFP4: one byte for 16)."""


@dataclass(frozen=True)
class LayerTables:
    """Seconds of one micro-batch through one layer of each kind, shape [keys, kinds].

    `weight` is the part of `backward` that makes the weights' gradients, `again` the forward time of what selective
    recomputation repeats; `*_hidden_*` run beside compute. `saved_bytes` is kept per micro-batch without
    recomputation, `dropped_bytes` what selective drops of it, `input_bytes` the layer's input, all that full
    recomputation keeps. `gathered_bytes`: the gathered sequence and its gradient, which sequence
    parallelism has whole on each device while a layer is at work.
    """

    forward: Floats
    backward: Floats
    weight: Floats
    again: Floats
    tp_forward: Floats
    tp_backward: Floats
    tp_hidden_forward: Floats
    tp_hidden_backward: Floats
    cp_forward: Floats
    cp_backward: Floats
    cp_hidden_forward: Floats
    cp_hidden_backward: Floats
    ep_forward: Floats
    ep_backward: Floats
    ep_hidden_forward: Floats
    ep_hidden_backward: Floats
    saved_bytes: Floats
    dropped_bytes: Floats
    input_bytes: Floats
    gathered_bytes: Floats

    @property
    def recomputable_mask(self) -> Floats:
        """One for each kind of layer, zero for embedding and head, which are never recomputed; shape [kinds]."""
        mask = np.ones(self.forward.shape[1])
        mask[-2:] = 0.0
        return mask


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
    tables = {
        field.name: np.stack([column[field.name] for column in columns], axis=1) for field in fields(LayerTables)
    }
    return LayerTables(**tables), unique_keys.inverse


def _compute_placement_keys(scenario: Scenario, s: Strategies) -> tuple[Ints, ...]:
    """Columns that tell where the groups of a layer lie in the network, beside the degrees: none in the usual order,
    in which tp and cp tell it. In others the strides of tp and cp, and where experts may be spread over data-parallel
    ranks dp's stride and dp itself.
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
) -> dict[str, Floats]:
    """One kind of layer: every field of LayerTables, shape [keys]. `tensor_collective_s`: see
    `compute_tensor_collective_s`.
    """
    shard = build_layer_shard(scenario, s)
    zero = np.zeros(len(s))
    column = dict.fromkeys(("forward", "backward", "weight", "again", "saved_bytes", "dropped_bytes"), zero)
    attention_times = multiply_times = PassTimes(zero, zero, zero)
    for op in layer.operators:
        pass_times = compute_operator_times(scenario, op, shard)
        saved_bytes = _compute_saved_bytes(scenario, op, shard)
        column["forward"] = column["forward"] + pass_times.forward_s
        column["backward"] = column["backward"] + pass_times.backward_s
        column["saved_bytes"] = column["saved_bytes"] + saved_bytes
        column["again"] = column["again"] + compute_selective_share(scenario, op) * pass_times.forward_s
        column["dropped_bytes"] = column["dropped_bytes"] + _compute_dropped_bytes(scenario, op, shard, saved_bytes)
        column["weight"] = column["weight"] + pass_times.weight_grad_s
        if isinstance(op, AttentionCore):
            attention_times = attention_times + pass_times
        if isinstance(op, Linear) and op.shard != "none":
            multiply_times = multiply_times + pass_times
    if scenario.techniques.teacher is not None and layer in scenario.workload.layer_types:
        # with the backward pass, which needs it: recomputation does not repeat it
        column["backward"] = column["backward"] + compute_teacher_s(scenario, shard)
    # the device waits for the host where kernels are short: three passes' worth of launches for two passes
    host_launch_s = _count_kernel_launches(scenario, layer, shard) * (
        0.0 if scenario.launch_mode == "graph" else scenario.calibration.host_launch_s
    )
    host_wait_s = PassTimes(
        np.maximum(host_launch_s - column["forward"], 0.0),
        np.maximum(2 * host_launch_s - column["backward"], 0.0),
        zero,
    )
    column["forward"] = column["forward"] + host_wait_s.forward_s
    column["backward"] = column["backward"] + host_wait_s.backward_s
    hidden_state_bytes = _get_input_width(scenario, layer) * _compute_sequence_value_bytes(scenario, s)
    column["input_bytes"] = hidden_state_bytes / shard.sequence_divisor
    column["gathered_bytes"] = np.where(shard.sequence_divisor > 1, 2 * hidden_state_bytes, 0.0)
    if scenario.trainer.selective_recompute == "multiplies":
        kept_bytes = column["input_bytes"] + _compute_kept_output_bytes(scenario, layer, shard)
        column["dropped_bytes"] = np.maximum(column["saved_bytes"] - kept_bytes, 0.0)
    # exchanges run beside the kernels that hide them and while the device waits
    column |= compute_tensor_comm_s(scenario, layer, s, tensor_collective_s, multiply_times + host_wait_s)
    column |= compute_context_comm_s(scenario, layer, s, shard, attention_times + host_wait_s)
    layer_times = PassTimes(column["forward"], column["backward"], column["weight"])
    return column | compute_expert_comm_s(scenario, layer, s, hidden_state_bytes, layer_times, column)


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
    """Seconds of one micro-batch in one operator, with the question's techniques, [keys]."""
    return adjust_pass_times(scenario, op, shard, _compute_plain_times(scenario, op, shard))


def _count_kernel_launches(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Launches of the host in one forward pass: one an operator, for experts one each; in narrow precision one more
    to cast a multiply's input, which experts share by fours.
    """
    launch_count = np.zeros_like(shard.tokens)
    casts_per_multiply = 0.0 if is_16bit_or_wider(scenario, full_precision=False) else 1.0
    launches_per_adapter = 0.0 if scenario.techniques.lora is None else 2.0
    for op in layer.operators:
        if launches_per_adapter and is_adapted(op):
            launch_count = launch_count + launches_per_adapter * (
                op.experts / shard.ep if isinstance(op, ExpertLinear) else 1.0
            )
        if isinstance(op, ExpertLinear):
            launch_count = launch_count + (1.0 + 0.25 * casts_per_multiply) * op.experts / shard.ep
        elif isinstance(op, Linear) and not op.full_precision:
            launch_count = launch_count + 1.0 + casts_per_multiply
        else:
            launch_count = launch_count + 1.0
    return launch_count


def _compute_plain_times(scenario: Scenario, op: Operator, shard: LayerShard) -> PassTimes:
    if isinstance(op, Linear):
        return compute_linear_times(scenario, op, shard)
    if isinstance(op, ExpertLinear):
        return compute_expert_linear_times(scenario, op, shard)
    if isinstance(op, Convolution):
        return compute_convolution_times(scenario, op, shard)
    if isinstance(op, AttentionCore):
        return compute_attention_times(scenario, op, shard)
    if isinstance(op, Loss):
        return compute_loss_times(scenario, op, shard)
    return compute_pointwise_times(scenario, op, shard)


def _compute_dropped_bytes(scenario: Scenario, op: Operator, shard: LayerShard, saved_bytes: Floats) -> Floats:
    """What selective recomputation does not keep, bytes of shape [keys]; see `compute_selective_share`."""
    if isinstance(op, AttentionCore):
        return saved_bytes * compute_selective_share(scenario, op)
    if not isinstance(op, Pointwise) or scenario.attention_kernel == "unfused":
        return np.zeros_like(saved_bytes)
    bytes_per_token = (
        op.dropped_inputs * _get_input_value_bytes(scenario) + op.dropped_bytes * scenario.value_bytes / 2.0
    )
    return op.rows * shard.tokens * bytes_per_token / _get_token_divisor(op, shard)


def _get_token_divisor(op: Pointwise, shard: LayerShard) -> Floats:
    """What divides the values of a pointwise operator."""
    return shard.sequence_divisor if op.domain == "sequence" else shard.tp


def _compute_kept_output_bytes(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Outputs of the attention core and of every second multiply (half of each one's, as multiplies come in pairs
    that share an input), bytes of shape [keys].
    """
    kept_bytes = np.zeros_like(shard.tokens)
    for op in layer.operators:
        if isinstance(op, AttentionCore):
            rows = shard.tokens * (op.attended_rows or 1)
            kept_bytes = kept_bytes + rows * op.heads * (op.v_dim * scenario.value_bytes + 4.0) / shard.tp
        elif isinstance(op, Linear) and op.saves_input:
            token_divisor = shard.tp if op.shard == "column" else shard.sequence_divisor
            kept_bytes = kept_bytes + 0.5 * op.rows * shard.tokens * op.outputs * scenario.value_bytes / token_divisor
        elif isinstance(op, Convolution) and op.saves_input:
            kept_bytes = kept_bytes + 0.5 * shard.tokens * op.outputs * op.output_positions * scenario.value_bytes
    return kept_bytes


def _compute_saved_bytes(scenario: Scenario, op: Operator, shard: LayerShard) -> Floats:
    """Kept for the backward pass (arXiv 2205.05198, section 4.1, operator by operator), shape [keys]."""
    if isinstance(op, Linear):
        if not op.saves_input:
            return np.zeros_like(shard.tokens)
        value_bytes = scenario.value_bytes if op.full_precision else _get_input_value_bytes(scenario)
        input_bytes = op.rows * shard.tokens * op.inputs * value_bytes
        if op.shard == "row":
            return input_bytes / shard.tp
        keeps_gathered = scenario.trainer.keeps_gathered_sequence and op.shard == "column"
        return input_bytes / (1.0 if keeps_gathered else shard.sequence_divisor)
    if isinstance(op, Convolution):
        return (
            shard.tokens * op.input_values * scenario.value_bytes if op.saves_input else np.zeros_like(shard.tokens)
        )
    if isinstance(op, ExpertLinear):
        # rows that experts cut over tp multiply whole: the sequence gathered
        token_divisor = shard.tp / shard.etp if op.shard == "column" else shard.tp
        return op.topk * shard.tokens * op.inputs * _get_input_value_bytes(scenario) / token_divisor
    if isinstance(op, AttentionCore):
        rows = shard.tokens * (op.attended_rows or 1)
        if scenario.attention_kernel == "unfused":
            # softmax's output, dropout's mask and output: in 16 bit 2 + 1 + 2 bytes a pair
            pairs = op.heads * rows * (op.attended_rows or scenario.workload.seq_length) / shard.tp
            return (2 * scenario.value_bytes + 1.0) * pairs
        # the row sums of the softmax; the output where the multiply after it keeps a narrow copy of its own
        output_copy_bytes = (
            op.v_dim * scenario.value_bytes if _get_input_value_bytes(scenario) < scenario.value_bytes else 0.0
        )
        return rows * op.heads * (4.0 + output_copy_bytes) / shard.tp
    if isinstance(op, Loss):
        # of a teacher's logits also 16-bit ones and their 32-bit probabilities
        teacher_bytes = 0.0 if scenario.techniques.teacher is None else _TEACHER_LOGIT_BYTES
        return (
            op.rows
            * shard.tokens
            * op.vocab_size
            * (scenario.trainer.loss_bytes_per_logit + teacher_bytes)
            / shard.tp
        )
    return op.rows * shard.tokens * op.saved_bytes * scenario.value_bytes / 2.0 / _get_token_divisor(op, shard)


def _get_input_value_bytes(scenario: Scenario) -> float:
    """Bytes of one kept input value of a multiply: in its own precision where the framework keeps that copy."""
    value_bytes = scenario.value_bytes
    return (
        _NARROW_VALUE_BYTES.get(scenario.precision, value_bytes)
        if scenario.trainer.saves_quantized_inputs
        else value_bytes
    )
