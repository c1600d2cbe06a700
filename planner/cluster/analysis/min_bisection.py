"""The narrowest cut of a graph between two halves of its hosts, exactly, where the graph is not too tangled.

Every host and every switch is on one side or the other, and half of the hosts are on the first: min bisection with
hosts of weight one and switches of weight none. To find it is hard (NP) in general; over a tree, or a graph of small
treewidth t, it takes a dynamic programme of O(2^t n^2) (Jansen, Karpinski, Lingas, Seidel 2005; Hanaka, Kobayashi,
Sone 2021, arXiv 2002.12706). Here it is vertex elimination (Dechter 1999, Bucket elimination): a table for each set
of vertices that meet tells the least cut below them by their sides and by how many hosts are on the first side.

Two steps make fabrics small. Switches of one kind are one vertex: kinds are such that each of a kind has as much
bandwidth to every other kind (colour refinement). A cut costs no less than what it is on average over kinds, since
sum c |x_u - x_v| >= |sum c (x_u - x_v)|, so that no cut is lost (Grohe, Kersting, Mladenov, Selman 2014, Dimension
Reduction via Colour Refinement). Hosts with the same cables are told together: of m of them k are on the first side,
at a cost that is linear in k.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_STEPS = 1e8
_MOST_ENTRIES = 2**24
_MOST_MET = 18
"""Additions, entries of one table, and vertices that one is over: beyond these the halves are not looked for."""


@dataclass(frozen=True)
class Halves:
    """Bytes/s from one half to the other, in one direction; `exact`: whether no halves are joined by less."""

    bytes_per_s: float
    exact: bool


@dataclass(frozen=True)
class Capacities:
    """An undirected graph: vertices 0 to `hosts` - 1 are hosts, then come `others`; `ends`, shape [edges, 2], each
    pair once, and `rate`, what an edge carries each way in whole bytes/s, [edges].
    """

    hosts: int
    others: int
    ends: Ints
    rate: Floats


@dataclass(frozen=True)
class _Table:
    """The least cut by the sides of `scope` (vertices in ascending order) and by hosts on the first side: `cost`,
    shape [2, ..., 2, hosts told of + 1].
    """

    scope: tuple[int, ...]
    cost: Floats


def merged(hosts: int, others: int, ends: Ints, rate: Floats) -> Capacities:
    """The graph with parallel edges as one, and with switches of one kind as one; rates are rounded to bytes/s."""
    graph = _simple(hosts, others, ends, np.rint(rate))
    kind = _kinds(graph)
    return _simple(hosts, int(kind.max(initial=-1)) + 1 - hosts, kind[graph.ends], graph.rate)


def _simple(hosts: int, others: int, ends: Ints, rate: Floats) -> Capacities:
    """Each pair of ends once, in order, without edges that carry nothing or lead back."""
    count = hosts + others
    low, high = ends.min(axis=1, initial=count), ends.max(axis=1, initial=0)
    used = (rate > 0) & (low < high)
    keys, of = np.unique(low[used] * count + high[used], return_inverse=True)
    summed = np.bincount(of, weights=rate[used], minlength=len(keys)).astype(np.float64)
    return Capacities(hosts, others, np.stack([keys // count, keys % count], axis=1), summed)


def _neighbours(graph: Capacities) -> list[tuple[Ints, Floats]]:
    """Of each vertex its neighbours in ascending order, and the rates to them."""
    count = graph.hosts + graph.others
    tail, head = np.concatenate([graph.ends, graph.ends[:, ::-1]]).T
    order = np.lexsort((head, tail))
    first = np.searchsorted(tail[order], np.arange(count + 1))
    head, rate = head[order], np.tile(graph.rate, 2)[order]
    return [(head[a:b], rate[a:b]) for a, b in itertools.pairwise(first.tolist())]


def _kinds(graph: Capacities) -> Ints:
    """The kind of each vertex: a host's own number; switches are of one kind if to each kind they have as much.

    Colour refinement from hosts that are all of their own kind and switches that are all of one.
    """
    count = graph.hosts + graph.others
    kind = np.minimum(np.arange(count), graph.hosts)
    tail, head = np.concatenate([graph.ends, graph.ends[:, ::-1]]).T
    rate = np.tile(graph.rate, 2)
    kinds = graph.hosts + (graph.others > 0)
    while True:
        keys, of = np.unique(tail * count + kind[head], return_inverse=True)
        summed = np.bincount(of, weights=rate, minlength=len(keys))
        first = np.searchsorted(keys // count, np.arange(count + 1)).tolist()
        seen: dict[tuple[int, bytes, bytes], int] = {}
        finer = np.arange(count)
        for vertex in range(graph.hosts, count):
            told = slice(first[vertex], first[vertex + 1])
            key = (int(kind[vertex]), (keys[told] % count).tobytes(), summed[told].tobytes())
            finer[vertex] = seen.setdefault(key, graph.hosts + len(seen))
        kind = finer
        if graph.hosts + len(seen) == kinds:
            return kind
        kinds = graph.hosts + len(seen)


def narrowest_bytes_per_s(graph: Capacities, first: int) -> float | None:
    """The least capacity that parts `first` hosts from the others, in one direction; None where that is too much
    work.
    """
    tables = _tables(graph)
    if tables is None:
        return None
    order = _order([(table.scope, table.cost.shape[-1]) for table in tables], first)
    if order is None:
        return None
    for vertex in order:
        met = [table for table in tables if vertex in table.scope]
        tables = [table for table in tables if vertex not in table.scope]
        joined = _joined(met, first)
        axis = joined.scope.index(vertex)
        tables.append(_Table(joined.scope[:axis] + joined.scope[axis + 1 :], joined.cost.min(axis=axis)))
    return float(_joined(tables, first).cost[first])


def _tables(graph: Capacities) -> list[_Table] | None:
    """What the graph costs: hosts with the same cables together, each edge between other vertices for itself.

    None where a host has so many different neighbours that its table alone is too large.
    """
    near = _neighbours(graph)
    between_hosts = graph.ends[(graph.ends < graph.hosts).all(axis=1)]
    passing = set(between_hosts.ravel().tolist())
    classes: dict[bytes, list[int]] = {}
    for host in range(graph.hosts):
        if host not in passing:
            classes.setdefault(near[host][0].tobytes() + near[host][1].tobytes(), []).append(host)
    tables = []
    for hosts in classes.values():
        scope, rate = near[hosts[0]]
        if len(scope) > _MOST_MET:
            return None
        tables.append(_Table(tuple(scope.tolist()), _class_cost(len(hosts), rate)))
    own = np.array([[np.inf, 0.0], [0.0, np.inf]])
    tables += [_Table((host,), own) for host in sorted(passing)]
    for (one, other), rate_of in zip(graph.ends.tolist(), graph.rate.tolist(), strict=True):
        if one in passing or one >= graph.hosts:
            tables.append(_Table((one, other), rate_of * (1 - np.eye(2))[:, :, None]))
    return tables


def _class_cost(count: int, rate: Floats) -> Floats:
    """Of so many hosts with the same cables: shape [2, ..., 2, count + 1], by the sides of the cables' other ends.

    Side 0 is the first one. Each host on it pays its cables to the other side, and the other way round.
    """
    sides = np.indices((2,) * len(rate)).reshape(len(rate), 2 ** len(rate))
    to_second = np.sum(rate[:, None] * sides, axis=0)  # not by BLAS: its last digits are the processor's
    to_first = np.sum(rate[:, None] * (1 - sides), axis=0)
    there = np.arange(count + 1)
    cost = to_second[:, None] * there + to_first[:, None] * (count - there)
    return np.asarray(cost).reshape((2,) * len(rate) + (count + 1,))


def _order(tables: Sequence[tuple[tuple[int, ...], int]], first: int) -> list[int] | None:
    """Vertices in the order of elimination, the one that meets the fewest first; None where it takes too many steps.

    `tables`: the scope of each and the length of its last axis.
    """
    meets: dict[int, set[int]] = {}
    for scope, _ in tables:
        for vertex in scope:
            meets.setdefault(vertex, set()).update(scope)
    heap = [(len(met), vertex) for vertex, met in meets.items()]
    heapq.heapify(heap)
    order: list[int] = []
    gone: set[int] = set()
    while heap:
        size, vertex = heapq.heappop(heap)
        if vertex in gone or size != len(meets[vertex]):
            continue
        gone.add(vertex)
        order.append(vertex)
        rest = meets[vertex] - {vertex}
        if len(rest) > _MOST_MET:
            return None
        for other in rest:
            meets[other] |= rest
            meets[other].discard(vertex)
            heapq.heappush(heap, (len(meets[other]), other))
    return order if _steps(tables, order, first) <= _MOST_STEPS else None


def _steps(tables: Sequence[tuple[tuple[int, ...], int]], order: Sequence[int], first: int) -> float:
    """Additions that elimination in this order takes; infinite where a table is too large to be held."""
    place = {vertex: number for number, vertex in enumerate(order)}
    held: list[list[tuple[set[int], int]]] = [[] for _ in order]
    for scope, size in tables:
        if scope:
            held[min(place[vertex] for vertex in scope)].append((set(scope), size))
    steps = 0.0
    for number, vertex in enumerate(order):
        met: set[int] = set()
        long = 1
        for more, size in sorted(held[number], key=lambda one: one[1]):
            met |= more
            grown = min(long + size - 1, first + 1)
            if 2 ** len(met) * grown > _MOST_ENTRIES:
                return np.inf
            steps += 2.0 ** len(met) * min(long, size) * grown
            long = grown
        met.discard(vertex)
        if met:
            held[min(place[other] for other in met)].append((met, long))
    return steps


def _joined(tables: Sequence[_Table], first: int) -> _Table:
    """Several tables as one over all their vertices: what they cost together, by how many hosts are first in all."""
    found = _Table((), np.zeros(1))
    for table in sorted(tables, key=lambda one: one.cost.shape[-1]):
        scope = tuple(sorted({*found.scope, *table.scope}))
        one, other = (_spread(part, scope) for part in (found, table))
        found = _Table(scope, _least_sums(one, other, first))
    return found


def _spread(table: _Table, scope: tuple[int, ...]) -> Floats:
    """The table with an axis for each vertex of `scope`, of length one where it does not depend on it."""
    shape = [2 if vertex in table.scope else 1 for vertex in scope]
    return table.cost.reshape(*shape, table.cost.shape[-1])


def _least_sums(one: Floats, other: Floats, first: int) -> Floats:
    """(min, +) convolution along the last axis, up to `first`."""
    if one.shape[-1] < other.shape[-1]:
        one, other = other, one
    length = min(one.shape[-1] + other.shape[-1] - 1, first + 1)
    shape = np.broadcast_shapes(one.shape[:-1], other.shape[:-1])
    found = np.full((*shape, length), np.inf)
    for nth in range(min(other.shape[-1], length)):
        part = one[..., : length - nth] + other[..., nth : nth + 1]
        here = found[..., nth : nth + part.shape[-1]]
        np.minimum(here, part, out=here)
    return found
