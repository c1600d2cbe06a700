"""Bisection bandwidth of a cluster: what one half of it can send to the other, in one direction, at worst.

Dally and Towles 2004 (Principles and Practices of Interconnection Networks), sections 3.2 and 5.2: the narrowest cut
between two halves. Halves are whole nodes; of one node, and of one torus (`torus_bisection`), devices. Networks that
share nothing but the devices (NVLink and network cards) add up.

Of a regular cluster the first half of the ranks and the second are counted class by class, whatever its size. Where
groups are uneven other halves may be joined by less: then the cluster is written out (`wired_bisection`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from planner.cluster.analysis.torus_bisection import (
    compute_tori_cut_bytes_per_s,
    compute_torus_cut_bytes_per_s,
    find_halved_torus,
    is_single_torus,
)
from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.intra_node import IntraNodeTopology, compute_link_shares


def compute_regular_bisection_bytes_per_s(cluster: Cluster) -> float:
    """Bytes/s from the first half of a regular cluster to the second, in one direction; 0 for a single device."""
    torus = find_halved_torus(cluster)
    if cluster.nodes == 1 and torus is None:
        return _compute_intra_node_cut_bytes_per_s(cluster)
    if torus is not None and is_single_torus(cluster):
        return compute_torus_cut_bytes_per_s(torus)
    half = cluster.nodes // 2
    cut = 0.0 if torus is None else compute_tori_cut_bytes_per_s(cluster, torus)
    return (
        cut
        + math.fsum(_compute_star_cut_bytes_per_s(cluster, half, index) for index in _list_star_levels(cluster))
        + _compute_network_cut_bytes_per_s(cluster, half)
    )


def is_first_halving_narrowest(cluster: Cluster, cut_bytes_per_s: float) -> bool:
    """Whether it is certain that no halves of a regular cluster are joined by less than the first ones, by
    `cut_bytes_per_s` bytes/s.

    It is where the halves are whole groups of every level, all of them full: then every device of a half is cut off
    where it has the least. And where they are joined by no more than all devices of a half have to the switches of
    the outermost level: of any two halves one is cut off from these.
    """
    outermost, group_devices = cluster.levels[-1], compute_group_devices(cluster)
    if (
        outermost.topology not in ("dragonfly+", "torus")
        and cluster.nodes > 1
        and group_devices[-1] >= cluster.devices
    ):
        half_uplink_bytes_per_s = cluster.nodes // 2 * cluster.devices_per_node * outermost.bandwidth_bytes_per_s
        if cut_bytes_per_s <= half_uplink_bytes_per_s * (1 + 1e-9):
            return True
    if cluster.nodes == 1:
        return cluster.levels[0].topology in ("nvswitch", "fully-connected")
    if outermost.topology == "torus":
        return False
    half = cluster.nodes // 2
    sizes = [max(devices // cluster.devices_per_node, 1) for devices in group_devices[1:]]
    inner_sizes = [size for size in sizes if size < cluster.nodes]
    is_nested = all(outer_size % inner_size == 0 for inner_size, outer_size in itertools.pairwise(inner_sizes))
    return not inner_sizes or (is_nested and cluster.nodes % 2 == 0 and all(half % size == 0 for size in inner_sizes))


def _compute_intra_node_cut_bytes_per_s(cluster: Cluster) -> float:
    """Between the halves of one node's devices."""
    used, rate, intra_node = cluster.devices, cluster.levels[0].bandwidth_bytes_per_s, cluster.intra_node
    half = used // 2
    shares = None if intra_node is None else compute_link_shares(intra_node)
    if shares is not None:
        return rate * float(shares[:half, half:used].sum())
    if intra_node is not None and intra_node.topology == "pcie":
        return rate * _compute_pcie_cut(intra_node, used)
    return rate * half


def _compute_pcie_cut(intra_node: IntraNodeTopology, used: int) -> float:
    """The narrowest cut of the tree of switches and bridges, each on one side or the other; in one device's rate."""
    half = used // 2
    device = np.arange(used)
    in_first_half = device < half
    switch, bridge = device // intra_node.switch_devices, intra_node.get_bridge(device)
    best = np.inf
    for sides in itertools.product((False, True), repeat=int(bridge[-1]) + 1):
        cost = intra_node.bridge_share * sum(
            item != other_item for item, other_item in itertools.combinations(sides, 2)
        )
        for item in np.unique(switch):
            switch_devices_in_first = in_first_half[switch == item]
            bridge_side = sides[int(bridge[switch == item][0])]
            if intra_node.switch_devices == 1:
                cost += float(switch_devices_in_first[0] != bridge_side)
            else:
                cost += min(
                    float((switch_devices_in_first != side).sum()) + float(side != bridge_side)
                    for side in (False, True)
                )
        best = min(best, cost)
    return float(best)


def _list_star_levels(cluster: Cluster) -> list[int]:
    """The levels that nodes reach by links of their own, through one switch."""
    return [n for n, level in enumerate(cluster.levels) if n and not level.through_nic and level.axes is None]


def _compute_star_cut_bytes_per_s(cluster: Cluster, half: int, index: int) -> float:
    """Between the halves of the one group that is halved, if any."""
    size = compute_group_devices(cluster)[index] // cluster.devices_per_node
    start = half // size * size
    group_nodes = min(size, cluster.nodes - start)
    smaller_side = min(half - start, group_nodes - (half - start))
    return smaller_side * cluster.devices_per_node * cluster.levels[index].bandwidth_bytes_per_s


@dataclass(frozen=True)
class _SwitchTree:
    """Levels of a network of switches, from the hosts up: `group_nodes`, nodes of a group, and `uplink_bytes_per_s`,
    bytes/s of one node's devices up to it.
    """

    group_nodes: tuple[int, ...]
    uplink_bytes_per_s: tuple[float, ...]

    def compute_cuts(self, level: int, first_half_nodes: int, nodes: int) -> tuple[float, float]:
        """The narrowest cut below a group's switch whose first nodes are in the first half, if the switch counts to
        the first half and if it counts to the second. The cut of a graph of switches of one kind treats them alike.
        """
        if level < 0:
            return (0.0, np.inf) if first_half_nodes else (np.inf, 0.0)
        part_size = self.group_nodes[level - 1] if level else 1
        cost = [0.0, 0.0]
        for (part_first_half, part_nodes), count in _count_parts(first_half_nodes, nodes, part_size).items():
            first_side_cost, second_side_cost = self.compute_cuts(level - 1, part_first_half, part_nodes)
            uplink_cost = part_nodes * self.uplink_bytes_per_s[level]
            cost[0] += count * min(first_side_cost, second_side_cost + uplink_cost)
            cost[1] += count * min(second_side_cost, first_side_cost + uplink_cost)
        return cost[0], cost[1]


def _count_parts(first_half_nodes: int, nodes: int, part_size: int) -> dict[tuple[int, int], int]:
    """The parts of a group: how many of each kind, by their nodes in the first half and in all."""
    part_counts: dict[tuple[int, int], int] = {}
    full, remainder = divmod(nodes, part_size)
    first_half_parts = first_half_nodes // part_size
    part_types = [((part_size, part_size), first_half_parts), ((0, part_size), full - first_half_parts)]
    if first_half_nodes % part_size and first_half_parts < full:
        part_types = [
            *part_types[:1],
            ((first_half_nodes % part_size, part_size), 1),
            ((0, part_size), full - first_half_parts - 1),
        ]
    if remainder:
        part_types.append(((min(max(first_half_nodes - full * part_size, 0), remainder), remainder), 1))
    for part_type, count in part_types:
        if count:
            part_counts[part_type] = part_counts.get(part_type, 0) + count
    return part_counts


def _compute_network_cut_bytes_per_s(cluster: Cluster, half: int) -> float:
    """Between the first `half` nodes and the others, over network cards."""
    per_node = cluster.devices_per_node
    network = [
        (level, devices // per_node)
        for level, devices in zip(cluster.levels, compute_group_devices(cluster), strict=True)
        if level.through_nic
    ]
    if not network:
        return 0.0
    switched_levels = [entry for entry in network if entry[0].topology != "dragonfly+"]
    tree = _SwitchTree(
        tuple(size for _, size in switched_levels),
        tuple(per_node * level.bandwidth_bytes_per_s for level, _ in switched_levels),
    )
    if len(switched_levels) == len(network):
        # groups of the highest level that nothing joins are apart: each is cut for itself
        part_counts = _count_parts(half, cluster.nodes, tree.group_nodes[-1])
        return math.fsum(
            count * min(tree.compute_cuts(len(tree.group_nodes) - 1, *part_type))
            for part_type, count in part_counts.items()
        )
    return _compute_dragonfly_cut_bytes_per_s(
        tree, half, cluster.nodes, per_node * network[-1][0].bandwidth_bytes_per_s
    )


def _compute_dragonfly_cut_bytes_per_s(
    tree: _SwitchTree, half: int, nodes: int, group_uplink_bytes_per_s: float
) -> float:
    """Groups that are joined each with each other: their switches on one side or the other, alike for like groups.

    `group_uplink_bytes_per_s`: bytes/s of one node's devices out of their group.
    """
    top = len(tree.group_nodes) - 1
    part_counts = list(_count_parts(half, nodes, tree.group_nodes[top]).items())
    groups = sum(count for _, count in part_counts)
    best = np.inf
    for sides in itertools.product((0, 1), repeat=len(part_counts)):
        cost = math.fsum(
            count * tree.compute_cuts(top, *part_type)[side]
            for (part_type, count), side in zip(part_counts, sides, strict=True)
        )
        for (first_part, side), (second_part, other_side) in itertools.combinations(
            zip(part_counts, sides, strict=True), 2
        ):
            if side != other_side:
                cost += (
                    first_part[1]
                    * second_part[1]
                    * min(first_part[0][1], second_part[0][1])
                    * group_uplink_bytes_per_s
                    / (groups - 1)
                )
        best = min(best, cost)
    return float(best)
