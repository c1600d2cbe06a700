"""Time of one operator on one device: a roofline whose ceiling depends on the shape that the device gets.

seconds = max(FLOPs / (peak x efficiency(shape)), bytes / (bandwidth x efficiency)) + launch
(Williams, Waterman, Patterson 2009, Roofline). The GEMM's efficiency saturates in each dimension,
e(m, n, k) = e_max * m/(m + r) * n/(n + r) * k/(k + d): tiles at the edge of a small output and the
pipeline's start on a short sum are paid in full.

All arrays have shape [keys]: one entry for each distinct shape of shard (see `layers.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.scenario import Training
from planner.workload.operators import (
    AttentionCore,
    ExpertLinear,
    Linear,
    Loss,
    Operator,
    Pointwise,
)

_BLOCK = 128
"""Keys that fused attention computes at once, all or none."""
_MERGED_BYTES = 12.0
"""Moved for one value of attention's output at each further step of the ring, in 32 bit: the step's own result and
the sum so far are read, the new sum is written."""


@dataclass(frozen=True)
class Shard:
    """What one device has of a layer: `tokens` of one micro-batch, and the degrees that cut the operators.

    Arrays of shape [keys]. `sequence_cut` is what divides the norms' tokens: tp under sequence parallelism.
    """

    tokens: Floats
    tp: Floats
    ep: Floats
    etp: Floats
    sequence_cut: Floats


@dataclass(frozen=True)
class Passes:
    """Seconds of the forward and of the backward pass, shape [keys]; `weight`: the part of the backward pass that
    makes the weights' gradients.
    """

    forward: Floats
    backward: Floats
    weight: Floats

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forward + other.forward, self.backward + other.backward, self.weight + other.weight)


def _unweighted(forward: Floats, backward: Floats) -> Passes:
    """Passes of an operator without weights to speak of."""
    return Passes(forward, backward, np.zeros_like(forward))


_16BIT = ("fp16", "bf16", "fp32", "tf32", "fp64")


def in_16_bit(training: Training, full_precision: bool) -> bool:
    """Whether a multiply runs in 16 bit or more: logits, router and attention do whatever the layers run in."""
    return full_precision or training.precision in _16BIT


def gemm_rate(training: Training, full_precision: bool) -> float:
    """FLOP/s of a large multiply: the unit's peak times the share that is reached at this precision."""
    fitted = training.calibration
    if in_16_bit(training, full_precision):
        return peak_16_bit(training) * fitted.gemm_efficiency * _sustained(training)
    four = training.precision == "nvfp4"
    share = fitted.gemm_efficiency_4bit if four else fitted.gemm_efficiency_8bit
    return training.accelerator.peak(training.precision) * share * _sustained(training)


def _sustained(training: Training) -> float:
    """Share of the clock that a part keeps whose power is limited below that of the fitted one."""
    tdp, fitted = training.accelerator.tdp_w, training.calibration
    if tdp is None or not fitted.reference_power_w:
        return 1.0
    return min(1.0, float((tdp / fitted.reference_power_w) ** fitted.power_exponent))


def peak_16_bit(training: Training) -> float:
    """Peak FLOP/s of the unit for what stays in 16 bit or more where the layers are narrow."""
    peaks = training.accelerator.peak_flops
    if training.precision in _16BIT:
        return training.accelerator.peak(training.precision)
    return peaks.get("bf16") or peaks.get("fp16") or training.accelerator.peak(training.precision)


def gemm_seconds(
    training: Training, m: Floats, n: Floats, k: Floats, *, rate: float, count: Floats | float = 1.0
) -> Floats:
    """`count` multiplies of m x k by k x n in one launch, at `rate` FLOP/s when large."""
    compute = multiply_seconds(training, m, n, k, rate=rate)
    moved = training.value_bytes * (m * k + k * n + m * n) / memory_rate(training)
    return count * np.maximum(compute, moved) + training.calibration.kernel_launch_s


def multiply_seconds(training: Training, m: Floats, n: Floats, k: Floats, *, rate: float) -> Floats:
    """The multiply's arithmetic alone."""
    r, d = training.calibration.gemm_half_rows, training.calibration.gemm_half_depth
    # 2mnk / (rate * m/(m + r) * ...): each saturating factor m/(m + r) leaves m + r
    seconds: Floats = 2.0 * (m + r) * (n + r) * (k + d) / rate
    return seconds


def _quantised(training: Training, elements: Floats, full_precision: bool) -> Floats:
    """Seconds to cast an operand of a narrow multiply: 2 bytes read, 1 written, and its transpose written."""
    if in_16_bit(training, full_precision):
        return np.zeros_like(elements)
    return 4.0 * elements / memory_rate(training)


def memory_rate(training: Training) -> float:
    """Bytes a second that kernels reach of the device's memory."""
    return training.accelerator.memory_bandwidth_bytes_per_s * training.calibration.memory_efficiency


def linear(training: Training, op: Linear, shard: Shard) -> Passes:
    """A dense multiply; its backward pass is two of the same size (gradient of input and of weight)."""
    m = op.rows * (shard.tokens if op.shard != "none" else shard.tokens / shard.sequence_cut)
    k = np.full_like(m, op.inputs) / (shard.tp if op.shard == "row" else 1.0)
    n = np.full_like(m, op.outputs) / (shard.tp if op.shard == "column" else 1.0)
    if op.kv_outputs:
        n = n + op.kv_outputs * (1 / np.minimum(shard.tp, op.kv_heads) - 1 / shard.tp)
    rate = gemm_rate(training, op.full_precision)
    weight = gemm_seconds(training, k, n, m, rate=rate)
    return Passes(
        gemm_seconds(training, m, n, k, rate=rate) + _quantised(training, m * k, op.full_precision),
        gemm_seconds(training, m, k, n, rate=rate) + weight + _quantised(training, m * n, op.full_precision),
        weight,
    )


def expert_linear(training: Training, op: ExpertLinear, shard: Shard) -> Passes:
    """A grouped multiply over the experts of one device, with balanced load: each gets an equal share. Experts are
    cut over etp ranks; where that is one, each tensor-parallel rank brings its own part of the sequence.
    """
    experts = op.experts / shard.ep
    m = shard.tokens * (shard.etp / shard.tp) * op.topk / experts
    k = np.full_like(m, op.inputs) / (shard.etp if op.shard == "row" else 1.0)
    n = np.full_like(m, op.outputs) / (shard.etp if op.shard == "column" else 1.0)
    rate = gemm_rate(training, full_precision=False) * training.calibration.expert_efficiency
    rows = m * experts
    weight = gemm_seconds(training, k, n, m, rate=rate, count=experts)
    return Passes(
        gemm_seconds(training, m, n, k, rate=rate, count=experts) + _quantised(training, rows * k, False),
        gemm_seconds(training, m, k, n, rate=rate, count=experts) + weight + _quantised(training, rows * n, False),
        weight,
    )


def attention(training: Training, op: AttentionCore, shard: Shard) -> Passes:
    """The attention core. Fused (FlashAttention-2, arXiv 2307.08691): half the pairs where causal, of a window w in s
    tokens w - w^2 / 2s keys for each query (the first ones have fewer before them); scores never leave the chip, the
    backward pass multiplies five times instead of two. Unfused: all pairs, scores through memory.
    """
    fitted = training.calibration
    length = float(op.length or training.workload.seq_length)
    tokens = shard.tokens * (op.length or 1)
    peak = peak_16_bit(training) * _sustained(training)
    # a window is computed in whole blocks of keys
    window = min(op.window + _BLOCK if op.window else length, length)
    pairs = tokens * window / shard.tp
    flops = op.flops_per_pair() * pairs
    if training.attention == "flash":
        half = 1.0 - window / (2.0 * length) if op.causal else 1.0
        softmax = half * 4.0 * op.heads * fitted.softmax_width * pairs / peak
        return _unweighted(
            half * flops / (peak * fitted.attention_forward_efficiency) + softmax + fitted.kernel_launch_s,
            2.5 * half * flops / (peak * fitted.attention_backward_efficiency) + softmax + 2 * fitted.kernel_launch_s,
        )
    pairs = tokens * length / shard.tp
    flops = op.flops_per_pair() * pairs
    # per head the two products are length x dim x length: the GEMM curve at these sizes, without edge loss
    product = flops / gemm_rate(training, full_precision=True) * (op.qk_dim + fitted.gemm_half_depth) / op.qk_dim
    traffic = op.heads * pairs * (training.value_bytes / 2.0) / memory_rate(training)
    launches = 5 * fitted.kernel_launch_s
    return _unweighted(
        product + traffic * training.framework.scores[0] + launches,
        2 * product + traffic * training.framework.scores[1] + 2 * launches,
    )


def merging_seconds(training: Training, op: Operator, shard: Shard, cp: Ints) -> Floats:
    """Ring attention: in each pass the partial results of cp blocks are merged; seconds of one pass, zero for other
    operators.
    """
    if not isinstance(op, AttentionCore):
        return np.zeros_like(shard.tokens)
    moved = _MERGED_BYTES * shard.tokens * op.heads * op.v_dim / shard.tp
    return (cp - 1) * (moved / memory_rate(training) + training.calibration.kernel_launch_s)


def pointwise(training: Training, op: Pointwise, shard: Shard) -> Passes:
    """Bound by memory: the backward pass moves the gradient beside what the forward pass moved."""
    if op.traffic_bytes == 0 or (op.beside_convolution and _fuses_neighbours(training)):
        return _unweighted(np.zeros_like(shard.tokens), np.zeros_like(shard.tokens))
    cut = shard.sequence_cut if op.domain == "sequence" else shard.tp
    unfused = (op.composite and training.launch == "eager") or (op.unfused and not training.framework.fuses_experts)
    passes = training.calibration.eager_traffic if unfused else 1.0
    if op.domain == "expert":
        passes *= training.calibration.routing_traffic
    moved = op.rows * shard.tokens * op.traffic_bytes * (training.value_bytes / 2.0) / cut
    seconds = passes * moved / memory_rate(training)
    launch = training.calibration.kernel_launch_s
    return _unweighted(seconds + launch, 1.5 * seconds + launch)


def _fuses_neighbours(training: Training) -> bool:
    """Whether what stands beside a convolution is computed in it: by XLA on TPUs, not by the libraries of GPUs."""
    return training.framework.fuses_neighbours and training.accelerator.architecture.startswith("tpu")


def loss(training: Training, op: Loss, shard: Shard) -> Passes:
    """Bound by memory: what the loss holds of each logit is written and read once, and again backward."""
    moved = 2.0 * training.framework.loss * op.vocab_size * op.rows * shard.tokens / shard.tp
    seconds = moved / memory_rate(training)
    launch = training.calibration.kernel_launch_s
    return _unweighted(seconds + launch, 0.5 * seconds + launch)
