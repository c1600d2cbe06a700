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
from planner.cost.scenario import Scenario
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Linear,
    Loss,
    Operator,
    Pointwise,
)

_ATTENTION_KEY_BLOCK = 128
"""Keys that fused attention computes at once, all or none."""
_RING_MERGE_BYTES = 12.0
"""Moved for one value of attention's output at each further step of the ring, in 32 bit: the step's own result and
the sum so far are read, the new sum is written."""


@dataclass(frozen=True)
class LayerShard:
    """What one device has of a layer: `tokens` of one micro-batch, and the degrees that cut the operators.

    Arrays of shape [keys]. `sequence_divisor` is what divides the norms' tokens: tp under sequence parallelism.
    """

    tokens: Floats
    tp: Floats
    ep: Floats
    etp: Floats
    sequence_divisor: Floats


@dataclass(frozen=True)
class PassTimes:
    """Seconds of the forward and of the backward pass, shape [keys]; `weight_grad_s`: the part of the backward pass
    that makes the weights' gradients.
    """

    forward_s: Floats
    backward_s: Floats
    weight_grad_s: Floats

    def __add__(self, other: PassTimes) -> PassTimes:
        return PassTimes(
            self.forward_s + other.forward_s,
            self.backward_s + other.backward_s,
            self.weight_grad_s + other.weight_grad_s,
        )


def _build_weightless_times(forward_s: Floats, backward_s: Floats) -> PassTimes:
    """Passes of an operator without weights to speak of."""
    return PassTimes(forward_s, backward_s, np.zeros_like(forward_s))


_WIDE_PRECISIONS = ("fp16", "bf16", "fp32", "tf32", "fp64")


def is_16bit_or_wider(scenario: Scenario, full_precision: bool) -> bool:
    """Whether a multiply runs in 16 bit or more: logits, router and attention do whatever the layers run in."""
    return full_precision or scenario.precision in _WIDE_PRECISIONS


def compute_gemm_flops_per_s(scenario: Scenario, full_precision: bool) -> float:
    """FLOP/s of a large multiply: the unit's peak times the share that is reached at this precision."""
    fitted = scenario.calibration
    if is_16bit_or_wider(scenario, full_precision):
        return get_peak_16bit_flops_per_s(scenario) * fitted.gemm_efficiency * _compute_sustained_clock(scenario)
    is_4bit = scenario.precision == "nvfp4"
    efficiency = fitted.gemm_efficiency_4bit if is_4bit else fitted.gemm_efficiency_8bit
    return scenario.accelerator.get_peak_flops(scenario.precision) * efficiency * _compute_sustained_clock(scenario)


def _compute_sustained_clock(scenario: Scenario) -> float:
    """Share of the clock that a part keeps whose power is limited below that of the fitted one."""
    tdp_w, fitted = scenario.accelerator.tdp_w, scenario.calibration
    if tdp_w is None or not fitted.reference_power_w:
        return 1.0
    return min(1.0, float((tdp_w / fitted.reference_power_w) ** fitted.power_exponent))


def get_peak_16bit_flops_per_s(scenario: Scenario) -> float:
    """Peak FLOP/s of the unit for what stays in 16 bit or more where the layers are narrow."""
    peak_flops = scenario.accelerator.peak_flops
    if scenario.precision in _WIDE_PRECISIONS:
        return scenario.accelerator.get_peak_flops(scenario.precision)
    return peak_flops.get("bf16") or peak_flops.get("fp16") or scenario.accelerator.get_peak_flops(scenario.precision)


def compute_gemm_s(
    scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float, count: Floats | float = 1.0
) -> Floats:
    """`count` multiplies of m x k by k x n in one launch, at `flops_per_s` FLOP/s when large."""
    arithmetic_s = compute_gemm_arithmetic_s(scenario, m, n, k, flops_per_s=flops_per_s)
    traffic_s = scenario.value_bytes * (m * k + k * n + m * n) / compute_memory_bytes_per_s(scenario)
    return count * np.maximum(arithmetic_s, traffic_s) + scenario.calibration.kernel_launch_s


def compute_gemm_arithmetic_s(scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float) -> Floats:
    """The multiply's arithmetic alone."""
    r, d = scenario.calibration.gemm_half_rows, scenario.calibration.gemm_half_depth
    # 2mnk / (rate * m/(m + r) * ...): each saturating factor m/(m + r) leaves m + r
    time_s: Floats = 2.0 * (m + r) * (n + r) * (k + d) / flops_per_s
    return time_s


def _compute_quantize_s(scenario: Scenario, elements: Floats, full_precision: bool) -> Floats:
    """Seconds to cast an operand of a narrow multiply: 2 bytes read, 1 written, and its transpose written."""
    if is_16bit_or_wider(scenario, full_precision):
        return np.zeros_like(elements)
    return 4.0 * elements / compute_memory_bytes_per_s(scenario)


def compute_memory_bytes_per_s(scenario: Scenario) -> float:
    """Bytes a second that kernels reach of the device's memory."""
    return scenario.accelerator.memory_bandwidth_bytes_per_s * scenario.calibration.memory_efficiency


def compute_linear_times(scenario: Scenario, op: Linear, shard: LayerShard) -> PassTimes:
    """A dense multiply; its backward pass is two of the same size (gradient of input and of weight)."""
    m = op.rows * (shard.tokens if op.shard != "none" else shard.tokens / shard.sequence_divisor)
    k = np.full_like(m, op.inputs) / (shard.tp if op.shard == "row" else 1.0)
    n = np.full_like(m, op.outputs) / (shard.tp if op.shard == "column" else 1.0)
    if op.kv_outputs:
        n = n + op.kv_outputs * (1 / np.minimum(shard.tp, op.kv_heads) - 1 / shard.tp)
    flops_per_s = compute_gemm_flops_per_s(scenario, op.full_precision)
    weight_grad_s = compute_gemm_s(scenario, k, n, m, flops_per_s=flops_per_s)
    return PassTimes(
        compute_gemm_s(scenario, m, n, k, flops_per_s=flops_per_s)
        + _compute_quantize_s(scenario, m * k, op.full_precision),
        compute_gemm_s(scenario, m, k, n, flops_per_s=flops_per_s)
        + weight_grad_s
        + _compute_quantize_s(scenario, m * n, op.full_precision),
        weight_grad_s,
    )


def compute_expert_linear_times(scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> PassTimes:
    """A grouped multiply over the experts of one device, with balanced load: each gets an equal share. Experts are
    cut over etp ranks; where that is one, each tensor-parallel rank brings its own part of the sequence.
    """
    local_experts = op.experts / shard.ep
    m = shard.tokens * (shard.etp / shard.tp) * op.topk / local_experts
    k = np.full_like(m, op.inputs) / (shard.etp if op.shard == "row" else 1.0)
    n = np.full_like(m, op.outputs) / (shard.etp if op.shard == "column" else 1.0)
    flops_per_s = compute_gemm_flops_per_s(scenario, full_precision=False) * scenario.calibration.expert_efficiency
    rows = m * local_experts
    weight_grad_s = compute_gemm_s(scenario, k, n, m, flops_per_s=flops_per_s, count=local_experts)
    return PassTimes(
        compute_gemm_s(scenario, m, n, k, flops_per_s=flops_per_s, count=local_experts)
        + _compute_quantize_s(scenario, rows * k, False),
        compute_gemm_s(scenario, m, k, n, flops_per_s=flops_per_s, count=local_experts)
        + weight_grad_s
        + _compute_quantize_s(scenario, rows * n, False),
        weight_grad_s,
    )


def compute_attention_times(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> PassTimes:
    """The attention core. Fused (FlashAttention-2, arXiv 2307.08691): half the pairs where causal, of a window w in s
    tokens w - w^2 / 2s keys for each query (the first ones have fewer before them); scores never leave the chip, the
    backward pass multiplies five times instead of two. Unfused: all pairs, scores through memory.
    """
    fitted = scenario.calibration
    length = float(op.attended_rows or scenario.workload.seq_length)
    tokens = shard.tokens * (op.attended_rows or 1)
    peak_flops_per_s = get_peak_16bit_flops_per_s(scenario) * _compute_sustained_clock(scenario)
    # a window is computed in whole blocks of keys
    window = min(op.window + _ATTENTION_KEY_BLOCK if op.window else length, length)
    pairs = tokens * window / shard.tp
    flops = op.compute_flops_per_pair() * pairs
    if scenario.attention_kernel == "flash":
        causal_share = 1.0 - window / (2.0 * length) if op.causal else 1.0
        softmax_s = causal_share * 4.0 * op.heads * fitted.softmax_width * pairs / peak_flops_per_s
        return _build_weightless_times(
            causal_share * flops / (peak_flops_per_s * fitted.attention_forward_efficiency)
            + softmax_s
            + fitted.kernel_launch_s,
            2.5 * causal_share * flops / (peak_flops_per_s * fitted.attention_backward_efficiency)
            + softmax_s
            + 2 * fitted.kernel_launch_s,
        )
    pairs = tokens * length / shard.tp
    flops = op.compute_flops_per_pair() * pairs
    # per head the two products are length x dim x length: the GEMM curve at these sizes, without edge loss
    product_s = (
        flops
        / compute_gemm_flops_per_s(scenario, full_precision=True)
        * (op.qk_dim + fitted.gemm_half_depth)
        / op.qk_dim
    )
    traffic_s = op.heads * pairs * (scenario.value_bytes / 2.0) / compute_memory_bytes_per_s(scenario)
    launches_s = 5 * fitted.kernel_launch_s
    return _build_weightless_times(
        product_s + traffic_s * scenario.trainer.attention_score_bytes[0] + launches_s,
        2 * product_s + traffic_s * scenario.trainer.attention_score_bytes[1] + 2 * launches_s,
    )


def compute_cp_merge_s(scenario: Scenario, op: Operator, shard: LayerShard, cp: Ints) -> Floats:
    """Ring attention: in each pass the partial results of cp blocks are merged; seconds of one pass, zero for other
    operators.
    """
    if not isinstance(op, AttentionCore):
        return np.zeros_like(shard.tokens)
    moved_bytes = _RING_MERGE_BYTES * shard.tokens * op.heads * op.v_dim / shard.tp
    return (cp - 1) * (moved_bytes / compute_memory_bytes_per_s(scenario) + scenario.calibration.kernel_launch_s)


def compute_pointwise_times(scenario: Scenario, op: Pointwise, shard: LayerShard) -> PassTimes:
    """Bound by memory: the backward pass moves the gradient beside what the forward pass moved."""
    if op.traffic_bytes == 0 or (op.fuses_with_convolution and _is_fused_into_convolution(scenario)):
        return _build_weightless_times(np.zeros_like(shard.tokens), np.zeros_like(shard.tokens))
    token_divisor = shard.sequence_divisor if op.domain == "sequence" else shard.tp
    is_unfused = (op.composite and scenario.launch_mode == "eager") or (
        op.unfused and not scenario.trainer.fuses_expert_kernels
    )
    traffic_factor = scenario.calibration.eager_traffic if is_unfused else 1.0
    if op.domain == "expert":
        traffic_factor *= scenario.calibration.routing_traffic
    moved_bytes = op.rows * shard.tokens * op.traffic_bytes * (scenario.value_bytes / 2.0) / token_divisor
    time_s = traffic_factor * moved_bytes / compute_memory_bytes_per_s(scenario)
    launch_s = scenario.calibration.kernel_launch_s
    return _build_weightless_times(time_s + launch_s, 1.5 * time_s + launch_s)


def _is_fused_into_convolution(scenario: Scenario) -> bool:
    """Whether what stands beside a convolution is computed in it: by XLA on TPUs, not by the libraries of GPUs."""
    return scenario.trainer.fuses_convolution_neighbors and scenario.accelerator.architecture.startswith("tpu")


def compute_loss_times(scenario: Scenario, op: Loss, shard: LayerShard) -> PassTimes:
    """Bound by memory: what the loss holds of each logit is written and read once, and again backward."""
    moved_bytes = 2.0 * scenario.trainer.loss_bytes_per_logit * op.vocab_size * op.rows * shard.tokens / shard.tp
    time_s = moved_bytes / compute_memory_bytes_per_s(scenario)
    launch_s = scenario.calibration.kernel_launch_s
    return _build_weightless_times(time_s + launch_s, 0.5 * time_s + launch_s)


def compute_selective_share(scenario: Scenario, op: Operator) -> float:
    """Share of an operator that selective recomputation repeats: the attention core where it keeps its scores
    (arXiv 2205.05198, section 5); where a fused kernel keeps none, the norms and activations, cheap by FLOPs and
    large, and in some frameworks every second multiply.
    """
    if isinstance(op, AttentionCore):
        return 1.0 if scenario.attention_kernel == "unfused" else 0.0
    if scenario.attention_kernel == "unfused":
        return 0.0
    if isinstance(op, Convolution):
        return 0.5 if op.saves_input and scenario.trainer.selective_recompute == "multiplies" else 0.0
    if isinstance(op, Linear):
        is_half_repeated = op.saves_input and scenario.trainer.selective_recompute == "multiplies"
        return 1.0 if op.recomputed else 0.5 if is_half_repeated else 0.0
    return 1.0 if isinstance(op, Pointwise) and (op.dropped_inputs or op.dropped_bytes) else 0.0
