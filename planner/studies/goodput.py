"""Goodput of a plan: its throughput after failures, checkpoints and repairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.cluster.build.reliability import Reliability
from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats
from planner.cost.operations.failures import (
    CheckpointTimes,
    TimeShares,
    compute_checkpoint_steps,
    compute_checkpoint_times,
    compute_daly_interval_s,
    compute_job_mtbf_s,
    compute_nodes_in_repair,
    compute_shrunk_share,
    compute_stalled_share,
    compute_time_shares,
    compute_young_interval_s,
    find_optimal_spares,
)
from planner.cost.scenario import Scenario
from planner.documents.plan import PlanPart, StrategyPart
from planner.documents.site import (
    AssumptionPart,
    CheckpointPart,
    MtbfByCausePart,
    ReliabilityPart,
    SpareNodesPart,
    WastedTimePart,
)
from planner.trainers.trainer import Trainer


def compute_checkpoint_bytes(parameters: int, trainer: Trainer) -> float:
    """Bytes of a checkpoint: parameters and optimizer state of the whole model, once; no gradients."""
    return parameters * (trainer.sharded_weight_bytes + trainer.optimizer_bytes)


@dataclass(frozen=True)
class TimedPlan:
    """What the goodput of a plan depends on."""

    strategy: StrategyPart
    step_time_s: float
    tokens_per_s: float


def build_reliability_part(
    scenario: Scenario, cluster: Cluster, plan: TimedPlan | PlanPart, reliability: Reliability
) -> ReliabilityPart:
    """The reliability part of one plan, with the best checkpoint interval for it."""
    devices, nodes = np.array([float(cluster.devices)]), np.array([float(cluster.nodes)])
    mtbf_s = compute_job_mtbf_s(
        devices,
        nodes,
        device_mtbf_s=reliability.device_mtbf_s,
        node_mtbf_s=reliability.node_mtbf_s,
        software_mtbf_s=reliability.software_mtbf_s,
    )
    checkpoint_bytes = scenario.trained_share * compute_checkpoint_bytes(
        scenario.workload.parameters, scenario.trainer
    )
    checkpoint = _compute_plan_checkpoint(checkpoint_bytes, cluster, plan.strategy, reliability)
    step_time_s = np.array([plan.step_time_s])
    interval_steps = compute_checkpoint_steps(step_time_s, checkpoint, mtbf_s)
    spares, missing_share = _compute_plan_spares(devices, nodes, cluster, plan.strategy, reliability)
    shares = compute_time_shares(
        interval_steps * step_time_s,
        checkpoint,
        mtbf_s,
        detection_s=reliability.detection_s,
        restart_s=reliability.restart_s,
        available=1.0 - missing_share,
    )
    goodput = _get_scalar(shares.goodput)
    return ReliabilityPart(
        mtbf_s=_get_scalar(mtbf_s),
        mtbf_by_cause=MtbfByCausePart(
            device_s=reliability.device_mtbf_s / cluster.devices,
            node_s=reliability.node_mtbf_s / cluster.nodes,
            software_s=reliability.software_mtbf_s / cluster.nodes,
        ),
        checkpoint=_build_checkpoint_part(
            checkpoint_bytes,
            checkpoint,
            mtbf_s,
            interval_steps,
            step_time_s,
            asynchronous=reliability.is_async_checkpoint,
        ),
        spares=spares,
        goodput_share=goodput,
        goodput_tokens_per_s=goodput * plan.tokens_per_s,
        goodput_tokens_per_s_p10=goodput * plan.tokens_per_s_p10 if isinstance(plan, PlanPart) else None,
        goodput_tokens_per_s_p90=goodput * plan.tokens_per_s_p90 if isinstance(plan, PlanPart) else None,
        wasted=_build_wasted_time_part(shares),
        assumed=[
            AssumptionPart(name=assumption.name, value=assumption.value, source=assumption.source)
            for assumption in reliability.assumptions
        ],
    )


def _compute_plan_checkpoint(
    checkpoint_bytes: float, cluster: Cluster, strategy: StrategyPart, reliability: Reliability
) -> CheckpointTimes:
    """Checkpoint times. With ZeRO each device writes its own shard; without ZeRO one replica writes for all, or as
    many replicas as the experts are distributed over.
    """
    replicas = strategy.ep // math.gcd(strategy.ep, strategy.tp // strategy.etp * strategy.cp)
    writers = cluster.devices if strategy.zero_stage else cluster.devices // strategy.dp * replicas
    host_link_bytes_per_s = cluster.host.link_bytes_per_s if cluster.host else math.inf
    nic_bytes_per_s = next((level.bandwidth_bytes_per_s for level in cluster.levels if level.through_nic), math.inf)
    return compute_checkpoint_times(
        np.array([checkpoint_bytes]),
        np.array([float(writers)]),
        write_bytes_per_s=reliability.write_bytes_per_s,
        read_bytes_per_s=reliability.read_bytes_per_s,
        # where the host link is not known, the bandwidth of the NIC is taken for it
        link_bytes_per_s=host_link_bytes_per_s
        if math.isfinite(host_link_bytes_per_s) or not math.isfinite(nic_bytes_per_s)
        else nic_bytes_per_s,
        uplink_bytes_per_s=nic_bytes_per_s,
        pause_s=reliability.pause_s,
        asynchronous=reliability.is_async_checkpoint,
    )


def _compute_plan_spares(
    devices: Floats, nodes: Floats, cluster: Cluster, strategy: StrategyPart, reliability: Reliability
) -> tuple[SpareNodesPart, Floats]:
    """The spare nodes, and the fraction of time (or of work) that is lost in spite of them."""
    nodes_in_repair = compute_nodes_in_repair(
        nodes,
        devices,
        device_mtbf_s=reliability.device_mtbf_s,
        node_mtbf_s=reliability.node_mtbf_s,
        repair_s=reliability.repair_s,
    )
    recommended = int(_get_scalar(find_optimal_spares(nodes_in_repair, nodes)))
    count = recommended if reliability.spares is None else reliability.spares
    if reliability.is_shrinkable:
        replica_nodes = math.ceil(strategy.tp * strategy.pp * strategy.cp / cluster.devices_per_node)
        missing_share = compute_shrunk_share(nodes_in_repair, count, nodes, np.array([float(replica_nodes)]))
    else:
        missing_share = compute_stalled_share(nodes_in_repair, count)
    part = SpareNodesPart(
        nodes=count,
        recommended=recommended,
        nodes_in_repair=_get_scalar(nodes_in_repair),
        short_share=_get_scalar(missing_share),
        when_short="shrink" if reliability.is_shrinkable else "wait",
    )
    return part, missing_share


def _build_checkpoint_part(
    checkpoint_bytes: float,
    checkpoint: CheckpointTimes,
    mtbf_s: Floats,
    interval_steps: Floats,
    step_time_s: Floats,
    *,
    asynchronous: bool,
) -> CheckpointPart:
    return CheckpointPart(
        bytes=checkpoint_bytes,
        asynchronous=asynchronous,
        blocked_s=_get_scalar(checkpoint.blocked_s),
        write_s=_get_scalar(checkpoint.blocked_s + checkpoint.background_write_s),
        read_s=_get_scalar(checkpoint.load_s),
        young_interval_s=_get_scalar(compute_young_interval_s(checkpoint.blocked_s, mtbf_s)),
        daly_interval_s=_get_scalar(compute_daly_interval_s(checkpoint.blocked_s, mtbf_s)),
        interval_steps=int(_get_scalar(interval_steps)),
        interval_s=_get_scalar(interval_steps * step_time_s),
    )


def _build_wasted_time_part(shares: TimeShares) -> WastedTimePart:
    return WastedTimePart(
        checkpoint=_get_scalar(shares.checkpoint),
        lost=_get_scalar(shares.lost_work),
        detection=_get_scalar(shares.detection),
        restart=_get_scalar(shares.restart),
        load=_get_scalar(shares.load),
        repair=_get_scalar(shares.repair),
    )


def _get_scalar(values: Floats) -> float:
    return float(values[0])
