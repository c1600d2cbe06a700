"""A lower bound of the slowest stage of pipelines across two kinds, from time and memory, before layers are dealt.

It decides the order in which plans are looked at, and which of them never need be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost.arrays import added
from planner.cost.layers import layer_tables
from planner.cost.memory import kept_activations, model_state
from planner.cost.mixed import stages_of
from planner.cost.parameters import stage_parameters
from planner.cost.prepared import Prepared
from planner.cost.strategies import Strategies
from planner.cost.training import Training
from planner.workload.operators import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALVINGS = 30


@dataclass(frozen=True)
class Load:
    """What bounds one kind's stages: `seconds` of one layer of each kind, [rows, layer kinds] with embedding and head;
    bytes of a stage with one layer and of each further one, both without and for each micro-batch in flight, [rows].
    """

    seconds: Floats
    one: tuple[Floats, Floats]
    more: tuple[Floats, Floats]


def memory_load(training: Training, s: Strategies) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """`one` and `more` of `Load`.

    A stage's memory M(l) grows with its layers and is concave in them (what is sharded is held whole where that is
    less), so that M(l) >= M(1) + (l - 1) m for l >= 1 and m the rise per layer far out. The lightest kind of layer
    stands for all.
    """
    kinds, layers = len(training.workload.kinds), training.workload.layer_count
    counts = np.zeros((1, 3 * kinds, kinds + 2))
    for kind in range(kinds):
        counts[0, 3 * kind : 3 * kind + 3, kind] = (1, layers, 2 * layers)
    stages = stages_of(counts, np.zeros((1, 3 * kinds), dtype=np.int64))
    split = np.zeros(len(s), dtype=np.int64)
    p = Prepared(*layer_tables(training, s), stages, split, stage_parameters(training, s, stages, split))
    state = added(model_state(training, s, p.parameters, s.zero_stage).values()) + training.reserve_bytes
    once, twice = (
        state + added(kept_activations(training, s, p, s.recompute, np.full(state.shape, passes)).values())
        for passes in (1.0, 2.0)
    )
    each = np.zeros_like(once) if training.offload.activations else twice - once
    rest = once - each
    bytes_of = [
        (held[:, 0::3].min(axis=1), ((held[:, 2::3] - held[:, 1::3]) / layers).min(axis=1)) for held in (rest, each)
    ]
    return (bytes_of[0][0], bytes_of[1][0]), (bytes_of[0][1], bytes_of[1][1])


def slowest_bound(
    workload: Workload,
    loads: tuple[Load, Load],
    room: tuple[float, float],
    stages: tuple[int, int],
    first: int,
    n: Ints,
) -> Floats:
    """At most the slowest stage's seconds of one micro-batch, infinite where too few layers fit at all, shape [rows].

    Let u_h be the least over kinds of tau_(k,h) / mean tau_k, layers of kind h counted as u_h units each: in T seconds a
    stage of kind k takes at most (T - ends) / mean tau_k units, whole ones where all layers are alike, and no more
    than its memory holds. T is too short while all stages together take less than all units; found by halving.
    """
    count = np.array([0.0] * len(workload.kinds))
    for run in workload.runs:
        count[workload.kinds.index(run.layer)] += run.count
    mean = [(load.seconds[:, :-2] * count).sum(axis=1) / count.sum() for load in loads]
    units = np.minimum(*(load.seconds[:, :-2] / m[:, None] for load, m in zip(loads, mean, strict=True)))
    all_units, alike = (units * count).sum(axis=1), len(workload.kinds) == 1
    total = sum(stages)
    caps, paces, ends = [], [], []
    for position in range(total):
        k = first if position < stages[first] else 1 - first
        flying = np.minimum(n, total - position)
        one, more = (part[0] + flying * part[1] for part in (loads[k].one, loads[k].more))
        layers = np.floor(np.where(one <= room[k], 1 + (room[k] - one) / np.maximum(more, 1.0), 0.0) + 1e-6)
        caps.append(layers * units.max(axis=1))
        paces.append(mean[k])
        ends.append(loads[k].seconds[:, -2] * (position == 0) + loads[k].seconds[:, -1] * (position == total - 1))
    cap, pace, end = (np.stack(part) for part in (caps, paces, ends))
    possible = (cap > 0).all(axis=0) & (cap.sum(axis=0) >= all_units * (1 - 1e-9))
    low, high = np.zeros(len(n)), all_units * pace.max(axis=0) + end.max(axis=0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        taken = np.maximum(middle - end, 0.0) / pace
        taken = np.floor(taken + 1e-6) if alike else taken
        enough = np.minimum(taken, cap).sum(axis=0) >= all_units * (1 - 1e-9)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, low, np.inf)
