"""The attention core, softmax(Q K^T) V: time, FLOPs, saved and dropped bytes, and what ring attention merges."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.operators import roofline
from planner.cost.operators.kept import NARROW_BYTES, compute_pair_bytes
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import AttentionCore

_ATTENTION_KEY_BLOCK = 128
"""Keys that fused attention computes at once, all or none."""
_RING_MERGE_BYTES = 12.0
"""Moved for one value of attention's output at each further step of the ring, in 32 bit: the step's own result and
the sum so far are read, the new sum is written."""
_FLASH_3_ARCHITECTURES = ("hopper",)
_FLASH_2_SHARE = 35 / 75
"""Of what kernels written for it reach on Hopper, what FlashAttention-2 does: 35 % of the peak in place of 75 %
(FlashAttention-3, arXiv 2407.08608, abstract)."""
_CAST_BYTES = 3.0
"""Moved for one value that is cast to 8 bits: 2 read, 1 written."""
_ROW_SUM_BYTES = 4.0
"""Of the softmax's sum of one query and head, which fused attention keeps."""


class AttentionCost(OperatorCost[AttentionCore]):
    """The attention core, fused or unfused (`Scenario.attention_kernel`)."""

    is_attention = True

    def compute_times(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> PassTimes:
        """Fused: scores never leave the chip. Unfused: scores go through memory."""
        compute = _compute_fused_times if scenario.attention_kernel == "flash" else _compute_unfused_times
        return compute(scenario, op, shard)

    def compute_saved_bytes(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
        """Fused: the row sums of the softmax; unfused: its output, and dropout's mask and output
        (arXiv 2205.05198, section 4.1); and what it, or the trainer, copies of grouped keys and values.
        """
        rows = shard.tokens * (op.attended_rows or 1)
        # keys and values once for each head of queries (`repeat_kv` of transformers 4.57, modeling_llama.py;
        # megatron-core 0.16.1, transformer/dot_product_attention.py)
        copied_bytes = scenario.value_bytes * (op.heads - op.kv_heads) * (op.qk_dim + op.v_dim) * rows / shard.tp
        if scenario.attention_kernel == "unfused":
            pairs = op.heads * rows * (op.attended_rows or scenario.workload.seq_length) / shard.tp
            return compute_pair_bytes(scenario, op) * pairs + copied_bytes
        fused_bytes = rows * op.heads * _ROW_SUM_BYTES / shard.tp + _compute_own_output_bytes(scenario, op, shard)
        return fused_bytes + copied_bytes if scenario.trainer.copies_grouped_keys else fused_bytes

    def compute_dropped_bytes(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
        """All that it saves, where it is repeated."""
        return self.compute_saved_bytes(scenario, op, shard) * self.compute_selective_share(scenario, op)

    def compute_output_bytes(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
        """Its output."""
        rows = shard.tokens * (op.attended_rows or 1)
        return rows * op.heads * op.v_dim * scenario.value_bytes / shard.tp

    def compute_kept_output_bytes(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
        """Its output and the row sums of its softmax."""
        rows = shard.tokens * (op.attended_rows or 1)
        return rows * op.heads * (op.v_dim * scenario.value_bytes + _ROW_SUM_BYTES) / shard.tp

    def compute_selective_share(self, scenario: Scenario, op: AttentionCore) -> float:
        """All of it where it keeps its scores (arXiv 2205.05198, section 5), else nothing."""
        return 1.0 if scenario.attention_kernel == "unfused" else 0.0

    def compute_overlapped_bytes(self, scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats | None:
        """Fused: Q, K, V and the output once forward, with their gradients twice more."""
        if scenario.attention_kernel != "flash":
            return None
        tokens = shard.tokens * (op.attended_rows or 1)
        query_values = op.heads / shard.tp * (op.qk_dim + op.v_dim)
        key_values = op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim)
        return 3.0 * scenario.value_bytes * tokens * (query_values + key_values)

    def compute_forward_flops(self, op: AttentionCore, seq_length: int, convention: FlopsConvention) -> float:
        """Both products over the pairs that a token counts for."""
        pairs = count_attended_pairs(op, op.attended_rows or seq_length, convention)
        return op.compute_flops_per_pair() * (op.attended_rows or 1) * pairs


def compute_wide_output_bytes(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
    """Of what fused attention saves its output in 16 bit, which whatever is repeated reads too, [keys]."""
    is_wide = scenario.attention_kernel == "flash" and scenario.attention_precision != "fp8"
    return _compute_own_output_bytes(scenario, op, shard) if is_wide else np.zeros_like(shard.tokens)


def _compute_own_output_bytes(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
    """The output of fused attention, where the multiply after it, or its adapter, keeps a copy of its own."""
    lora, is_narrow = scenario.techniques.lora, scenario.attention_precision == "fp8"
    has_narrow_input = lora is None and roofline.get_saved_input_bytes(scenario) < scenario.value_bytes
    if not (is_narrow or has_narrow_input or (lora is not None and lora.dropout)):
        return np.zeros_like(shard.tokens)
    output_bytes = op.v_dim * (NARROW_BYTES if is_narrow else scenario.value_bytes)
    return shard.tokens * (op.attended_rows or 1) * op.heads * output_bytes / shard.tp


def _compute_fused_times(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> PassTimes:
    """FlashAttention-2 (arXiv 2307.08691): half the pairs where causal, of a window w in s tokens w - w²/2s keys for
    each query (the first ones have fewer before them); the backward pass multiplies five times instead of two.
    Documents that attend to themselves alone are sequences of their own, in whole blocks of keys.
    """
    fitted = scenario.calibration
    workload = scenario.workload
    document_keys = workload.attended_length + _ATTENTION_KEY_BLOCK
    length = float(op.attended_rows or min(document_keys, workload.seq_length))
    speed = roofline.compute_kernel_speed(scenario)
    if scenario.trainer.uses_flash_attention_2 and scenario.accelerator.architecture in _FLASH_3_ARCHITECTURES:
        speed *= _FLASH_2_SHARE
    peak_flops_per_s = roofline.get_peak_16bit_flops_per_s(scenario) * roofline.compute_sustained_clock(scenario)
    # a window is computed in whole blocks of keys
    window = min(op.reach + _ATTENTION_KEY_BLOCK if op.reach else length, length)
    pairs = shard.tokens * (op.attended_rows or 1) * window / shard.tp
    flops = op.compute_flops_per_pair() * pairs
    causal_share = 1.0 - window / (2.0 * length) if op.causal else 1.0
    softmax_s = causal_share * 4.0 * op.heads * fitted.softmax_width * pairs / peak_flops_per_s
    product_flops_per_s, cast_s = roofline.get_peak_16bit_flops_per_s(scenario) * speed, np.zeros_like(pairs)
    if scenario.attention_precision == "fp8":
        peak_8bit_flops = scenario.accelerator.get_peak_flops("fp8")
        product_flops_per_s = peak_8bit_flops * speed
        cast_s = _compute_cast_s(scenario, op, shard)
    forward_s = causal_share * flops / (product_flops_per_s * fitted.attention_forward_efficiency) + cast_s
    backward_s = 2.5 * causal_share * flops / (product_flops_per_s * fitted.attention_backward_efficiency) + cast_s
    launch_s = fitted.kernel_launch_s
    return build_weightless_times(forward_s + softmax_s + launch_s, backward_s + softmax_s + 2 * launch_s)


def _compute_cast_s(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> Floats:
    """Seconds of a pass to cast as many values as Q, K and V have to 8 bits."""
    tokens = shard.tokens * (op.attended_rows or 1)
    query_values = op.heads / shard.tp * op.qk_dim
    key_values = op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim)
    return _CAST_BYTES * tokens * (query_values + key_values) / roofline.compute_memory_bytes_per_s(scenario)


def _compute_unfused_times(scenario: Scenario, op: AttentionCore, shard: LayerShard) -> PassTimes:
    """All pairs: per head the two products are length x dim x length, on the GEMM curve at these sizes, without edge
    loss; the trainer's kernels move this many bytes of scores.
    """
    length = float(op.attended_rows or scenario.workload.seq_length)
    pairs = shard.tokens * (op.attended_rows or 1) * length / shard.tp
    flops = op.compute_flops_per_pair() * pairs
    flops_per_s = roofline.compute_gemm_flops_per_s(scenario, full_precision=True)
    product_s = flops / flops_per_s * (op.qk_dim + scenario.calibration.gemm_half_depth) / op.qk_dim
    traffic_s = op.heads * pairs * (scenario.value_bytes / 2.0) / roofline.compute_memory_bytes_per_s(scenario)
    launches_s = 5 * scenario.calibration.kernel_launch_s
    forward_bytes, backward_bytes = scenario.trainer.attention_score_bytes
    forward_s = product_s + traffic_s * forward_bytes + launches_s
    return build_weightless_times(forward_s, 2 * product_s + traffic_s * backward_bytes + 2 * launches_s)


def count_attended_pairs(op: AttentionCore, seq_length: int, convention: FlopsConvention) -> float:
    """Pairs that a token counts for: w, its window or the whole sequence s; where causal, by the causal convention,
    w - w²/2s, half of a whole sequence, since the first tokens have fewer before them.
    """
    window = float(min(op.reach or seq_length, seq_length))
    return window * (1.0 - window / (2.0 * seq_length)) if op.causal and convention == "causal" else window


def compute_cp_merge_s(scenario: Scenario, op: AttentionCore, shard: LayerShard, blocks: Ints) -> Floats:
    """Ring attention: in each pass the partial results of the blocks of its ranks are merged; seconds of one pass,
    [keys].
    """
    moved_bytes = _RING_MERGE_BYTES * shard.tokens * op.heads * op.v_dim / shard.tp
    merge_s = moved_bytes / roofline.compute_memory_bytes_per_s(scenario) + scenario.calibration.kernel_launch_s
    return (blocks - 1) * merge_s
