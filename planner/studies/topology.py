"""The topology document of a cluster: levels, bisection, diameter, and the collectives of parallel groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.cluster.analysis.bisection import BisectionCut, compute_bisection, count_half_devices
from planner.cluster.analysis.diameter import compute_diameter_hops, compute_worst_latency_s
from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.build import build_network, compute_uplink_rates_bytes_per_s
from planner.cluster.network.network import Network
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cluster.regular.torus import find_cluster_torus
from planner.cost.calibration import build_calibration
from planner.cost.collectives import compute_all_reduce_s, compute_all_to_all_s, compute_point_to_point_s
from planner.cost.rank_groups import build_rank_group
from planner.documents.plan import ClusterPart
from planner.documents.topology import (
    SCHEMA_VERSION,
    BisectionPart,
    FabricLevelPart,
    GroupCollective,
    NameRangePart,
    ParallelGroupPart,
    ParallelGroupType,
    TopologyDocument,
)
from planner.trainers.registry import find_default_trainer
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload

IntArray = NDArray[np.int64]
_MESSAGE_BYTES = float(2**30)
_REFERENCE_MODEL = "llama-3-8b"
_TENSOR_PARALLEL_SIZES = (2, 4, 8)
_EXPERT_PARALLEL_SIZES = (8, 64)


def build_topology_document(cluster: Cluster, wiring: Wiring | None) -> TopologyDocument:
    """The figures of a cluster's fabric; `wiring` as `list_used_links` gives it, None where it is too large."""
    hops = compute_diameter_hops(cluster)
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
        levels=_build_level_parts(cluster, wiring),
        switches=None if wiring is None else len(wiring.switches),
        links=None if wiring is None else len(wiring.endpoints),
        names=[] if wiring is None else _build_name_ranges(wiring),
        bisection=_build_bisection_part(cluster, compute_bisection(cluster, wiring)),
        diameter_hops=hops,
        worst_latency_s=compute_worst_latency_s(cluster, hops),
        groups=list(_build_group_parts(cluster)),
    )


def _build_bisection_part(cluster: Cluster, halves: BisectionCut) -> BisectionPart:
    half_devices = count_half_devices(cluster)
    device_bytes_per_s = halves.bytes_per_s / half_devices if half_devices else 0.0
    uplink_by_nic = {level.through_nic: level.bandwidth_bytes_per_s for level in reversed(cluster.levels[1:])}
    injection_bytes_per_s = uplink_by_nic.get(True, uplink_by_nic.get(False, 0.0))
    share = device_bytes_per_s / injection_bytes_per_s if injection_bytes_per_s and half_devices else None
    return BisectionPart(
        bytes_per_s=halves.bytes_per_s,
        exact=halves.is_exact,
        bytes_per_s_per_device=device_bytes_per_s,
        share=None if share is None or share > 1 + 1e-9 else min(share, 1.0),
    )


@dataclass(frozen=True)
class _GroupQuery:
    """A collective of a parallel group: `ranks` devices, each `stride` after the one before."""

    group_type: ParallelGroupType
    ranks: int
    stride: int
    collective: GroupCollective


def _enumerate_group_queries(cluster: Cluster, network: Network) -> Iterator[_GroupQuery]:
    """Groups that runs have: tensor parallel inside, experts, stages and data parallel across nodes."""
    per_node, nodes, devices = cluster.devices_per_node, cluster.nodes, cluster.devices
    scale_up_devices = network.link_domain_ranks
    for ranks in _TENSOR_PARALLEL_SIZES:
        if ranks <= per_node or ranks <= scale_up_devices:
            yield _GroupQuery("tp", ranks, 1, "all-reduce")
    if scale_up_devices not in _TENSOR_PARALLEL_SIZES and 1 < scale_up_devices <= devices:
        yield _GroupQuery("scale-up", scale_up_devices, 1, "all-reduce")
    for ranks in _EXPERT_PARALLEL_SIZES:
        if ranks <= devices and devices % ranks == 0:
            yield _GroupQuery("ep", ranks, 1, "all-to-all")
    if nodes > 1:
        yield _GroupQuery("pp", nodes, per_node, "send")
        yield _GroupQuery("dp", nodes, per_node, "all-reduce")
    if devices > 1:
        yield _GroupQuery("dp", devices, 1, "all-reduce")


def _build_group_parts(cluster: Cluster) -> Iterator[ParallelGroupPart]:
    rated_network = build_network(cluster)
    # what collectives reach of the links is fitted by trainer: the default one for language models
    trainer_name = find_default_trainer(cluster.accelerator, build_workload(read_model_preset(_REFERENCE_MODEL)))
    fitted_calibration = build_calibration(cluster.accelerator.architecture, trainer_name)
    effective_network = build_network(
        cluster, link_efficiency=fitted_calibration.link_efficiency, nic_efficiency=fitted_calibration.nic_efficiency
    )
    for query in _enumerate_group_queries(cluster, rated_network):
        seconds = _compute_collective_time_s(effective_network, query)
        rate, tier = _compute_group_bandwidth(rated_network, query)
        yield ParallelGroupPart(
            group=query.group_type,
            ranks=query.ranks,
            stride=query.stride,
            level=cluster.levels[tier].name,
            collective=query.collective,
            bandwidth_bytes_per_s=rate,
            message_bytes=_MESSAGE_BYTES,
            seconds=seconds,
            algorithm_bytes_per_s=_MESSAGE_BYTES / seconds,
        )


def _compute_collective_time_s(network: Network, query: _GroupQuery) -> float:
    """Of a large message, by the cost model."""
    size, ranks, stride = np.array([_MESSAGE_BYTES]), np.array([query.ranks]), np.array([query.stride])
    if query.collective == "send":
        return float(compute_point_to_point_s(network, size, stride, ranks)[0])
    collective = compute_all_to_all_s if query.collective == "all-to-all" else compute_all_reduce_s
    return float(collective(network, size, build_rank_group(ranks, stride))[0])


def _compute_group_bandwidth(network: Network, query: _GroupQuery) -> tuple[float, int]:
    """One device's bytes/s at the slowest level that a group crosses, and the outermost one."""
    sizes, strides = np.array([[query.ranks]]), np.array([[query.stride]])
    members = network.compute_members(sizes, strides)[0]
    inner_members = np.concatenate([[1.0], members[:-1]])
    crossed = np.flatnonzero(members > inner_members)
    outermost = int(crossed[-1])
    if query.collective == "send":
        return float(network.compute_slowest_hop(strides[0], sizes[0])[0][0]), outermost
    is_all_to_all = query.collective == "all-to-all"
    rates = network.compute_rates_bytes_per_s(sizes, strides, "all-to-all" if is_all_to_all else "ring")[0]
    # rings leave by every member's own way; of an exchange only what leaves a part passes it
    inner_members, rates = inner_members[crossed], rates[crossed]
    uplink_counts = (query.ranks - 1) / (query.ranks - inner_members) if is_all_to_all else inner_members
    return float((rates * uplink_counts).min()), outermost


def _build_level_parts(cluster: Cluster, wiring: Wiring | None) -> list[FabricLevelPart]:
    """The levels from the node outwards; `wiring`: what is in use, None where it is not written out."""
    torus, parts = find_cluster_torus(cluster), _compute_node_parts(cluster)
    rates = compute_uplink_rates_bytes_per_s(cluster)
    switches = None if wiring is None else _count_switches(cluster, wiring)
    full_devices = compute_group_devices(cluster.layout)
    inner_rates: dict[bool, float] = {}
    level_parts = []
    for index, level in enumerate(cluster.levels):
        rate, inner_rate = rates[index], inner_rates.get(level.through_nic, rates[index])
        part_devices = np.unique(parts[index], return_counts=True)[1] * cluster.devices_per_node
        inner_counts = _count_inner_parts(parts, index) if index else np.array([cluster.devices_per_node])
        # of a torus with holes the shape is what it was
        has_torus_shape = level.axes is not None and torus is not None and torus.devices == full_devices[index]
        level_parts.append(
            FabricLevelPart(
                name=level.name,
                topology=level.topology,
                devices=int(part_devices.max()),
                fewest_devices=int(part_devices.min()),
                parts=len(part_devices),
                most_inside=int(inner_counts.max()),
                fewest_inside=int(inner_counts.min()),
                switches=None if switches is None else switches[level.name],
                bandwidth_bytes_per_s=rate,
                # what a slow host has of its own links is no oversubscription
                oversubscription=inner_rate / rate if not cluster.listed_hosts or level.through_nic else 1.0,
                latency_s=level.latency_s,
                through_nic=level.through_nic,
                shape=list(torus.shape) if has_torus_shape and torus is not None else [],
                wrap=list(torus.wrap) if has_torus_shape and torus is not None else [],
            )
        )
        inner_rates[level.through_nic] = rate
    return level_parts


def _compute_node_parts(cluster: Cluster) -> IntArray:
    """The part of each level that a node lies in, shape [levels, nodes]."""
    network = build_network(cluster)
    if isinstance(network, RoutedNetwork):
        return network.tier_parts
    devices_per_part = np.array(compute_group_devices(cluster))[:, None]
    node = np.arange(cluster.nodes)[None, :]
    return np.where(
        devices_per_part > cluster.devices_per_node, node * cluster.devices_per_node // devices_per_part, node
    )


def _count_inner_parts(parts: IntArray, level_index: int) -> IntArray:
    """How many parts of the next inner level each part of a level has, shape [parts]."""
    pairs = np.unique(parts[[level_index, level_index - 1]], axis=1)
    return np.unique(pairs[0], return_counts=True)[1]


def _count_switches(cluster: Cluster, wiring: Wiring) -> Counter[str]:
    """Switches of each level. Of a wiring of one's own: those of racks, those that hosts are wired to, the others."""
    if cluster.is_regular:
        return Counter(name.rsplit("-", 1)[0] for name in wiring.switches)
    level_names = [level.name for level in cluster.levels]
    host_count = len(wiring.hosts)
    switch_levels = np.full(len(wiring.vertex_names), "fabric", dtype="<U6")
    if "leaf" in level_names:
        switch_levels[wiring.endpoints[(wiring.endpoints < host_count).any(axis=1) & ~wiring.in_rack]] = "leaf"
    switch_levels[wiring.endpoints[wiring.in_rack]] = "rack"
    return Counter(switch_levels[host_count:].tolist())


def _build_name_ranges(wiring: Wiring) -> list[NameRangePart]:
    """Names of hosts and switches, those that count on together."""
    return [*_enumerate_name_ranges("node", wiring.hosts), *_enumerate_name_ranges("switch", wiring.switches)]


def _enumerate_name_ranges(part_type: Literal["node", "switch"], names: Sequence[str]) -> Iterator[NameRangePart]:
    """Names of each kind in the order of their numbers, a part for each run of numbers without a gap."""
    names_by_stem: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        number_match = re.search(r"[0-9]{0,18}$", name)
        digits = number_match.group() if number_match else ""
        names_by_stem.setdefault(name.removesuffix(digits) if digits else name, []).append((int(digits or 0), name))
    for stem_names in names_by_stem.values():
        run: list[tuple[int, str]] = []
        for numbered_name in sorted(stem_names):
            if run and numbered_name[0] != run[-1][0] + 1:
                yield NameRangePart(kind=part_type, first=run[0][1], last=run[-1][1], count=len(run))
                run = []
            run.append(numbered_name)
        yield NameRangePart(kind=part_type, first=run[0][1], last=run[-1][1], count=len(run))
