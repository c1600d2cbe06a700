"""Operators that memory bounds (norms, activations, residuals, lookups, routing, the loss): the bytes that they move,
save and drop, and their time.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, sum_in_order
from planner.cost.operators import roofline
from planner.cost.operators.kept import compute_chain_bytes, compute_kept_bytes
from planner.cost.operators.matmul import compute_gemm_arithmetic_s
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.trainers.trainer import LOSS_CHUNKS
from planner.workload.operators import VALUE_BYTES, Layer, Loss, Pointwise, TokenBytes

_FUSED_LOGIT_BYTES = 4.0
"""Of one logit in 16 bit and its gradient, where one kernel makes it (compiled: AOTAutograd of torch 2.13 saves the
16-bit logits and two numbers of each row, and returns a 16-bit gradient)."""
_CHUNK_GAPS = 4.0
"""Of a chunk's 16-bit logits: three more tensors of their size, and their gradient, are made and freed before the sum
of the gradients of the head's matrix lies behind them (`tests/real/caching_allocator.py`)."""
_HIDDEN_GRADIENT_BYTES = 4.0
"""Of one hidden value that chunks add their gradient to, in 32 bit (`GradAccumulator` there)."""
_TEACHER_LOGIT_BYTES = 6.0
"""Of one logit where there is a teacher: its logit in 16 bit, and its probability in 32."""


def compute_token_bytes(op: Pointwise) -> TokenBytes:
    """What an operator moves per token, and what selective recomputation drops of what it keeps, by its kind."""
    width_bytes, mask_bytes = op.width * VALUE_BYTES, op.width if op.dropout else 0
    match op.kind:
        case "norm":  # its input stays, its output is the input of the multiply after it
            return TokenBytes(2 * width_bytes, dropped_inputs=op.width)
        case "head_norm":  # its input is dropped, its output is what the heads save
            return TokenBytes(2 * width_bytes, dropped=width_bytes)
        case "heads":
            return TokenBytes(2 * width_bytes, dropped=op.kept_width * VALUE_BYTES if op.recomputed else 0.0)
        case "activation":  # what it reads stays, its output is the input of the multiply after it
            return TokenBytes(((2 if op.gated else 1) + 1) * width_bytes, dropped_inputs=op.width)
        case "residual":  # two tensors are read and their sum is written
            return TokenBytes(3 * width_bytes + mask_bytes)
        case "lookup":  # dropout's mask is written by the same kernel
            return TokenBytes(2 * width_bytes)
        case "routing":
            return TokenBytes(2 * width_bytes)
        case "parameters":
            return TokenBytes(0.0)
        case "listed":
            assert op.listed_bytes is not None
            return op.listed_bytes


def _compute_traffic_times(
    scenario: Scenario, moved_bytes: Floats, *, factor: float = 1.0, backward_ratio: float
) -> PassTimes:
    """The bytes that the forward pass moves over the bandwidth, `factor` times; backward `backward_ratio` of it."""
    time_s = factor * moved_bytes / roofline.compute_memory_bytes_per_s(scenario)
    launch_s = scenario.calibration.kernel_launch_s
    return build_weightless_times(time_s + launch_s, backward_ratio * time_s + launch_s)


class PointwiseCost(OperatorCost[Pointwise]):
    """Everything bound by memory traffic, cut by tensor parallelism or by the sequence (`Pointwise.domain`)."""

    is_memory_bound = True

    def compute_times(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> PassTimes:
        """The backward pass moves the gradient beside what the forward pass moved. What stands beside a convolution
        is computed in it by XLA on TPUs, not by the libraries of GPUs.
        """
        token_bytes = compute_token_bytes(op)
        fuses = scenario.trainer.fuses_convolution_neighbors and scenario.accelerator.architecture.startswith("tpu")
        if token_bytes.moved == 0 or (op.fuses_with_convolution and fuses):
            return build_weightless_times(np.zeros_like(shard.tokens), np.zeros_like(shard.tokens))
        is_unfused = (op.composite and scenario.launch_mode == "eager") or (
            op.unfused and not scenario.trainer.fuses_expert_kernels
        )
        factor = scenario.calibration.eager_traffic if is_unfused else 1.0
        if op.domain == "expert":
            factor = factor * scenario.calibration.routing_traffic  # not in place: it may be the calibration's array
        moved_bytes = op.rows * _get_tokens(op, shard) * token_bytes.moved * (scenario.value_bytes / 2.0)
        return _compute_traffic_times(
            scenario, moved_bytes / _get_token_divisor(op, shard), factor=factor, backward_ratio=1.5
        )

    def compute_saved_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """Those of `compute_kept_bytes`."""
        return op.rows * _get_tokens(op, shard) * compute_kept_bytes(scenario, op) / _get_token_divisor(op, shard)

    def compute_output_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """As many values as it is given, once where it is gated."""
        return op.rows * _get_tokens(op, shard) * op.width * scenario.value_bytes / _get_token_divisor(op, shard)

    def compute_dropped_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """What it saves itself, and the input of the multiply after it; nothing where attention drops its scores."""
        if scenario.attention_kernel == "unfused":
            return np.zeros_like(shard.tokens)
        token_bytes = compute_token_bytes(op)
        multiply_input_bytes = token_bytes.dropped_inputs * roofline.get_saved_input_bytes(scenario)
        own_bytes = compute_chain_bytes(scenario, op) + token_bytes.dropped * scenario.value_bytes / 2.0
        bytes_per_token = multiply_input_bytes + own_bytes
        return op.rows * _get_tokens(op, shard) * bytes_per_token / _get_token_divisor(op, shard)

    def compute_selective_share(self, scenario: Scenario, op: Pointwise) -> float:
        """All of norms and activations, cheap by FLOPs and large, where a fused kernel keeps no scores, or where
        every second multiply is repeated too.
        """
        if scenario.attention_kernel == "unfused" and scenario.selective_recompute != "multiplies":
            return 0.0
        token_bytes = compute_token_bytes(op)
        return 1.0 if token_bytes.dropped_inputs or token_bytes.dropped else 0.0


def _get_tokens(op: Pointwise, shard: LayerShard) -> Floats:
    """The tokens that a pointwise operator is given, [keys]."""
    return shard.routed_tokens if op.domain == "expert" else shard.tokens


def _get_token_divisor(op: Pointwise, shard: LayerShard) -> Floats:
    """What divides the values of a pointwise operator, [keys]."""
    return shard.sequence_divisor if op.domain == "sequence" else shard.tp


class LossCost(OperatorCost[Loss]):
    """Cross-entropy over the vocabulary, cut like the columns of the logits."""

    is_memory_bound = True

    def compute_times(self, scenario: Scenario, op: Loss, shard: LayerShard) -> PassTimes:
        """The bytes of each logit are written and read once, and again backward; a chunked loss also multiplies by
        the head's matrix piece by piece.
        """
        logits = op.vocab_size * op.rows * shard.tokens / shard.tp
        moved_bytes = 2.0 * _get_moved_logit_bytes(scenario) * logits
        times = _compute_traffic_times(scenario, moved_bytes, backward_ratio=0.5)
        return times + _compute_chunk_times(scenario, op, shard) if scenario.loss == "chunked" else times

    def compute_saved_bytes(self, scenario: Scenario, op: Loss, shard: LayerShard) -> Floats:
        """Bytes per logit of the loss; of a teacher's logits also 16-bit ones and their 32-bit probabilities. A
        chunked loss has the logits of one chunk, and the 32-bit gradient of all hidden states.
        """
        teacher_bytes = 0.0 if scenario.techniques.teacher is None else _TEACHER_LOGIT_BYTES
        is_chunked = scenario.loss == "chunked"
        logit_bytes = _get_held_logit_bytes(scenario, shard)
        if is_chunked and scenario.trainer.kept_logit_bytes:
            logit_bytes = logit_bytes / LOSS_CHUNKS + _get_kept_logit_bytes(scenario)
        elif is_chunked:
            # the 16-bit logits of a chunk are there until the next one
            logit_bytes = (logit_bytes + scenario.value_bytes) / LOSS_CHUNKS
        logit_bytes = logit_bytes + teacher_bytes
        hidden_bytes = _HIDDEN_GRADIENT_BYTES * scenario.workload.hidden_size if is_chunked else 0.0
        return op.rows * shard.tokens * (op.vocab_size * logit_bytes / shard.tp + hidden_bytes)


def count_logits(layer: Layer, shard: LayerShard) -> Floats:
    """Logits of a micro-batch on a device, [keys]; none but of the head."""
    values = sum((op.vocab_size * op.rows for op in layer.operators if isinstance(op, Loss)), start=0)
    return values * shard.tokens / shard.tp


def compute_head_backward_bytes(scenario: Scenario, layer: Layer, shard: LayerShard, saved_bytes: Floats) -> Floats:
    """Of the `saved_bytes` of the head what is there when the gradient of its matrix is reduced, [keys]: all but what
    the loss has; of a chunked loss the 16-bit logits of a chunk and the gradient of all hidden states, and what is
    kept of all chunks but the first that is done.
    """
    losses = [op for op in layer.operators if isinstance(op, Loss)]
    loss_bytes = sum_in_order(LossCost().compute_saved_bytes(scenario, op, shard) for op in losses) if losses else 0.0
    if scenario.loss != "chunked":
        return saved_bytes - loss_bytes
    logits = count_logits(layer, shard) / LOSS_CHUNKS
    hidden = sum(op.rows for op in losses) * shard.tokens * scenario.workload.hidden_size
    kept_bytes = (LOSS_CHUNKS - 1) * _get_kept_logit_bytes(scenario)
    return saved_bytes - loss_bytes + logits * (scenario.value_bytes + kept_bytes) + hidden * _HIDDEN_GRADIENT_BYTES


def compute_loss_gap_bytes(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Free blocks beside the logits that PyTorch's allocator cannot give to the loss, [keys]: the 16-bit logits, too
    small for the 32-bit tensors of the backward pass. Of a chunked loss, when the gradient of the head's matrix is
    reduced, what a chunk has before the 32-bit sum of that gradient is made, but its logits.
    """
    if not _has_plain_kernels(scenario):
        return np.zeros_like(shard.tokens)
    is_chunked = scenario.loss == "chunked"
    logit_bytes = scenario.trainer.logit_gap_bytes * (_CHUNK_GAPS / LOSS_CHUNKS if is_chunked else 1.0)
    return logit_bytes * count_logits(layer, shard)


def _get_kept_logit_bytes(scenario: Scenario) -> float:
    """Bytes of one logit that a chunked loss keeps of all chunks."""
    kept_bytes = scenario.trainer.kept_logit_bytes
    return scenario.value_bytes if kept_bytes and scenario.launch_mode != "eager" else kept_bytes


def _get_moved_logit_bytes(scenario: Scenario) -> float:
    """Bytes of one logit at the peak of a loss that has all logits at once; chunks are compiled as the model is."""
    if scenario.loss == "compiled" and scenario.trainer.wide_logit_bytes:
        return scenario.trainer.wide_logit_bytes
    return scenario.trainer.loss_bytes_per_logit if _has_plain_kernels(scenario) else _FUSED_LOGIT_BYTES


def _get_held_logit_bytes(scenario: Scenario, shard: LayerShard) -> Floats:
    """Those that are held at once, [keys]: fewer than are moved where one kernel overwrites another's, or where the
    columns of the logits are cut.
    """
    held_bytes = scenario.trainer.held_logit_bytes
    if held_bytes is not None and scenario.loss in ("plain", "compiled"):
        return np.full_like(shard.tp, held_bytes)
    moved_bytes, parallel_bytes = _get_moved_logit_bytes(scenario), scenario.trainer.parallel_loss_bytes_per_logit
    if parallel_bytes is None or not _has_plain_kernels(scenario):
        return np.full_like(shard.tp, moved_bytes)
    return np.where(shard.tp > 1, parallel_bytes, moved_bytes)


def _has_plain_kernels(scenario: Scenario) -> bool:
    return scenario.loss == "plain" or (scenario.loss == "chunked" and scenario.launch_mode == "eager")


def _compute_chunk_times(scenario: Scenario, op: Loss, shard: LayerShard) -> PassTimes:
    """What the head's three multiplies, and the loss, take longer in pieces: launches, and the edges that each piece
    pays in full. Forward and backward pass of a piece follow each other, so nothing is repeated.
    """
    vocab, hidden = op.vocab_size / shard.tp, np.full_like(shard.tp, scenario.workload.hidden_size)
    flops_per_s, none = roofline.compute_gemm_flops_per_s(scenario, full_precision=True), np.zeros_like(shard.tp)

    def compute_edges_s(m: Floats, n: Floats, k: Floats) -> Floats:
        edge_s = compute_gemm_arithmetic_s(scenario, m, n, k, flops_per_s=flops_per_s)
        return (LOSS_CHUNKS - 1) * (edge_s + 2.0 * scenario.calibration.kernel_launch_s)

    weight_grad_s = compute_edges_s(hidden, vocab, none)
    return PassTimes(
        compute_edges_s(none, vocab, hidden), compute_edges_s(none, hidden, vocab) + weight_grad_s, weight_grad_s
    )
