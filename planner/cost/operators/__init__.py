"""What an operator takes on one device: a class of costs for each class of operator, found by `get_operator_cost`."""

from __future__ import annotations

from typing import Any

from planner.cost.operators.attention import AttentionCost
from planner.cost.operators.convolution import ConvolutionCost
from planner.cost.operators.matmul import ExpertLinearCost, LinearCost
from planner.cost.operators.memory_bound import LossCost, PointwiseCost
from planner.cost.operators.operator_cost import OperatorCost
from planner.workload import operators

OPERATOR_COSTS: dict[type, OperatorCost[Any]] = {
    operators.Linear: LinearCost(),
    operators.ExpertLinear: ExpertLinearCost(),
    operators.Convolution: ConvolutionCost(),
    operators.AttentionCore: AttentionCost(),
    operators.Pointwise: PointwiseCost(),
    operators.Loss: LossCost(),
}


def get_operator_cost(op: operators.Operator) -> OperatorCost[Any]:
    """The costs of an operator's class."""
    return OPERATOR_COSTS[type(op)]
