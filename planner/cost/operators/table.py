"""The costs of every operator by its class."""

from __future__ import annotations

from typing import Any

from planner.cost.operators.attention import AttentionCost
from planner.cost.operators.convolution import ConvolutionCost
from planner.cost.operators.experts import ExpertLinearCost
from planner.cost.operators.loss import LossCost
from planner.cost.operators.matmul import LinearCost
from planner.cost.operators.operator_cost import OperatorCost
from planner.cost.operators.pointwise import PointwiseCost
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Linear,
    Loss,
    Operator,
    Pointwise,
)

OPERATOR_COSTS: dict[type, OperatorCost[Any]] = {
    Linear: LinearCost(),
    ExpertLinear: ExpertLinearCost(),
    Convolution: ConvolutionCost(),
    AttentionCore: AttentionCost(),
    Pointwise: PointwiseCost(),
    Loss: LossCost(),
}


def get_operator_cost(op: Operator) -> OperatorCost[Any]:
    """The costs of an operator's class."""
    return OPERATOR_COSTS[type(op)]
