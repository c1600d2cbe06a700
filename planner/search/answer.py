"""From a question to the plan document: the one road that `plan` and `estimate` both take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from planner.cluster.cluster import Cluster
from planner.cost.arrays import added
from planner.cost.flops import model_flops
from planner.cost.memory import KINDS, memory_of
from planner.cost.step import BUSY, HIDDEN, TERMS, score
from planner.cost.strategies import RECOMPUTE, Strategies
from planner.cost.training import Training
from planner.search.bottleneck import bottlenecks
from planner.search.document import (
    SCHEMA_VERSION,
    ClusterPart,
    Document,
    MemoryPart,
    ModelPart,
    PlanPart,
    RunPart,
    SearchPart,
    SettingsPart,
    StrategyPart,
    TrainingPart,
)
from planner.search.objective import energy_j
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
        model=ModelPart(
            name=workload.name,
            title=workload.title,
            parameters=workload.parameters,
            active_parameters=workload.active_parameters,
            layers=workload.layer_count,
            hidden_size=workload.hidden_size,
            heads=workload.heads,
            seq_length=workload.seq_length,
            note=workload.note,
        ),
        cluster=ClusterPart(
            name=cluster.name,
            title=cluster.title,
            accelerator=cluster.accelerator.name,
            nodes=cluster.nodes,
            devices_per_node=cluster.devices_per_node,
            devices=cluster.devices,
        ),
        training=TrainingPart(
            global_batch=training.global_batch,
            tokens_per_step=per_step,
            precision=training.precision,
            attention=training.attention,
            framework=training.framework.name,
            launch=training.launch,
            flops_convention=training.flops_convention,
            model_flops_per_step=model_flops(workload, training.global_batch, training.flops_convention),
        ),
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
        run=_run(parts[0], tokens, per_step) if tokens else None,
        uncertainty=None,
    )


def _run(plan: PlanPart, tokens: int, per_step: int) -> RunPart:
    steps = -(-tokens // per_step)
    return RunPart(tokens=tokens, steps=steps, days=steps * plan.step_time_s / 86_400)


def plan_parts(found: Found, cluster: Cluster) -> list[PlanPart]:
    """The plans in order; those of one question are scored together."""
    parts: dict[int, PlanPart] = {}
    for number in dict.fromkeys(found.question.tolist()):
        at = np.flatnonzero(found.question == number)
        told = _parts_of_question(found.questions[number], cluster, found.best.take(at))
        parts |= dict(zip(at.tolist(), told, strict=True))
    return [parts[i] for i in range(len(found.best))]


def _parts_of_question(training: Training, cluster: Cluster, plans: Strategies) -> list[PlanPart]:
    scores = score(training, plans)
    held = memory_of(training, plans)
    sentences = bottlenecks(training, cluster, plans)
    tokens = training.global_batch * training.workload.seq_length
    joules = energy_j(training, scores.step_time_s, added([scores.terms[name] for name in BUSY]))
    rent = training.devices * training.usd_per_device_hour / 3600
    parts = []
    for i in range(len(plans)):
        step = float(scores.step_time_s[i])
        parts.append(
            PlanPart(
                strategy=strategy_part(plans, i),
                settings=settings_part(training),
                global_batch=training.global_batch,
                step_time_s=step,
                terms={name: float(scores.terms[name][i]) for name in TERMS},
                hidden={name: float(scores.hidden[name][i]) for name in HIDDEN},
                tokens_per_s=tokens / step,
                tokens_per_s_per_device=tokens / step / training.devices,
                mfu=float(scores.mfu[i]),
                hfu=float(scores.hfu[i]),
                cost_usd_per_step=step * rent if rent else None,
                energy_j_per_step=float(joules[i]) if training.accelerator.tdp_w else None,
                memory=_memory_part(training, {kind: float(held[kind][i]) for kind in KINDS}),
                bottleneck=sentences[i],
            )
        )
    return parts


def settings_part(training: Training) -> SettingsPart:
    """How a question's plans are run, in the document's words."""
    offload = training.offload
    return SettingsPart(
        schedule=training.schedule,
        tp_overlap=training.tp_overlap,
        dp_overlap=training.dp_overlap,
        cp_exchange=training.cp_exchange,
        gradients=training.gradients,
        communication=training.communication,
        offload=[name for name in ("optimizer", "activations", "weights") if getattr(offload, name)],
        order=training.order,
        shard_group=training.shard_group,
        recompute_layers=training.recompute_layers,
    )


def strategy_part(plans: Strategies, index: int) -> StrategyPart:
    """One plan's split in the document's words."""
    row = plans.row(index)
    recompute, parallel = RECOMPUTE[row.pop("recompute")], bool(row.pop("sequence_parallel"))
    return StrategyPart(
        tp=row["tp"],
        pp=row["pp"],
        dp=row["dp"],
        cp=row["cp"],
        ep=row["ep"],
        etp=row["etp"],
        vpp=row["vpp"],
        micro_batch=row["micro_batch"],
        zero_stage=row["zero_stage"],  # type: ignore[arg-type]
        recompute=recompute,  # type: ignore[arg-type]
        sequence_parallel=parallel,
    )


def _memory_part(training: Training, kinds: dict[str, float]) -> MemoryPart:
    return MemoryPart(
        weights_bytes=kinds["weights"],
        gradients_bytes=kinds["gradients"],
        optimizer_bytes=kinds["optimizer"],
        activations_bytes=kinds["activations"],
        logits_bytes=kinds["logits"],
        buffers_bytes=kinds["buffers"],
        reserve_bytes=kinds["reserve"],
        total_bytes=sum(kinds.values()),
        capacity_bytes=training.accelerator.memory_bytes,
    )
