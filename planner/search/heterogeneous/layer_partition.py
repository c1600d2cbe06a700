"""Partition layers into consecutive pipeline stages so that the slowest stage is fastest, by dynamic programming.

With cost(i, a, b) the time of stage i with the layers from a to b, infinite where they do not fit, the least time of
the slowest of stages 1..i over the first b layers is

    least(i, b) = min over a of max(least(i - 1, a), cost(i, a, b))

since for any layers of the last stage the best partition of the stages before it is independent. All partitions are
covered, so that no assumption on the costs is needed: layers may have any types and any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, sum_in_order
from planner.cost.heterogeneous import build_single_chunk_stages
from planner.cost.layer_tables import LayerTables
from planner.cost.memory.peak import compute_stage_memory_bytes
from planner.cost.pipeline.stages import PlanTables, join_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies

BoundsTracer = Callable[[Ints, Ints], Ints]
"""From rows and the number of layers before the cut to the stage boundaries on one side, [rows, stages - 1]."""


@dataclass(frozen=True)
class StageContents:
    """The possible contents of a stage.

    `counts`: distinct numbers of layers by type, [contents, layer types]; `content_index`: the content of the layers
    from a to b, -1 where empty, [layers + 1, layers + 1]; `prefix`: as of `compute_layer_prefix`, [layers + 1, layer
    types].
    """

    counts: Floats
    content_index: Ints
    prefix: Floats

    def expand_costs(self, cost: Floats) -> Floats:
        """A cost [rows, contents] as a cost by first and last layer, infinite where there are no layers; shape [rows,
        layers + 1, layers + 1].
        """
        infeasible = np.full((len(cost), 1), np.inf)
        return np.concatenate([cost, infeasible], axis=1)[:, self.content_index]


def enumerate_stage_contents(prefix: Ints) -> StageContents:
    """The distinct contents of consecutive layers."""
    layers = len(prefix) - 1
    begin, end = np.triu_indices(layers + 1, k=1)
    counts, content_index = np.unique(prefix[end] - prefix[begin], axis=0, return_inverse=True)
    table = np.full((layers + 1, layers + 1), -1)
    table[begin, end] = content_index.ravel()
    return StageContents(counts.astype(np.float64), table, prefix.astype(np.float64))


def build_stage_tables(
    scenario: Scenario, s: Strategies, layer_counts: Floats, position: int, tables: tuple[LayerTables, Ints]
) -> PlanTables:
    """Tables for the memory of alternative stages, each as if at `position` of the pipeline, the same for all plans.

    `layer_counts`: layers of each type of each stage, embedding and head last, [stages, layer types + 2]; `tables` as
    of `build_layer_tables`.
    """
    stages = build_single_chunk_stages(layer_counts[None], np.full((1, len(layer_counts)), position))
    return join_plan_tables(scenario, s, tables, (stages, np.zeros(len(s), dtype=np.int64)))


def compute_stage_fits(
    scenario: Scenario,
    s: Strategies,
    contents: StageContents,
    embedding_and_head: Floats,
    position: int,
    micro_batches: Ints,
    tables: tuple[LayerTables, Ints],
) -> Bools:
    """Whether each content fits in memory as the stage at `position`, shape [rows, contents].

    `embedding_and_head`: whether the stage has each of them; `micro_batches`: of a step, of which as many are in
    flight as stages follow.
    """
    counts = np.concatenate([contents.counts, np.tile(embedding_and_head, (len(contents.counts), 1))], axis=1)
    stage_tables = build_stage_tables(scenario, s, counts, position, tables)
    memory_bytes = sum_in_order(compute_stage_memory_bytes(scenario, s, stage_tables, micro_batches).values())
    fits: Bools = memory_bytes <= scenario.usable_memory_bytes
    return fits


def compute_forward_split(costs: list[Floats]) -> tuple[Floats, BoundsTracer]:
    """The least time of the slowest stage by the number of layers before the cut, [rows, layers + 1], and a function
    that traces the boundaries back. `costs`: of the stages in order, as of `StageContents.expand_costs`.
    """
    least_slowest_s, trace_from_cut = _compute_split(costs[0][:, 0], costs[1:])
    return least_slowest_s, lambda rows, cut: trace_from_cut(rows, cut)[:, ::-1]


def compute_backward_split(costs: list[Floats]) -> tuple[Floats, BoundsTracer]:
    """The same for the layers after the cut, by the number of layers before it."""
    return _compute_split(costs[-1][:, :, -1], [cost.swapaxes(1, 2) for cost in reversed(costs[:-1])])


def _compute_split(end_stage_s: Floats, costs: list[Floats]) -> tuple[Floats, BoundsTracer]:
    """The same from one end of the pipeline: `end_stage_s`: of the stage there, by its boundary; `costs` of the other
    stages, by their boundary nearer to that end and the other one. Boundaries are traced from the cut to the end.
    """
    least_slowest_s = end_stage_s
    nearer_bounds: list[Ints] = []
    for cost in costs:
        slowest_s = np.maximum(least_slowest_s[:, :, None], cost)
        nearer_bounds.append(slowest_s.argmin(axis=1))
        least_slowest_s = slowest_s.min(axis=1)

    def trace_bounds(rows: Ints, cut: Ints) -> Ints:
        bounds = [cut]
        for nearer_bound in reversed(nearer_bounds):
            bounds.append(nearer_bound[rows, bounds[-1]])
        return np.stack(bounds, axis=1)[:, 1:]

    return least_slowest_s, trace_bounds
