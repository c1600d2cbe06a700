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

from planner.cluster.analysis.torus_bisection import halved_torus, is_all_a_torus, tori_cut, torus_cut
from planner.cluster.model.cluster import Cluster, joined_devices
from planner.cluster.model.intra_node import Inside, link_shares


def bisection_bytes_per_s(cluster: Cluster) -> float:
    """Bytes/s from the first half of a regular cluster to the second, in one direction; 0 for a single device."""
    torus = halved_torus(cluster)
    if cluster.nodes == 1 and torus is None:
        return _inside_cut(cluster)
    if torus is not None and is_all_a_torus(cluster):
        return torus_cut(torus)
    half = cluster.nodes // 2
    cut = 0.0 if torus is None else tori_cut(cluster, torus)
    return cut + math.fsum(_star_cut(cluster, half, index) for index in _stars(cluster)) + _network_cut(cluster, half)


def halves_are_narrowest(cluster: Cluster, told: float) -> bool:
    """Whether it is certain that no halves of a regular cluster are joined by less than the first ones, by `told`
    bytes/s.

    It is where the halves are whole groups of every level, all of them full: then every device of a half is cut off
    where it has the least. And where they are joined by no more than all devices of a half have to the switches of
    the outermost level: of any two halves one is cut off from these.
    """
    outermost, joined = cluster.levels[-1], joined_devices(cluster)
    if outermost.topology not in ("dragonfly+", "torus") and cluster.nodes > 1 and joined[-1] >= cluster.devices:
        most = cluster.nodes // 2 * cluster.devices_per_node * outermost.bandwidth_bytes_per_s
        if told <= most * (1 + 1e-9):
            return True
    if cluster.nodes == 1:
        return cluster.levels[0].topology in ("nvswitch", "fully-connected")
    if outermost.topology == "torus":
        return False
    half = cluster.nodes // 2
    sizes = [max(devices // cluster.devices_per_node, 1) for devices in joined[1:]]
    inner = [size for size in sizes if size < cluster.nodes]
    nested = all(other % one == 0 for one, other in itertools.pairwise(inner))
    return not inner or (nested and cluster.nodes % 2 == 0 and all(half % size == 0 for size in inner))


def _inside_cut(cluster: Cluster) -> float:
    """Between the halves of one node's devices."""
    used, rate, inside = cluster.devices, cluster.levels[0].bandwidth_bytes_per_s, cluster.inside
    half = used // 2
    shares = None if inside is None else link_shares(inside)
    if shares is not None:
        return rate * float(shares[:half, half:used].sum())
    if inside is not None and inside.topology == "pcie":
        return rate * _pcie_cut(inside, used)
    return rate * half


def _pcie_cut(inside: Inside, used: int) -> float:
    """The narrowest cut of the tree of switches and bridges, each on one side or the other; in one device's rate."""
    half = used // 2
    device = np.arange(used)
    first = device < half
    switch, bridge = device // inside.switch_devices, inside.bridge_of(device)
    best = np.inf
    for sides in itertools.product((False, True), repeat=int(bridge[-1]) + 1):
        cost = inside.bridge_share * sum(one != other for one, other in itertools.combinations(sides, 2))
        for one in np.unique(switch):
            below = first[switch == one]
            up = sides[int(bridge[switch == one][0])]
            if inside.switch_devices == 1:
                cost += float(below[0] != up)
            else:
                cost += min(float((below != side).sum()) + float(side != up) for side in (False, True))
        best = min(best, cost)
    return float(best)


def _stars(cluster: Cluster) -> list[int]:
    """The levels that nodes reach by links of their own, through one switch."""
    return [n for n, level in enumerate(cluster.levels) if n and not level.through_nic and level.axes is None]


def _star_cut(cluster: Cluster, half: int, index: int) -> float:
    """Between the halves of the one group that is halved, if any."""
    size = joined_devices(cluster)[index] // cluster.devices_per_node
    start = half // size * size
    inside = min(size, cluster.nodes - start)
    fewer = min(half - start, inside - (half - start))
    return fewer * cluster.devices_per_node * cluster.levels[index].bandwidth_bytes_per_s


@dataclass(frozen=True)
class _Tree:
    """Levels of a network of switches, from the hosts up: `size`, nodes of a group, and `up`, bytes/s of one node's
    devices up to it.
    """

    size: tuple[int, ...]
    up: tuple[float, ...]

    def cut(self, level: int, first: int, nodes: int) -> tuple[float, float]:
        """The narrowest cut below a group's switch whose first nodes are in the first half, if the switch counts to
        the first half and if it counts to the second. The cut of a graph of switches of one kind treats them alike.
        """
        if level < 0:
            return (0.0, np.inf) if first else (np.inf, 0.0)
        below = self.size[level - 1] if level else 1
        cost = [0.0, 0.0]
        for (part, whole), count in _parts(first, nodes, below).items():
            one, other = self.cut(level - 1, part, whole)
            up = whole * self.up[level]
            cost[0] += count * min(one, other + up)
            cost[1] += count * min(other, one + up)
        return cost[0], cost[1]


def _parts(first: int, nodes: int, below: int) -> dict[tuple[int, int], int]:
    """The parts of a group: how many of each kind, by their nodes in the first half and in all."""
    found: dict[tuple[int, int], int] = {}
    full, rest = divmod(nodes, below)
    whole = first // below
    kinds = [((below, below), whole), ((0, below), full - whole)]
    if first % below and whole < full:
        kinds = [*kinds[:1], ((first % below, below), 1), ((0, below), full - whole - 1)]
    if rest:
        kinds.append(((min(max(first - full * below, 0), rest), rest), 1))
    for kind, count in kinds:
        if count:
            found[kind] = found.get(kind, 0) + count
    return found


def _network_cut(cluster: Cluster, half: int) -> float:
    """Between the first `half` nodes and the others, over network cards."""
    per_node = cluster.devices_per_node
    network = [
        (level, devices // per_node)
        for level, devices in zip(cluster.levels, joined_devices(cluster), strict=True)
        if level.through_nic
    ]
    if not network:
        return 0.0
    joined = [one for one in network if one[0].topology != "dragonfly+"]
    tree = _Tree(
        tuple(size for _, size in joined),
        tuple(per_node * level.bandwidth_bytes_per_s for level, _ in joined),
    )
    if len(joined) == len(network):
        # groups of the highest level that nothing joins are apart: each is cut for itself
        kinds = _parts(half, cluster.nodes, tree.size[-1])
        return math.fsum(count * min(tree.cut(len(tree.size) - 1, *kind)) for kind, count in kinds.items())
    return _between_groups(tree, half, cluster.nodes, per_node * network[-1][0].bandwidth_bytes_per_s)


def _between_groups(tree: _Tree, half: int, nodes: int, out: float) -> float:
    """Groups that are joined each with each other: their switches on one side or the other, alike for like groups.

    `out`: bytes/s of one node's devices out of their group.
    """
    top = len(tree.size) - 1
    kinds = list(_parts(half, nodes, tree.size[top]).items())
    groups = sum(count for _, count in kinds)
    best = np.inf
    for sides in itertools.product((0, 1), repeat=len(kinds)):
        cost = math.fsum(count * tree.cut(top, *kind)[side] for (kind, count), side in zip(kinds, sides, strict=True))
        for (one, side), (other, across) in itertools.combinations(zip(kinds, sides, strict=True), 2):
            if side != across:
                cost += one[1] * other[1] * min(one[0][1], other[0][1]) * out / (groups - 1)
        best = min(best, cost)
    return float(best)
