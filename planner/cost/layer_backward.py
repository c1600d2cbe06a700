"""What the backward pass of a layer holds beside what the layer has saved: gradients of tensors.

Autograd runs the operators from the last to the first. At each there are the gradient of its output, those of its
inputs as they are made, and those of tensors that wait for another reader, as the residual stream does; what
operators after it have saved is freed (torch 2.13, torch/csrc/autograd/engine.cpp and saved_variable.h).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import get_operator_cost
from planner.cost.operators.operator_cost import LayerShard
from planner.cost.scenario import Scenario
from planner.cost.selective import LAYER_INPUT, build_layer_graph
from planner.workload.operators import Layer, Linear, Operator, Pointwise


def compute_backward_bytes(
    scenario: Scenario, layer: Layer, shard: LayerShard, *, input_bytes: Floats, sequence_bytes: Floats
) -> Floats:
    """The most that is held at once beyond what the layer has saved, the gradient of its output included, [keys].

    `input_bytes`: of the layer's input; `sequence_bytes`: of one gathered sequence, which multiplies that tensor
    parallelism cuts read and make under sequence parallelism.
    """
    zero = np.zeros_like(shard.tokens)
    if not layer.operators:
        return zero
    graph, last = build_layer_graph(layer), len(layer.operators) - 1
    costs = [get_operator_cost(op) for op in layer.operators]
    sizes = [cost.compute_output_bytes(scenario, op, shard) for op, cost in zip(layer.operators, costs, strict=True)]
    gradients: dict[int, Floats] = {last: sizes[last]}
    most, freed = sizes[last], zero
    for index in reversed(range(last + 1)):
        op, reads = layer.operators[index], graph.inputs[index]
        if index not in gradients:
            continue
        if isinstance(op, Pointwise) and op.kind == "residual":
            _pass_on(gradients, index, reads, has_mask=bool(op.dropout))
            freed = freed + costs[index].compute_saved_bytes(scenario, op, shard)
            continue
        made = {tensor: input_bytes if tensor == LAYER_INPUT else sizes[tensor] for tensor in reads}
        gathered = np.where(shard.sequence_divisor > 1, _count_gathered(scenario, op) * sequence_bytes, 0.0)
        held = sum(gradients.values(), zero) + sum(made.values(), zero) + gathered - freed
        most = np.maximum(most, held)
        freed = freed + costs[index].compute_saved_bytes(scenario, op, shard)
        del gradients[index]
        # what waits already is added to in place
        gradients |= {tensor: np.maximum(size, gradients.get(tensor, zero)) for tensor, size in made.items()}
    return most


def _pass_on(gradients: dict[int, Floats], index: int, reads: tuple[int, ...], *, has_mask: bool) -> None:
    """The gradient of a sum is that of each of its terms, the same tensor; under dropout the branch has its own."""
    gradient = gradients.pop(index)
    stream, *branches = reads
    gradients[stream] = gradient
    for branch in branches:
        gradients[branch] = gradient if has_mask else np.zeros_like(gradient)


def _count_gathered(scenario: Scenario, op: Operator) -> float:
    """Gathered sequences of a cut multiply at work: before it its input, where that is not kept, and the gradient of
    it; after it the gradient of its output (arXiv 2205.05198, section 4.2.2).
    """
    if not isinstance(op, Linear) or op.shard == "none":
        return 0.0
    return 1.0 if op.shard == "row" or scenario.trainer.keeps_gathered_sequence else 2.0
