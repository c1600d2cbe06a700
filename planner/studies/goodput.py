"""What failures leave of a plan's throughput: the plan, the cluster and its reliability put together."""

from __future__ import annotations

import math

import numpy as np

from planner.cluster.build.reliability import Reliability
from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats
from planner.cost.operations.failures import (
    Checkpoint,
    TimeShares,
    checkpoint_times,
    daly_interval,
    job_mtbf,
    time_shares,
    whole_steps,
    young_interval,
)
from planner.cost.operations.spares import nodes_out, shrunk_share, spares_that_pay, waiting_share
from planner.cost.scenario import Framework, Training
from planner.cost.techniques.trained_state import trained_share
from planner.documents.plan import PlanPart, StrategyPart
from planner.documents.site import (
    AssumedPart,
    CheckpointPart,
    FailuresPart,
    ReliabilityPart,
    SparesPart,
    WastedPart,
)


def state_bytes(parameters: int, framework: Framework) -> float:
    """Bytes of a checkpoint: parameters and optimizer state of the whole model, once; no gradients."""
    return parameters * (framework.sharded_weight + framework.optimizer)


def reliability_part(
    training: Training, cluster: Cluster, plan: PlanPart, reliability: Reliability
) -> ReliabilityPart:
    """Goodput of one plan with the checkpoints that are best for it, in the document's words."""
    devices, nodes = np.array([float(cluster.devices)]), np.array([float(cluster.nodes)])
    mtbf = job_mtbf(
        devices,
        nodes,
        device_mtbf_s=reliability.device_mtbf_s,
        node_mtbf_s=reliability.node_mtbf_s,
        software_mtbf_s=reliability.software_mtbf_s,
    )
    size = trained_share(training) * state_bytes(training.workload.parameters, training.framework)
    saved = _checkpoint(size, cluster, plan.strategy, reliability)
    step = np.array([plan.step_time_s])
    steps = whole_steps(step, saved, mtbf)
    spares, missing = _spares(devices, nodes, cluster, plan.strategy, reliability)
    shares = time_shares(
        steps * step,
        saved,
        mtbf,
        detection_s=reliability.detection_s,
        restart_s=reliability.restart_s,
        available=1.0 - missing,
    )
    goodput = _first(shares.goodput)
    return ReliabilityPart(
        mtbf_s=_first(mtbf),
        mtbf_by_cause=FailuresPart(
            device_s=reliability.device_mtbf_s / cluster.devices,
            node_s=reliability.node_mtbf_s / cluster.nodes,
            software_s=reliability.software_mtbf_s / cluster.nodes,
        ),
        checkpoint=_checkpoint_part(size, saved, mtbf, steps, step, asynchronous=reliability.asynchronous),
        spares=spares,
        goodput_share=goodput,
        goodput_tokens_per_s=goodput * plan.tokens_per_s,
        wasted=_wasted_part(shares),
        assumed=[AssumedPart(name=one.name, value=one.value, source=one.source) for one in reliability.assumed],
    )


def _checkpoint(size: float, cluster: Cluster, split: StrategyPart, reliability: Reliability) -> Checkpoint:
    """Its times. With ZeRO each device writes what it alone holds. Without it one replica writes for all, or so many
    replicas as the experts are spread over.
    """
    replicas = split.ep // math.gcd(split.ep, split.tp // split.etp * split.cp)
    writers = cluster.devices if split.zero_stage else cluster.devices // split.dp * replicas
    link = cluster.host.link_bytes_per_s if cluster.host else math.inf
    out = next((level.bandwidth_bytes_per_s for level in cluster.levels if level.through_nic), math.inf)
    return checkpoint_times(
        np.array([size]),
        np.array([float(writers)]),
        write_bytes_per_s=reliability.write_bytes_per_s,
        read_bytes_per_s=reliability.read_bytes_per_s,
        # where nothing is known of the host, the state leaves the device as fast as it leaves the node
        link_bytes_per_s=link if math.isfinite(link) or not math.isfinite(out) else out,
        way_out_bytes_per_s=out,
        pause_s=reliability.pause_s,
        asynchronous=reliability.asynchronous,
    )


def _spares(
    devices: Floats, nodes: Floats, cluster: Cluster, split: StrategyPart, reliability: Reliability
) -> tuple[SparesPart, Floats]:
    """The spare nodes, and the share of the time (or of the work) that is missing with them."""
    load = nodes_out(
        nodes,
        devices,
        device_mtbf_s=reliability.device_mtbf_s,
        node_mtbf_s=reliability.node_mtbf_s,
        repair_s=reliability.repair_s,
    )
    recommended = int(_first(spares_that_pay(load, nodes)))
    count = recommended if reliability.spares is None else reliability.spares
    if reliability.shrinks:
        replica = math.ceil(split.tp * split.pp * split.cp / cluster.devices_per_node)
        missing = shrunk_share(load, count, nodes, np.array([float(replica)]))
    else:
        missing = waiting_share(load, count)
    part = SparesPart(
        nodes=count,
        recommended=recommended,
        nodes_in_repair=_first(load),
        short_share=_first(missing),
        when_short="shrink" if reliability.shrinks else "wait",
    )
    return part, missing


def _checkpoint_part(
    size: float, saved: Checkpoint, mtbf: Floats, steps: Floats, step: Floats, *, asynchronous: bool
) -> CheckpointPart:
    return CheckpointPart(
        bytes=size,
        asynchronous=asynchronous,
        blocked_s=_first(saved.blocked_s),
        write_s=_first(saved.blocked_s + saved.behind_s),
        read_s=_first(saved.load_s),
        young_interval_s=_first(young_interval(saved.blocked_s, mtbf)),
        daly_interval_s=_first(daly_interval(saved.blocked_s, mtbf)),
        interval_steps=int(_first(steps)),
        interval_s=_first(steps * step),
    )


def _wasted_part(shares: TimeShares) -> WastedPart:
    return WastedPart(
        checkpoint=_first(shares.checkpoint),
        lost=_first(shares.lost),
        detection=_first(shares.detection),
        restart=_first(shares.restart),
        load=_first(shares.load),
        repair=_first(shares.repair),
    )


def _first(values: Floats) -> float:
    return float(values[0])
