"""A lower bound of the slowest stage of pipelines across two kinds, from time and memory, before layers are dealt.

It decides the order in which plans are looked at, and which of them never need be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints, added
from planner.cost.heterogeneous import stages_of
from planner.cost.layer_tables import layer_tables
from planner.cost.memory import kept_activations, model_state
from planner.cost.parameters import stage_parameters
from planner.cost.plan_tables import Prepared
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.workload.operators import Workload

_HALVINGS = 30


@dataclass(frozen=True)
class Load:
    """What bounds one kind's stages: `seconds` of one layer of each kind, [rows, layer kinds] with embedding and
    head; bytes of a stage with one layer of a kind and of each further one, both without and for each micro-batch in
    flight, [rows, layer kinds].
    """

    seconds: Floats
    one: tuple[Floats, Floats]
    more: tuple[Floats, Floats]


def memory_load(training: Training, s: Strategies) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """`one` and `more` of `Load`.

    A stage's memory M(l) grows with its layers and is concave in them (what is sharded is held whole where that is
    less), so that M(l) >= M(1) + (l - 1) m for l >= 1 and m the rise per layer far out. Layers of other kinds add.
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
    further = [(held[:, 2::3] - held[:, 1::3]) / layers for held in (rest, each)]
    return (rest[:, 0::3], each[:, 0::3]), (further[0], further[1])


def slowest_bound(
    workload: Workload,
    loads: tuple[Load, Load],
    room: tuple[float, float],
    stages: tuple[int, int],
    first: int,
    n: Ints,
) -> Floats:
    """At most the slowest stage's seconds of one micro-batch, infinite where too few layers fit, shape [rows].

    T is too short while all stages together take less than there is: whole layers of one kind of layer, the others
    left out; or units in fractions, where a layer of kind h counts u_h, the least over devices of its seconds over
    their mean layer's. In T seconds a stage takes (T - ends) over the seconds of one, no more than its memory holds.
    """
    count = np.array([0.0] * len(workload.kinds))
    for run in workload.runs:
        count[workload.kinds.index(run.layer)] += run.count
    body = [load.seconds[:, :-2] for load in loads]
    mean = [(seconds * count).sum(axis=1) / count.sum() for seconds in body]
    units = np.minimum(*(seconds / m[:, None] for seconds, m in zip(body, mean, strict=True)))
    most, ends = _stages(loads, room, stages, first, n)
    kinds = [first if position < stages[first] else 1 - first for position in range(sum(stages))]
    fits = (most.sum(axis=0) >= count).all(axis=1)
    everything = (units * count).sum(axis=1)
    slowest = _least(everything, np.stack([mean[k] for k in kinds]), ends, (most * units).sum(axis=2), whole=False)
    for h, many in enumerate(count.tolist()):
        pace = np.stack([body[k][:, h] for k in kinds])
        slowest = np.maximum(slowest, _least(np.full(len(n), many), pace, ends, most[:, :, h], whole=True))
    return np.where(fits, slowest, np.inf)


def _stages(
    loads: tuple[Load, Load], room: tuple[float, float], stages: tuple[int, int], first: int, n: Ints
) -> tuple[Floats, Floats]:
    """How many layers of each kind alone the memory of each stage holds at most, [stages, rows, layer kinds]; seconds
    of embedding and head there, [stages, rows].
    """
    total, layers, ends = sum(stages), [], []
    for position in range(total):
        k = first if position < stages[first] else 1 - first
        flying = np.minimum(n, total - position)[:, None]
        one, more = (part[0] + flying * part[1] for part in (loads[k].one, loads[k].more))
        further = np.floor((room[k] - one) / np.maximum(more, 1.0) + 1e-6)
        layers.append(np.where(one <= room[k], 1.0 + further, 0.0))
        ends.append(loads[k].seconds[:, -2] * (position == 0) + loads[k].seconds[:, -1] * (position == total - 1))
    return np.stack(layers), np.stack(ends)


def _least(amount: Floats, pace: Floats, ends: Floats, most: Floats, *, whole: bool) -> Floats:
    """The least T, from below, in which all stages together take the amount: stage i (T - ends_i) / pace_i of it, at
    most `most_i`, in whole numbers or not. Found by halving; arrays of shape [stages, rows], amount and T [rows].
    """
    low, high = np.zeros(len(amount)), amount * pace.max(axis=0) + ends.max(axis=0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        taken = np.maximum(middle - ends, 0.0) / pace
        taken = np.floor(taken + 1e-6) if whole else taken
        enough = np.minimum(taken, most).sum(axis=0) >= amount * (1 - 1e-9)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return low
