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

_MAX_STEPS = 1e8
_MAX_TABLE_ENTRIES = 2**24
_MAX_SCOPE = 18
"""Additions, entries of one table, and vertices that one is over: beyond these the halves are not looked for."""


@dataclass(frozen=True)
class BisectionCut:
    """Bytes/s from one half to the other, in one direction; `is_exact`: whether no halves are joined by less."""

    bytes_per_s: float
    is_exact: bool


@dataclass(frozen=True)
class CapacityGraph:
    """An undirected graph: vertices 0 to `host_count` - 1 are hosts, then come `other_count`; `endpoints`, shape
    [edges, 2], each pair once, and `edge_bytes_per_s`, what an edge carries each way in whole bytes/s, [edges].
    """

    host_count: int
    other_count: int
    endpoints: Ints
    edge_bytes_per_s: Floats


@dataclass(frozen=True)
class _CutTable:
    """The least cut by the sides of `scope` (vertices in ascending order) and by hosts on the first side: `cost`,
    shape [2, ..., 2, hosts told of + 1].
    """

    scope: tuple[int, ...]
    cost: Floats


def build_capacity_graph(
    host_count: int, other_count: int, endpoints: Ints, edge_bytes_per_s: Floats
) -> CapacityGraph:
    """The graph with parallel edges as one, and with switches of one kind as one; rates are rounded to bytes/s."""
    graph = _merge_parallel_edges(host_count, other_count, endpoints, np.rint(edge_bytes_per_s))
    vertex_class = _refine_vertex_classes(graph)
    return _merge_parallel_edges(
        host_count,
        int(vertex_class.max(initial=-1)) + 1 - host_count,
        vertex_class[graph.endpoints],
        graph.edge_bytes_per_s,
    )


def _merge_parallel_edges(
    host_count: int, other_count: int, endpoints: Ints, edge_bytes_per_s: Floats
) -> CapacityGraph:
    """Each pair of ends once, in order, without edges that carry nothing or lead back."""
    count = host_count + other_count
    low, high = endpoints.min(axis=1, initial=count), endpoints.max(axis=1, initial=0)
    is_used = (edge_bytes_per_s > 0) & (low < high)
    keys, key_index = np.unique(low[is_used] * count + high[is_used], return_inverse=True)
    merged_bytes_per_s = np.bincount(key_index, weights=edge_bytes_per_s[is_used], minlength=len(keys)).astype(
        np.float64
    )
    return CapacityGraph(host_count, other_count, np.stack([keys // count, keys % count], axis=1), merged_bytes_per_s)


def _list_neighbours(graph: CapacityGraph) -> list[tuple[Ints, Floats]]:
    """Of each vertex its neighbours in ascending order, and the rates to them."""
    count = graph.host_count + graph.other_count
    tail, head = np.concatenate([graph.endpoints, graph.endpoints[:, ::-1]]).T
    order = np.lexsort((head, tail))
    row_starts = np.searchsorted(tail[order], np.arange(count + 1))
    head, rate = head[order], np.tile(graph.edge_bytes_per_s, 2)[order]
    return [(head[a:b], rate[a:b]) for a, b in itertools.pairwise(row_starts.tolist())]


def _refine_vertex_classes(graph: CapacityGraph) -> Ints:
    """The kind of each vertex: a host's own number; switches are of one kind if to each kind they have as much.

    Colour refinement from hosts that are all of their own kind and switches that are all of one.
    """
    count = graph.host_count + graph.other_count
    vertex_class = np.minimum(np.arange(count), graph.host_count)
    tail, head = np.concatenate([graph.endpoints, graph.endpoints[:, ::-1]]).T
    rate = np.tile(graph.edge_bytes_per_s, 2)
    class_count = graph.host_count + (graph.other_count > 0)
    while True:
        keys, key_index = np.unique(tail * count + vertex_class[head], return_inverse=True)
        class_bytes_per_s = np.bincount(key_index, weights=rate, minlength=len(keys))
        row_starts = np.searchsorted(keys // count, np.arange(count + 1)).tolist()
        class_by_signature: dict[tuple[int, bytes, bytes], int] = {}
        finer_class = np.arange(count)
        for vertex in range(graph.host_count, count):
            row = slice(row_starts[vertex], row_starts[vertex + 1])
            signature = (int(vertex_class[vertex]), (keys[row] % count).tobytes(), class_bytes_per_s[row].tobytes())
            finer_class[vertex] = class_by_signature.setdefault(signature, graph.host_count + len(class_by_signature))
        vertex_class = finer_class
        if graph.host_count + len(class_by_signature) == class_count:
            return vertex_class
        class_count = graph.host_count + len(class_by_signature)


def compute_narrowest_cut_bytes_per_s(graph: CapacityGraph, first_half_hosts: int) -> float | None:
    """The least capacity that parts `first_half_hosts` hosts from the others, in one direction; None where that is
    too much work.
    """
    tables = _build_cut_tables(graph)
    if tables is None:
        return None
    order = _find_elimination_order([(table.scope, table.cost.shape[-1]) for table in tables], first_half_hosts)
    if order is None:
        return None
    for vertex in order:
        meeting_tables = [table for table in tables if vertex in table.scope]
        tables = [table for table in tables if vertex not in table.scope]
        combined = _combine_tables(meeting_tables, first_half_hosts)
        axis = combined.scope.index(vertex)
        tables.append(_CutTable(combined.scope[:axis] + combined.scope[axis + 1 :], combined.cost.min(axis=axis)))
    return float(_combine_tables(tables, first_half_hosts).cost[first_half_hosts])


def _build_cut_tables(graph: CapacityGraph) -> list[_CutTable] | None:
    """What the graph costs: hosts with the same cables together, each edge between other vertices for itself.

    None where a host has so many different neighbours that its table alone is too large.
    """
    neighbours = _list_neighbours(graph)
    between_hosts = graph.endpoints[(graph.endpoints < graph.host_count).all(axis=1)]
    forwarding_hosts = set(between_hosts.ravel().tolist())
    hosts_by_links: dict[bytes, list[int]] = {}
    for host in range(graph.host_count):
        if host not in forwarding_hosts:
            hosts_by_links.setdefault(neighbours[host][0].tobytes() + neighbours[host][1].tobytes(), []).append(host)
    tables = []
    for hosts in hosts_by_links.values():
        scope, rate = neighbours[hosts[0]]
        if len(scope) > _MAX_SCOPE:
            return None
        tables.append(_CutTable(tuple(scope.tolist()), _compute_class_cost(len(hosts), rate)))
    side_cost = np.array([[np.inf, 0.0], [0.0, np.inf]])
    tables += [_CutTable((host,), side_cost) for host in sorted(forwarding_hosts)]
    for (source, target), edge_rate in zip(graph.endpoints.tolist(), graph.edge_bytes_per_s.tolist(), strict=True):
        if source in forwarding_hosts or source >= graph.host_count:
            tables.append(_CutTable((source, target), edge_rate * (1 - np.eye(2))[:, :, None]))
    return tables


def _compute_class_cost(count: int, rate: Floats) -> Floats:
    """Of so many hosts with the same cables: shape [2, ..., 2, count + 1], by the sides of the cables' other ends.

    Side 0 is the first one. Each host on it pays its cables to the other side, and the other way round.
    """
    sides = np.indices((2,) * len(rate)).reshape(len(rate), 2 ** len(rate))
    to_second = np.sum(rate[:, None] * sides, axis=0)  # not by BLAS: its last digits are the processor's
    to_first = np.sum(rate[:, None] * (1 - sides), axis=0)
    first_side_hosts = np.arange(count + 1)
    cost = to_second[:, None] * first_side_hosts + to_first[:, None] * (count - first_side_hosts)
    return np.asarray(cost).reshape((2,) * len(rate) + (count + 1,))


def _find_elimination_order(tables: Sequence[tuple[tuple[int, ...], int]], first_half_hosts: int) -> list[int] | None:
    """Vertices in the order of elimination, the one that meets the fewest first; None where it takes too many steps.

    `tables`: the scope of each and the length of its last axis.
    """
    adjacency: dict[int, set[int]] = {}
    for scope, _ in tables:
        for vertex in scope:
            adjacency.setdefault(vertex, set()).update(scope)
    heap = [(len(adjacent), vertex) for vertex, adjacent in adjacency.items()]
    heapq.heapify(heap)
    order: list[int] = []
    eliminated: set[int] = set()
    while heap:
        size, vertex = heapq.heappop(heap)
        if vertex in eliminated or size != len(adjacency[vertex]):
            continue
        eliminated.add(vertex)
        order.append(vertex)
        remaining = adjacency[vertex] - {vertex}
        if len(remaining) > _MAX_SCOPE:
            return None
        for neighbour in remaining:
            adjacency[neighbour] |= remaining
            adjacency[neighbour].discard(vertex)
            heapq.heappush(heap, (len(adjacency[neighbour]), neighbour))
    return order if _count_elimination_steps(tables, order, first_half_hosts) <= _MAX_STEPS else None


def _count_elimination_steps(
    tables: Sequence[tuple[tuple[int, ...], int]], order: Sequence[int], first_half_hosts: int
) -> float:
    """Additions that elimination in this order takes; infinite where a table is too large to be held."""
    step_of_vertex = {vertex: step for step, vertex in enumerate(order)}
    buckets: list[list[tuple[set[int], int]]] = [[] for _ in order]
    for scope, size in tables:
        if scope:
            buckets[min(step_of_vertex[vertex] for vertex in scope)].append((set(scope), size))
    steps = 0.0
    for step, vertex in enumerate(order):
        joint_scope: set[int] = set()
        joint_length = 1
        for table_scope, size in sorted(buckets[step], key=lambda bucket_entry: bucket_entry[1]):
            joint_scope |= table_scope
            grown_length = min(joint_length + size - 1, first_half_hosts + 1)
            if 2 ** len(joint_scope) * grown_length > _MAX_TABLE_ENTRIES:
                return np.inf
            steps += 2.0 ** len(joint_scope) * min(joint_length, size) * grown_length
            joint_length = grown_length
        joint_scope.discard(vertex)
        if joint_scope:
            buckets[min(step_of_vertex[neighbour] for neighbour in joint_scope)].append((joint_scope, joint_length))
    return steps


def _combine_tables(tables: Sequence[_CutTable], first_half_hosts: int) -> _CutTable:
    """Several tables as one over all their vertices: what they cost together, by how many hosts are first in all."""
    combined = _CutTable((), np.zeros(1))
    for table in sorted(tables, key=lambda left: left.cost.shape[-1]):
        scope = tuple(sorted({*combined.scope, *table.scope}))
        left, right = (_expand_axes(part, scope) for part in (combined, table))
        combined = _CutTable(scope, _convolve_min_plus(left, right, first_half_hosts))
    return combined


def _expand_axes(table: _CutTable, scope: tuple[int, ...]) -> Floats:
    """The table with an axis for each vertex of `scope`, of length one where it does not depend on it."""
    shape = [2 if vertex in table.scope else 1 for vertex in scope]
    return table.cost.reshape(*shape, table.cost.shape[-1])


def _convolve_min_plus(left: Floats, right: Floats, first_half_hosts: int) -> Floats:
    """(min, +) convolution along the last axis, up to `first_half_hosts`."""
    if left.shape[-1] < right.shape[-1]:
        left, right = right, left
    length = min(left.shape[-1] + right.shape[-1] - 1, first_half_hosts + 1)
    shape = np.broadcast_shapes(left.shape[:-1], right.shape[:-1])
    least_sums = np.full((*shape, length), np.inf)
    for offset in range(min(right.shape[-1], length)):
        part = left[..., : length - offset] + right[..., offset : offset + 1]
        window = least_sums[..., offset : offset + part.shape[-1]]
        np.minimum(window, part, out=window)
    return least_sums
