"""Memory-bound operators (norms, activations, residuals, lookups, routing): time, saved and dropped bytes."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.operator_cost import OperatorCost
from planner.cost.operators.roofline import (
    LayerShard,
    PassTimes,
    build_weightless_times,
    compute_memory_bytes_per_s,
    get_saved_input_bytes,
)
from planner.cost.scenario import Scenario
from planner.workload.operators import Pointwise


class PointwiseCost(OperatorCost[Pointwise]):
    """Everything bound by memory traffic, cut by tensor parallelism or by the sequence (`Pointwise.domain`)."""

    def compute_times(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> PassTimes:
        """Memory-bound: the backward pass moves the gradient beside what the forward pass moved."""
        if op.traffic_bytes == 0 or (op.fuses_with_convolution and _is_fused_into_convolution(scenario)):
            return build_weightless_times(np.zeros_like(shard.tokens), np.zeros_like(shard.tokens))
        token_divisor = _get_token_divisor(op, shard)
        is_unfused = (op.composite and scenario.launch_mode == "eager") or (
            op.unfused and not scenario.trainer.fuses_expert_kernels
        )
        traffic_factor = scenario.calibration.eager_traffic if is_unfused else 1.0
        if op.domain == "expert":
            traffic_factor *= scenario.calibration.routing_traffic
        moved_bytes = op.rows * shard.tokens * op.traffic_bytes * (scenario.value_bytes / 2.0) / token_divisor
        time_s = traffic_factor * moved_bytes / compute_memory_bytes_per_s(scenario)
        launch_s = scenario.calibration.kernel_launch_s
        return build_weightless_times(time_s + launch_s, 1.5 * time_s + launch_s)

    def compute_saved_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """Its `saved_bytes`, scaled to the training's precision."""
        saved_bytes = op.rows * shard.tokens * op.saved_bytes * scenario.value_bytes / 2.0
        return saved_bytes / _get_token_divisor(op, shard)

    def compute_dropped_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """What it saves itself, and the input of the multiply after it; nothing where attention drops its scores."""
        if scenario.attention_kernel == "unfused":
            return np.zeros_like(shard.tokens)
        bytes_per_token = (
            op.dropped_inputs * get_saved_input_bytes(scenario) + op.dropped_bytes * scenario.value_bytes / 2.0
        )
        return op.rows * shard.tokens * bytes_per_token / _get_token_divisor(op, shard)

    def compute_selective_share(self, scenario: Scenario, op: Pointwise) -> float:
        """All of norms and activations, cheap by FLOPs and large, where a fused kernel keeps no scores."""
        return 1.0 if scenario.attention_kernel != "unfused" and (op.dropped_inputs or op.dropped_bytes) else 0.0


def _get_token_divisor(op: Pointwise, shard: LayerShard) -> Floats:
    """What divides the values of a pointwise operator, [keys]."""
    return shard.sequence_divisor if op.domain == "sequence" else shard.tp


def _is_fused_into_convolution(scenario: Scenario) -> bool:
    """Whether what stands beside a convolution is computed in it: by XLA on TPUs, not by the libraries of GPUs."""
    return scenario.trainer.fuses_convolution_neighbors and scenario.accelerator.architecture.startswith("tpu")
