"""A fluid simulation of collectives link by link, to hold the closed forms against.

A cluster's links are expanded individually (a networkx graph whose edges have a capacity in bytes/s). A collective is
a sequence of rounds, a round a set of flows; the next round starts when all flows of a round have arrived. Flows that
use a link at the same time share it max-min fairly (water filling, Bertsekas and Gallager 1992, Data Networks,
section 6.5.2), whichever collective they are of. No latency: the result is the time that bandwidth takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster

Floats = NDArray[np.float64]
Link = tuple[str, str]


@dataclass(frozen=True)
class Flow:
    """So many bytes over a path of links."""

    path: tuple[Link, ...]
    size: float


Round = tuple[Flow, ...]
Collective = Sequence[Round]


class Fabric:
    """An expanded graph with the paths between its devices."""

    def __init__(self, graph: nx.DiGraph[str]) -> None:
        self.graph = graph
        self.route = lru_cache(maxsize=None)(self._route)

    def _route(self, source: str, target: str) -> tuple[Link, ...]:
        return tuple(itertools.pairwise(nx.shortest_path(self.graph, source, target)))

    def flow(self, source: str, target: str, size: float) -> Flow:
        """A message between two devices by the shortest path."""
        return Flow(self.route(source, target), size)

    def seconds(self, *collectives: Collective) -> list[float]:
        """When each of several collectives that start together is done."""
        links = {link: i for i, link in enumerate(self.graph.edges)}
        capacity = np.array([self.graph.edges[link]["capacity"] for link in links])
        rounds_left = [list(collective) for collective in collectives]
        done = [0.0] * len(rounds_left)
        owners: list[int] = []
        left = np.zeros(0)
        uses = np.zeros((0, len(links)), dtype=bool)
        now = 0.0
        while True:
            for who, rounds in enumerate(rounds_left):
                while rounds and who not in owners:
                    flows = [flow for flow in rounds.pop(0) if flow.size > 0]
                    owners += [who] * len(flows)
                    left = np.concatenate([left, [flow.size for flow in flows]])
                    rows = np.zeros((len(flows), len(links)), dtype=bool)
                    for row, flow in zip(rows, flows, strict=True):
                        row[[links[link] for link in flow.path]] = True
                    uses = np.concatenate([uses, rows])
                    done[who] = now
            if not owners:
                return done
            rates = max_min(uses, capacity)
            step = float((left / rates).min())
            now += step
            left = left - step * rates
            stay = left > 1e-9 * step * rates
            for who in set(owners):
                done[who] = now
            owners = [who for who, keep in zip(owners, stay, strict=True) if keep]
            left, uses = left[stay], uses[stay]
            done = [now if who in owners or rounds_left[who] else when for who, when in enumerate(done)]


def max_min(uses: NDArray[np.bool_], capacity: Floats) -> Floats:
    """Max-min fair rates of flows (rows) over links (columns): the tightest link is shared evenly, and so on."""
    rates = np.zeros(len(uses))
    free = np.ones(len(uses), dtype=bool)
    room = capacity.astype(float).copy()
    while free.any():
        count = uses[free].sum(axis=0)
        share = np.where(count > 0, room / np.maximum(count, 1), np.inf)
        level = share.min()
        tight = share <= level * (1 + 1e-12)
        filled = free & uses[:, tight].any(axis=1)
        rates[filled] = level
        room = room - level * uses[filled].sum(axis=0)
        free &= ~filled
    return rates


def switched(cluster: Cluster) -> Fabric:
    """Nodes with a switch and a NIC a device, leaves, a spine: the lab's levels, link by link."""
    graph: nx.DiGraph[str] = nx.DiGraph()

    def add_link(a: str, b: str, capacity: float) -> None:
        graph.add_edge(a, b, capacity=capacity)
        graph.add_edge(b, a, capacity=capacity)

    node, leaf, *spine = cluster.levels
    per_leaf = leaf.devices or cluster.devices
    for rank in range(cluster.devices):
        add_link(device(rank), f"node{rank // cluster.devices_per_node}", node.bandwidth_bytes_per_s)
        add_link(device(rank), f"nic{rank}", leaf.bandwidth_bytes_per_s)
        add_link(f"nic{rank}", f"leaf{rank // per_leaf}", leaf.bandwidth_bytes_per_s)
    for index in range(cluster.devices // per_leaf if spine else 0):
        add_link(f"leaf{index}", "spine", per_leaf * spine[0].bandwidth_bytes_per_s)
    return Fabric(graph)


def torus(side: int, axes: int, bytes_per_s: float) -> Fabric:
    """A torus of equal sides whose devices have `bytes_per_s` out over all links together."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for rank in range(side**axes):
        for axis in range(axes):
            for direction in (1, -1):
                graph.add_edge(
                    device(rank), device(moved(rank, axis, direction, side)), capacity=bytes_per_s / (2 * axes)
                )
    return Fabric(graph)


def moved(rank: int, axis: int, steps: int, side: int) -> int:
    """The rank so many steps along an axis of a torus."""
    stride = side**axis
    place = rank // stride % side
    return rank + ((place + steps) % side - place) * stride


def device(rank: int) -> str:
    """A device's name in the graph."""
    return f"d{rank}"


def rails(ranks: Sequence[int], per_node: int) -> Iterable[list[int]]:
    """Rings over a group, one for each member of a node: each leaves every node by another member's NIC, towards the
    same NIC of the next node.
    """
    nodes = [list(group) for _, group in itertools.groupby(ranks, key=lambda rank: rank // per_node)]
    for first in range(len(nodes[0])):
        order, at = [], first
        for members in nodes:
            order += members[at:] + members[:at]
            at = (at - 1) % len(members)
        yield order


def ring_gather(fabric: Fabric, ranks: Sequence[int], per_node: int, size: float) -> Collective:
    """Rings on all rails: in each of g-1 rounds every rank passes one block on."""
    rings = list(rails(ranks, per_node))
    block = size / len(ranks) / len(rings)
    hops = [pair for ring in rings for pair in zip(ring, ring[1:] + ring[:1], strict=True)]
    return [tuple(fabric.flow(device(a), device(b), block) for a, b in hops)] * (len(ranks) - 1)


def tree_reduce(fabric: Fabric, ranks: Sequence[int], per_node: int, size: float) -> Collective:
    """Two trees over the nodes for each member of a node, a chain inside: pipelined, so all edges at once."""
    nodes = [list(group) for _, group in itertools.groupby(ranks, key=lambda rank: rank // per_node)]
    count, members = len(nodes), len(nodes[0])
    flows = []
    for first in range(members):
        for members_of in nodes:
            chain = members_of[first:] + members_of[:first]
            for a, b in itertools.pairwise(chain):
                flows += _both(fabric, a, b, size / members)
        for child, parent in _binary_tree(count):
            for mirror in (False, True):
                a, b = (count - 1 - child, count - 1 - parent) if mirror else (child, parent)
                flows += _both(fabric, nodes[a][first], nodes[b][first], size / members / 2)
    return [tuple(flows)]


def _both(fabric: Fabric, a: int, b: int, size: float) -> list[Flow]:
    return [fabric.flow(device(a), device(b), size), fabric.flow(device(b), device(a), size)]


def _binary_tree(count: int) -> Iterable[tuple[int, int]]:
    """Edges (child, parent) of a tree whose odd positions are leaves, so that in its mirror image they are not (for
    even counts).
    """
    for child in range(1, count):
        lowest = child & -child
        parent = (child ^ lowest) | (lowest << 1)
        yield child, parent if parent < count else child ^ lowest


def hierarchical_gather(fabric: Fabric, nodes: int, per_node: int, size: float) -> Collective:
    """Rings between the nodes on every rail, then rings inside."""
    share = size / (nodes * per_node)
    outside = tuple(
        fabric.flow(device(n * per_node + i), device((n + 1) % nodes * per_node + i), share)
        for n in range(nodes)
        for i in range(per_node)
    )
    inside = tuple(
        fabric.flow(device(n * per_node + i), device(n * per_node + (i + 1) % per_node), nodes * share)
        for n in range(nodes)
        for i in range(per_node)
    )
    return [outside] * (nodes - 1) + [inside] * (per_node - 1)


def doubling_gather(fabric: Fabric, ranks: Sequence[int], size: float) -> Collective:
    """Recursive doubling, the farthest partners first."""
    rounds, distance, share = [], len(ranks) // 2, size / len(ranks)
    while distance:
        pairs = [(ranks[i], ranks[i ^ distance]) for i in range(len(ranks))]
        rounds.append(tuple(fabric.flow(device(a), device(b), share) for a, b in pairs))
        distance, share = distance // 2, 2 * share
    return rounds


def torus_gather(fabric: Fabric, side: int, axes: int, size: float) -> Collective:
    """As many parts as axes, each through the axes in another order, in both directions."""
    rounds = []
    for phase in range(axes):
        block = size / axes / side**axes * side**phase / 2
        flows = [
            fabric.flow(device(rank), device(moved(rank, (part + phase) % axes, direction, side)), block)
            for part in range(axes)
            for rank in range(side**axes)
            for direction in (1, -1)
        ]
        rounds += [tuple(flows)] * (side - 1)
    return rounds


def all_to_all(fabric: Fabric, ranks: Sequence[int], size: float) -> Collective:
    """Everyone to everyone, all at once."""
    share = size / len(ranks)
    pairs = itertools.permutations(ranks, 2)
    return [tuple(fabric.flow(device(a), device(b), share) for a, b in pairs)]


def torus_all_to_all(fabric: Fabric, side: int, axes: int, size: float) -> Collective:
    """Everyone to everyone along one axis after the other, in the shorter direction; ties half in each."""
    flows = []
    for rank in range(side**axes):
        for target in range(side**axes):
            here, path = rank, []
            for axis in range(axes):
                away = (target // side**axis - rank // side**axis) % side
                even = rank // side**axis % 2 == 0
                direction = 1 if away < side - away or (away == side - away and even) else -1
                for _ in range(min(away, side - away)):
                    there = moved(here, axis, direction, side)
                    path.append((device(here), device(there)))
                    here = there
            if path:
                flows.append(Flow(tuple(path), size / side**axes))
    return [tuple(flows)]
