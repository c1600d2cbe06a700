"""What an operator takes on one device: a class of costs for each class of operator, and its time with techniques."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.attention import AttentionCost
from planner.cost.operators.convolution import ConvolutionCost
from planner.cost.operators.indexer import IndexerCost
from planner.cost.operators.kept import find_adapted, is_adapted
from planner.cost.operators.matmul import ExpertLinearCost, LinearCost
from planner.cost.operators.memory_bound import LossCost, PointwiseCost
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes
from planner.cost.operators.scan import ScanCost
from planner.cost.operators.short_convolution import ShortConvolutionCost
from planner.cost.scenario import Scenario
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Linear,
    Loss,
    Operator,
    Pointwise,
    Scan,
    ShortConvolution,
    SparseIndexer,
)
from planner.workload.techniques import WEIGHT_16BIT_BYTES

PRUNED_OPERATORS = ("mlp_up", "mlp_down", "shared_up", "shared_down")
"""Multiplies that are pruned by the published recipes (arXiv 2404.01847; PyTorch's 2:4 training)."""
_FOUR_BIT_VALUE_BYTES = 0.5
OPERATOR_COSTS: dict[type, OperatorCost[Any]] = {
    Linear: LinearCost(),
    ExpertLinear: ExpertLinearCost(),
    Convolution: ConvolutionCost(),
    AttentionCore: AttentionCost(),
    Scan: ScanCost(),
    ShortConvolution: ShortConvolutionCost(),
    SparseIndexer: IndexerCost(),
    Pointwise: PointwiseCost(),
    Loss: LossCost(),
}


def get_operator_cost(op: Operator) -> OperatorCost[Any]:
    """The costs of an operator's class."""
    return OPERATOR_COSTS[type(op)]


def compute_operator_times(scenario: Scenario, op: Operator, shard: LayerShard) -> PassTimes:
    """Seconds of one micro-batch in one operator, with the scenario's techniques, [keys]."""
    cost, lora, pruning = get_operator_cost(op), scenario.techniques.lora, scenario.techniques.pruning
    times = cost.compute_times(scenario, op, shard)
    if lora is not None and cost.has_weights:
        # no gradient of a frozen weight: one multiply of the same size backward instead of two
        zero_s = np.zeros_like(times.weight_grad_s)
        times = PassTimes(times.forward_s, times.backward_s - times.weight_grad_s, zero_s)
        if is_adapted(op, lora.modules):
            down_times, up_times = (
                get_operator_cost(thin).compute_times(scenario, thin, shard)
                for thin in cost.build_adapters(find_adapted(scenario, op), lora.rank)
            )
            times = times + (down_times + up_times)
            if lora.bits == 4:
                # frozen weights are written out in 16 bit before each pass: read once, written, and read again
                moved_bytes = cost.count_weights(op, shard) * (_FOUR_BIT_VALUE_BYTES + WEIGHT_16BIT_BYTES)
                time_s = moved_bytes / roofline.compute_memory_bytes_per_s(scenario)
                times = times + PassTimes(time_s, time_s, zero_s)
    if pruning is not None and is_pruned(op):
        passes_s = (times.forward_s, times.backward_s, times.weight_grad_s)
        times = PassTimes(*(pass_s / pruning.speedup for pass_s in passes_s))
    return times


def is_pruned(op: Operator) -> bool:
    """Whether its weights are pruned."""
    return isinstance(op, Linear) and op.name in PRUNED_OPERATORS


def compute_teacher_s(scenario: Scenario, shard: LayerShard) -> Floats:
    """The teacher's forward pass of one micro-batch, by the layer of the student's; shape [keys].

    At the rate of large multiplies: at least as fast as it really is.
    """
    teacher = scenario.techniques.teacher
    if teacher is None:
        return np.zeros_like(shard.tokens)
    flops_per_token = teacher.forward_flops_per_token / scenario.workload.layer_count
    flops_per_s = roofline.compute_gemm_flops_per_s(scenario, full_precision=True)
    return flops_per_token * shard.tokens / shard.tp / flops_per_s
