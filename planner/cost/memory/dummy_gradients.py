"""Weight gradients that Transformer Engine hands to autograd in the place of those that it has already added up.

Where a kernel adds a weight's gradient to the accumulated ones (`gradient_accumulation_fusion` of megatron-core),
autograd still needs a tensor of the weight's shape. Transformer Engine makes one for each shape, and keeps it (2.11,
pytorch/module/base.py, `get_dummy_wgrad`: of dense multiplies since 2.3, of grouped ones since 2.10; of the logits'
matrix by megatron-core 0.16.1, tensor_parallel/layers.py).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, take_columns
from planner.cost.layer_tables import build_layer_shard, list_layer_types
from planner.cost.operators import get_operator_cost
from planner.cost.pipeline.stages import PlanTables
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import ExpertLinear, Linear


def compute_dummy_gradient_bytes(scenario: Scenario, s: Strategies, plan_tables: PlanTables) -> Floats:
    """Bytes on a device of each stage, from its first backward pass on, [plans, stages].

    The router adds no gradient up in its kernel; frozen weights have no gradient.
    """
    stage_layers = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    total_bytes = np.zeros(stage_layers.shape[:2])
    if not scenario.trainer.keeps_dummy_gradients or scenario.techniques.lora is not None:
        return total_bytes
    shard, layer_types = build_layer_shard(scenario, s), list_layer_types(scenario.workload)
    multiplies: dict[tuple[object, ...], Linear | ExpertLinear] = {}
    types_by_shape: dict[tuple[object, ...], list[int]] = {}
    for layer_type, layer in enumerate(layer_types):
        for op in layer.operators:
            if isinstance(op, ExpertLinear) or (isinstance(op, Linear) and op.name != "router"):
                shape: tuple[object, ...] = (type(op), op.inputs, op.outputs, op.shard)
                multiplies.setdefault(shape, op)
                types_by_shape.setdefault(shape, []).append(layer_type)
    for key, multiply in multiplies.items():
        cost = get_operator_cost(multiply)
        matrix_bytes = scenario.value_bytes * cost.count_weights(multiply, shard)
        matrix_bytes = matrix_bytes / cost.count_matrices(multiply, shard)
        is_on_stage = (stage_layers[:, :, types_by_shape[key]] > 0).any(axis=2)
        total_bytes = total_bytes + np.where(is_on_stage, matrix_bytes[:, None], 0.0)
    return total_bytes
