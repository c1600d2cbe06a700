"""A convolution: time, FLOPs and saved bytes of an implicit multiply (Chetlur et al. 2014, cuDNN, arXiv 1410.0759).

Forward, the gradient of the input and that of the weights are each a multiply of places, channels in times window,
and channels out, at the rate that a dense multiply of that shape has; what moves is the image itself, read once, not
its windows laid out as a matrix. Arrays have shape [keys].
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.matmul import compute_gemm_arithmetic_s
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import Convolution


class ConvolutionCost(OperatorCost[Convolution]):
    """A convolution, never cut by tensor parallelism."""

    has_weights = True

    def compute_times(self, scenario: Scenario, op: Convolution, shard: LayerShard) -> PassTimes:
        """A convolution, in groups or not. The first of a model needs no gradient of its input."""
        places = shard.tokens * op.output_positions
        window = np.full_like(places, op.inputs // op.groups * op.kernel_values)
        outputs = np.full_like(places, op.outputs // op.groups)
        channels = np.full_like(places, op.inputs // op.groups)
        # each of the three moves input, weights and output, or their gradients
        moved_values = shard.tokens * op.input_values + op.weights + places * op.outputs
        traffic_s = scenario.value_bytes * moved_values / roofline.compute_memory_bytes_per_s(scenario)

        def compute_multiply_s(m: Floats, n: Floats, k: Floats, *, packed_dimensions: tuple[int, int]) -> Floats:
            """One multiply of every group."""
            arithmetic_s = _compute_arithmetic_s(scenario, op, (m, n, k), packed_dimensions)
            return np.maximum(arithmetic_s, traffic_s) + scenario.calibration.kernel_launch_s

        weight_grad_s = compute_multiply_s(window, outputs, places, packed_dimensions=(0, 1))
        input_grad_s = np.zeros_like(places)
        if op.input_gradient:
            # as many products as forward; with strides spread over more places
            input_grad_s = compute_multiply_s(places, channels, outputs * op.kernel_values, packed_dimensions=(1, 2))
        forward_s = compute_multiply_s(places, outputs, window, packed_dimensions=(1, 2))
        return PassTimes(forward_s, input_grad_s + weight_grad_s, weight_grad_s)

    def compute_saved_bytes(self, scenario: Scenario, op: Convolution, shard: LayerShard) -> Floats:
        """Its input."""
        if not op.saves_input:
            return np.zeros_like(shard.tokens)
        return shard.tokens * op.input_values * scenario.value_bytes

    def compute_output_bytes(self, scenario: Scenario, op: Convolution, shard: LayerShard) -> Floats:
        """Its channels at every position."""
        return shard.tokens * op.outputs * op.output_positions * scenario.value_bytes

    def compute_forward_flops(self, op: Convolution, seq_length: int, convention: FlopsConvention) -> float:
        """Two a weight and position of the output."""
        return 2.0 * op.weights * op.output_positions

    def compute_lora_flops(self, op: Convolution, rank: int) -> float:
        """It has no adapter."""
        return -2.0 * op.weights * op.output_positions


def _compute_arithmetic_s(
    scenario: Scenario, op: Convolution, sizes: tuple[Floats, Floats, Floats], packed_dimensions: tuple[int, int]
) -> Floats:
    """Arithmetic of a convolution; of a grouped or depthwise one by the faster of two implementations.

    As multiplies of p groups at a time, laid out as blocks on a diagonal in the dimensions `packed_dimensions`: of
    (p a + r)(p b + q) / p the least is at p = sqrt(r q / (a b)). Or on the units that multiply no matrices, where the
    part states their peak.
    """
    fitted, flops_per_s = scenario.calibration, roofline.compute_gemm_flops_per_s(scenario, full_precision=True)
    if op.groups == 1:
        return compute_gemm_arithmetic_s(scenario, *sizes, flops_per_s=flops_per_s)
    half_sizes = (fitted.gemm_half_rows, fitted.gemm_half_rows, fitted.gemm_half_depth)
    first, second = packed_dimensions
    half_size_ratio = half_sizes[first] * half_sizes[second] / (sizes[first] * sizes[second])
    groups_together = np.clip(np.sqrt(half_size_ratio), 1.0, op.groups)
    m, n, k = (size * groups_together if i in packed_dimensions else size for i, size in enumerate(sizes))
    packed_s = compute_gemm_arithmetic_s(scenario, m, n, k, flops_per_s=flops_per_s)
    block_diagonal_s = op.groups / groups_together * packed_s
    vector_flops_per_s = scenario.accelerator.peak_flops.get("fp32")
    if not vector_flops_per_s:
        return block_diagonal_s
    flops = 2.0 * op.groups * sizes[0] * sizes[1] * sizes[2]
    return np.minimum(block_diagonal_s, flops / (vector_flops_per_s * fitted.gemm_efficiency))
