"""From a question to the plan document: the one road that `plan` and `estimate` both take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from planner.cluster.cluster import Cluster
from planner.cost.training import Training
from planner.search.document import (
    SCHEMA_VERSION,
    ClusterPart,
    Document,
    SearchPart,
)
from planner.search.parts import model_part, plan_parts, run_part, training_part
from planner.search.search import Found, Wanted, search
from planner.search.space import Space


def best_plans(
    questions: Sequence[Training],
    cluster: Cluster,
    space: Space,
    wanted: Wanted,
    *,
    tokens: int | None,
    samples: int | None = None,
) -> Document:
    """Search the space under all questions and tell the best plans; how sure the first is, over `samples` samples.

    Raises InputError where pins leave no candidate, NothingFits where none fits in memory.
    """
    found = search(questions, space, wanted)
    if not found.tally.feasible:
        from planner.search.misfit import explain_empty

        raise explain_empty(cluster, space, found)
    document = document_of(cluster, found, wanted, tokens)
    if samples is None:
        return document
    from planner.search.uncertainty import first_plan_uncertainty

    part = first_plan_uncertainty(questions, space, wanted.objectives[0], samples)
    return msgspec.structs.replace(document, uncertainty=part)


def scored_plan(training: Training, cluster: Cluster, space: Space, *, tokens: int | None) -> Document:
    """The document of the single plan that `space` is pinned to.

    Raises InputError where it breaks a rule, NothingFits where it does not fit in memory.
    """
    wanted = Wanted(top=1)
    found = search(training, space, wanted)
    if not found.tally.feasible:
        from planner.search.misfit import explain_overfull

        raise explain_overfull(cluster, space, found)
    return document_of(cluster, found, wanted, tokens)


def document_of(cluster: Cluster, found: Found, wanted: Wanted, tokens: int | None) -> Document:
    """What was found, told: all plans of `found`, and of the whole run where its tokens are given."""
    training = found.questions[int(found.question[0])]
    workload, tally = training.workload, found.tally
    parts = plan_parts(found, cluster)
    per_step = training.global_batch * workload.seq_length
    return Document(
        schema_version=SCHEMA_VERSION,
        model=model_part(workload),
        cluster=ClusterPart(
            name=cluster.name,
            title=cluster.title,
            accelerator=cluster.accelerator.name,
            nodes=cluster.nodes,
            devices_per_node=cluster.devices_per_node,
            devices=cluster.devices,
        ),
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
        run=run_part(parts[0].step_time_s, tokens, per_step) if tokens else None,
        uncertainty=None,
    )
