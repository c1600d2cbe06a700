"""Bisection bandwidth of a cluster: the bytes/s that one half of it can send to the other, in one direction.

Halves are whole nodes; of a single node or torus, devices. Regular clusters have closed forms (Dally and Towles 2004,
Principles and Practices of Interconnection Networks, sections 3.2 and 5.2) for the first half of the ranks, exact
where a lower bound for all halves meets them. For wired and uneven clusters the narrowest of a few cuts is an upper
bound, and marked as one. Networks that share nothing but the devices (NVLink and NICs) add up.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, WiredCluster, compute_group_devices
from planner.cluster.model.intra_node import IntraNodeTopology, compute_link_shares
from planner.cluster.model.wiring import Wiring, compute_uplink_bytes_per_s, find_leaf_parts
from planner.cluster.regular.torus import Torus, enumerate_grid_neighbours, find_cluster_torus

_CUT_ROUNDS = 8
"""Times that switches choose their side: deep trees need one a tier."""


@dataclass(frozen=True)
class BisectionCut:
    """Bytes/s from one half to the other, in one direction; not `is_exact`: other halves may be joined by less."""

    bytes_per_s: float
    is_exact: bool


@singledispatch
def compute_bisection(cluster: Cluster, wiring: Wiring | None) -> BisectionCut:
    """Bisection of any cluster; `wiring`: its links, None where there are too many to list."""
    cut = compute_regular_bisection(cluster)
    if cut.is_exact or wiring is None or cluster.nodes == 1 or is_single_torus(cluster):
        return cut
    return BisectionCut(min(cut.bytes_per_s, compute_wiring_bisection(wiring).bytes_per_s), False)


@compute_bisection.register
def _(cluster: WiredCluster, wiring: Wiring | None) -> BisectionCut:
    return compute_wiring_bisection(cluster.wiring) if cluster.nodes > 1 else compute_regular_bisection(cluster)


def count_half_devices(cluster: Cluster) -> int:
    """Devices of the half that sends."""
    by_device = cluster.nodes == 1 or (not cluster.listed_hosts and is_single_torus(cluster))
    return cluster.devices // 2 if by_device else cluster.nodes // 2 * cluster.devices_per_node


def is_single_torus(cluster: Cluster) -> bool:
    """Whether nothing but one torus joins the devices, so that it is halved by devices."""
    torus = _find_halved_torus(cluster)
    has_torus_levels_only = all(level.axes is not None for level in cluster.levels[1:])
    return torus is not None and torus.devices >= cluster.devices and has_torus_levels_only


def compute_regular_bisection(cluster: Cluster) -> BisectionCut:
    """Closed form of a regular cluster, between the first half of its ranks and the others; 0 for a single device."""
    torus = _find_halved_torus(cluster)
    if torus is not None and is_single_torus(cluster):
        rates = (torus.link_bytes_per_s,) * len(torus.shape)
        return BisectionCut(_compute_grid_cut(torus.shape, torus.wrap, rates), _is_grid_cut_narrowest(torus))
    if cluster.nodes == 1:
        return _compute_intra_node_bisection(cluster)
    half, per_node = cluster.nodes // 2, cluster.devices_per_node
    cut = 0.0 if torus is None else _compute_tori_cut(cluster, torus)
    lower_bound = 0.0
    group_nodes = [devices // per_node for devices in compute_group_devices(cluster)]
    levels = list(zip(cluster.levels, group_nodes, strict=True))
    for level, size in levels[1:]:
        if not level.through_nic and level.axes is None:
            start = half // size * size
            group_end = min(start + size, cluster.nodes)
            cut += min(half - start, group_end - half) * per_node * level.bandwidth_bytes_per_s
            lower_bound += (size >= cluster.nodes) * half * per_node * level.bandwidth_bytes_per_s
    network = [(level, size) for level, size in levels if level.through_nic]
    is_even_dragonfly = False
    if network:
        switched = [(level, size) for level, size in network if level.topology != "dragonfly+"]
        top_size = switched[-1][1]
        sizes = (1, *(size for _, size in switched))
        rates = (*(per_node * level.bandwidth_bytes_per_s for level, _ in switched), 0.0)
        if len(switched) == len(network):
            cut += _compute_tree_cut(sizes, rates, half)
            lower_bound += (top_size >= cluster.nodes) * half * min(rates[:-1])
        else:
            groups = -(-cluster.nodes // top_size)
            pair_rate = per_node * network[-1][0].bandwidth_bytes_per_s / max(groups - 1, 1)
            last_size = cluster.nodes - (groups - 1) * top_size
            pair_cuts = (top_size * pair_rate, last_size * pair_rate)
            cut += _compute_mesh_cut(sizes[:-1], rates[:-1], half, (top_size, groups), pair_cuts)
            is_even_dragonfly = cluster.nodes % (2 * top_size) == 0
    return BisectionCut(cut, is_even_dragonfly or cut <= lower_bound * (1 + 1e-9))


def _compute_tree_cut(sizes: tuple[int, ...], rates: tuple[float, ...], first: int) -> float:
    """Bytes/s that cut the first nodes off a tree of switches: whole parts at one level, the rest further inside.

    `sizes`: nodes of a part that is cut at each level, innermost first; `rates`: bytes/s of one node there.
    """
    if not first:
        return 0.0
    return min(
        first // size * size * rate + _compute_tree_cut(sizes[:level], rates[:level], first % size)
        for level, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    )


def _compute_mesh_cut(
    sizes: tuple[int, ...],
    rates: tuple[float, ...],
    half: int,
    groups: tuple[int, int],
    pair_cuts: tuple[float, float],
) -> float:
    """The same of groups that are joined each with each other.

    `groups`: nodes of one, and how many; `pair_cuts`: bytes/s between two full groups, and of a full one to the last.
    """
    size, count = groups
    whole, rest = divmod(half, size)
    between_groups = whole * (count - 1 - whole) * pair_cuts[0] + whole * pair_cuts[1]
    within_group = _compute_tree_cut(sizes, rates, rest)
    return min(_compute_tree_cut(sizes, rates, half), between_groups + within_group)


def _compute_intra_node_bisection(cluster: Cluster) -> BisectionCut:
    """Between the halves of one node's devices."""
    used, rate, intra_node = cluster.devices, cluster.levels[0].bandwidth_bytes_per_s, cluster.intra_node
    half = used // 2
    shares = None if intra_node is None else compute_link_shares(intra_node)
    if shares is not None and intra_node is not None and intra_node.topology == "hybrid-cube-mesh":
        halves = [list(devices) for devices in itertools.combinations(range(used), half)]
        cuts = [shares[first, :used].sum() - shares[np.ix_(first, first)].sum() for first in halves]
        return BisectionCut(rate * float(min(cuts)), True)
    if shares is not None:
        return BisectionCut(rate * float(shares[:half, half:used].sum()), True)
    if intra_node is None or intra_node.topology != "pcie":
        return BisectionCut(rate * half, True)
    share, is_exact = _compute_pcie_cut(intra_node, used)
    return BisectionCut(rate * share, is_exact)


def _compute_pcie_cut(intra_node: IntraNodeTopology, used: int) -> tuple[float, bool]:
    """Of devices at PCIe switches below host bridges, in one device's rate; and whether no halves have less."""
    half, switch = used // 2, intra_node.switch_devices
    bridge_devices = -(-intra_node.devices // intra_node.bridges)
    bridges, pair = -(-used // bridge_devices), intra_node.bridge_share
    sizes, rates = ((1,), (1.0,)) if switch == 1 else ((1, switch), (1.0, 1 / switch))
    cut = _compute_mesh_cut(sizes, rates, half, (bridge_devices, bridges), (pair, pair))
    # bridges of both halves are cut from each other; below bridges of one half the other's switches are cut off
    lower_bound = min(half / switch, (bridges - 1) * pair if bridges > 1 else math.inf)
    return cut, cut <= lower_bound * (1 + 1e-9)


def _find_halved_torus(cluster: Cluster) -> Torus | None:
    """The torus that a half may cut: not one that ends with the node, of several nodes."""
    torus = find_cluster_torus(cluster)
    return None if torus is None or (cluster.nodes > 1 and torus.devices == cluster.devices_per_node) else torus


def _compute_grid_cut(shape: tuple[int, ...], wrap: tuple[bool, ...], rates: tuple[float, ...]) -> float:
    """Bytes/s between the halves of a torus or mesh; `rates`: between two neighbours along each axis.

    Across an even axis of k, N / k links, twice as many where it is closed; across an odd one also what halves its
    middle plane. The least of all axes (Arjona Aroca and Fernandez Anta 2012, arXiv 1202.6291).
    """
    best = math.inf
    for axis, side in enumerate(shape):
        others = [part[:axis] + part[axis + 1 :] for part in (shape, wrap, rates)]
        links = math.prod(others[0]) * (2 if wrap[axis] else 1) * float(side > 1)
        middle = _compute_grid_cut(*others) if side % 2 and len(shape) > 1 else 0.0  # type: ignore[arg-type]
        best = min(best, links * rates[axis] + middle)
    return best


def _is_grid_cut_narrowest(torus: Torus) -> bool:
    """Whether nothing less halves a torus.

    An even axis is the longest (a closed one counted half): if every device sends to every other one, axis by axis,
    no link carries more than those in its middle. Or all axes are closed, or all open (arXiv 1202.6291).
    """
    sides = [(side, wrap) for side, wrap in zip(torus.shape, torus.wrap, strict=True) if side > 1]
    lengths = [side / (2 if wrap else 1) for side, wrap in sides]
    if any(side % 2 == 0 and length == max(lengths) for (side, _), length in zip(sides, lengths, strict=True)):
        return True
    return len({wrap for _, wrap in sides}) < 2 and all(side > 2 for side, _ in sides)


def _compute_tori_cut(cluster: Cluster, torus: Torus) -> float:
    """Bytes/s over the links of tori between half of the nodes and the others, where a network joins nodes too."""
    per_node = cluster.devices_per_node
    shape = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    rates = tuple(per_node // part * torus.link_bytes_per_s for part in torus.block)
    torus_nodes = torus.devices // per_node
    nodes_before = cluster.nodes // 2 % torus_nodes
    if cluster.nodes % torus_nodes == 0 and cluster.nodes != torus_nodes:
        return _compute_grid_cut(shape, torus.wrap, rates) if nodes_before else 0.0
    pairs_by_axis = [pairs for _, pairs in enumerate_grid_neighbours(shape, torus.wrap)]
    crossing = [float(((pairs < nodes_before).sum(axis=1) == 1).sum()) for pairs in pairs_by_axis]
    return math.fsum(pairs * rate for pairs, rate in zip(crossing, rates, strict=True))


def compute_wiring_bisection(wiring: Wiring) -> BisectionCut:
    """Upper bound for the halves of a wiring's hosts: of their first and last ones in order, by leaf, by rate."""
    half = len(wiring.hosts) // 2
    if not half:
        return BisectionCut(0.0, True)
    orders = (
        np.arange(len(wiring.hosts)),
        np.argsort(find_leaf_parts(wiring), kind="stable"),
        np.argsort(compute_uplink_bytes_per_s(wiring), kind="stable"),
    )
    cut = min(_compute_wiring_cut(wiring, hosts) for order in orders for hosts in (order[:half], order[-half:]))
    return BisectionCut(cut, cut == 0)


def _compute_wiring_cut(wiring: Wiring, first_half: NDArray[np.int64]) -> float:
    """Bytes/s of the links between the hosts `first_half` and the others; any sides of the switches make a cut.

    Each switch takes the side to which it has more bandwidth, round by round; the narrowest cut on the way counts.
    """
    side = np.zeros(len(wiring.vertex_names))
    side[: len(wiring.hosts)] = -1
    side[first_half] = 1
    (tail, head), rate, best = wiring.endpoints.T, wiring.bandwidth_bytes_per_s, math.inf
    for _ in range(_CUT_ROUNDS):
        is_first = side > 0
        best = min(best, float(rate[is_first[tail] != is_first[head]].sum()))
        pull = np.bincount(tail, rate * side[head], len(side)) + np.bincount(head, rate * side[tail], len(side))
        side[len(wiring.hosts) :] = np.sign(pull[len(wiring.hosts) :])
    return best
