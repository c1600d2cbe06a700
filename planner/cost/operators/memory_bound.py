"""Operators that memory bounds (norms, activations, residuals, lookups, routing, the loss): time, saved and dropped
bytes.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.workload.operators import Loss, Pointwise

_TEACHER_LOGIT_BYTES = 6.0
"""Of one logit where there is a teacher: its logit in 16 bit, and its probability in 32."""


def _compute_traffic_times(
    scenario: Scenario, moved_bytes: Floats, *, factor: float = 1.0, backward_ratio: float
) -> PassTimes:
    """The bytes that the forward pass moves over the bandwidth, `factor` times; backward `backward_ratio` of it."""
    time_s = factor * moved_bytes / roofline.compute_memory_bytes_per_s(scenario)
    launch_s = scenario.calibration.kernel_launch_s
    return build_weightless_times(time_s + launch_s, backward_ratio * time_s + launch_s)


class PointwiseCost(OperatorCost[Pointwise]):
    """Everything bound by memory traffic, cut by tensor parallelism or by the sequence (`Pointwise.domain`)."""

    is_memory_bound = True

    def compute_times(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> PassTimes:
        """The backward pass moves the gradient beside what the forward pass moved. What stands beside a convolution
        is computed in it by XLA on TPUs, not by the libraries of GPUs.
        """
        fuses = scenario.trainer.fuses_convolution_neighbors and scenario.accelerator.architecture.startswith("tpu")
        if op.traffic_bytes == 0 or (op.fuses_with_convolution and fuses):
            return build_weightless_times(np.zeros_like(shard.tokens), np.zeros_like(shard.tokens))
        is_unfused = (op.composite and scenario.launch_mode == "eager") or (
            op.unfused and not scenario.trainer.fuses_expert_kernels
        )
        factor = scenario.calibration.eager_traffic if is_unfused else 1.0
        if op.domain == "expert":
            factor *= scenario.calibration.routing_traffic
        moved_bytes = op.rows * shard.tokens * op.traffic_bytes * (scenario.value_bytes / 2.0)
        return _compute_traffic_times(
            scenario, moved_bytes / _get_token_divisor(op, shard), factor=factor, backward_ratio=1.5
        )

    def compute_saved_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """Its `saved_bytes`, scaled to the precision of the scenario."""
        saved_bytes = op.rows * shard.tokens * op.saved_bytes * scenario.value_bytes / 2.0
        return saved_bytes / _get_token_divisor(op, shard)

    def compute_dropped_bytes(self, scenario: Scenario, op: Pointwise, shard: LayerShard) -> Floats:
        """What it saves itself, and the input of the multiply after it; nothing where attention drops its scores."""
        if scenario.attention_kernel == "unfused":
            return np.zeros_like(shard.tokens)
        multiply_input_bytes = op.dropped_inputs * roofline.get_saved_input_bytes(scenario)
        bytes_per_token = multiply_input_bytes + op.dropped_bytes * scenario.value_bytes / 2.0
        return op.rows * shard.tokens * bytes_per_token / _get_token_divisor(op, shard)

    def compute_selective_share(self, scenario: Scenario, op: Pointwise) -> float:
        """All of norms and activations, cheap by FLOPs and large, where a fused kernel keeps no scores."""
        return 1.0 if scenario.attention_kernel != "unfused" and (op.dropped_inputs or op.dropped_bytes) else 0.0


def _get_token_divisor(op: Pointwise, shard: LayerShard) -> Floats:
    """What divides the values of a pointwise operator, [keys]."""
    return shard.sequence_divisor if op.domain == "sequence" else shard.tp


class LossCost(OperatorCost[Loss]):
    """Cross-entropy over the vocabulary, cut like the columns of the logits."""

    is_memory_bound = True

    def compute_times(self, scenario: Scenario, op: Loss, shard: LayerShard) -> PassTimes:
        """The bytes of each logit are written and read once, and again backward."""
        moved_bytes = 2.0 * scenario.trainer.loss_bytes_per_logit * op.vocab_size * op.rows * shard.tokens / shard.tp
        return _compute_traffic_times(scenario, moved_bytes, backward_ratio=0.5)

    def compute_saved_bytes(self, scenario: Scenario, op: Loss, shard: LayerShard) -> Floats:
        """The trainer's bytes per logit; of a teacher's logits also 16-bit ones and their 32-bit probabilities."""
        teacher_bytes = 0.0 if scenario.techniques.teacher is None else _TEACHER_LOGIT_BYTES
        logit_bytes = scenario.trainer.loss_bytes_per_logit + teacher_bytes
        return op.rows * shard.tokens * op.vocab_size * logit_bytes / shard.tp
