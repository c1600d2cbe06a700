"""Tables that time and memory share: of layers, stages and parameters, and each plan's rows in them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, find_unique_rows, sum_products, take_columns
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.pipeline import (
    StageTables,
    build_all_stage_tables,
    build_stage_tables,
    list_layer_types,
)
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies


@dataclass(frozen=True)
class StageParameters:
    """Parameters on one device of each stage, [plans, stages] each. Experts are counted apart: they are spread over
    other ranks than the dense parameters.
    """

    dense: Floats
    expert: Floats
    embedding_and_head: Floats
    """Those of `dense` that embedding and head have."""
    larger_end: Floats
    """Of embedding and head the larger on the stage."""
    largest_dense: Floats
    """Of the layer that has most, [plans]."""
    largest_expert: Floats

    def take(self, index: Ints) -> StageParameters:
        """Those of the plans at `index`."""
        return StageParameters(**{field.name: getattr(self, field.name)[index] for field in fields(StageParameters)})


@dataclass(frozen=True)
class PlanTables:
    """`layer_row` and `stage_rows`, shape [plans]: each plan's row in `layer_tables`, and in `stages`."""

    layer_tables: LayerTables
    layer_row: Ints
    stages: StageTables
    stage_rows: Ints
    parameters: StageParameters

    def take(self, index: Ints) -> PlanTables:
        """Of the plans at `index`, whatever their ZeRO stage and recompute mode."""
        return replace(
            self,
            layer_row=self.layer_row[index],
            stage_rows=self.stage_rows[index],
            parameters=self.parameters.take(index),
        )


def build_plan_tables(scenario: Scenario, s: Strategies) -> PlanTables:
    """Tables of layers and stages for these plans."""
    return join_plan_tables(scenario, s, build_layer_tables(scenario, s), build_stage_tables(scenario.workload, s))


def build_all_stage_plan_tables(scenario: Scenario, s: Strategies) -> PlanTables:
    """The same for a single plan, with every stage listed, equal ones too."""
    stages = build_all_stage_tables(scenario.workload, s)
    return join_plan_tables(scenario, s, build_layer_tables(scenario, s), stages)


def join_plan_tables(
    scenario: Scenario, s: Strategies, layer_tables: tuple[LayerTables, Ints], stages: tuple[StageTables, Ints]
) -> PlanTables:
    """The tables of these layers and stages, each with the plans' rows."""
    return PlanTables(*layer_tables, *stages, compute_stage_parameters(scenario, s, *stages))


def count_shards(scenario: Scenario, ranks: Ints) -> Ints:
    """How many of the ranks that hold the same dense parameters share them, [plans]: all, or a hybrid group's."""
    return ranks if scenario.shard_group is None else np.gcd(ranks, scenario.shard_group)


def count_expert_shards(scenario: Scenario, s: Strategies) -> Ints:
    """The same of experts, of which there are as many replicas as of dense parameters, each on fewer ranks.

    megatron-core 0.16.1, `num_distributed_optimizer_instances` in `megatron/core/parallel_state.py`; torchtitan
    0.3.0, dp_replicate and efsdp in `torchtitan/distributed/parallel_dims.py`.
    """
    dense_ranks, ranks = s.dp * s.cp, s.expert_ranks
    shards: Ints = ranks // np.gcd(ranks, dense_ranks // count_shards(scenario, dense_ranks))
    return shards


def compute_sharded_parameters(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Parameters on one device of each stage where its ranks share them, [plans, stages]."""
    dense_shards = count_shards(scenario, s.dp * s.cp)[:, None].astype(np.float64)
    expert_shards = count_expert_shards(scenario, s)[:, None].astype(np.float64)
    return parameters.dense / dense_shards + parameters.expert / expert_shards


def compute_stage_parameters(
    scenario: Scenario, s: Strategies, stages: StageTables, stage_rows: Ints
) -> StageParameters:
    """Parameters of every stage of every plan."""
    unique, layer_types = find_unique_rows(s.tp, s.ep, s.etp, stage_rows), list_layer_types(scenario.workload)
    tp = s.tp[unique.first_index, None].astype(np.float64)
    expert_shards = (s.ep * s.etp)[unique.first_index, None].astype(np.float64)
    sharded, replicated, expert = np.array(
        [(layer.sharded_parameters, layer.replicated_parameters, layer.expert_parameters) for layer in layer_types],
        dtype=np.float64,
    ).T
    dense_by_type = sharded / tp + replicated
    for column, layer in enumerate(layer_types):
        if layer.kv_heads:
            # of keys and values there are no more parts than heads: beyond, ranks hold copies
            copies = 1 / np.minimum(tp[:, 0], layer.kv_heads) - 1 / tp[:, 0]
            dense_by_type[:, column] += layer.kv_parameters * copies
    expert_by_type = expert / expert_shards
    counts = stages.layer_counts[stage_rows[unique.first_index]]
    # a tied output matrix is the embedding's own where both are on one stage, a copy where they are not
    tied = scenario.workload.tied_parameters * (counts[:, :, -1] - counts[:, :, -1] * counts[:, :, -2]) / tp
    dense = sum_products(counts, dense_by_type[:, None, :]) + tied
    ends = counts[:, :, -2:] * dense_by_type[:, None, -2:]
    larger_end = np.maximum(ends[:, :, 0], ends[:, :, 1] + tied)
    embedding_and_head = sum_products(counts[:, :, -2:], dense_by_type[:, None, -2:]) + tied
    return StageParameters(
        dense=take_columns(dense, unique.inverse),
        expert=take_columns(sum_products(counts, expert_by_type[:, None, :]), unique.inverse),
        embedding_and_head=take_columns(embedding_and_head, unique.inverse),
        larger_end=take_columns(larger_end, unique.inverse),
        largest_dense=dense_by_type[:, :-2].max(axis=1)[unique.inverse],
        largest_expert=expert_by_type[:, :-2].max(axis=1)[unique.inverse],
    )
