"""Matrix multiplies (GEMM), dense and of experts: time, FLOPs, saved bytes, recomputation, launches, adapters.

The efficiency of a multiply of m x k by k x n saturates in each dimension,

    e(m, n, k) = e_max · m/(m + r) · n/(n + r) · k/(k + q)

since tiles at the edge of a small output, and the start of a short sum in the pipeline, are paid in full.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.kept import compute_adapter_input_bytes, count_input_copies, get_kernels, is_adapted
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import ExpertLinear, Linear, ShardDimension


def compute_gemm_s(
    scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float, count: Floats | float = 1.0
) -> Floats:
    """Seconds of `count` multiplies of m x k by k x n in one launch, at `flops_per_s` FLOP/s when large; [keys]."""
    arithmetic_s = compute_gemm_arithmetic_s(scenario, m, n, k, flops_per_s=flops_per_s)
    traffic_s = scenario.value_bytes * (m * k + k * n + m * n) / roofline.compute_memory_bytes_per_s(scenario)
    return count * np.maximum(arithmetic_s, traffic_s) + scenario.calibration.kernel_launch_s


def compute_gemm_arithmetic_s(scenario: Scenario, m: Floats, n: Floats, k: Floats, *, flops_per_s: float) -> Floats:
    """Seconds of the multiply's arithmetic alone, [keys]."""
    r, q = scenario.calibration.gemm_half_rows, scenario.calibration.gemm_half_depth
    # 2mnk / (rate * m/(m + r) * ...): each saturating factor m/(m + r) leaves m + r
    time_s: Floats = 2.0 * (m + r) * (n + r) * (k + q) / flops_per_s
    return time_s


def compute_cast_s(scenario: Scenario, elements: Floats, full_precision: bool) -> Floats:
    """Seconds to cast an operand of a narrow multiply, by its scaling."""
    if roofline.is_16bit_or_wider(scenario, full_precision):
        return np.zeros_like(elements)
    return roofline.get_cast_bytes(scenario) * elements / roofline.compute_memory_bytes_per_s(scenario)


def _compute_pass_times(
    scenario: Scenario,
    m: Floats,
    n: Floats,
    k: Floats,
    *,
    flops_per_s: float,
    full_precision: bool,
    count: Floats | float = 1.0,
) -> PassTimes:
    """`count` multiplies of one size; the backward pass is two of the same size, for the gradients of input and
    weight. Each pass casts its operand of m rows, all rows together; where none is kept, weights too, and backward
    the input once more.
    """
    rows, weight_values, input_values = m * count, np.zeros_like(m), np.zeros_like(m)
    if roofline.casts_every_operand(scenario):
        weight_values, input_values = k * n * count, rows * k

    def compute_product_s(m: Floats, n: Floats, k: Floats) -> Floats:
        return compute_gemm_s(scenario, m, n, k, flops_per_s=flops_per_s, count=count)

    weight_grad_s = compute_product_s(k, n, m)
    return PassTimes(
        compute_product_s(m, n, k) + compute_cast_s(scenario, rows * k + weight_values, full_precision),
        compute_product_s(m, k, n)
        + weight_grad_s
        + compute_cast_s(scenario, rows * n + weight_values + input_values, full_precision),
        weight_grad_s,
    )


class LinearCost(OperatorCost[Linear]):
    """A dense multiply of tokens x inputs by inputs x outputs, cut by tensor parallelism along one of them."""

    has_weights = True

    def compute_times(self, scenario: Scenario, op: Linear, shard: LayerShard) -> PassTimes:
        """Three multiplies of one size. Of keys and values there are no more parts than heads, unless the trainer
        cuts them further.
        """
        m = op.rows * (shard.tokens if op.shard != "none" else shard.tokens / shard.sequence_divisor)
        k = np.full_like(m, op.inputs) / (shard.tp if op.shard == "row" else 1.0)
        n = np.full_like(m, op.outputs) / (shard.tp if op.shard == "column" else 1.0)
        if op.kv_outputs and not scenario.trainer.cuts_key_values:
            n = n + op.kv_outputs * (1 / np.minimum(shard.tp, op.kv_heads) - 1 / shard.tp)
        flops_per_s = roofline.compute_gemm_flops_per_s(scenario, op.full_precision)
        return _compute_pass_times(scenario, m, n, k, flops_per_s=flops_per_s, full_precision=op.full_precision)

    def compute_saved_bytes(self, scenario: Scenario, op: Linear, shard: LayerShard) -> Floats:
        """Its input, in its own precision where the trainer keeps that copy; under autocast a copy for each part."""
        lora = scenario.techniques.lora
        has_own_input = lora is not None and lora.dropout and is_adapted(op, lora.modules)
        if not op.saves_input and get_kernels(scenario) != "autocast" and not has_own_input:
            return np.zeros_like(shard.tokens)
        value_bytes = scenario.value_bytes if op.full_precision else roofline.get_saved_input_bytes(scenario)
        if lora is not None:
            value_bytes = compute_adapter_input_bytes(scenario, op)
        value_bytes *= count_input_copies(scenario, op)
        input_bytes = op.rows * shard.tokens * op.inputs * value_bytes
        if op.shard == "row":
            return input_bytes / shard.tp
        keeps_sequence_whole = scenario.trainer.keeps_gathered_sequence and op.shard == "column"
        return input_bytes / (1.0 if keeps_sequence_whole else shard.sequence_divisor)

    def compute_output_bytes(self, scenario: Scenario, op: Linear, shard: LayerShard) -> Floats:
        """Its columns, or its rows, cut by tensor parallelism."""
        token_divisor = shard.tp if op.shard == "column" else shard.sequence_divisor
        return op.rows * shard.tokens * op.outputs * scenario.value_bytes / token_divisor

    def compute_selective_share(self, scenario: Scenario, op: Linear) -> float:
        """All of the up-projections of latent attention."""
        return 1.0 if op.recomputed and scenario.attention_kernel != "unfused" else 0.0

    def count_launches(self, op: Linear, shard: LayerShard, casts: float) -> Floats | float:
        """One, and the cast of its input in narrow precision."""
        return 1.0 if op.full_precision else 1.0 + casts

    def compute_forward_flops(self, op: Linear, seq_length: int, convention: FlopsConvention) -> float:
        """Two a weight and row."""
        return 2.0 * op.weights * op.rows

    def runs_in_layer_precision(self, op: Linear) -> bool:
        """Not the logits and the router."""
        return not op.full_precision

    def is_tensor_parallel_multiply(self, op: Linear) -> bool:
        """Where it is cut."""
        return op.shard != "none"

    def count_weights(self, op: Linear, shard: LayerShard) -> Floats:
        """The matrix, or the part that tensor parallelism leaves of it."""
        return op.weights / (np.ones_like(shard.tp) if op.shard == "none" else shard.tp)

    def compute_lora_flops(self, op: Linear, rank: int) -> float:
        """Of rank r beside a k x n matrix 6 r (k + n) - 2 k n a row, k for each part; the logits and the router have
        no adapter.
        """
        adapter_flops = 6.0 * rank if self.runs_in_layer_precision(op) else 0.0
        return op.rows * (adapter_flops * (op.parts * op.inputs + op.outputs) - 2.0 * op.weights)

    def build_adapters(self, op: Linear, rank: int) -> tuple[Linear, Linear]:
        """In 16 bit, cut as the matrix is."""
        down_shard: ShardDimension = "row" if op.shard == "row" else "none"
        up_shard: ShardDimension = "column" if op.shard == "column" else "none"
        return (
            Linear("down", op.inputs, op.parts * rank, down_shard, full_precision=True, rows=op.rows),
            Linear("up", rank, op.outputs, up_shard, full_precision=True, rows=op.rows),
        )


class ExpertLinearCost(OperatorCost[ExpertLinear]):
    """The same multiply in each of the experts of a device, a grouped GEMM."""

    has_weights = True

    def compute_times(self, scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> PassTimes:
        """Each expert of the device gets an equal share of its tokens. Experts are cut over etp ranks; where
        that is one, each tensor-parallel rank brings its own part of the sequence.
        """
        local_experts = op.experts / shard.ep
        m = shard.routed_tokens * (shard.etp / shard.tp) * op.topk / local_experts
        k = np.full_like(m, op.inputs) / (shard.etp if op.shard == "row" else 1.0)
        n = np.full_like(m, op.outputs) / (shard.etp if op.shard == "column" else 1.0)
        dense_flops_per_s = roofline.compute_gemm_flops_per_s(scenario, full_precision=False)
        flops_per_s = dense_flops_per_s * scenario.calibration.expert_efficiency
        return _compute_pass_times(
            scenario, m, n, k, flops_per_s=flops_per_s, full_precision=False, count=local_experts
        )

    def compute_saved_bytes(self, scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> Floats:
        """The routed rows, in their own precision where the trainer keeps that copy."""
        # rows that experts cut over tp multiply whole: the sequence gathered
        token_divisor = shard.tp / shard.etp if op.shard == "column" else shard.tp
        value_bytes = roofline.get_saved_input_bytes(scenario)
        if scenario.techniques.lora is not None:
            value_bytes = compute_adapter_input_bytes(scenario, op)
        value_bytes *= count_input_copies(scenario, op)
        return op.topk * shard.routed_tokens * op.inputs * value_bytes / token_divisor

    def compute_output_bytes(self, scenario: Scenario, op: ExpertLinear, shard: LayerShard) -> Floats:
        """The routed rows, cut as its input or its output is."""
        token_divisor = shard.tp if op.shard == "column" else shard.tp / shard.etp
        return op.topk * shard.routed_tokens * op.outputs * scenario.value_bytes / token_divisor

    def count_launches(self, op: ExpertLinear, shard: LayerShard, casts: float) -> Floats | float:
        """One an expert of the device; casts are shared by four experts."""
        return (1.0 + 0.25 * casts) * op.experts / shard.ep

    def compute_forward_flops(self, op: ExpertLinear, seq_length: int, convention: FlopsConvention) -> float:
        """Two a weight of the experts that a token visits."""
        return 2.0 * op.inputs * op.outputs * op.topk

    def runs_in_layer_precision(self, op: ExpertLinear) -> bool:
        """Always."""
        return True

    def count_matrices(self, op: ExpertLinear, shard: LayerShard) -> Floats | float:
        """One an expert of the device."""
        return op.experts / shard.ep

    def count_weights(self, op: ExpertLinear, shard: LayerShard) -> Floats:
        """Those of the device's experts, cut over etp."""
        return op.inputs * op.outputs * op.experts / (shard.ep * shard.etp)

    def compute_lora_flops(self, op: ExpertLinear, rank: int) -> float:
        """As of a dense multiply, in the experts that a token visits."""
        return op.topk * (6.0 * rank * (op.parts * op.inputs + op.outputs) - 2.0 * op.inputs * op.outputs)

    def build_adapters(self, op: ExpertLinear, rank: int) -> tuple[ExpertLinear, ExpertLinear]:
        """In each expert, cut as the matrix is."""
        return replace(op, outputs=op.parts * rank, bias=False), replace(op, inputs=rank, bias=False)
