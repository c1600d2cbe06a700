"""Communication inside a layer: of tensor, context and expert parallelism, and what of it compute overlaps.

All results are seconds of one micro-batch through one layer, arrays of shape [keys].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, sum_in_order
from planner.cost.collectives import (
    compute_all_gather_s,
    compute_all_reduce_s,
    compute_all_to_all_s,
    compute_expert_all_to_all_s,
    find_used_tiers,
)
from planner.cost.operators.attention import compute_cp_merge_s
from planner.cost.operators.roofline import LayerShard, PassTimes
from planner.cost.rank_groups import build_context_group, build_expert_group, build_tensor_group
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import AttentionCore, Layer, Linear

_DECOMPOSITION_OVERLAP = 0.6
"""Share of a multiply beside which its collective can run when both are cut in pieces: pieces multiply slower
(Wang et al. 2023, ASPLOS, Overlap Communication with Dependent Computation via Decomposition)."""


@dataclass(frozen=True)
class AxisCommunication:
    """Communication of one axis (tp, cp or ep) in one layer for one micro-batch, in seconds.

    `forward` and `backward` are exposed, the time that contention takes from compute included; `overlapped_*` run
    beside compute. Arrays of shape [keys], in `LayerTables` [keys, layer types].
    """

    forward: Floats
    backward: Floats
    overlapped_forward: Floats
    overlapped_backward: Floats


def _build_exposed_comm(forward_s: Floats, backward_s: Floats) -> AxisCommunication:
    """All of it exposed."""
    zero = np.zeros_like(forward_s)
    return AxisCommunication(forward_s, backward_s, zero, zero)


def _build_zero_comm(s: Strategies) -> AxisCommunication:
    """None, [keys]."""
    return _build_exposed_comm(np.zeros(len(s)), np.zeros(len(s)))


def _compute_exposed_s(collective_s: Floats, window_s: Floats) -> Floats:
    """What of a collective does not fit beside `window_s` seconds of other work."""
    return np.maximum(collective_s - window_s, 0.0)


def compute_tensor_collective_s(scenario: Scenario, s: Strategies, size_bytes: Floats) -> Floats:
    """Seconds of one collective around the cut multiplies of any layer: an all-gather (or reduce-scatter) of
    `size_bytes` bytes under sequence parallelism, else an all-reduce; [keys].
    """
    network, ranks = scenario.network, build_tensor_group(scenario.rank_order, s)
    collective_s = np.zeros(len(s))
    is_sequence_parallel = s.sequence_parallel == 1
    for mask, compute_collective_s in (
        (is_sequence_parallel, compute_all_gather_s),
        (~is_sequence_parallel & (s.tp > 1), compute_all_reduce_s),
    ):
        plan_indices = np.flatnonzero(mask)
        if len(plan_indices):
            collective_s[plan_indices] = compute_collective_s(
                network, size_bytes[plan_indices], ranks.take(plan_indices)
            )
    return collective_s


def compute_tensor_comm(
    scenario: Scenario, layer: Layer, s: Strategies, collective_s: Floats, multiply_times: PassTimes
) -> AxisCommunication:
    """Around each pair of cut multiplies: an all-reduce, or under sequence parallelism an all-gather and a
    reduce-scatter, and in the backward pass a second all-gather that runs beside the input's gradient.

    With `tp_overlap` the collective is cut into tp pieces that run beside the multiply they belong to, all but the
    first (Transformer Engine's user buffers, PyTorch's async TP). `collective_s`: seconds of
    `compute_tensor_collective_s`; `multiply_times`: of the cut multiplies.
    """
    is_sequence_parallel = s.sequence_parallel == 1
    pair_count = _count_tensor_comms(layer, s)
    pair_s = pair_count * np.where(is_sequence_parallel, 2 * collective_s, collective_s)
    input_all_gather_s = np.where(is_sequence_parallel, pair_count * collective_s, 0.0)
    forward_exposed_s = backward_exposed_s = pair_s
    if scenario.tp_overlap:
        overlap_share = _DECOMPOSITION_OVERLAP * scenario.calibration.overlap
        forward_exposed_s = pair_s / s.tp + _compute_exposed_s(
            pair_s * (1 - 1 / s.tp), overlap_share * multiply_times.forward_s
        )
        backward_exposed_s = pair_s / s.tp + _compute_exposed_s(
            pair_s * (1 - 1 / s.tp), overlap_share * multiply_times.backward_s
        )
    contention = scenario.calibration.contention
    return AxisCommunication(
        forward=forward_exposed_s + contention * (pair_s - forward_exposed_s),
        backward=backward_exposed_s + contention * (input_all_gather_s + pair_s - backward_exposed_s),
        overlapped_forward=pair_s - forward_exposed_s,
        overlapped_backward=input_all_gather_s + pair_s - backward_exposed_s,
    )


def _count_tensor_comms(layer: Layer, s: Strategies) -> Floats:
    """How many pairs of cut multiplies: whole experts of a cut sequence are none, shared ones beside them are."""
    if not layer.topk:
        return np.full(len(s), float(layer.tp_all_reduces))
    row_parallel_count = sum(isinstance(op, Linear) and op.shard == "row" for op in layer.operators)
    return np.where((s.etp == 1) & (s.sequence_parallel == 1), float(row_parallel_count), float(layer.tp_all_reduces))


def compute_context_comm(
    scenario: Scenario, layer: Layer, s: Strategies, shard: LayerShard, attention_times: PassTimes
) -> AxisCommunication:
    """Keys and values to whoever needs them, by the way that `Scenario.cp_comm_type` names.

    ring (Liu et al. 2023, arXiv 2310.01889): they travel round beside the attention of the block at hand, and each
    step's partial result is merged with what is there; the backward pass sends their gradients as well.
    all-gather (Llama 3, arXiv 2407.21783, section 3.3.2): before the attention, exposed, with nothing to merge.
    all-to-all (DeepSpeed-Ulysses, arXiv 2309.14509): sequence against heads before the attention, and back after it.
    """
    attention_cores = [op for op in layer.operators if isinstance(op, AttentionCore)]
    if not attention_cores:
        return _build_zero_comm(s)
    # of keys and values there are no more parts than heads: beyond, tensor-parallel ranks hold copies
    key_value_width = sum_in_order(
        op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim) for op in attention_cores
    )
    value_bytes = scenario.value_bytes * shard.tokens
    ranks = build_context_group(scenario.rank_order, s)
    if scenario.cp_comm_type == "all-to-all":
        query_width = sum_in_order(op.heads / shard.tp * (op.qk_dim + op.v_dim) for op in attention_cores)
        collective_s = compute_all_to_all_s(scenario.network, value_bytes * (key_value_width + query_width), ranks)
        return _build_exposed_comm(collective_s, collective_s)
    collective_s = compute_all_gather_s(scenario.network, value_bytes * key_value_width * s.cp, ranks)
    if scenario.cp_comm_type == "all-gather":
        return _build_exposed_comm(collective_s, 2 * collective_s)
    overlap_share = scenario.calibration.overlap
    forward_exposed_s, backward_exposed_s = (
        _compute_exposed_s(collective_s, attention_times.forward_s * overlap_share),
        _compute_exposed_s(2 * collective_s, attention_times.backward_s * overlap_share),
    )
    merge_s = sum_in_order(compute_cp_merge_s(scenario, op, shard, s.cp) for op in attention_cores)
    return AxisCommunication(
        forward=forward_exposed_s + merge_s,
        backward=backward_exposed_s + merge_s,
        overlapped_forward=collective_s - forward_exposed_s,
        overlapped_backward=2 * collective_s - backward_exposed_s,
    )


def compute_expert_comm(
    scenario: Scenario,
    layer: Layer,
    s: Strategies,
    hidden_state_bytes: Floats,
    layer_times: PassTimes,
    tensor_comm: AxisCommunication,
    context_comm: AxisCommunication,
) -> AxisCommunication:
    """Dispatch and combine: every token's hidden state to its top-k experts and back, in both passes.
    `hidden_state_bytes`: bytes of one micro-batch's hidden states; `tensor_comm`, `context_comm`: of the
    same layer.

    Where the trainer overlaps it, the all-to-all of one micro-batch runs beside the layer of another, while the
    layer's own overlapped communication leaves the links that it needs.
    """
    if not layer.topk:
        return _build_zero_comm(s)
    size_bytes = np.where(s.sequence_parallel == 1, hidden_state_bytes / s.tp, hidden_state_bytes)
    # without tensor parallelism inside the experts each of its ranks sends its own part of the sequence
    size_bytes = np.where(s.etp == s.tp, size_bytes, hidden_state_bytes / s.tp)
    ranks = build_expert_group(scenario.rank_order, s)
    dispatch_and_combine_s = 2 * compute_expert_all_to_all_s(scenario.network, size_bytes, layer.topk, ranks)
    forward_exposed_s = backward_exposed_s = dispatch_and_combine_s
    if scenario.trainer.overlaps_expert_comm:
        overlap_share, expert_tiers = scenario.calibration.overlap, find_used_tiers(scenario.network, ranks)
        busy_forward_s = busy_backward_s = np.zeros(len(s))
        for comm, build_group in ((tensor_comm, build_tensor_group), (context_comm, build_context_group)):
            used_tiers = find_used_tiers(scenario.network, build_group(scenario.rank_order, s))
            is_shared = (expert_tiers & used_tiers).any(axis=1)
            busy_forward_s = busy_forward_s + np.where(is_shared, comm.overlapped_forward, 0.0)
            busy_backward_s = busy_backward_s + np.where(is_shared, comm.overlapped_backward, 0.0)
        forward_exposed_s = _compute_exposed_s(
            dispatch_and_combine_s, np.maximum(overlap_share * layer_times.forward_s - busy_forward_s, 0.0)
        )
        backward_exposed_s = _compute_exposed_s(
            dispatch_and_combine_s, np.maximum(overlap_share * layer_times.backward_s - busy_backward_s, 0.0)
        )
    contention = scenario.calibration.contention
    return AxisCommunication(
        forward=forward_exposed_s + contention * (dispatch_and_combine_s - forward_exposed_s),
        backward=backward_exposed_s + contention * (dispatch_and_combine_s - backward_exposed_s),
        overlapped_forward=dispatch_and_combine_s - forward_exposed_s,
        overlapped_backward=dispatch_and_combine_s - backward_exposed_s,
    )
