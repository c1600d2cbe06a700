"""Parameters on one device of each stage, and how many ranks share them.

What experts have is told apart: they are spread over other ranks than the dense parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner.cost.arrays import Floats, Ints, gathered, weighted
from planner.cost.layer_tables import layer_kinds
from planner.cost.pipeline.partition import Stages
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import distinct


@dataclass(frozen=True)
class Parameters:
    """Parameters on one device of each stage: dense ones, and experts.

    Shape [plans, stages] each; `ends`: those of `dense` that embedding and head have; `largest_*` the largest single
    layer's, shape [plans].
    """

    dense: Floats
    expert: Floats
    ends: Floats
    largest_dense: Floats
    largest_expert: Floats

    def take(self, index: Ints) -> Parameters:
        """Those of the plans at `index`."""
        return Parameters(**{field.name: getattr(self, field.name)[index] for field in fields(Parameters)})


def sharded_over(training: Training, ranks: Ints) -> Ints:
    """How many of the ranks that hold the same parameters share them, shape [plans]: all, or a hybrid group's."""
    return ranks if training.shard_group is None else np.gcd(ranks, training.shard_group)


def stage_parameters(training: Training, s: Strategies, stages: Stages, split: Ints) -> Parameters:
    """Parameters of every stage of every plan."""
    keys = distinct(s.tp, s.ep, s.etp, split)
    tp = s.tp[keys.first, None].astype(np.float64)
    of_experts = (s.ep * s.etp)[keys.first, None].astype(np.float64)
    kinds = layer_kinds(training)
    sharded, whole, expert = (
        np.array([getattr(kind, f"{name}_parameters") for kind in kinds], dtype=np.float64)
        for name in ("sharded", "replicated", "expert")
    )
    per_kind = sharded / tp + whole
    for column, kind in enumerate(kinds):
        if kind.kv_heads:
            copied = 1 / np.minimum(tp[:, 0], kind.kv_heads) - 1 / tp[:, 0]
            per_kind[:, column] += kind.kv_parameters * copied
    per_kind_expert = expert / of_experts
    counts = stages.counts[split[keys.first]]
    dense = weighted(counts, per_kind[:, None, :])
    # a tied output matrix is the embedding's own where both are on one stage, a copy where they are not
    copied = training.workload.tied_parameters * (counts[:, :, -1] - counts[:, :, -1] * counts[:, :, -2])
    dense = dense + copied / tp
    ends = weighted(counts[:, :, -2:], per_kind[:, None, -2:]) + copied / tp
    return Parameters(
        dense=gathered(dense, keys.of),
        expert=gathered(weighted(counts, per_kind_expert[:, None, :]), keys.of),
        ends=gathered(ends, keys.of),
        largest_dense=per_kind[:, :-2].max(axis=1)[keys.of],
        largest_expert=per_kind_expert[:, :-2].max(axis=1)[keys.of],
    )
