"""The topology document of a cluster: its levels, its middle, and what groups get, from graph and cost model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.cluster.bisection import bisection_bytes_per_s, wiring_bisection
from planner.cluster.cluster import Cluster, joined_devices
from planner.cluster.diameter import diameter_hops, wiring_diameter_hops, worst_latency_s
from planner.cluster.expand import expand
from planner.cluster.halving import Halves
from planner.cluster.network import Network, build_network
from planner.cluster.routed import RoutedNetwork
from planner.cluster.torus import torus_of
from planner.cluster.wiring import Wiring
from planner.cost.calibration import calibration
from planner.cost.collectives import all_reduce, all_to_all, send
from planner.cost.ranks import group
from planner.cost.training import usual_framework
from planner.report.topology_document import (
    SCHEMA_VERSION,
    BisectionPart,
    Collective,
    GroupKind,
    GroupPart,
    LevelPart,
    NamesPart,
    TopologyDocument,
)
from planner.search.document import ClusterPart
from planner.workload.build import build_workload
from planner.workload.presets import preset

MOST_WRITTEN_OUT = 131_072
"""Devices of the largest cluster that is written out cable by cable."""
_MESSAGE_BYTES = float(2**30)
_MODEL = "llama-3-8b"
_TENSOR = (2, 4, 8)
_EXPERTS = (8, 64)


def wiring_of(cluster: Cluster) -> Wiring | None:
    """The cluster cable by cable; None where it is too large for that."""
    if cluster.wiring is not None:
        return cluster.wiring
    return expand(cluster) if cluster.devices <= MOST_WRITTEN_OUT else None


def topology_document(cluster: Cluster, wiring: Wiring | None) -> TopologyDocument:
    """Everything that is told of a cluster's fabric; `wiring` as `wiring_of` gives it."""
    irregular = cluster.wiring is not None and cluster.nodes > 1
    if irregular and cluster.wiring is not None:
        cut = wiring_bisection(cluster.wiring)
        hops = wiring_diameter_hops(cluster.wiring, cluster.inside, torus_of(cluster))
    else:
        cut, hops = Halves(bisection_bytes_per_s(cluster), exact=True), diameter_hops(cluster)
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
        levels=_levels(cluster, wiring),
        switches=None if wiring is None else len(_working_switches(wiring)),
        links=None if wiring is None else int((wiring.bandwidth_bytes_per_s > 0).sum()),
        names=[] if wiring is None else [*_names("node", wiring.hosts), *_names("switch", _working_switches(wiring))],
        bisection=_bisection(cluster, cut),
        diameter_hops=hops,
        worst_latency_s=worst_latency_s(cluster),
        groups=list(_groups(cluster)),
    )


def _working_switches(wiring: Wiring) -> list[str]:
    """The switches that a link that works leads to, by name."""
    used = np.unique(wiring.ends[wiring.bandwidth_bytes_per_s > 0])
    return [wiring.vertices[vertex] for vertex in used.tolist() if vertex >= len(wiring.hosts)]


def _parts(cluster: Cluster) -> list[tuple[int, int]]:
    """For each level the devices below its largest part, and how many parts there are."""
    network = build_network(cluster)
    if not isinstance(network, RoutedNetwork):
        return [(devices, -(-cluster.devices // devices)) for devices in joined_devices(cluster)]
    counts = [np.unique(part, return_counts=True)[1] for part in network.parts]
    return [(int(one.max()) * cluster.devices_per_node, len(one)) for one in counts]


def _levels(cluster: Cluster, wiring: Wiring | None) -> list[LevelPart]:
    torus, by_name = torus_of(cluster), cluster.wiring is None or cluster.sound is not None
    counted = Counter(name.rsplit("-", 1)[0] for name in (_working_switches(wiring) if wiring is not None else ()))
    inner: dict[bool, float] = {}
    found = []
    # of a torus with holes the shape is what it was
    before = joined_devices(cluster if cluster.sound is None else cluster.sound.cluster)
    for level, (devices, parts), whole in zip(cluster.levels, _parts(cluster), before, strict=False):
        rate = level.bandwidth_bytes_per_s
        told = level.axes is not None and torus is not None and torus.devices == whole
        found.append(
            LevelPart(
                name=level.name,
                topology=level.topology,
                devices=devices,
                parts=parts,
                switches=counted[level.name] if wiring is not None and by_name else None,
                bandwidth_bytes_per_s=rate,
                oversubscription=inner.get(level.through_nic, rate) / rate,
                latency_s=level.latency_s,
                network_cards=level.through_nic,
                shape=list(torus.shape) if told and torus is not None else [],
                wrap=list(torus.wrap) if told and torus is not None else [],
            )
        )
        inner[level.through_nic] = rate
    return found


def _names(kind: Literal["node", "switch"], names: Sequence[str]) -> Iterator[NamesPart]:
    """Names that differ by their number only, together, in order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rstrip("0123456789"), []).append(name)
    for held in found.values():
        yield NamesPart(kind=kind, first=held[0], last=held[-1], count=len(held))


def _bisection(cluster: Cluster, cut: Halves) -> BisectionPart:
    half = cluster.nodes // 2 * cluster.devices_per_node if cluster.nodes > 1 else cluster.devices // 2
    each = cut.bytes_per_s / half if half else 0.0
    ways = {level.through_nic: level.bandwidth_bytes_per_s for level in reversed(cluster.levels[1:])}
    out = ways.get(True, ways.get(False, 0.0))
    share = min(1.0, each / out) if out and half else None
    return BisectionPart(bytes_per_s=cut.bytes_per_s, bytes_per_s_per_device=each, share=share, exact=cut.exact)


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
