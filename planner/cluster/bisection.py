"""Bisection bandwidth of a cluster: what its first half can send to its second half, in one direction.

Dally and Towles 2004 (Principles and Practices of Interconnection Networks), sections 3.2 and 5.2: the narrowest cut
between two halves. Halves are whole nodes in the order of ranks (of one node: its devices), of a torus the halves of
its longest even axis. Networks that share nothing but the devices (NVLink and network cards) add up.

Of a regular cluster the cut is counted class by class, whatever its size; of any graph it is a maximum flow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.cluster.cluster import Cluster, joined_devices
from planner.cluster.halving import Halves, narrowest_halves
from planner.cluster.inside import Inside, link_shares
from planner.cluster.torus import Torus, coordinates, torus_of
from planner.cluster.wiring import Wiring

if TYPE_CHECKING:
    import networkx as nx

Bools = NDArray[np.bool_]


def bisection_bytes_per_s(cluster: Cluster) -> float:
    """Bytes/s from the first half of a regular cluster to the second, in one direction; 0 for a single device."""
    torus = _torus(cluster)
    if cluster.nodes == 1 and torus is None:
        return _inside_cut(cluster)
    half = cluster.nodes // 2
    cut = 0.0
    if torus is not None:
        tori = max(cluster.devices // torus.devices, 1)
        half = tori // 2 * torus.devices // cluster.devices_per_node
        if tori % 2:
            cut = torus_cut(torus)
            # the network beside a torus that is cut: its blocks on either side
            half += _cut_nodes(cluster, torus)
    return cut + sum(_star_cut(cluster, half, index) for index in _stars(cluster)) + _network_cut(cluster, half)


def _torus(cluster: Cluster) -> Torus | None:
    """The torus that is halved: not one that ends with the node, of several nodes."""
    torus = torus_of(cluster)
    return None if torus is None or (cluster.nodes > 1 and torus.devices == cluster.devices_per_node) else torus


def first_half(cluster: Cluster) -> Bools:
    """Which devices are in the half that sends: shape [devices], host by host as the wiring counts them."""
    device = np.arange(cluster.devices)
    torus = _torus(cluster)
    if torus is None:
        return device < (cluster.nodes // 2 * cluster.devices_per_node if cluster.nodes > 1 else cluster.devices // 2)
    tori = max(cluster.devices // torus.devices, 1)
    which = device // torus.devices
    if tori % 2 == 0:
        return which < tori // 2
    axis = cut_axis(torus)
    grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    host, local = np.divmod(device % torus.devices, cluster.devices_per_node)
    place = coordinates(host, grid)[:, axis] * torus.block[axis] + coordinates(local, torus.block)[:, axis]
    half: Bools = (which < tori // 2) | ((which == tori // 2) & (place < torus.shape[axis] // 2))
    return half


def cut_axis(torus: Torus) -> int:
    """The axis across which a torus is halved by the fewest links: of even ones (of all, where none is), counted with
    the links that close it.
    """
    sides = [(side, wrap) for side, wrap in zip(torus.shape, torus.wrap, strict=True)]
    even = [axis for axis, (side, _) in enumerate(sides) if side % 2 == 0] or list(range(len(sides)))
    return min(even, key=lambda axis: ((2 if sides[axis][1] else 1) / sides[axis][0], -axis))


def torus_cut(torus: Torus) -> float:
    """Bytes/s across the middle of a torus: N / k rows of links, and as many again where the axis of k is closed.

    For the k-ary n-cube 2 N / k = 2 k^(n-1) links, for the mesh half of it (Dally and Towles 2004, section 5.2.1).
    """
    axis = cut_axis(torus)
    side = torus.shape[axis]
    if side == 1:
        return 0.0
    return torus.devices / side * (2 if torus.wrap[axis] else 1) * torus.link_bytes_per_s


def _cut_nodes(cluster: Cluster, torus: Torus) -> int:
    """Nodes of a halved torus that lie in the first half, as far as whole ones do."""
    axis = cut_axis(torus)
    return round(torus.devices * (torus.shape[axis] // 2) / torus.shape[axis] / cluster.devices_per_node)


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
        return sum(count * min(tree.cut(len(tree.size) - 1, *kind)) for kind, count in kinds.items())
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
        cost = sum(count * tree.cut(top, *kind)[side] for (kind, count), side in zip(kinds, sides, strict=True))
        for (one, side), (other, across) in itertools.combinations(zip(kinds, sides, strict=True), 2):
            if side != across:
                cost += one[1] * other[1] * min(one[0][1], other[0][1]) * out / (groups - 1)
        best = min(best, cost)
    return float(best)


def max_flow_bytes_per_s(graph: nx.Graph[str], first: set[str], second: set[str]) -> float:
    """The most that the vertices `first` can send to `second` at once, over any ways: bytes/s.

    Goldberg and Tarjan 1988 (push-relabel), as networkx has it, on whole bytes/s so that the result is exact.
    """
    import networkx as nx

    flow: nx.DiGraph[str] = nx.DiGraph()
    flow.add_nodes_from(("the first half", "the second half"))
    ends = {**dict.fromkeys(first, "the first half"), **dict.fromkeys(second, "the second half")}
    for one, other, edge in graph.edges(data=True):
        here, there = ends.get(one, one), ends.get(other, other)
        for tail, head in ((here, there), (there, here)):
            if tail == head:
                continue
            if not flow.has_edge(tail, head):
                flow.add_edge(tail, head, capacity=0)
            flow.edges[tail, head]["capacity"] += round(edge["bandwidth_bytes_per_s"])
    return float(nx.maximum_flow_value(flow, "the first half", "the second half"))


def wiring_bisection(wiring: Wiring) -> Halves:
    """Between the narrowest halves of a wiring's hosts.

    Where these are not found for certain, the least of two maximum flows: between halves in the order that hosts are
    listed in, and the hosts nearest to the first one against the others, those at the same switches kept together.
    """
    found, half = narrowest_halves(wiring), len(wiring.hosts) // 2
    if found.exact:
        return found
    graph = _wired_graph(wiring)
    orders = (list(wiring.hosts), _by_nearness(graph, wiring.hosts))
    flows = [max_flow_bytes_per_s(graph, set(order[:half]), set(order[half:])) for order in orders]
    return Halves(min(flows), exact=False)


def _wired_graph(wiring: Wiring) -> nx.Graph[str]:
    """Hosts and switches with `bandwidth_bytes_per_s` on the edges, parallel links added up."""
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    names = wiring.vertices
    graph.add_nodes_from(wiring.hosts)
    for (one, other), rate in zip(wiring.ends.tolist(), wiring.bandwidth_bytes_per_s.tolist(), strict=True):
        held = graph.get_edge_data(names[one], names[other], {"bandwidth_bytes_per_s": 0.0})
        graph.add_edge(names[one], names[other], bandwidth_bytes_per_s=held["bandwidth_bytes_per_s"] + rate)
    return graph


def _by_nearness(graph: nx.Graph[str], hosts: Sequence[str]) -> list[str]:
    """Hosts by their hops from the first one; of those as far those with the same neighbours together."""
    import networkx as nx

    hops = nx.single_source_shortest_path_length(graph, hosts[0])
    place = {host: number for number, host in enumerate(hosts)}
    together: dict[tuple[str, ...], int] = {}
    group = {host: together.setdefault(tuple(sorted(graph[host])), place[host]) for host in hosts}
    return sorted(hosts, key=lambda host: (hops.get(host, len(graph)), group[host], place[host]))
