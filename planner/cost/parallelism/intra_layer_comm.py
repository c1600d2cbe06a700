"""Collectives inside a layer: tensor, context and expert parallelism, and what of them compute does not hide.

All results are seconds of one micro-batch through one layer, arrays of shape [keys].
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Bools, Floats, sum_in_order
from planner.cost.collectives import (
    compute_all_gather_s,
    compute_all_reduce_s,
    compute_all_to_all_s,
    compute_expert_all_to_all_s,
    find_used_tiers,
)
from planner.cost.operators.compute import LayerShard, PassTimes, compute_cp_merge_s
from planner.cost.rank_groups import build_context_group, build_expert_group, build_tensor_group
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import AttentionCore, Layer, Linear

_DECOMPOSITION_OVERLAP = 0.6
"""Share of a multiply beside which its exchange can run when both are cut in pieces: the pieces are slower multiplies
(Wang et al. 2023, ASPLOS, Overlap Communication with Dependent Computation via Decomposition)."""


def _compute_exposed_s(collective_s: Floats, window_s: Floats) -> Floats:
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


def compute_tensor_comm_s(
    scenario: Scenario, layer: Layer, s: Strategies, collective_s: Floats, multiply_times: PassTimes
) -> dict[str, Floats]:
    """Around each pair of cut multiplies: an all-reduce, or under sequence parallelism an all-gather and a
    reduce-scatter, and in the backward pass a second all-gather that runs beside the input's gradient.

    With `tp_overlap` the exchange is cut into tp pieces that run beside the multiply they belong to, all but the
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
    return {
        "tp_forward": forward_exposed_s + contention * (pair_s - forward_exposed_s),
        "tp_backward": backward_exposed_s + contention * (input_all_gather_s + pair_s - backward_exposed_s),
        "tp_hidden_forward": pair_s - forward_exposed_s,
        "tp_hidden_backward": input_all_gather_s + pair_s - backward_exposed_s,
    }


def _count_tensor_comms(layer: Layer, s: Strategies) -> Floats:
    """How many pairs of cut multiplies: whole experts of a cut sequence are none, shared ones beside them are."""
    if not layer.topk:
        return np.full(len(s), float(layer.tp_all_reduces))
    row_parallel_count = sum(isinstance(op, Linear) and op.shard == "row" for op in layer.operators)
    return np.where((s.etp == 1) & (s.sequence_parallel == 1), float(row_parallel_count), float(layer.tp_all_reduces))


def compute_context_comm_s(
    scenario: Scenario, layer: Layer, s: Strategies, shard: LayerShard, attention_times: PassTimes
) -> dict[str, Floats]:
    """Keys and values to whoever needs them, by the way that `cp_exchange` names.

    ring (Liu et al. 2023, arXiv 2310.01889): they travel round beside the attention of the block at hand, and each
    step's partial result is merged with what is there; the backward pass sends their gradients as well.
    all-gather (Llama 3, arXiv 2407.21783, section 3.3.2): before the attention, exposed, with nothing to merge.
    all-to-all (DeepSpeed-Ulysses, arXiv 2309.14509): sequence against heads before the attention, and back after it.
    """
    attention_cores = [op for op in layer.operators if isinstance(op, AttentionCore)]
    if not attention_cores:
        return _build_zero_comm("cp", s)
    # of keys and values there are no more parts than heads: beyond, tensor-parallel ranks hold copies
    key_value_width = sum_in_order(
        op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim) for op in attention_cores
    )
    value_bytes = scenario.value_bytes * shard.tokens
    ranks = build_context_group(scenario.rank_order, s)
    if scenario.cp_comm_type == "all-to-all":
        query_width = sum_in_order(op.heads / shard.tp * (op.qk_dim + op.v_dim) for op in attention_cores)
        collective_s = compute_all_to_all_s(scenario.network, value_bytes * (key_value_width + query_width), ranks)
        return _build_zero_comm("cp", s) | {"cp_forward": collective_s, "cp_backward": collective_s}
    collective_s = compute_all_gather_s(scenario.network, value_bytes * key_value_width * s.cp, ranks)
    if scenario.cp_comm_type == "all-gather":
        return _build_zero_comm("cp", s) | {"cp_forward": collective_s, "cp_backward": 2 * collective_s}
    overlap_share = scenario.calibration.overlap
    forward_exposed_s, backward_exposed_s = (
        _compute_exposed_s(collective_s, attention_times.forward_s * overlap_share),
        _compute_exposed_s(2 * collective_s, attention_times.backward_s * overlap_share),
    )
    merge_s = sum_in_order(compute_cp_merge_s(scenario, op, shard, s.cp) for op in layer.operators)
    return {
        "cp_forward": forward_exposed_s + merge_s,
        "cp_backward": backward_exposed_s + merge_s,
        "cp_hidden_forward": collective_s - forward_exposed_s,
        "cp_hidden_backward": 2 * collective_s - backward_exposed_s,
    }


def compute_expert_comm_s(
    scenario: Scenario,
    layer: Layer,
    s: Strategies,
    hidden_state_bytes: Floats,
    layer_times: PassTimes,
    other_comm: dict[str, Floats],
) -> dict[str, Floats]:
    """Dispatch and combine: every token's hidden state to its top-k experts and back, in both passes.
    `hidden_state_bytes`: bytes of one micro-batch's hidden states; `other_comm`: the columns of the other exchanges.

    Where the framework hides it, the exchange of one micro-batch runs beside the layer of another, while hidden
    exchanges of the layer leave the links that it needs.
    """
    if not layer.topk:
        return _build_zero_comm("ep", s)
    size_bytes = np.where(s.sequence_parallel == 1, hidden_state_bytes / s.tp, hidden_state_bytes)
    # without tensor parallelism inside the experts each of its ranks sends its own part of the sequence
    size_bytes = np.where(s.etp == s.tp, size_bytes, hidden_state_bytes / s.tp)
    ranks = build_expert_group(scenario.rank_order, s)
    dispatch_and_combine_s = 2 * compute_expert_all_to_all_s(scenario.network, size_bytes, layer.topk, ranks)
    forward_exposed_s = backward_exposed_s = dispatch_and_combine_s
    if scenario.trainer.overlaps_expert_comm:
        overlap_share, busy_links_s = (
            scenario.calibration.overlap,
            _compute_busy_links_s(scenario, s, find_used_tiers(scenario.network, ranks), other_comm),
        )
        forward_exposed_s = _compute_exposed_s(
            dispatch_and_combine_s, np.maximum(overlap_share * layer_times.forward_s - busy_links_s["forward"], 0.0)
        )
        backward_exposed_s = _compute_exposed_s(
            dispatch_and_combine_s, np.maximum(overlap_share * layer_times.backward_s - busy_links_s["backward"], 0.0)
        )
    contention = scenario.calibration.contention
    return {
        "ep_forward": forward_exposed_s + contention * (dispatch_and_combine_s - forward_exposed_s),
        "ep_backward": backward_exposed_s + contention * (dispatch_and_combine_s - backward_exposed_s),
        "ep_hidden_forward": dispatch_and_combine_s - forward_exposed_s,
        "ep_hidden_backward": dispatch_and_combine_s - backward_exposed_s,
    }


def _compute_busy_links_s(
    scenario: Scenario, s: Strategies, tiers: Bools, other_comm: dict[str, Floats]
) -> dict[str, Floats]:
    """Seconds of each pass in which hidden tensor and context exchanges use one of `tiers`, [keys]."""
    busy_s = {"forward": np.zeros(len(s)), "backward": np.zeros(len(s))}
    for comm_axis, build_group in (("tp", build_tensor_group), ("cp", build_context_group)):
        is_shared = (tiers & find_used_tiers(scenario.network, build_group(scenario.rank_order, s))).any(axis=1)
        for pass_name in busy_s:
            busy_s[pass_name] = busy_s[pass_name] + np.where(
                is_shared, other_comm[f"{comm_axis}_hidden_{pass_name}"], 0.0
            )
    return busy_s


def _build_zero_comm(comm_axis: str, s: Strategies) -> dict[str, Floats]:
    """All columns of a kind of exchange, zero."""
    return {
        f"{comm_axis}_{name}": np.zeros(len(s))
        for name in ("forward", "backward", "hidden_forward", "hidden_backward")
    }
