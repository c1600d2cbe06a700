"""From a question to the plan document: the one road that `plan` and `estimate` both take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from planner.cluster.build.reliability import Reliability
from planner.cluster.model.cluster import Cluster
from planner.cost.operators.compute import in_16_bit
from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import Training
from planner.documents.plan import (
    SCHEMA_VERSION,
    Document,
    PlacementPart,
    PlanPart,
    RunPart,
    SearchPart,
    TechniquePart,
    WithoutPart,
)
from planner.documents.site import ReliabilityPart
from planner.search.orders import ordered_search
from planner.search.search import Found, Wanted
from planner.search.space import Space
from planner.studies.energy_parts import carbon_part, power_part
from planner.studies.plan_parts import cluster_part, model_part, plan_parts, training_part
from planner.units import DAY_S
from planner.workload.techniques import PLAIN

if TYPE_CHECKING:
    from planner.hardware.grids import Grid


def best_plans(
    questions: Sequence[Training],
    cluster: Cluster,
    space: Space,
    wanted: Wanted,
    *,
    tokens: int | None,
    samples: int | None = None,
    layouts: Sequence[str] = ORDERS,
    reliability: Reliability | None = None,
    grid: Grid | None = None,
    explained: bool = True,
) -> Document:
    """Search the space under all questions and tell the best plans; how sure the first is, over `samples` samples.

    `layouts`: the orders of dimensions that placing the ranks of an irregular cluster may choose from. `explained`:
    with what limits each plan.

    Raises InputError where pins leave no candidate, NothingFits where none fits in memory.
    """
    found = find(questions, cluster, space, wanted, layouts)
    if not found.tally.feasible:
        from planner.search.diagnosis.infeasible import explain_empty

        raise explain_empty(cluster, space, found)
    document = document_of(cluster, found, wanted, tokens, reliability, grid, explained=explained)
    if document.placement is not None:
        without = _without_slow(cluster, found, space, wanted)
        document = replace(document, placement=replace(document.placement, without_slow=without))
    if samples is None:
        return document
    from planner.studies.uncertainty import first_plan_uncertainty

    part = first_plan_uncertainty(found.questions, space, wanted.objectives[0], samples)
    return replace(document, uncertainty=part)


def scored_plan(
    training: Training,
    cluster: Cluster,
    space: Space,
    *,
    tokens: int | None,
    layouts: Sequence[str] = ORDERS,
    reliability: Reliability | None = None,
    grid: Grid | None = None,
) -> Document:
    """The document of the single plan that `space` is pinned to.

    Raises InputError where it breaks a rule, NothingFits where it does not fit in memory.
    """
    wanted = Wanted(top=1)
    found = find([training], cluster, space, wanted, layouts)
    if not found.tally.feasible:
        from planner.search.diagnosis.infeasible import explain_overfull

        raise explain_overfull(cluster, space, found)
    return document_of(cluster, found, wanted, tokens, reliability, grid)


def find(
    questions: Sequence[Training], cluster: Cluster, space: Space, wanted: Wanted, layouts: Sequence[str] = ORDERS
) -> Found:
    """The search, the dimensions on ranks in one of `layouts`; on an irregular cluster with its ranks placed."""
    if cluster.wiring is None:
        return ordered_search(questions, space, wanted, layouts)
    from planner.search.placement import placed_search

    return placed_search(questions, space, wanted, layouts)


def document_of(
    cluster: Cluster,
    found: Found,
    wanted: Wanted,
    tokens: int | None,
    reliability: Reliability | None = None,
    grid: Grid | None = None,
    *,
    explained: bool = True,
) -> Document:
    """What was found, told: all plans of `found`, of the whole run where its tokens are given, of the first plan what
    failures leave of it where `reliability` is given, and what it emits where `grid` is. `explained`: with what
    limits each plan.
    """
    training = found.questions[int(found.question[0])]
    workload, tally = training.workload, found.tally
    parts = plan_parts(found, cluster, explained=explained)
    per_step = training.global_batch * workload.seq_length
    failures = None if reliability is None else _failures(training, cluster, parts[0], reliability)
    run = _run(parts[0], tokens, per_step, failures) if tokens else None
    return Document(
        schema_version=SCHEMA_VERSION,
        model=model_part(workload),
        cluster=cluster_part(cluster),
        training=training_part(training),
        search=SearchPart(
            objectives=[one.name for one in wanted.objectives],
            critical_batch_tokens=wanted.objectives[0].critical_batch_tokens or None,
            questions=len(found.questions),
            candidates=tally.candidates,
            feasible=tally.feasible,
            cut_by=dict(tally.cut_by),
            exact=True,
        ),
        plans=parts,
        run=run,
        placement=_placement(cluster, found),
        reliability=failures,
        techniques=_techniques(training),
        power=power_part(training, parts[0], run),
        carbon=carbon_part(grid, parts[0], run),
        uncertainty=None,
    )


def _placement(cluster: Cluster, found: Found) -> PlacementPart | None:
    if cluster.wiring is None:
        return None
    from planner.search.placement import placement

    placed = placement(found)
    if placed is None:
        return None
    hosts = [cluster.wiring.hosts[host] for host in placed.hosts.tolist()]
    return PlacementPart(hosts=hosts, as_listed_step_time_s=placed.as_listed_s, without_slow=None)


def _without_slow(cluster: Cluster, found: Found, space: Space, wanted: Wanted) -> WithoutPart | None:
    """The best plan without the hosts that have less of a way out."""
    from planner.cluster.build.wired_cluster import without_slow_hosts
    from planner.search.placement import first_step_time_s, placed_search
    from planner.studies.changes import rebound

    left = without_slow_hosts(cluster)
    if left is None:
        return None
    rest, hosts = left
    fewer = dataclasses.replace(space, devices=rest.devices)
    questions = [rebound(one, rest) for one in found.questions]
    best = placed_search(questions, fewer, dataclasses.replace(wanted, top=1), [found.questions[0].order])
    step = first_step_time_s(best) if best.tally.feasible else None
    return WithoutPart(hosts=list(hosts), step_time_s=step)


def _techniques(training: Training) -> list[TechniquePart]:
    """The ways to train for less that the question takes, narrow formats among them."""
    if training.techniques == PLAIN and in_16_bit(training, full_precision=False):
        return []
    from planner.cost.techniques.apply import techniques

    return [
        TechniquePart(name=one.name, changes=list(one.changes), accuracy="unknown") for one in techniques(training)
    ]


def _failures(training: Training, cluster: Cluster, plan: PlanPart, reliability: Reliability) -> ReliabilityPart:
    from planner.studies.goodput import reliability_part

    return reliability_part(training, cluster, plan, reliability)


def _run(plan: PlanPart, tokens: int, per_step: int, failures: ReliabilityPart | None) -> RunPart:
    steps = -(-tokens // per_step)
    days = steps * plan.step_time_s / DAY_S
    left = 0.0 if failures is None else failures.goodput_share
    return RunPart(tokens=tokens, steps=steps, days=days, days_with_failures=days / left if left else None)
