"""From a plan of a plan document back to its question, and from there to why its step takes so long."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cost.breakdown import OperatorRoofline, rooflines, waterfall
from planner.cost.memory import KINDS, micro_batches_in_flight, stage_memory
from planner.cost.offload import Offload
from planner.cost.pipeline.schedule import drawn_micro_batches, simulated, simulated_step_s, stage_times
from planner.cost.plan_tables import prepare_every_stage
from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import Training, with_communication, with_gradients, with_offload
from planner.cost.step import HIDDEN, Scores, score
from planner.cost.strategies import RECOMPUTE, Strategies, one_strategy
from planner.documents.explain import (
    SCHEMA_VERSION,
    ExplainDocument,
    OperatorPart,
    RooflinePart,
    SchedulePart,
    StagePart,
    WaterfallPart,
)
from planner.documents.plan import Document, PlanPart, SettingsPart
from planner.errors import InputError
from planner.studies.bottleneck import bottlenecks
from planner.studies.plan_parts import memory_part, model_part, training_part

TITLES = {
    "ideal": "model's FLOPs at the peak",
    "attention": "attention, computed less counted",
    "other_arithmetic": "arithmetic beyond the model's",
    "recompute": "recomputation at the peak",
    "efficiency": "multiplies below the peak",
    "memory": "kernels bound by memory",
    "launches": "gaps between kernels",
    "host": "waiting for the host",
    "imbalance": "slowest stage over the mean",
    "tensor_parallel": "tensor-parallel collectives",
    "context_parallel": "context-parallel exchange",
    "expert_parallel": "expert-parallel all-to-all",
    "pipeline_send": "pipeline sends",
    "pipeline_bubble": "pipeline bubble",
    "data_parallel": "data-parallel collectives",
    "optimizer": "optimizer",
    "offload": "transfers to the host",
    "overhead": "fixed overhead",
}
"""Of the waterfall's parts, for people."""

MOST_SIMULATED = 256
"""Micro-batches of a schedule that is played beside the equations; a longer step's rest repeats its middle."""
_SAME = 1e-6


def strategy_of(plan: PlanPart) -> Strategies:
    """A plan's split as the cost model takes it."""
    one = plan.strategy
    return one_strategy(
        tp=one.tp,
        pp=one.pp,
        dp=one.dp,
        cp=one.cp,
        ep=one.ep,
        etp=one.etp,
        vpp=one.vpp,
        micro_batch=one.micro_batch,
        zero_stage=one.zero_stage,
        recompute=RECOMPUTE.index(one.recompute),
        sequence_parallel=int(one.sequence_parallel),
    )


def with_settings(training: Training, settings: SettingsPart) -> Training:
    """The question with a plan's settings. Raises InputError where the cluster's hosts cannot do them."""
    offload = Offload(**dict.fromkeys(settings.offload, True))
    changed = with_offload(training, offload) if offload.any else training
    # formats that are none of the two stay as the framework has them
    if changed.gradients != settings.gradients:
        changed = with_gradients(changed, settings.gradients)
    if changed.communication != settings.communication:
        changed = with_communication(changed, settings.communication)
    return replace(
        changed,
        schedule=settings.schedule,
        tp_overlap=settings.tp_overlap,
        dp_overlap=settings.dp_overlap,
        cp_exchange=settings.cp_exchange,
        order=settings.order,
        shard_group=settings.shard_group,
        recompute_layers=settings.recompute_layers,
    )


def question_of(training: Training, cluster: Cluster, document: Document, plan: PlanPart) -> Training:
    """The plan's own question: its batch, its settings, ranks on the hosts where the document has them.

    Raises InputError for a plan that is none of this model on this cluster.
    """
    check_split(plan, training.devices, training.workload.layer_count)
    own = replace(with_settings(training, plan.settings), global_batch=plan.global_batch)
    if document.placement is not None and cluster.wiring is None:
        expected = "the same --fault as it was made with, or the cluster's own file"
        raise InputError(
            "ranks were placed on hosts that this cluster does not tell", key="placement", expected=expected
        )
    if document.placement is None or cluster.wiring is None or not isinstance(own.network, RoutedNetwork):
        return own
    at = {host: i for i, host in enumerate(cluster.wiring.hosts)}
    order = [at.get(host, -1) for host in document.placement.hosts]
    if sorted(order) != list(range(len(at))):
        expected = "the hosts of the cluster, each once"
        raise InputError("not the cluster's hosts", key="placement.hosts", expected=expected)
    return replace(own, network=own.network.placed(np.array(order)))


def check_split(plan: PlanPart, devices: int, layers: int) -> None:
    """Raises InputError where degrees are not of these devices, or figures are beyond anything that runs."""
    split = plan.strategy
    product = split.tp * split.pp * split.cp * split.dp
    if product != devices:
        expected = f"degrees whose product is the {devices:,} devices"
        value = f"tp {split.tp} x pp {split.pp} x cp {split.cp} x dp {split.dp}"
        raise InputError("is no split of the cluster", key="strategy", value=value, expected=expected)
    if plan.settings.order not in ORDERS:
        order = plan.settings.order
        raise InputError("unknown order", key="settings.order", value=order, expected=f"one of {', '.join(ORDERS)}")
    most = {
        "ep": devices,
        "etp": split.tp,
        "vpp": layers + 2,
        "micro_batch": plan.global_batch,
    }
    for name, largest in most.items():
        value = getattr(split, name)
        if value > largest:
            raise InputError("out of range", key=f"strategy.{name}", value=value, expected=f"at most {largest:,}")
    if plan.global_batch % (split.dp * split.micro_batch):
        expected = f"a divisor of {plan.global_batch:,} / dp {split.dp}"
        raise InputError("does not divide", key="strategy.micro_batch", value=split.micro_batch, expected=expected)


def check_same(training: Training, document: Document, number: int, origin: str) -> Scores:
    """The plan's scores. Raises InputError where its step is not what the document says (to 1e-6)."""
    plan = document.plans[number - 1]
    scores = score(training, strategy_of(plan))
    step = float(scores.step_time_s[0])
    if abs(step - plan.step_time_s) > _SAME * plan.step_time_s:
        made = [one.name for one in document.techniques]
        hint = f"; it was made with {', '.join(made)}: give the same options" if made else ""
        raise InputError(
            "the planner or its inputs have changed since this was written, or options that it does not hold",
            origin=origin,
            key=f"plans[{number - 1}].step_time_s",
            value=plan.step_time_s,
            expected=f"{step!r}, as it is computed now{hint}",
        )
    return scores


def explained(
    training: Training, cluster: Cluster, document: Document, number: int, scores: Scores
) -> ExplainDocument:
    """Why the plan's step takes so long; `training`: its own question, `scores`: its."""
    plan = document.plans[number - 1]
    s = strategy_of(plan)
    step = float(scores.step_time_s[0])
    parts = {name: float(seconds[0]) for name, seconds in waterfall(training, s, scores).items()}
    return ExplainDocument(
        schema_version=SCHEMA_VERSION,
        model=model_part(training.workload),
        cluster=document.cluster,
        training=training_part(training),
        plan=number,
        strategy=plan.strategy,
        settings=plan.settings,
        step_time_s=step,
        mfu=float(scores.mfu[0]),
        waterfall=[
            WaterfallPart(name=name, title=TITLES[name], seconds=seconds, share=seconds / step)
            for name, seconds in parts.items()
        ],
        hidden={name: float(scores.hidden[name][0]) for name in HIDDEN},
        stages=_stages(training, s),
        roofline=_roofline(training, s),
        schedule=_schedule(training, s, scores),
        bottleneck=bottlenecks(training, cluster, s, scores)[0],
    )


def _stages(training: Training, s: Strategies) -> list[StagePart]:
    """Every stage, in order."""
    prepared = prepare_every_stage(training, s)
    held = stage_memory(training, s, prepared)
    passes = micro_batches_in_flight(training, s, prepared)[0]
    layers = prepared.stages.counts[0, :, :-2].sum(axis=1)
    times = stage_times(training, s)
    forward = (times.forward + times.forward_exchange).sum(axis=0)
    backward = (times.backward + times.backward_exchange).sum(axis=0)
    return [
        StagePart(
            stage=stage,
            layers=int(layers[stage]),
            forward_s=float(forward[stage]),
            backward_s=float(backward[stage]),
            micro_batches_in_flight=float(passes[stage]),
            memory=memory_part(training, {kind: float(held[kind][0, stage]) for kind in KINDS}),
        )
        for stage in range(len(layers))
    ]


def _roofline(training: Training, s: Strategies) -> RooflinePart:
    part = training.accelerator
    peak, bandwidth = part.peak(training.precision), part.memory_bandwidth_bytes_per_s
    return RooflinePart(
        peak_flops_per_s=peak,
        memory_bandwidth_bytes_per_s=bandwidth,
        ridge_flops_per_byte=peak / bandwidth,
        operators=[_operator(one) for one in rooflines(training, s)],
    )


def _operator(one: OperatorRoofline) -> OperatorPart:
    flops, moved, seconds = float(one.flops[0]), float(one.traffic_bytes[0]), float(one.seconds[0])
    return OperatorPart(
        layer=one.layer,
        name=one.name,
        layers=one.layers,
        flops=flops,
        traffic_bytes=moved,
        flops_per_byte=flops / moved if moved else None,
        seconds=seconds,
        flops_per_s=flops / seconds,
        peak_flops_per_s=one.peak_flops_per_s,
        peak_share=flops / seconds / one.peak_flops_per_s,
        bound=one.bound[0],  # type: ignore[arg-type]
        traffic_hidden=one.whole_in_kernel,
    )


def _schedule(training: Training, s: Strategies, scores: Scores) -> SchedulePart:
    """The schedule played beside the equations, both of the same step: of a long one, of its first micro-batches."""
    n = drawn_micro_batches(training, s, MOST_SIMULATED)
    shorter = replace(training, global_batch=n * int((s.dp * s.micro_batch)[0]))
    played = scores if n * int((s.dp * s.micro_batch)[0]) == training.global_batch else score(shorter, s)
    step = simulated_step_s(played, simulated(shorter, s))
    equation = float(played.step_time_s[0])
    return SchedulePart(micro_batches=n, step_time_s=step, difference=step / equation - 1.0)
