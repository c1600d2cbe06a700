"""Time of a convolution: an implicit matrix multiply (Chetlur et al. 2014, cuDNN, arXiv 1410.0759).

Forward, the gradient of the input and that of the weights are each a multiply of places, channels in times window,
and channels out, at the rate that a dense multiply of that shape has; what moves is the image itself, read once, not
its windows laid out as a matrix. Arrays have shape [keys].
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.compute import Passes, Shard, gemm_rate, memory_rate, multiply_seconds
from planner.cost.scenario import Training
from planner.workload.operators import Convolution


def convolution(training: Training, op: Convolution, shard: Shard) -> Passes:
    """A convolution, in groups or not. The first of a model needs no gradient of its input."""
    places = shard.tokens * op.places
    window = np.full_like(places, op.inputs // op.groups * op.kernel)
    given, made = shard.tokens * op.given, places * op.outputs
    outputs = np.full_like(places, op.outputs // op.groups)
    channels = np.full_like(places, op.inputs // op.groups)
    back = outputs * op.kernel
    moved = training.value_bytes * (given + op.weights + made) / memory_rate(training)

    def seconds(m: Floats, n: Floats, k: Floats, *, packed: tuple[int, int]) -> Floats:
        """One multiply of every group; each of the three moves input, weights and output, or their gradients."""
        compute = multiply_seconds(training, m, n, k, rate=gemm_rate(training, full_precision=True))
        if op.groups > 1:
            compute = _in_groups(training, op, (m, n, k), packed)
        return np.maximum(compute, moved) + training.calibration.kernel_launch_s

    weight = seconds(window, outputs, places, packed=(0, 1))
    # as many products as forward; with strides spread over more places
    into = seconds(places, channels, back, packed=(1, 2)) if op.input_gradient else np.zeros_like(places)
    return Passes(seconds(places, outputs, window, packed=(1, 2)), into + weight, weight)


def _in_groups(
    training: Training, op: Convolution, sizes: tuple[Floats, Floats, Floats], packed: tuple[int, int]
) -> Floats:
    """Arithmetic of a grouped or depthwise convolution, the faster of two ways.

    As multiplies of p groups at a time, laid out as blocks on a diagonal in the dimensions `packed`: of
    (p a + r)(p b + q) / p the least is at p = sqrt(r q / (a b)). Or on the units that multiply no matrices, where the
    part states their peak.
    """
    fitted = training.calibration
    halves = (fitted.gemm_half_rows, fitted.gemm_half_rows, fitted.gemm_half_depth)
    first, second = packed
    both = halves[first] * halves[second] / (sizes[first] * sizes[second])
    together = np.clip(np.sqrt(both), 1.0, op.groups)
    m, n, k = (size * together if i in packed else size for i, size in enumerate(sizes))
    rate = gemm_rate(training, full_precision=True)
    blocks = op.groups / together * multiply_seconds(training, m, n, k, rate=rate)
    peak = training.accelerator.peak_flops.get("fp32")
    if not peak:
        return blocks
    plain = 2.0 * op.groups * sizes[0] * sizes[1] * sizes[2] / (peak * fitted.gemm_efficiency)
    return np.minimum(blocks, plain)
