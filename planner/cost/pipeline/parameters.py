"""Parameters on one device of each stage, and how many ranks share them.

Experts are counted apart: they are spread over other ranks than the dense parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_products, take_columns
from planner.cost.pipeline.partition import StageTables, list_layer_types
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import find_unique_rows


@dataclass(frozen=True)
class StageParameters:
    """Parameters on one device of each stage: dense ones, and experts.

    Shape [plans, stages] each; `embedding_and_head`: those of `dense` that embedding and head have; `largest_*` the
    largest single layer's, shape [plans].
    """

    dense: Floats
    expert: Floats
    embedding_and_head: Floats
    largest_dense: Floats
    largest_expert: Floats

    def take(self, index: Ints) -> StageParameters:
        """Those of the plans at `index`."""
        return StageParameters(**{field.name: getattr(self, field.name)[index] for field in fields(StageParameters)})


def count_shards(scenario: Scenario, ranks: Ints) -> Ints:
    """How many of the ranks that hold the same parameters share them, shape [plans]: all, or a hybrid group's."""
    return ranks if scenario.shard_group is None else np.gcd(ranks, scenario.shard_group)


def compute_stage_parameters(
    scenario: Scenario, s: Strategies, stages: StageTables, stage_rows: Ints
) -> StageParameters:
    """Parameters of every stage of every plan."""
    unique_keys = find_unique_rows(s.tp, s.ep, s.etp, stage_rows)
    tp = s.tp[unique_keys.first_index, None].astype(np.float64)
    expert_shards = (s.ep * s.etp)[unique_keys.first_index, None].astype(np.float64)
    layer_types = list_layer_types(scenario.workload)
    sharded_counts, replicated_counts, expert_counts = (
        np.array([getattr(layer_type, f"{name}_parameters") for layer_type in layer_types], dtype=np.float64)
        for name in ("sharded", "replicated", "expert")
    )
    per_layer_type = sharded_counts / tp + replicated_counts
    for column, layer_type in enumerate(layer_types):
        if layer_type.kv_heads:
            copied_parameters = 1 / np.minimum(tp[:, 0], layer_type.kv_heads) - 1 / tp[:, 0]
            per_layer_type[:, column] += layer_type.kv_parameters * copied_parameters
    expert_per_layer_type = expert_counts / expert_shards
    counts = stages.layer_counts[stage_rows[unique_keys.first_index]]
    dense = sum_products(counts, per_layer_type[:, None, :])
    # a tied output matrix is the embedding's own where both are on one stage, a copy where they are not
    copied_parameters = scenario.workload.tied_parameters * (counts[:, :, -1] - counts[:, :, -1] * counts[:, :, -2])
    dense = dense + copied_parameters / tp
    embedding_and_head = sum_products(counts[:, :, -2:], per_layer_type[:, None, -2:]) + copied_parameters / tp
    return StageParameters(
        dense=take_columns(dense, unique_keys.inverse),
        expert=take_columns(sum_products(counts, expert_per_layer_type[:, None, :]), unique_keys.inverse),
        embedding_and_head=take_columns(embedding_and_head, unique_keys.inverse),
        largest_dense=per_layer_type[:, :-2].max(axis=1)[unique_keys.inverse],
        largest_expert=expert_per_layer_type[:, :-2].max(axis=1)[unique_keys.inverse],
    )
