"""The answer for a cluster of two kinds: every way to use it, the fastest first, and whether to keep the slow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planner.cluster.build.pools import Pools
from planner.cost.heterogeneous import Kind, Kinds
from planner.documents.heterogeneous import (
    SCHEMA_VERSION,
    AnswerPart,
    MixedDocument,
    PoolPart,
    PoolsPart,
    RunPart,
    WayPart,
    WithoutPart,
)
from planner.errors import InputError, NothingFits, PlannerError
from planner.progress import steps
from planner.search.heterogeneous.candidates import share_table
from planner.search.heterogeneous.data_parallel import best_shares, even_shares
from planner.search.heterogeneous.pipeline import best_stages
from planner.search.search import Found, Wanted, search
from planner.search.settings import combinations
from planner.search.space import Space
from planner.studies.heterogeneous_parts import nodes_of, only_way, shares_way, stages_way
from planner.studies.plan_parts import model_part, training_part
from planner.units import DAY_S, format_seconds

Known = dict[str, WayPart]
"""Ways by name, that of a pool alone by "only" and the pool's name; those in which something fits."""


def mixed_plans(
    pools: Pools, kinds: Kinds, space: Space, settings: Mapping[str, tuple[str, ...]], *, tokens: int | None
) -> MixedDocument:
    """Search every way under all combinations of settings, and tell what follows.

    Raises InputError where pins leave no candidate in any way, NothingFits where none fits.
    """
    questions = list(_questions(kinds, settings))
    alone = [_alone(questions, at, space) for at in (0, 1)]
    known: Known = {}
    for question in steps("searching", questions):
        for way in _together(question, space.under(question[0].shared)):
            known[way.way] = min(known.get(way.way, way), way, key=_step)
    for at, (_, one) in enumerate(alone):
        if one.tally.feasible:
            known[_only(pools, at)] = only_way(pools, kinds, at, one)
    if not known:
        raise _explained(pools, alone)
    return _document(pools, kinds, known, tokens)


def _step(way: WayPart) -> float:
    return way.step_time_s


def _questions(kinds: Kinds, settings: Mapping[str, tuple[str, ...]]) -> Iterator[Kinds]:
    """Both kinds under every combination of settings."""
    bound = [[list(combinations(one, settings)) for one in (kind.shared, kind.own)] for kind in kinds]
    for number in range(len(bound[0][0])):
        first, second = (
            Kind(kind.name, kind.devices, shared[number], own[number])
            for kind, (shared, own) in zip(kinds, bound, strict=True)
        )
        yield first, second


def _alone(questions: Sequence[Kinds], at: int, space: Space) -> tuple[Space, Found]:
    """The ordinary search of one pool."""
    own = replace(space, devices=questions[0][at].devices)
    return own, search([question[at].own for question in questions], own, Wanted(top=1))


def _together(kinds: Kinds, space: Space) -> Iterator[WayPart]:
    """The ways that use both kinds, those in which something fits.

    Evenly is what a launcher does that takes all devices for alike: the same for every replica, or for every stage.
    """
    table = share_table(kinds, space)
    shares, alike = best_shares(table), even_shares(table)
    stages, evenly = best_stages(kinds, space), best_stages(kinds, space, even=True)
    if shares is not None:
        yield shares_way(kinds, shares, "shares")
    if alike is not None:
        yield shares_way(kinds, alike, "even")
    if stages is not None:
        yield stages_way(kinds, stages, "stages")
    if evenly is not None:
        yield stages_way(kinds, evenly, "even")


def _only(pools: Pools, at: int) -> str:
    return f"only {pools.pools[at].name}"


def _document(pools: Pools, kinds: Kinds, known: Known, tokens: int | None) -> MixedDocument:
    training = kinds[0].shared
    ways = sorted(known.values(), key=_step)
    every = ("shares", "stages", "even", *(_only(pools, at) for at in (0, 1)))
    per_step = training.global_batch * training.workload.seq_length
    return MixedDocument(
        schema_version=SCHEMA_VERSION,
        model=model_part(training.workload),
        cluster=_pools_part(pools),
        training=training_part(training),
        exact=True,
        ways=ways,
        left_out=[name for name in every if name not in known],
        answer=_answer(pools, kinds, known),
        run=_run(ways[0].step_time_s, tokens, per_step) if tokens else None,
    )


def _run(step_time_s: float, tokens: int, per_step: int) -> RunPart:
    count = -(-tokens // per_step)
    return RunPart(tokens=tokens, steps=count, days=count * step_time_s / DAY_S)


def _pools_part(pools: Pools) -> PoolsPart:
    parts = [
        PoolPart(
            name=pool.name,
            accelerator=pool.own.accelerator.name,
            nodes=pool.own.nodes,
            devices_per_node=pool.own.devices_per_node,
            devices=pool.devices,
        )
        for pool in pools.pools
    ]
    return PoolsPart(name=pools.name, title=pools.title, devices=pools.devices, pools=parts, note=pools.note)


def _answer(pools: Pools, kinds: Kinds, known: Known) -> AnswerPart:
    together = [known[name] for name in ("shares", "stages", "even") if name in known]
    best = min(together, key=_step, default=None)
    even = known.get("even")
    alone = [known.get(_only(pools, at)) for at in (0, 1)]
    fastest = min((way for way in (best, *alone) if way is not None), key=_step)
    parts = []
    for at, pool in enumerate(pools.pools):
        rest = alone[1 - at]
        keep = fastest is not rest
        step = None if rest is None else rest.step_time_s
        parts.append(WithoutPart(pool=pool.name, nodes=pool.own.nodes, step_time_s=step, keep=keep))
    if best is None:
        told = [f"Nothing fits that uses both kinds: the fastest are {fastest.split}."]
    else:
        slow = _slow(kinds)
        asked = [at for at in (slow, 1 - slow) if at == slow or not parts[at].keep]
        told = [*(_without(pools, at, parts[at], best) for at in asked), _balance(best, even)]
    return AnswerPart(
        without=parts,
        balanced_step_time_s=None if best is None else best.step_time_s,
        even_step_time_s=None if even is None else even.step_time_s,
        sentences=told,
    )


def _slow(kinds: Kinds) -> int:
    """The kind with the lower peak, then the slower memory."""
    speed = [
        (kind.own.accelerator.peak(kind.own.precision), kind.own.accelerator.memory_bandwidth_bytes_per_s)
        for kind in kinds
    ]
    return int(speed[1] < speed[0])


def _without(pools: Pools, at: int, part: WithoutPart, best: WayPart) -> str:
    """Would it be faster without these?"""
    nodes = nodes_of(pools, at)
    them = "them" if part.nodes > 1 else "it"
    if part.step_time_s is None:
        return f"Without the {nodes} nothing fits: keep {them}."
    then, now = format_seconds(part.step_time_s), format_seconds(best.step_time_s)
    if part.keep:
        gain = part.step_time_s / best.step_time_s - 1
        return f"Without the {nodes} the step takes {then} instead of {now}: keep {them} (+{gain:.0%})."
    gain = best.step_time_s / part.step_time_s - 1
    return f"Without the {nodes} the step takes {then} instead of {now}: leave {them} out (+{gain:.0%})."


def _balance(best: WayPart, even: WayPart | None) -> str:
    """What balancing is worth, and who waits."""
    waits = [f"{kind.pool} waits {format_seconds(kind.wait_s)}" for kind in best.kinds if kind.wait_s > 0]
    waiting = f"of each step {' and '.join(waits)}" if waits else "no kind waits for the other"
    if even is None:
        return f"Dealt evenly nothing fits; balanced, {waiting}."
    faster = even.step_time_s / best.step_time_s
    return (
        f"Dealt evenly the step takes {format_seconds(even.step_time_s)}, balanced {faster:.2f}x as fast: {waiting}."
    )


def _explained(pools: Pools, alone: Sequence[tuple[Space, Found]]) -> PlannerError:
    """Why nothing is left: of each pool alone what the ordinary search says."""
    from planner.search.diagnosis.infeasible import explain_empty

    errors = [explain_empty(pool.own, space, found) for pool, (space, found) in zip(pools.pools, alone, strict=True)]
    first = errors[0]
    if all(isinstance(error, InputError) for error in errors) and isinstance(first, InputError):
        # of one pool's nodes there are as many as the cluster says
        expected = first.expected.partition("; or --nodes")[0]
        return InputError(
            first.problem,
            origin=first.origin,
            key=first.key,
            value=first.value,
            expected=expected,
            suggestion=first.suggestion,
        )
    told = [f"\n{nodes_of(pools, at)} alone: {error}" for at, error in enumerate(errors)]
    return NothingFits("no plan fits, neither on both kinds together nor on one alone" + "".join(told))
