"""The topology document of a cluster: its levels, its middle, and what groups get, from graph and cost model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.cluster.analysis.diameter import diameter_hops, worst_latency_s
from planner.cluster.analysis.min_bisection import Halves
from planner.cluster.analysis.wired_bisection import bisection, devices_of_half
from planner.cluster.analysis.wired_diameter import wiring_diameter_hops
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cluster.regular.torus import torus_of
from planner.cluster.wired.build_links import expand
from planner.cluster.wired.prune_unused_links import in_use
from planner.cost.calibration import calibration
from planner.cost.collectives import all_reduce, all_to_all, send
from planner.cost.rank_groups import group
from planner.cost.scenario import usual_framework
from planner.documents.plan import ClusterPart
from planner.documents.topology import (
    SCHEMA_VERSION,
    BisectionPart,
    Collective,
    GroupKind,
    GroupPart,
    TopologyDocument,
)
from planner.report.topology.parts import level_parts_told, names_told
from planner.workload.presets import preset
from planner.workload.transformer import build_workload

MOST_WRITTEN_OUT = 131_072
"""Devices of the largest cluster that is written out cable by cable."""
_MESSAGE_BYTES = float(2**30)
_MODEL = "llama-3-8b"
_TENSOR = (2, 4, 8)
_EXPERTS = (8, 64)


def wiring_of(cluster: Cluster) -> Wiring | None:
    """The cluster cable by cable, what of it is in use; None where it is too large for that."""
    if cluster.wiring is not None:
        return in_use(cluster.wiring)
    return expand(cluster) if cluster.devices <= MOST_WRITTEN_OUT else None


def topology_document(cluster: Cluster, wiring: Wiring | None) -> TopologyDocument:
    """Everything that is told of a cluster's fabric; `wiring` as `wiring_of` gives it."""
    if cluster.wiring is not None and cluster.nodes > 1:
        hops = wiring_diameter_hops(cluster.wiring, cluster.inside, torus_of(cluster))
    else:
        hops = diameter_hops(cluster)
    return TopologyDocument(
        schema_version=SCHEMA_VERSION,
        cluster=ClusterPart(
            name=cluster.name,
            title=cluster.title,
            accelerator=cluster.accelerator.title,
            nodes=cluster.nodes,
            devices_per_node=cluster.devices_per_node,
            devices=cluster.devices,
        ),
        levels=level_parts_told(cluster, wiring),
        switches=None if wiring is None else len(wiring.switches),
        links=None if wiring is None else len(wiring.ends),
        names=[] if wiring is None else names_told(wiring),
        bisection=_bisection(cluster, bisection(cluster, wiring)),
        diameter_hops=hops,
        worst_latency_s=worst_latency_s(cluster, hops),
        groups=list(_groups(cluster)),
    )


def _bisection(cluster: Cluster, middle: Halves) -> BisectionPart:
    half = devices_of_half(cluster)
    each = middle.bytes_per_s / half if half else 0.0
    ways = {level.through_nic: level.bandwidth_bytes_per_s for level in reversed(cluster.levels[1:])}
    out = ways.get(True, ways.get(False, 0.0))
    share = each / out if out and half else None
    return BisectionPart(
        bytes_per_s=middle.bytes_per_s,
        exact=middle.exact,
        bytes_per_s_per_device=each,
        share=None if share is None or share > 1 + 1e-9 else min(share, 1.0),
    )


@dataclass(frozen=True)
class _Asked:
    """A group that is asked about."""

    kind: GroupKind
    ranks: int
    stride: int
    collective: Collective


def _asked(cluster: Cluster, network: Network) -> Iterator[_Asked]:
    """Groups that runs have: tensor parallel inside, experts, stages and data parallel across nodes."""
    per_node, nodes, devices = cluster.devices_per_node, cluster.nodes, cluster.devices
    domain = max((int(n) for n, card in zip(network.joined, network.through_nic, strict=True) if not card), default=1)
    for ranks in _TENSOR:
        if ranks <= per_node or ranks <= domain:
            yield _Asked("tp", ranks, 1, "all-reduce")
    if domain not in _TENSOR and 1 < domain <= devices:
        yield _Asked("scale-up", domain, 1, "all-reduce")
    for ranks in _EXPERTS:
        if ranks <= devices and devices % ranks == 0:
            yield _Asked("ep", ranks, 1, "all-to-all")
    if nodes > 1:
        yield _Asked("pp", nodes, per_node, "send")
        yield _Asked("dp", nodes, per_node, "all-reduce")
    if devices > 1:
        yield _Asked("dp", devices, 1, "all-reduce")


def _groups(cluster: Cluster) -> Iterator[GroupPart]:
    rated = build_network(cluster)
    # what collectives reach of the links is known by framework: the one that language models are trained with
    framework = usual_framework(cluster.accelerator, build_workload(preset(_MODEL)))
    fitted = calibration(cluster.accelerator.architecture, framework)
    reached = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    for asked in _asked(cluster, rated):
        seconds = _seconds(reached, asked)
        rate, tier = _rate(rated, asked)
        yield GroupPart(
            group=asked.kind,
            ranks=asked.ranks,
            stride=asked.stride,
            level=cluster.levels[tier].name,
            collective=asked.collective,
            bandwidth_bytes_per_s=rate,
            message_bytes=_MESSAGE_BYTES,
            seconds=seconds,
            algorithm_bytes_per_s=_MESSAGE_BYTES / seconds,
        )


def _seconds(network: Network, asked: _Asked) -> float:
    """Of a large message, by the cost model."""
    size, ranks, stride = np.array([_MESSAGE_BYTES]), np.array([asked.ranks]), np.array([asked.stride])
    if asked.collective == "send":
        return float(send(network, size, stride, ranks)[0])
    collective = all_to_all if asked.collective == "all-to-all" else all_reduce
    return float(collective(network, size, group(ranks, stride))[0])


def _rate(network: Network, asked: _Asked) -> tuple[float, int]:
    """One device's bytes/s at the slowest level that a group crosses, and the outermost one."""
    sizes, strides = np.array([[asked.ranks]]), np.array([[asked.stride]])
    members = network.members(sizes, strides)[0]
    below = np.concatenate([[1.0], members[:-1]])
    crossed = np.flatnonzero(members > below)
    outermost = int(crossed[-1])
    if asked.collective == "send":
        return float(network.hop(strides[0], sizes[0])[0][0]), outermost
    exchange = asked.collective == "all-to-all"
    rates = network.rates(sizes, strides, "exchange" if exchange else "ring")[0]
    # rings leave by every member's own way; of an exchange only what leaves a part passes it
    below, rates = below[crossed], rates[crossed]
    ways = (asked.ranks - 1) / (asked.ranks - below) if exchange else below
    return float((rates * ways).min()), outermost
