"""The parts of a cluster as the topology document tells them: levels with what lies in their parts, and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.build import build_network, compute_uplink_rates_bytes_per_s
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cluster.regular.torus import find_cluster_torus
from planner.documents.topology import FabricLevelPart, NameRangePart

IntArray = NDArray[np.int64]


def build_level_parts(cluster: Cluster, wiring: Wiring | None) -> list[FabricLevelPart]:
    """The levels from the node outwards; `wiring`: what is in use, None where it is not written out."""
    torus, parts, rates = (
        find_cluster_torus(cluster),
        _compute_node_parts(cluster),
        compute_uplink_rates_bytes_per_s(cluster),
    )
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


def build_name_ranges(wiring: Wiring) -> list[NameRangePart]:
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
