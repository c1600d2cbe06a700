"""What a step takes where devices are of two kinds: replicas of either kind side by side, or pipelines across both.

Each kind is one `Training`, bound to a network in which all devices are of that kind
(`planner.cluster.build.pools`); what devices of both kinds do together takes as long as the
slower of these networks says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.cluster.build.pools import Pools
from planner.cluster.model.cluster import Cluster
from planner.cluster.network.network import Network
from planner.cost.arrays import (
    Bools,
    Floats,
    Ints,
    added,
    gathered,
    largest,
    weighted,
)
from planner.cost.layer_tables import LayerTables, layer_tables
from planner.cost.parallelism.data_parallel import data_parallel, optimizer_seconds
from planner.cost.parameters import stage_parameters
from planner.cost.pipeline.partition import Stages
from planner.cost.plan_tables import Prepared
from planner.cost.scenario import Training, training, usual_framework
from planner.cost.step import (
    AFTER_PIPELINE,
    IN_LAYERS,
    free_links,
    offloading,
    pipeline_sends,
    slowest_stage,
    step_terms,
    waiting,
)
from planner.cost.strategies import Strategies
from planner.errors import InputError
from planner.workload.operators import Workload

Terms = dict[str, Floats]

_INSIDE = {"tensor_parallel": "tp_hidden", "context_parallel": "cp_hidden", "expert_parallel": "ep_hidden"}


@dataclass(frozen=True)
class Kind:
    """One kind of device: `shared` is bound to all devices as if they were of this kind, `own` to the pool alone."""

    name: str
    devices: int
    shared: Training
    own: Training


Kinds = tuple[Kind, Kind]


def bind(workload: Workload, pools: Pools, *, precision: str | None = None, **options: object) -> Kinds:
    """Both kinds bound to a model with the options of `training`.

    One trainer runs on both: unless it is chosen, the usual one of both, else the first pool's without whole steps as
    one graph. Raises InputError where a kind has no unit for the precision.
    """
    parts = [pool.own.accelerator for pool in pools.pools]
    chosen = precision or ("bf16" if all("bf16" in part.peak_flops for part in parts) else "fp16")
    usual = {usual_framework(part, workload) for part in parts}
    classic = "megatron-classic" if "megatron-classic" in usual else usual_framework(parts[0], workload)
    options["framework"] = options.get("framework") or (usual.pop() if len(usual) == 1 else classic)
    options["precision"] = chosen

    def bound(cluster: Cluster) -> Training:
        return training(workload, cluster, **options)  # type: ignore[arg-type]

    for part in parts:
        if chosen not in part.peak_flops:
            raise InputError(
                f"{part.name} states no dense peak for this precision",
                key="--precision",
                value=chosen,
                expected=f"one of {', '.join(sorted(set(parts[0].peak_flops) & set(parts[1].peak_flops)))}",
            )
    first, second = (Kind(pool.name, pool.devices, bound(pool.everywhere), bound(pool.own)) for pool in pools.pools)
    return first, second


def other_networks(kinds: Kinds, at: int) -> tuple[Network, ...]:
    """What the ranks of kind `at` meet of the other kind in a collective of all replicas."""
    return (kinds[1 - at].shared.network,)


def replica_terms(kinds: Kinds, at: int, s: Strategies, p: Prepared, n: Ints) -> tuple[Terms, Terms]:
    """Terms and hidden seconds of replicas of kind `at` that do `n` micro-batches each, shape [plans].

    `s.dp` counts the replicas of both kinds: all of them share the gradients' exchange. The step ends with the slower
    kind.
    """
    return step_terms(kinds[at].shared, s, p, n, other_networks(kinds, at))


@dataclass(frozen=True)
class Half:
    """The stages of every pipeline that one kind has: its plans (`s.pp` counts all stages), prepared for them."""

    training: Training
    s: Strategies
    p: Prepared


def half(
    whole: Training,
    s: Strategies,
    counts: Floats,
    position: Ints,
    tables: tuple[LayerTables, Ints] | None = None,
) -> Half:
    """One kind's half: `counts` layers of each kind (embedding and head last) on each of its stages, shape [plans,
    stages, kinds]; `position` of each in the pipeline, shape [plans, stages]; `tables` as of `layer_tables`.
    """
    stages = stages_of(counts, position)
    split = np.arange(len(s))
    found, row = tables or layer_tables(whole, s)
    return Half(whole, s, Prepared(found, row, stages, split, stage_parameters(whole, s, stages, split)))


def stages_of(counts: Floats, position: Ints) -> Stages:
    """Stages as told, one chunk each; arrays as of `half`, with splits for plans."""
    splits, stages = position.shape
    return Stages(
        counts=counts,
        index=position,
        chunks=counts[:, None],
        turns=np.ones((splits, 1)),
        sizes=np.tile([1, stages], (splits, 1)),
        first=counts.sum(axis=1),
        lengths=(None,) * splits,
    )


@dataclass(frozen=True)
class Joined:
    """Pipelines across both kinds, arrays of shape [plans]: terms and hidden seconds; of each kind, its slowest
    stage's work in a step and what it does after that, [kinds, plans].
    """

    terms: Terms
    hidden: Terms
    work_s: Floats
    tail_s: Floats


def pipeline_terms(halves: tuple[Half, Half], n: Ints) -> Joined:
    """A step of pipelines whose stages are of two kinds, `n` micro-batches each (1F1B, vpp = 1).

        step = n max t_i + (sum t_i - max t_i) + sends + the slower kind's exchange, optimizer, offload

    with every stage's own t_i (arXiv 2104.04473 has equal ones). Every hop is paid like the slowest one: the slower
    kind's way to the next stage. The gradients of a stage are exchanged among devices of one kind.
    """
    parts = [_half_terms(part, n) for part in halves]
    one = [added(part.stage[name] for name in IN_LAYERS) for part in parts]
    slow = one[1] > one[0]
    tails = [added(part.tail[name] for name in AFTER_PIPELINE) for part in parts]
    late = tails[1] > tails[0]

    def of(second: Bools, group: str, name: str) -> Floats:
        """A term of the first or of the second kind."""
        chosen: Floats = np.where(second, getattr(parts[1], group)[name], getattr(parts[0], group)[name])
        return chosen

    sends = [pipeline_sends(part.training, part.s, n) for part in halves]
    shown = np.maximum(sends[0][0], sends[1][0])
    filling = parts[0].waits + parts[1].waits - np.maximum(parts[0].longest, parts[1].longest)
    terms: Terms = {name: n * of(slow, "stage", name) for name in IN_LAYERS}
    terms |= {"pipeline_send": shown, "pipeline_bubble": np.maximum(filling, 0.0)}
    terms |= {name: of(late, "tail", name) for name in AFTER_PIPELINE}
    hidden: Terms = {name: n * of(slow, "stage", key) for name, key in _INSIDE.items()}
    hidden["pipeline_send"] = np.maximum(sends[0][1], sends[1][1])
    hidden |= {name: of(late, "hidden", name) for name in ("data_parallel", "offload")}
    return Joined(terms, hidden, np.stack([n * each for each in one]), np.stack(tails))


@dataclass(frozen=True)
class _HalfTerms:
    """One kind's slowest stage in one micro-batch, terms after the pipeline, what others wait for all its stages and
    for the longest of them while filling; shape [plans] each.
    """

    stage: Terms
    tail: Terms
    hidden: Terms
    waits: Floats
    longest: Floats


def _half_terms(part: Half, n: Ints) -> _HalfTerms:
    training, s, p = part.training, part.s, part.p
    stage, per_layer = slowest_stage(training, p, s)
    forward, backward = stage["forward"], stage["backward"] + stage["recompute"]
    exchanged, beside = data_parallel(training, s, p.parameters, p.split, n, *free_links(training, stage))
    moved, under = offloading(training, s, p, n, forward, backward)
    tail = {
        "data_parallel": exchanged,
        "optimizer": optimizer_seconds(training, s, p.parameters),
        "offload": moved,
        "overhead": np.full(len(s), training.calibration.step_overhead_s),
    }
    waits = waiting(training, s, p, per_layer)
    first = weighted(gathered(p.stages.chunks[:, 0], p.split), waits[:, None, :])
    return _HalfTerms(stage, tail, {"data_parallel": beside, "offload": under}, added(first.T), largest(first))


def mixed_mfu(kinds: Kinds, flops: float, step_s: float, used: tuple[bool, bool] = (True, True)) -> float:
    """Share of the peaks of all used devices that the model's FLOPs of a step take."""
    peaks = [kind.devices * kind.own.accelerator.peak(kind.own.precision) for kind in kinds]
    return flops / (math.fsum(peak for peak, is_used in zip(peaks, used, strict=True) if is_used) * step_s)
