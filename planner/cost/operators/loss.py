"""Cross-entropy over the vocabulary: time and saved bytes."""

from __future__ import annotations

from planner.cost.arrays import Floats
from planner.cost.operators.operator_cost import OperatorCost
from planner.cost.operators.roofline import (
    LayerShard,
    PassTimes,
    build_weightless_times,
    compute_memory_bytes_per_s,
)
from planner.cost.scenario import Scenario
from planner.workload.operators import Loss

_TEACHER_LOGIT_BYTES = 6.0
"""Of one logit where there is a teacher: its logit in 16 bit, and its probability in 32."""


class LossCost(OperatorCost[Loss]):
    """The loss, cut like the columns of the logits."""

    def compute_times(self, scenario: Scenario, op: Loss, shard: LayerShard) -> PassTimes:
        """Memory-bound: the bytes of each logit are written and read once, and again backward."""
        moved_bytes = 2.0 * scenario.trainer.loss_bytes_per_logit * op.vocab_size * op.rows * shard.tokens / shard.tp
        time_s = moved_bytes / compute_memory_bytes_per_s(scenario)
        launch_s = scenario.calibration.kernel_launch_s
        return build_weightless_times(time_s + launch_s, 0.5 * time_s + launch_s)

    def compute_saved_bytes(self, scenario: Scenario, op: Loss, shard: LayerShard) -> Floats:
        """The trainer's bytes per logit; of a teacher's logits also 16-bit ones and their 32-bit probabilities."""
        teacher_bytes = 0.0 if scenario.techniques.teacher is None else _TEACHER_LOGIT_BYTES
        logit_bytes = scenario.trainer.loss_bytes_per_logit + teacher_bytes
        return op.rows * shard.tokens * op.vocab_size * logit_bytes / shard.tp
