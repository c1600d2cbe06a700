"""The multiplies of experts, a grouped GEMM: time, FLOPs, saved bytes and launches."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.matmul import compute_gemm_s, compute_quantize_s
from planner.cost.operators.operator_cost import OperatorCost
from planner.cost.operators.roofline import (
    LayerShard,
    PassTimes,
    compute_gemm_flops_per_s,
    get_saved_input_bytes,
)
from planner.cost.scenario import FlopsConvention, Scenario
from planner.workload.operators import ExpertLinear


class ExpertLinearCost(OperatorCost[ExpertLinear]):
    """The same multiply in each of the experts of a device."""

    def compute_times(self, scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> PassTimes:
        """With balanced load: each expert of the device gets an equal share. Experts are cut over etp ranks; where
        that is one, each tensor-parallel rank brings its own part of the sequence.
        """
        local_experts = op.experts / shard.ep
        m = shard.tokens * (shard.etp / shard.tp) * op.topk / local_experts
        k = np.full_like(m, op.inputs) / (shard.etp if op.shard == "row" else 1.0)
        n = np.full_like(m, op.outputs) / (shard.etp if op.shard == "column" else 1.0)
        flops_per_s = (
            compute_gemm_flops_per_s(scenario, full_precision=False) * scenario.calibration.expert_efficiency
        )
        rows = m * local_experts
        weight_grad_s = compute_gemm_s(scenario, k, n, m, flops_per_s=flops_per_s, count=local_experts)
        return PassTimes(
            compute_gemm_s(scenario, m, n, k, flops_per_s=flops_per_s, count=local_experts)
            + compute_quantize_s(scenario, rows * k, False),
            compute_gemm_s(scenario, m, k, n, flops_per_s=flops_per_s, count=local_experts)
            + weight_grad_s
            + compute_quantize_s(scenario, rows * n, False),
            weight_grad_s,
        )

    def compute_saved_bytes(self, scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> Floats:
        """The routed rows, in their own precision where the trainer keeps that copy."""
        # rows that experts cut over tp multiply whole: the sequence gathered
        token_divisor = shard.tp / shard.etp if op.shard == "column" else shard.tp
        return op.topk * shard.tokens * op.inputs * get_saved_input_bytes(scenario) / token_divisor

    def count_launches(self, op: ExpertLinear, shard: LayerShard, casts: float) -> Floats | float:
        """One an expert of the device; casts are shared by four experts."""
        return (1.0 + 0.25 * casts) * op.experts / shard.ep

    def count_multiplies(self, op: ExpertLinear, shard: LayerShard) -> Floats | float:
        """One an expert of the device."""
        return op.experts / shard.ep

    def compute_forward_flops(self, op: ExpertLinear, seq_length: int, convention: FlopsConvention) -> float:
        """Two a weight of the experts that a token visits."""
        return 2.0 * op.inputs * op.outputs * op.topk

    def runs_in_layer_precision(self, op: ExpertLinear) -> bool:
        """Always."""
        return True
