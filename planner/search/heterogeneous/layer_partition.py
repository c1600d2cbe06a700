"""Layers dealt to the stages of a pipeline, in runs, so that the slowest stage is fastest: dynamic programming.

With c_i(a, b) the time of stage i with the layers from a to b, infinite where they do not fit, the least possible
slowest of stages 1..i over the first b layers is F_i(b) = min over a of max(F_(i-1)(a), c_i(a, b)): whatever the last
stage has, the stages before it are best dealt by themselves. It looks at every split, so that it needs nothing of c:
any mixture of kinds of layers, and any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, added
from planner.cost.heterogeneous import stages_of
from planner.cost.layer_tables import LayerTables
from planner.cost.memory import kept_activations, micro_batches_in_flight, model_state
from planner.cost.parameters import stage_parameters
from planner.cost.plan_tables import Prepared
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies

Way = Callable[[Ints, Ints], Ints]
"""From plans and the layers before the cut to the bounds between the stages on one side, [plans, stages - 1]."""


@dataclass(frozen=True)
class Contents:
    """What a stage can have: distinct `counts` of layers by kind, [contents, kinds]; `of` [layers + 1, layers + 1],
    the content from one layer to another, -1 where there is none; `prefix` [layers + 1, kinds] as of `layer_prefix`.
    """

    counts: Floats
    of: Ints
    prefix: Floats

    def spread(self, cost: Floats) -> Floats:
        """A cost of each content, [rows, contents], as one of first and last layer; infinite where there are none."""
        nothing = np.full((len(cost), 1), np.inf)
        return np.concatenate([cost, nothing], axis=1)[:, self.of]


def contents_of(prefix: Ints) -> Contents:
    """The distinct runs of one or more layers."""
    layers = len(prefix) - 1
    begin, end = np.triu_indices(layers + 1, k=1)
    counts, of = np.unique(prefix[end] - prefix[begin], axis=0, return_inverse=True)
    table = np.full((layers + 1, layers + 1), -1)
    table[begin, end] = of.ravel()
    return Contents(counts.astype(np.float64), table, prefix.astype(np.float64))


def stage_fits(
    training: Training,
    s: Strategies,
    contents: Contents,
    ends: Floats,
    position: int,
    n: Ints,
    tables: tuple[LayerTables, Ints],
) -> Bools:
    """Whether a device holds each content as the stage at `position`, with embedding and head as `ends` says,
    [rows, contents]; of `n` micro-batches so many are in flight as stages follow.
    """
    counts = np.concatenate([contents.counts, np.tile(ends, (len(contents.counts), 1))], axis=1)[None]
    stages = stages_of(counts, np.full((1, counts.shape[1]), position))
    split = np.zeros(len(s), dtype=np.int64)
    p = Prepared(*tables, stages, split, stage_parameters(training, s, stages, split))
    parts = model_state(training, s, p.parameters, s.zero_stage)
    parts |= kept_activations(training, s, p, s.recompute, micro_batches_in_flight(training, s, p, n))
    fits: Bools = added(parts.values()) + training.reserve_bytes <= training.accelerator.memory_bytes
    return fits


def forward_split(costs: list[Floats]) -> tuple[Floats, Way]:
    """The least slowest stage for every number of layers before the cut, [rows, layers + 1], and the way to it.

    `costs` of the stages in order, as of `Contents.spread`.
    """
    least = costs[0][:, 0]
    came: list[Ints] = []
    for cost in costs[1:]:
        both = np.maximum(least[:, :, None], cost)
        came.append(both.argmin(axis=1))
        least = both.min(axis=1)

    def way(rows: Ints, cut: Ints) -> Ints:
        bounds = [cut]
        for step in reversed(came):
            bounds.append(step[rows, bounds[-1]])
        return np.stack([*bounds[:0:-1], cut], axis=1)[:, :-1]

    return least, way


def backward_split(costs: list[Floats]) -> tuple[Floats, Way]:
    """The same for the layers behind the cut, by the number before it."""
    least = costs[-1][:, :, -1]
    went: list[Ints] = []
    for cost in reversed(costs[:-1]):
        both = np.maximum(cost, least[:, None, :])
        went.append(both.argmin(axis=2))
        least = both.min(axis=2)

    def way(rows: Ints, cut: Ints) -> Ints:
        bounds = [cut]
        for step in reversed(went):
            bounds.append(step[rows, bounds[-1]])
        return np.stack(bounds, axis=1)[:, 1:]

    return least, way
