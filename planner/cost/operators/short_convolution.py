"""A causal convolution of a few tokens in each channel, bound by memory (causal_conv1d, one kernel)."""

from __future__ import annotations

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import ShortConvolution

_BACKWARD_TRAFFIC = 1.5
"""The gradient is moved beside what the forward pass moved."""


class ShortConvolutionCost(OperatorCost[ShortConvolution]):
    """Channels are cut by tensor parallelism."""

    is_memory_bound = True

    def compute_times(self, scenario: Scenario, op: ShortConvolution, shard: LayerShard) -> PassTimes:
        """Reads and writes each value once."""
        time_s = 2.0 * self._compute_input_bytes(scenario, op, shard) / roofline.compute_memory_bytes_per_s(scenario)
        launch_s = scenario.calibration.kernel_launch_s
        return build_weightless_times(time_s + launch_s, _BACKWARD_TRAFFIC * time_s + launch_s)

    def _compute_input_bytes(self, scenario: Scenario, op: ShortConvolution, shard: LayerShard) -> Floats:
        return shard.tokens * op.channels * scenario.value_bytes / shard.tp

    def compute_saved_bytes(self, scenario: Scenario, op: ShortConvolution, shard: LayerShard) -> Floats:
        """Its input."""
        return self._compute_input_bytes(scenario, op, shard)

    def compute_output_bytes(self, scenario: Scenario, op: ShortConvolution, shard: LayerShard) -> Floats:
        """As many values as its input."""
        return self._compute_input_bytes(scenario, op, shard)

    def compute_forward_flops(self, op: ShortConvolution, seq_length: int, convention: FlopsConvention) -> float:
        """Two a channel and token of its window."""
        return 2.0 * op.channels * op.kernel
