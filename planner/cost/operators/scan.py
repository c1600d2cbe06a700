"""Linear recurrences over the tokens in chunks: time, FLOPs, saved bytes. Arrays have shape [keys].

Of each head, forward, per token in a chunk of C:
delta: four products of C with keys or values, and three of the state (arXiv 2412.06464, section 3.3)
state-space: outputs and inputs of the state (C x state), values (C x head), the state in and out (arXiv 2405.21060)
lightning: queries and keys, values (C x head each), the state in and out (arXiv 2501.08313, section 2.2)
selective: no products: a multiply, an exponential and a sum for each value of the state (arXiv 2312.00752)
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import Scan

_STATE_BYTES = 4.0
"""Of a value of the state, which is kept in 32 bit between chunks (flash-linear-attention, `chunk_gated_delta_rule`;
mamba_ssm, `ssd_combined.py`)."""
_HEAD_VALUE_BYTES = 8.0
"""Of the decay and step size of a head and token, in 32 bit."""
_BACKWARD_PRODUCTS = 2.5
"""Products of the backward pass for one of the forward pass: those within chunks are made again, as in attention."""
_BACKWARD_TRAFFIC = 2.0
_EXPONENTIAL_FLOPS = 4.0
"""Of an exponential of the softmax, in which `softmax_width` is fitted (`attention.py`)."""
_LAUNCHES = {"delta": 6.0, "state-space": 5.0, "selective": 1.0, "lightning": 3.0}


def compute_scan_flops(op: Scan) -> float:
    """FLOPs of one token's forward pass, matrix products alone."""
    pairs, state = 2.0 * op.chunk, float(op.key_dim * op.value_dim)
    match op.kind:
        case "delta":
            return op.heads * (6.0 * state + pairs * (2 * op.key_dim + op.value_dim))
        case "state-space" | "lightning":
            return op.heads * (4.0 * state + pairs * (op.key_dim + op.value_dim))
        case "selective":
            return 0.0


class ScanCost(OperatorCost[Scan]):
    """A recurrence, cut by tensor parallelism between heads."""

    def compute_times(self, scenario: Scenario, op: Scan, shard: LayerShard) -> PassTimes:
        """Products at the rate of multiplies as deep as a head, or the traffic, whichever is longer."""
        fitted = scenario.calibration
        flops_per_s = roofline.compute_gemm_flops_per_s(scenario, full_precision=True)
        depth_loss = (op.key_dim + fitted.gemm_half_depth) / op.key_dim
        products_s = compute_scan_flops(op) * shard.tokens / shard.tp / flops_per_s * depth_loss
        if op.kind == "selective":
            peak_flops_per_s = roofline.get_peak_16bit_flops_per_s(scenario)
            exponentials = _EXPONENTIAL_FLOPS * fitted.softmax_width * op.state_values
            products_s = exponentials * shard.tokens / shard.tp / peak_flops_per_s
        traffic_s = self._compute_moved_bytes(scenario, op, shard) / roofline.compute_memory_bytes_per_s(scenario)
        launch_s = _LAUNCHES[op.kind] * fitted.kernel_launch_s
        return build_weightless_times(
            np.maximum(products_s, traffic_s) + launch_s,
            np.maximum(_BACKWARD_PRODUCTS * products_s, _BACKWARD_TRAFFIC * traffic_s) + launch_s,
        )

    def _compute_moved_bytes(self, scenario: Scenario, op: Scan, shard: LayerShard) -> Floats:
        """Keys, queries and values read, outputs written, and the state of each chunk written and read."""
        values = 2 * op.key_heads * op.key_dim + 2 * op.heads * op.value_dim
        if op.kind == "selective":
            # step sizes and values of each channel, and one set of inputs and outputs of the state for all
            values = 3 * op.heads + 2 * op.key_dim
        state_bytes = 0.0 if op.kind == "selective" else 2.0 * _STATE_BYTES * op.state_values / op.chunk
        return shard.tokens * (values * scenario.value_bytes + state_bytes) / shard.tp

    def compute_saved_bytes(self, scenario: Scenario, op: Scan, shard: LayerShard) -> Floats:
        """Decays and step sizes; of the delta rule also the inverse of each chunk's C x C matrix. Queries, keys and
        values are those of the operator before it.
        """
        if op.kind == "selective":
            return np.zeros_like(shard.tokens)
        chunk_bytes = op.chunk * scenario.value_bytes if op.kind == "delta" else 0.0
        head_bytes = _HEAD_VALUE_BYTES if op.kind != "lightning" else 0.0
        return shard.tokens * op.heads * (head_bytes + chunk_bytes) / shard.tp

    def compute_output_bytes(self, scenario: Scenario, op: Scan, shard: LayerShard) -> Floats:
        """Its output."""
        return shard.tokens * op.heads * op.value_dim * scenario.value_bytes / shard.tp

    def compute_overlapped_bytes(self, scenario: Scenario, op: Scan, shard: LayerShard) -> Floats | None:
        """The traffic of both passes."""
        return (1.0 + _BACKWARD_TRAFFIC) * self._compute_moved_bytes(scenario, op, shard)

    def count_launches(self, op: Scan, shard: LayerShard, casts: float) -> Floats | float:
        """The kernels of a pass over chunks."""
        return _LAUNCHES[op.kind]

    def compute_forward_flops(self, op: Scan, seq_length: int, convention: FlopsConvention) -> float:
        """All products, whole chunks."""
        return compute_scan_flops(op)
