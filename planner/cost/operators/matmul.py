"""A dense matrix multiply (GEMM): time, FLOPs, saved bytes, recomputation and launches."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.operator_cost import OperatorCost
from planner.cost.operators.roofline import (
    LayerShard,
    PassTimes,
    compute_gemm_flops_per_s,
    compute_memory_bytes_per_s,
    get_saved_input_bytes,
    is_16bit_or_wider,
)
from planner.cost.scenario import FlopsConvention, Scenario
from planner.workload.operators import Linear


def compute_gemm_s(
    scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float, count: Floats | float = 1.0
) -> Floats:
    """Seconds of `count` multiplies of m x k by k x n in one launch, at `flops_per_s` FLOP/s when large; [keys]."""
    arithmetic_s = compute_gemm_arithmetic_s(scenario, m, n, k, flops_per_s=flops_per_s)
    traffic_s = scenario.value_bytes * (m * k + k * n + m * n) / compute_memory_bytes_per_s(scenario)
    return count * np.maximum(arithmetic_s, traffic_s) + scenario.calibration.kernel_launch_s


def compute_gemm_arithmetic_s(scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float) -> Floats:
    """Seconds of the multiply's arithmetic alone, [keys]."""
    r, d = scenario.calibration.gemm_half_rows, scenario.calibration.gemm_half_depth
    # 2mnk / (rate * m/(m + r) * ...): each saturating factor m/(m + r) leaves m + r
    time_s: Floats = 2.0 * (m + r) * (n + r) * (k + d) / flops_per_s
    return time_s


def compute_quantize_s(scenario: Scenario, elements: Floats, full_precision: bool) -> Floats:
    """Seconds to cast an operand of a narrow multiply: 2 bytes read, 1 written, and its transpose written."""
    if is_16bit_or_wider(scenario, full_precision):
        return np.zeros_like(elements)
    return 4.0 * elements / compute_memory_bytes_per_s(scenario)


class LinearCost(OperatorCost[Linear]):
    """A dense multiply of tokens x inputs by inputs x outputs, cut by tensor parallelism along one of them."""

    def compute_times(self, scenario: Scenario, op: Linear, shard: LayerShard) -> PassTimes:
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
            + compute_quantize_s(scenario, m * k, op.full_precision),
            compute_gemm_s(scenario, m, k, n, flops_per_s=flops_per_s)
            + weight_grad_s
            + compute_quantize_s(scenario, m * n, op.full_precision),
            weight_grad_s,
        )

    def compute_saved_bytes(self, scenario: Scenario, op: Linear, shard: LayerShard) -> Floats:
        """Its input, in its own precision where the trainer keeps that copy."""
        if not op.saves_input:
            return np.zeros_like(shard.tokens)
        value_bytes = scenario.value_bytes if op.full_precision else get_saved_input_bytes(scenario)
        input_bytes = op.rows * shard.tokens * op.inputs * value_bytes
        if op.shard == "row":
            return input_bytes / shard.tp
        keeps_gathered = scenario.trainer.keeps_gathered_sequence and op.shard == "column"
        return input_bytes / (1.0 if keeps_gathered else shard.sequence_divisor)

    def compute_kept_output_bytes(self, scenario: Scenario, op: Linear, shard: LayerShard) -> Floats:
        """Half of its output: multiplies come in pairs that share an input, and every second one's output is kept."""
        if not op.saves_input:
            return np.zeros_like(shard.tokens)
        token_divisor = shard.tp if op.shard == "column" else shard.sequence_divisor
        return 0.5 * op.rows * shard.tokens * op.outputs * scenario.value_bytes / token_divisor

    def compute_selective_share(self, scenario: Scenario, op: Linear) -> float:
        """All of the up-projections of latent attention; in some trainers every second multiply."""
        if scenario.attention_kernel == "unfused":
            return 0.0
        is_half_repeated = op.saves_input and scenario.trainer.selective_recompute == "multiplies"
        return 1.0 if op.recomputed else 0.5 if is_half_repeated else 0.0

    def count_launches(self, op: Linear, shard: LayerShard, casts: float) -> Floats | float:
        """One, and the cast of its input in narrow precision."""
        return 1.0 if op.full_precision else 1.0 + casts

    def compute_forward_flops(self, op: Linear, seq_length: int, convention: FlopsConvention) -> float:
        """Two a weight and row."""
        return 2.0 * op.weights * op.rows

    def runs_in_layer_precision(self, op: Linear) -> bool:
        """Not the logits and the router."""
        return not op.full_precision
