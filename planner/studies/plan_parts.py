"""Plans that were found in the document's words: each with its time by terms, its memory by kinds, its sentence."""

from __future__ import annotations

import math

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import added
from planner.cost.flops import model_flops
from planner.cost.memory import KINDS, memory_of
from planner.cost.operations.energy import PARTS, energy_parts
from planner.cost.plan_tables import prepare
from planner.cost.scenario import Training
from planner.cost.step import HIDDEN, TERMS, score
from planner.cost.strategies import RECOMPUTE, Strategies
from planner.cost.techniques.operator_time import needed_flops
from planner.documents.plan import (
    ClusterPart,
    EnergyPart,
    MemoryPart,
    ModelPart,
    PlanPart,
    SettingsPart,
    StrategyPart,
    TrainingPart,
)
from planner.search.search import Found
from planner.studies.bottleneck import bottlenecks
from planner.workload.operators import Workload


def model_part(workload: Workload) -> ModelPart:
    """The model in the document's words."""
    return ModelPart(
        name=workload.name,
        title=workload.title,
        parameters=workload.parameters,
        active_parameters=workload.active_parameters,
        layers=workload.layer_count,
        hidden_size=workload.hidden_size,
        heads=workload.heads,
        seq_length=workload.seq_length,
        sample=workload.sample,
        note=workload.note,
    )


def cluster_part(cluster: Cluster) -> ClusterPart:
    """The cluster in the document's words."""
    return ClusterPart(
        name=cluster.name,
        title=cluster.title,
        accelerator=cluster.accelerator.name,
        nodes=cluster.nodes,
        devices_per_node=cluster.devices_per_node,
        devices=cluster.devices,
    )


def training_part(training: Training) -> TrainingPart:
    """What all plans of a question share, in the document's words."""
    workload, batch, convention = training.workload, training.global_batch, training.flops_convention
    return TrainingPart(
        global_batch=batch,
        tokens_per_step=batch * workload.seq_length,
        precision=training.precision,
        attention=training.attention,
        framework=training.framework.name,
        launch=training.launch,
        flops_convention=convention,
        model_flops_per_step=needed_flops(training, model_flops(workload, batch, convention)),
    )


def plan_parts(found: Found, cluster: Cluster, *, explained: bool = True) -> list[PlanPart]:
    """The plans in order; those of one question are scored together. `explained`: with what limits them."""
    parts: dict[int, PlanPart] = {}
    for number in dict.fromkeys(found.question.tolist()):
        at = np.flatnonzero(found.question == number)
        told = _parts_of_question(found.questions[number], cluster, found.best.take(at), explained=explained)
        parts |= dict(zip(at.tolist(), told, strict=True))
    return [parts[i] for i in range(len(found.best))]


def _parts_of_question(training: Training, cluster: Cluster, plans: Strategies, *, explained: bool) -> list[PlanPart]:
    prepared = prepare(training, plans)
    scores = score(training, plans, prepared)
    held = memory_of(training, plans, prepared)
    sentences = bottlenecks(training, cluster, plans, scores) if explained else [""] * len(plans)
    tokens = training.global_batch * training.workload.seq_length
    energy = energy_parts(training, plans, scores, prepared)
    joules = added(energy.values())
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
                samples_per_s=training.global_batch / step,
                samples_per_s_per_device=training.global_batch / step / training.devices,
                mfu=float(scores.mfu[i]),
                hfu=float(scores.hfu[i]),
                cost_usd_per_step=step * rent if rent else None,
                energy_j_per_step=float(joules[i]) if training.accelerator.tdp_w else None,
                energy=_energy_part({name: float(energy[name][i]) for name in PARTS}, training),
                memory=memory_part(training, {kind: float(held[kind][i]) for kind in KINDS}),
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


def _energy_part(parts: dict[str, float], training: Training) -> EnergyPart | None:
    if not training.accelerator.tdp_w:
        return None
    return EnergyPart(
        devices_j=parts["devices"], node_j=parts["node"], network_j=parts["network"], cooling_j=parts["cooling"]
    )


def memory_part(training: Training, kinds: dict[str, float]) -> MemoryPart:
    """Bytes by kind on one device, in the document's words."""
    return MemoryPart(
        weights_bytes=kinds["weights"],
        gradients_bytes=kinds["gradients"],
        optimizer_bytes=kinds["optimizer"],
        activations_bytes=kinds["activations"],
        logits_bytes=kinds["logits"],
        buffers_bytes=kinds["buffers"],
        reserve_bytes=kinds["reserve"],
        total_bytes=math.fsum(kinds.values()),
        capacity_bytes=training.accelerator.memory_bytes,
    )
