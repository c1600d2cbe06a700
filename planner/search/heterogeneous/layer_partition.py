"""Partition layers into consecutive pipeline stages so that the slowest stage is fastest, by dynamic programming.

With c_i(a, b) the time of stage i with the layers from a to b, infinite where they do not fit, the least time of the
slowest of stages 1..i over the first b layers is F_i(b) = min over a of max(F_(i-1)(a), c_i(a, b)): for any layers
of the last stage, the best partition of the stages before it is independent. All partitions are covered, so that no
assumption on c is needed: layers may have any types and any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, sum_in_order
from planner.cost.heterogeneous import build_single_chunk_stages
from planner.cost.layer_tables import LayerTables
from planner.cost.memory import compute_activation_bytes, compute_model_state_bytes, count_micro_batches_in_flight
from planner.cost.plan_tables import PlanTables, compute_stage_parameters
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


def compute_stage_fits(
    scenario: Scenario,
    s: Strategies,
    contents: StageContents,
    embedding_and_head: Floats,
    position: int,
    n: Ints,
    tables: tuple[LayerTables, Ints],
) -> Bools:
    """Whether each content fits in memory as the stage at `position`, shape [rows, contents].

    `embedding_and_head`: whether the stage has each of them; `n`: micro-batches per step, of which as many are in
    flight as stages follow.
    """
    counts = np.concatenate([contents.counts, np.tile(embedding_and_head, (len(contents.counts), 1))], axis=1)[None]
    stages = build_single_chunk_stages(counts, np.full((1, counts.shape[1]), position))
    split = np.zeros(len(s), dtype=np.int64)
    p = PlanTables(*tables, stages, split, compute_stage_parameters(scenario, s, stages, split))
    memory_parts = compute_model_state_bytes(scenario, s, p.parameters, s.zero_stage)
    memory_parts |= compute_activation_bytes(
        scenario, s, p, s.recompute, count_micro_batches_in_flight(scenario, s, p, n)
    )
    fits: Bools = (
        sum_in_order(memory_parts.values()) + scenario.runtime_reserve_bytes <= scenario.accelerator.memory_bytes
    )
    return fits


def compute_forward_split(costs: list[Floats]) -> tuple[Floats, BoundsTracer]:
    """The least time of the slowest stage by the number of layers before the cut, [rows, layers + 1], and a function
    that traces the boundaries back. `costs`: of the stages in order, as of `StageContents.expand_costs`.
    """
    least_slowest = costs[0][:, 0]
    previous_cuts: list[Ints] = []
    for cost in costs[1:]:
        slowest = np.maximum(least_slowest[:, :, None], cost)
        previous_cuts.append(slowest.argmin(axis=1))
        least_slowest = slowest.min(axis=1)

    def trace_bounds(rows: Ints, cut: Ints) -> Ints:
        bounds = [cut]
        for step in reversed(previous_cuts):
            bounds.append(step[rows, bounds[-1]])
        return np.stack([*bounds[:0:-1], cut], axis=1)[:, :-1]

    return least_slowest, trace_bounds


def compute_backward_split(costs: list[Floats]) -> tuple[Floats, BoundsTracer]:
    """The same for the layers after the cut, by the number of layers before it."""
    least_slowest = costs[-1][:, :, -1]
    next_cuts: list[Ints] = []
    for cost in reversed(costs[:-1]):
        slowest = np.maximum(cost, least_slowest[:, None, :])
        next_cuts.append(slowest.argmin(axis=2))
        least_slowest = slowest.min(axis=2)

    def trace_bounds(rows: Ints, cut: Ints) -> Ints:
        bounds = [cut]
        for step in reversed(next_cuts):
            bounds.append(step[rows, bounds[-1]])
        return np.stack(bounds, axis=1)[:, 1:]

    return least_slowest, trace_bounds
