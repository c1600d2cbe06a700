"""The ways to use a cluster of two kinds, each with its best plan, in the document's words."""

from __future__ import annotations

import numpy as np

from planner.cluster.build.pools import Pools
from planner.cost.arrays import added
from planner.cost.flops import model_flops
from planner.cost.heterogeneous import Kinds, Terms, mixed_mfu, pipeline_terms, replica_terms
from planner.cost.memory import KINDS, memory_of
from planner.cost.pipeline.partition import dealt_chunks, layer_prefix
from planner.cost.plan_tables import prepare
from planner.cost.scenario import Training
from planner.cost.step import HIDDEN, TERMS, micro_batches
from planner.cost.strategies import Strategies
from planner.documents.heterogeneous import KindPart, WayName, WayPart
from planner.search.heterogeneous.data_parallel import Shares
from planner.search.heterogeneous.pipeline import Staged, halves_of
from planner.search.search import Found
from planner.studies.plan_parts import memory_part, plan_parts, settings_part, strategy_part


def shares_way(kinds: Kinds, found: Shares, way: WayName) -> WayPart:
    """Replicas of both kinds side by side."""
    scored, held = [], []
    for at in (0, 1):
        training, s, count = kinds[at].shared, found.plans[at], np.array([found.micro_batches[at]])
        p = prepare(training, s)
        scored.append(replica_terms(kinds, at, s, p, count))
        held.append(memory_of(training, s, p, count))
    times = [float(added(terms.values())[0]) for terms, _ in scored]
    slow = int(times[1] > times[0])
    parts = []
    for at in (0, 1):
        s = found.plans[at]
        n, replicas, size = found.micro_batches[at], found.replicas[at], int(s.micro_batch[0])
        parts.append(
            KindPart(
                pool=kinds[at].name,
                replicas=replicas,
                stages=int(s.pp[0]),
                layers=_dealt(kinds[at].shared, s),
                micro_batches=n,
                sequences=replicas * n * size,
                strategy=strategy_part(s, 0),
                wait_s=times[slow] - times[at],
                memory=memory_part(kinds[at].shared, {kind: float(held[at][kind][0]) for kind in KINDS}),
            )
        )
    sizes = {part.strategy.micro_batch for part in parts}
    done = [
        str(part.micro_batches) if len(sizes) == 1 else f"{part.micro_batches}x{part.strategy.micro_batch}"
        for part in parts
    ]
    sample = kinds[0].shared.workload.sample
    counted = "micro-batches" if len(sizes) == 1 else f"micro-batches x {sample}s"
    split = f"dp {parts[0].replicas} + {parts[1].replicas}, shares {':'.join(done)} {counted}"
    return _way(kinds, way, split, scored[slow], times[slow], parts)


def stages_way(kinds: Kinds, found: Staged, way: WayName) -> WayPart:
    """Pipelines across both kinds."""
    training = kinds[0].shared
    n = micro_batches(training, found.plans[0])
    halves = halves_of(kinds, found.plans, found.stages, found.first, np.array([found.bounds]))
    joined = pipeline_terms(halves, n)
    waits = (joined.work_s.max(axis=0) - joined.work_s + joined.tail_s.max(axis=0) - joined.tail_s)[:, 0]
    edges = (0, *found.bounds, training.workload.layer_count)
    layers = np.diff(edges).tolist()
    parts = []
    for at in (found.first, 1 - found.first):
        one, s = halves[at], found.plans[at]
        held = memory_of(one.training, one.s, one.p, n)
        ahead = found.stages[found.first]
        parts.append(
            KindPart(
                pool=kinds[at].name,
                replicas=int(s.dp[0]),
                stages=found.stages[at],
                layers=layers[:ahead] if at == found.first else layers[ahead:],
                micro_batches=int(n[0]),
                sequences=training.global_batch,
                strategy=strategy_part(s, 0),
                wait_s=float(waits[at]),
                memory=memory_part(one.training, {kind: float(held[kind][0]) for kind in KINDS}),
            )
        )
    front, back = parts
    split = (
        f"stages {front.stages} {front.pool} + {back.stages} {back.pool}, "
        f"layers {sum(front.layers)} + {sum(back.layers)}"
    )
    step = float(added(joined.terms.values())[0])
    return _way(kinds, way, split, (joined.terms, joined.hidden), step, parts)


def only_way(pools: Pools, kinds: Kinds, at: int, found: Found) -> WayPart:
    """One pool alone: what the ordinary search found."""
    pool, training = pools.pools[at], found.questions[int(found.question[0])]
    (plan,) = plan_parts(found, pool.own)
    s = found.best
    part = KindPart(
        pool=pool.name,
        replicas=plan.strategy.dp,
        stages=plan.strategy.pp,
        layers=_dealt(training, s),
        micro_batches=int(micro_batches(training, s)[0]),
        sequences=plan.global_batch,
        strategy=plan.strategy,
        wait_s=0.0,
        memory=plan.memory,
    )
    return WayPart(
        way="only",
        split=f"{nodes_of(pools, at)} alone",
        settings=plan.settings,
        step_time_s=plan.step_time_s,
        terms=plan.terms,
        hidden=plan.hidden,
        tokens_per_s=plan.tokens_per_s,
        tokens_per_s_per_device=plan.tokens_per_s_per_device,
        samples_per_s=plan.samples_per_s,
        samples_per_s_per_device=plan.samples_per_s_per_device,
        mfu=plan.mfu,
        kinds=[part],
    )


def nodes_of(pools: Pools, at: int) -> str:
    """A pool in a few words."""
    own = pools.pools[at].own
    return f"{own.nodes:,} {own.name} node{'s' * (own.nodes > 1)}"


def _dealt(training: Training, s: Strategies) -> list[int]:
    """Layers of each stage where they are dealt evenly."""
    chunks = dealt_chunks(layer_prefix(training.workload), int(s.pp[0]), int(s.vpp[0]))
    return [int(layers) for layers in chunks[:, :, :-2].sum(axis=(0, 2)).tolist()]


def _way(
    kinds: Kinds,
    way: WayName,
    split: str,
    scored: tuple[Terms, Terms],
    step: float,
    parts: list[KindPart],
) -> WayPart:
    training = kinds[0].shared
    tokens = training.global_batch * training.workload.seq_length
    flops = model_flops(training.workload, training.global_batch, training.flops_convention)
    devices = sum(kind.devices for kind in kinds)
    terms, hidden = scored
    return WayPart(
        way=way,
        split=split,
        settings=settings_part(training),
        step_time_s=step,
        terms={name: float(terms[name][0]) for name in TERMS},
        hidden={name: float(hidden[name][0]) for name in HIDDEN},
        tokens_per_s=tokens / step,
        tokens_per_s_per_device=tokens / step / devices,
        samples_per_s=training.global_batch / step,
        samples_per_s_per_device=training.global_batch / step / devices,
        mfu=mixed_mfu(kinds, flops, step),
        kinds=parts,
    )
