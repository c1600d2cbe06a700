"""One layer of each type on one device, for each distinct shard: kernels, communication, saved activations.

Tables of shape [keys, layer types]. A key is a distinct (tp, cp, ep, etp, micro-batch, sequence parallel) at one
place in the network (`_compute_placement_keys`). `operators/` says what an operator takes, `collectives/` what a
collective takes; here are the collectives of tensor, context and expert parallelism, and what of them compute
overlaps. All functions of one layer return seconds of one micro-batch, arrays of shape [keys].
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from planner.cost import collectives, rank_groups
from planner.cost.arrays import Floats, Ints, UniqueRows, find_unique_rows, sum_in_order
from planner.cost.calibration import is_stacked
from planner.cost.layer_backward import compute_backward_bytes
from planner.cost.operators import compute_operator_times, compute_teacher_s, get_operator_cost
from planner.cost.operators.attention import compute_cp_merge_s
from planner.cost.operators.kept import get_residual_bytes, is_adapted
from planner.cost.operators.memory_bound import compute_head_backward_bytes, compute_loss_gap_bytes
from planner.cost.operators.operator_cost import LayerShard, PassTimes
from planner.cost.operators.roofline import compute_memory_bytes_per_s, is_16bit_or_wider
from planner.cost.scenario import Scenario
from planner.cost.selective import compute_offloaded_bytes, select_by_default, select_chosen
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import Strategies
from planner.trainers.launch import list_graph_scopes
from planner.workload.operators import AttentionCore, Layer, Linear, Loss, Workload

_HYBRIDEP_SM_SHARE = 16 / 20
"""Multiprocessors that HybridEP takes from the compute beside it, to those of DeepEP (megatron-core 0.16.1,
`moe_hybridep_num_sms` and `moe_deepep_num_sms` of transformer/transformer_config.py)."""


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
    repeated_share: Floats
    """Of the forward pass, what full recomputation repeats: 1; of embedding and head 0, but for the layers of
    multi-token prediction."""
    selective_share: Floats
    """Of the forward pass, what selective recomputation repeats (0..1)."""


@dataclass(frozen=True)
class LayerTables:
    """One micro-batch through one layer of each type; times in seconds, arrays of shape [keys, layer types]."""

    forward: Floats
    backward: Floats
    weight_grad: Floats
    """The part of `backward` that makes the gradients of weights."""
    selective_recompute: Floats
    """The forward time of what selective recomputation repeats (`planner/cost/selective.py`), none of embedding and
    head."""
    repeated_share: Floats
    """As of `AxisCommunication`, of `forward`."""
    saved_bytes: Floats
    """Kept per micro-batch without recomputation."""
    dropped_bytes: Floats
    """What selective recomputation drops of it."""
    offloaded_bytes: tuple[Floats, Floats, Floats]
    """Of what is kept without recomputation, with selective and with full recomputation: what `--offload activations`
    keeps on the host."""
    input_bytes: Floats
    """The layer's input, all that full recomputation keeps."""
    head_backward_bytes: Floats
    """Of the head what is there of `saved_bytes`, or in place of it, when the gradient of its matrix is reduced."""
    loss_gap_bytes: Floats
    """Free blocks beside the logits of the head that PyTorch's allocator cannot use."""
    prediction_bytes: Floats
    """Of `saved_bytes` of the head those of the layers of multi-token prediction."""
    backward_bytes: Floats
    """The most that its backward pass holds beside what is saved: gradients, and gathered sequences."""
    communicated_bytes: Floats
    """What collectives of its forward pass have read and the host has freed before the device has run them."""
    gathered_bytes: Floats
    """The gathered sequence, which sequence parallelism has whole on each device while a multiply is at work."""
    tp: AxisCommunication
    cp: AxisCommunication
    ep: AxisCommunication

    @property
    def communication(self) -> tuple[AxisCommunication, AxisCommunication, AxisCommunication]:
        """Of tp, cp and ep, in this order."""
        return self.tp, self.cp, self.ep


def list_layer_types(workload: Workload) -> tuple[Layer, ...]:
    """The columns of all tables by layer type: the workload's layer types, then the embedding, then the head, with
    the layers of multi-token prediction before it.
    """
    return (*workload.layer_types, workload.embedding, workload.output_layer)


def build_layer_tables(scenario: Scenario, s: Strategies) -> tuple[LayerTables, Ints]:
    """The tables, and for each plan its row in them, [plans]."""
    placement_keys = _compute_placement_keys(scenario, s)
    unique = find_unique_rows(s.tp, s.cp, s.ep, s.etp, s.micro_batch, s.sequence_parallel, *placement_keys)
    if is_stacked(scenario.calibration):
        # alike plans differ in what kernels take of them
        unique = UniqueRows(np.arange(len(s)), np.arange(len(s)))
    keys, workload = s.take(unique.first_index), scenario.workload
    layers = list_layer_types(workload)
    tensor_collective_s = {
        width: _compute_tensor_collective_s(scenario, keys, width * _compute_sequence_value_bytes(scenario, keys))
        for width in {_get_input_width(scenario, layer) for layer in layers}
    }

    def compute_column(layer: Layer, *, is_repeated: bool = True) -> LayerTables:
        width_collective_s = tensor_collective_s[_get_input_width(scenario, layer)]
        return _compute_layer_column(scenario, layer, keys, width_collective_s, is_repeated=is_repeated)

    columns = [*map(compute_column, workload.layer_types)]
    columns += [compute_column(layer, is_repeated=False) for layer in (workload.embedding, workload.head)]
    if workload.prediction is not None:
        column = compute_column(workload.prediction.layer)
        columns[-1] = _add_prediction(columns[-1], column, workload.prediction.count)
    tables: LayerTables = _stack_columns(columns)
    return tables, unique.inverse


def _add_prediction(head: LayerTables, layer: LayerTables, count: int) -> LayerTables:
    """The column of the head with `count` layers of multi-token prediction before it."""
    tp, cp, ep = (
        AxisCommunication(
            forward=head_axis.forward + count * axis.forward,
            backward=head_axis.backward + count * axis.backward,
            overlapped_forward=head_axis.overlapped_forward + count * axis.overlapped_forward,
            overlapped_backward=head_axis.overlapped_backward + count * axis.overlapped_backward,
            repeated_share=(repeated_share := _compute_share(count * axis.forward, head_axis.forward)),
            selective_share=repeated_share * axis.selective_share,
        )
        for head_axis, axis in zip(head.communication, layer.communication, strict=True)
    )
    return replace(
        head,
        forward=head.forward + count * layer.forward,
        backward=head.backward + count * layer.backward,
        weight_grad=head.weight_grad + count * layer.weight_grad,
        selective_recompute=count * layer.selective_recompute,
        repeated_share=_compute_share(count * layer.forward, head.forward),
        saved_bytes=head.saved_bytes + count * layer.saved_bytes,
        prediction_bytes=count * layer.saved_bytes,
        tp=tp,
        cp=cp,
        ep=ep,
    )


def _compute_share(part: Floats, rest: Floats) -> Floats:
    """The part of its sum with the rest, zero where both are."""
    total = part + rest
    return np.divide(part, total, out=np.zeros_like(total), where=total > 0)


def _stack_columns(columns: list[Any]) -> Any:
    """A record of arrays of shape [keys, layer types] from its columns, which have shape [keys]."""
    if isinstance(columns[0], np.ndarray):
        # what np.stack does, in a tenth of the time for the few keys of a single plan
        table = np.empty((len(columns[0]), len(columns)), columns[0].dtype)
        for layer_type, column in enumerate(columns):
            table[:, layer_type] = column
        return table
    if isinstance(columns[0], tuple):
        return tuple(map(_stack_columns, map(list, zip(*columns, strict=True))))
    names = [field.name for field in fields(columns[0])]
    return type(columns[0])(*(_stack_columns([getattr(column, name) for column in columns]) for name in names))


def _compute_placement_keys(scenario: Scenario, s: Strategies) -> tuple[Ints, ...]:
    """Columns that say where the groups of a layer lie in the network, beside the degrees: none in the usual order,
    in which the degrees decide it. In others, and beside an axis of experts, the strides of tp and cp, and for models
    with experts dp's stride and dp itself.
    """
    if scenario.rank_order == RANK_ORDERS[0] and not scenario.trainer.has_expert_axis:
        return ()
    strides = rank_groups.compute_rank_strides(scenario.rank_layout, s)
    expert_keys = (strides["dp"], s.dp) if scenario.workload.experts else ()
    return strides["tp"], strides["cp"], *expert_keys


def _get_input_width(scenario: Scenario, layer: Layer) -> int:
    """Values per token that a layer is given."""
    return layer.input_values or scenario.workload.hidden_size


def _compute_sequence_value_bytes(scenario: Scenario, s: Strategies) -> Floats:
    """One value of every token of a micro-batch on the ranks that share its sequence, [keys]."""
    return s.micro_batch * (scenario.workload.seq_length / s.cp) * scenario.value_bytes


def build_layer_shard(scenario: Scenario, s: Strategies) -> LayerShard:
    """What one device has of every layer, [keys]."""
    tp, tokens = s.tp.astype(np.float64), s.micro_batch * (scenario.workload.seq_length / s.cp)
    return LayerShard(
        tokens=tokens,
        tp=tp,
        ep=s.ep.astype(np.float64),
        etp=s.etp.astype(np.float64),
        sequence_divisor=np.where(s.sequence_parallel == 1, tp, 1.0),
        routed_tokens=np.where(s.ep > 1, scenario.expert_imbalance, 1.0) * tokens,
    )


def _compute_layer_column(
    scenario: Scenario, layer: Layer, s: Strategies, tensor_collective_s: Floats, *, is_repeated: bool
) -> LayerTables:
    """The column of one layer type. `tensor_collective_s`: see `_compute_tensor_collective_s`; `is_repeated`: whether
    recomputation does.
    """
    shard, zero, share = build_layer_shard(scenario, s), np.zeros(len(s)), np.full(len(s), float(is_repeated))
    saved_bytes = zero
    layer_times = attention_times = multiply_times = PassTimes(zero, zero, zero)
    operator_times = [compute_operator_times(scenario, op, shard) for op in layer.operators]
    for op, times in zip(layer.operators, operator_times, strict=True):
        cost = get_operator_cost(op)
        layer_times = layer_times + times
        saved_bytes = saved_bytes + cost.compute_saved_bytes(scenario, op, shard)
        if cost.is_attention:
            attention_times = attention_times + times
        if cost.is_tensor_parallel_multiply(op):
            multiply_times = multiply_times + times
    if scenario.techniques.teacher is not None and layer in scenario.workload.layer_types:
        # with the backward pass, which needs it: recomputation does not repeat it
        layer_times = layer_times + PassTimes(zero, compute_teacher_s(scenario, shard), zero)
    host_wait = _compute_host_wait(scenario, layer, shard, layer_times, _count_collective_launches(layer, s))
    device_times, layer_times = layer_times, layer_times + host_wait
    sequence_bytes = _get_input_width(scenario, layer) * _compute_sequence_value_bytes(scenario, s)
    input_bytes = sequence_bytes / shard.sequence_divisor * (get_residual_bytes(scenario) / scenario.value_bytes)
    choice = scenario.recompute_choice
    selection = (
        select_by_default(scenario, layer, shard, operator_times, saved_bytes, input_bytes)
        if choice is None
        else select_chosen(scenario, layer, shard, operator_times, choice, _count_tensor_comms(layer, s))
    )
    kept_bytes = saved_bytes - selection.dropped_bytes
    # communication runs beside the kernels that overlap it, and while the device waits
    tensor_comm = _compute_tensor_comm(scenario, layer, s, tensor_collective_s, multiply_times + host_wait)
    context_comm = _compute_context_comm(scenario, layer, s, shard, attention_times + host_wait)
    tensor_share, context_share, expert_share = selection.repeated_comm
    return LayerTables(
        forward=layer_times.forward_s,
        backward=layer_times.backward_s,
        weight_grad=layer_times.weight_grad_s,
        selective_recompute=selection.repeated_s * share,
        repeated_share=share,
        saved_bytes=saved_bytes,
        dropped_bytes=selection.dropped_bytes,
        offloaded_bytes=compute_offloaded_bytes(
            scenario, layer, shard, (saved_bytes, kept_bytes, np.minimum(input_bytes, kept_bytes))
        ),
        input_bytes=input_bytes,
        head_backward_bytes=compute_head_backward_bytes(scenario, layer, shard, saved_bytes),
        loss_gap_bytes=compute_loss_gap_bytes(scenario, layer, shard),
        prediction_bytes=zero,
        backward_bytes=compute_backward_bytes(
            scenario, layer, shard, input_bytes=input_bytes, sequence_bytes=sequence_bytes
        ),
        communicated_bytes=_compute_communicated_bytes(
            scenario, layer, shard, sequence_bytes, device_times.forward_s + tensor_comm.forward
        ),
        gathered_bytes=np.where(shard.sequence_divisor > 1, sequence_bytes, 0.0),
        tp=replace(tensor_comm, repeated_share=share, selective_share=tensor_share * share),
        cp=replace(context_comm, repeated_share=share, selective_share=context_share * share),
        ep=replace(
            _compute_expert_comm(scenario, layer, s, sequence_bytes, layer_times, (tensor_comm, context_comm)),
            repeated_share=share,
            selective_share=expert_share * share,
        ),
    )


def _compute_host_wait(
    scenario: Scenario, layer: Layer, shard: LayerShard, layer_times: PassTimes, collective_launches: Floats
) -> PassTimes:
    """The device waits for the host where kernels are short: three passes' worth of launches for two passes. A graph
    is launched as one kernel. `collective_launches`: of tensor parallelism in one pass, [keys].
    """
    host_launch_s = 0.0 if scenario.launch_mode == "graph" else scenario.calibration.host_launch_s
    launches_s = (_count_kernel_launches(scenario, layer, shard) + collective_launches) * host_launch_s
    return PassTimes(
        np.maximum(launches_s - layer_times.forward_s, 0.0),
        np.maximum(2 * launches_s - layer_times.backward_s, 0.0),
        np.zeros_like(launches_s),
    )


def _compute_communicated_bytes(
    scenario: Scenario, layer: Layer, shard: LayerShard, sequence_bytes: Floats, forward_s: Floats
) -> Floats:
    """Bytes of the uncut results that tensor parallelism adds up in a layer, [keys], by how far the host is ahead of
    the device: each is freed once it is added up, but used again only when the device has done so
    (`planner/cost/memory/freed_blocks.py`).
    """
    if not scenario.trainer.host_lead_layers:
        return np.zeros_like(shard.tokens)
    results = sum(isinstance(op, Linear) and op.shard == "row" for op in layer.operators)
    launches_s = _count_kernel_launches(scenario, layer, shard) * scenario.calibration.host_launch_s
    lead_share = np.clip(1.0 - launches_s / np.maximum(forward_s, 1e-12), 0.0, 1.0)
    return np.where(shard.tp > 1, results * lead_share * sequence_bytes, 0.0)


def find_captured_operators(layer: Layer, scopes: Collection[str]) -> frozenset[str]:
    """Names of the layer's operators in the graphs of these scopes (megatron-core 0.16.1, `CudaGraphScope` of
    transformer/enums.py, `--cuda-graph-scope` of megatron/training/arguments.py).

    attn: up to the residual of attention. mlp: the rest of a dense layer. moe: the rest of a layer with experts;
    moe_router of that the norm, the router and shared experts, moe_preprocess the permutation of tokens.
    """
    names = [op.name for op in layer.operators if not op.name.startswith("mtp_")]
    attention_ends = [place for place, name in enumerate(names) if name.endswith("attention_residual")]
    if not attention_ends:
        return frozenset()
    attention, rest = names[: attention_ends[-1] + 1], names[attention_ends[-1] + 1 :]
    rest_scopes = {
        "mlp": [] if layer.topk else rest,
        "moe": rest if layer.topk else [],
        "moe_router": [name for name in rest if name in ("mlp_norm", "router") or name.startswith("shared_")],
        "moe_preprocess": [name for name in rest if name == "dispatch"],
    }
    if not layer.topk:
        rest_scopes |= {"moe_router": [], "moe_preprocess": []}
    captured = {"attn": attention, **rest_scopes}
    return frozenset(name for scope in scopes for name in captured[scope])


def _count_kernel_launches(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Launches of the host in one forward pass, those of adapters included, [keys]."""
    launch_count, scopes = np.zeros_like(shard.tokens), list_graph_scopes(scenario.launch_mode)
    casts_per_multiply = 0.0 if is_16bit_or_wider(scenario, full_precision=False) else 1.0
    captured = find_captured_operators(layer, scopes) if scopes else frozenset()
    if captured:
        launch_count = launch_count + 1.0
    for op in layer.operators:
        if op.name in captured:
            continue
        cost = get_operator_cost(op)
        lora = scenario.techniques.lora
        if lora is not None and is_adapted(op, lora.modules):
            launch_count = launch_count + 2.0 * cost.count_matrices(op, shard)
        launch_count = launch_count + cost.count_launches(op, shard, casts_per_multiply)
        if isinstance(op, Loss) and scenario.loss == "plain":
            launch_count = launch_count + scenario.trainer.loss_launches - 1.0
    return launch_count


def _build_overlapped_comm(
    scenario: Scenario,
    comm_s: tuple[Floats, Floats],
    exposed_s: tuple[Floats, Floats],
    *,
    contention_share: float = 1.0,
) -> AxisCommunication:
    """Communication, forward and backward, of which `exposed_s` runs beside nothing; what is overlapped slows the
    compute beside it, by `contention_share` of what collectives do.
    """
    contention = contention_share * scenario.calibration.contention
    overlapped_s = [total - exposed for total, exposed in zip(comm_s, exposed_s, strict=True)]
    forward, backward = (
        exposed + contention * overlapped for exposed, overlapped in zip(exposed_s, overlapped_s, strict=True)
    )
    overlapped_forward, overlapped_backward = overlapped_s
    shares = np.ones_like(forward), np.zeros_like(forward)
    return AxisCommunication(forward, backward, overlapped_forward, overlapped_backward, *shares)


def _build_exposed_comm(forward_s: Floats, backward_s: Floats) -> AxisCommunication:
    """All of it exposed."""
    zero = np.zeros_like(forward_s)
    return AxisCommunication(forward_s, backward_s, zero, zero, np.ones_like(forward_s), zero)


def _compute_exposed_s(collective_s: Floats, window_s: Floats) -> Floats:
    """What of a collective does not fit beside `window_s` seconds of other work."""
    return np.maximum(collective_s - window_s, 0.0)


def _compute_tensor_collective_s(scenario: Scenario, s: Strategies, size_bytes: Floats) -> Floats:
    """Seconds of one collective around the cut multiplies of any layer: an all-gather (or reduce-scatter) of
    `size_bytes` bytes under sequence parallelism, else an all-reduce; [keys].
    """
    network, ranks = scenario.network, rank_groups.build_tensor_group(scenario.rank_layout, s)
    is_sequence_parallel, collective_s = s.sequence_parallel == 1, np.zeros(len(s))
    for mask, compute_collective_s in (
        (is_sequence_parallel, collectives.compute_all_gather_s),
        (~is_sequence_parallel & (s.tp > 1), collectives.compute_all_reduce_s),
    ):
        index = np.flatnonzero(mask)
        if len(index):
            collective_s[index] = compute_collective_s(network, size_bytes[index], ranks.take(index))
    if scenario.trainer.copies_gathered_sequence:
        copy_s = 2 * size_bytes / compute_memory_bytes_per_s(scenario) + scenario.calibration.kernel_launch_s
        collective_s += np.where(is_sequence_parallel & (s.tp > 1), copy_s, 0.0)
    return collective_s


def _compute_tensor_comm(
    scenario: Scenario, layer: Layer, s: Strategies, collective_s: Floats, multiply_times: PassTimes
) -> AxisCommunication:
    """Around each pair of cut multiplies: an all-reduce (Megatron-LM, arXiv 1909.08053, section 3), or under sequence
    parallelism an all-gather and a reduce-scatter, and in the backward pass a second all-gather that runs beside the
    input's gradient (arXiv 2205.05198, section 4.2.2).

    With `tp_overlap` the collective is cut into tp pieces that run beside the multiply they belong to, all but the
    first (Transformer Engine's user buffers, PyTorch's async TP). `multiply_times`: of the cut multiplies.
    """
    is_sequence_parallel = s.sequence_parallel == 1
    pair_count = _count_tensor_comms(layer, s)
    pair_s = pair_count * np.where(is_sequence_parallel, 2 * collective_s, collective_s)
    input_all_gather_s = np.where(is_sequence_parallel, pair_count * collective_s, 0.0)
    exposed_s = pair_s, pair_s
    if scenario.tp_overlap:
        share, pieces_s = scenario.calibration.tensor_overlap * scenario.calibration.overlap, pair_s * (1 - 1 / s.tp)
        exposed_s = (
            pair_s / s.tp + _compute_exposed_s(pieces_s, share * multiply_times.forward_s),
            pair_s / s.tp + _compute_exposed_s(pieces_s, share * multiply_times.backward_s),
        )
    return _build_overlapped_comm(scenario, (pair_s, input_all_gather_s + pair_s), exposed_s)


def _count_collective_launches(layer: Layer, s: Strategies) -> Floats:
    """Collectives of tensor parallelism that the host launches in one forward pass, [keys]."""
    return np.where(s.tp > 1, _count_tensor_comms(layer, s) * np.where(s.sequence_parallel == 1, 2.0, 1.0), 0.0)


def _count_tensor_comms(layer: Layer, s: Strategies) -> Floats:
    """How many pairs of cut multiplies: whole experts of a cut sequence are none, shared ones beside them are."""
    if not layer.topk:
        return np.full(len(s), float(layer.tp_all_reduces))
    row_parallel_count = sum(isinstance(op, Linear) and op.shard == "row" for op in layer.operators)
    cut_sequence_count = float(row_parallel_count + layer.added_all_reduces)
    return np.where((s.etp == 1) & (s.sequence_parallel == 1), cut_sequence_count, float(layer.tp_all_reduces))


def _compute_context_comm(
    scenario: Scenario, layer: Layer, s: Strategies, shard: LayerShard, attention_times: PassTimes
) -> AxisCommunication:
    """Keys and values to whoever needs them, by the way that `Scenario.cp_comm_type` names.

    ring (Liu et al. 2023, arXiv 2310.01889): they travel round beside the attention of the block at hand, and each
    step's partial result is merged with what is there; the backward pass sends their gradients as well.
    all-gather (Llama 3, arXiv 2407.21783, section 3.3.2): before the attention, exposed, with nothing to merge.
    all-to-all (DeepSpeed-Ulysses, arXiv 2309.14509): sequence against heads before the attention, and back after it.
    hierarchical (Transformer Engine at d0067d0d, `AttnFuncWithCPAndKVP2P` of pytorch/attention/dot_product_attention/
    context_parallel.py): an all-to-all in a node, exposed; a ring over the parts of the sequence that its ranks then
    have, with as many bytes a step, since each has so many fewer heads. At either end it is the one or the other.
    """
    network, tp = scenario.network, shard.tp
    cores = [op for op in layer.operators if isinstance(op, AttentionCore)]
    if not cores:
        return _build_exposed_comm(np.zeros(len(s)), np.zeros(len(s)))
    # of keys and values there are no more parts than heads: beyond, tensor-parallel ranks hold copies
    key_value_width = sum_in_order(op.kv_heads / np.minimum(tp, op.kv_heads) * (op.qk_dim + op.v_dim) for op in cores)
    token_bytes, ranks = scenario.value_bytes * shard.tokens, rank_groups.build_context_group(scenario.rank_layout, s)
    ring_ranks, all_to_all_s = s.cp, np.zeros(len(s))
    if scenario.cp_comm_type in ("all-to-all", "hierarchical"):
        query_width = sum_in_order(op.heads / tp * (op.qk_dim + op.v_dim) for op in cores)
        all_to_all_ranks = s.cp
        if scenario.cp_comm_type == "hierarchical":
            all_to_all_ranks = compute_all_to_all_ranks(scenario, s)
        all_to_all_group, ranks = ranks.split(all_to_all_ranks)
        size_bytes = token_bytes * (key_value_width + query_width)
        all_to_all_s = collectives.compute_all_to_all_s(network, size_bytes, all_to_all_group)
        ring_ranks = s.cp // all_to_all_ranks
    if scenario.cp_comm_type == "all-to-all":
        return _build_exposed_comm(all_to_all_s, all_to_all_s)
    collective_s = collectives.compute_all_gather_s(network, token_bytes * key_value_width * ring_ranks, ranks)
    if scenario.cp_comm_type == "all-gather":
        return _build_exposed_comm(collective_s, 2 * collective_s)
    overlap_share = scenario.calibration.overlap
    forward_s = _compute_exposed_s(collective_s, attention_times.forward_s * overlap_share)
    backward_s = _compute_exposed_s(2 * collective_s, attention_times.backward_s * overlap_share)
    merge_s = sum_in_order(compute_cp_merge_s(scenario, op, shard, ring_ranks) for op in cores)
    overlapped_s = collective_s - forward_s, 2 * collective_s - backward_s
    shares = np.ones_like(forward_s), np.zeros_like(forward_s)
    exposed_s = forward_s + merge_s + all_to_all_s, backward_s + merge_s + all_to_all_s
    return AxisCommunication(*exposed_s, *overlapped_s, *shares)


def compute_all_to_all_ranks(scenario: Scenario, s: Strategies) -> Ints:
    """Of hierarchical context parallelism, the ranks of a node that have an all-to-all among them, [plans]."""
    heads = math.gcd(
        *(
            count
            for layer in scenario.workload.layer_types
            for op in layer.operators
            if isinstance(op, AttentionCore)
            for count in (op.heads, op.kv_heads)
        )
    )
    domain_ranks = scenario.network.link_domain_ranks
    return rank_groups.compute_all_to_all_ranks(scenario.rank_layout, s, domain_ranks, heads)


def _compute_expert_comm(
    scenario: Scenario,
    layer: Layer,
    s: Strategies,
    sequence_bytes: Floats,
    layer_times: PassTimes,
    other_comms: tuple[AxisCommunication, AxisCommunication],
) -> AxisCommunication:
    """Dispatch and combine: every token's hidden state to its top-k experts and back, in both passes.

    By `ep_exchange`: a token once to each node (DeepEP), or a copy for each of its experts (NCCL's all-to-all,
    megatron-core 0.16.1, `MoEAlltoAllTokenDispatcher` of `transformer/moe/token_dispatcher.py`).
    The fullest rank gets `expert_imbalance` times as much as the mean one, and all wait for it.
    `sequence_bytes`: bytes of one micro-batch's hidden states; `other_comms`: communication of tp and cp in the same
    layer. Where the trainer overlaps it, the all-to-all of one micro-batch runs beside the layer of another, while
    the layer's own overlapped communication leaves the links that it needs.
    """
    if not layer.topk:
        return _build_exposed_comm(np.zeros(len(s)), np.zeros(len(s)))
    network, ranks = scenario.network, rank_groups.build_expert_group(scenario.rank_layout, s)
    # without tensor parallelism inside the experts each of its ranks sends its own part of the sequence
    is_split = (s.sequence_parallel == 1) | (s.etp != s.tp)
    size_bytes = scenario.expert_imbalance * np.where(is_split, sequence_bytes / s.tp, sequence_bytes)
    if scenario.ep_exchange == "nccl":
        comm_s = 2 * collectives.compute_all_to_all_s(network, layer.topk * size_bytes, ranks)
    else:
        comm_s = 2 * collectives.compute_expert_all_to_all_s(network, size_bytes, layer.topk, ranks)
    exposed_s = comm_s, comm_s
    if scenario.trainer.overlaps_expert_comm:
        overlap_share, expert_tiers = scenario.calibration.overlap, collectives.find_used_tiers(network, ranks)
        busy_forward_s = busy_backward_s = np.zeros(len(s))
        groups = rank_groups.build_tensor_group, rank_groups.build_context_group
        for comm, build_group in zip(other_comms, groups, strict=True):
            used_tiers = collectives.find_used_tiers(network, build_group(scenario.rank_layout, s))
            is_shared = (expert_tiers & used_tiers).any(axis=1)
            busy_forward_s = busy_forward_s + np.where(is_shared, comm.overlapped_forward, 0.0)
            busy_backward_s = busy_backward_s + np.where(is_shared, comm.overlapped_backward, 0.0)
        forward_window_s = np.maximum(overlap_share * layer_times.forward_s - busy_forward_s, 0.0)
        backward_window_s = np.maximum(overlap_share * layer_times.backward_s - busy_backward_s, 0.0)
        exposed_s = _compute_exposed_s(comm_s, forward_window_s), _compute_exposed_s(comm_s, backward_window_s)
    share = _HYBRIDEP_SM_SHARE if scenario.ep_exchange == "hybridep" else 1.0
    return _build_overlapped_comm(scenario, (comm_s, comm_s), exposed_s, contention_share=share)
