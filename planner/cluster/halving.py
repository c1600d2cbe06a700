"""The narrowest halves of a wiring: which hosts against which others, and what passes between them.

The bisection of any graph is hard to find (Garey, Johnson, Stockmeyer 1976, Some simplified NP-complete graph
problems), but networks are not any graph. Switches with the same cables lie on the same side of a narrowest cut, so
that they count as one; what is then a tree is halved by counting hosts up the tree; what has few switches is halved
by trying all sides of these, the hosts going where they cost least. What is neither is halved between neighbours, as
well as that goes: the figure is then an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.routing import summed
from planner.cluster.wiring import Wiring

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_SIDES = 16
"""Vertices whose sides are all tried."""
_AT_ONCE = 4_096
_MOST_HOSTS = 8_192
"""Hosts of a tree that are counted one by one."""


@dataclass(frozen=True)
class Halves:
    """Bytes/s between the narrowest halves of the hosts, one direction; whether no others are narrower."""

    bytes_per_s: float
    exact: bool


def narrowest_halves(wiring: Wiring) -> Halves:
    """The narrowest cut between two halves of a wiring's hosts (of an odd number, one half has one fewer)."""
    hosts = len(wiring.hosts)
    if hosts < 2:
        return Halves(0.0, exact=True)
    ends, rate = _merged(wiring)
    parents = _forest(ends, int(ends.max(initial=hosts - 1)) + 1, hosts)
    if parents is not None and hosts <= _MOST_HOSTS:
        return Halves(_tree_cut(ends, rate, parents, hosts), exact=True)
    joined = (ends < hosts).all(axis=1)
    tried = np.union1d(np.unique(ends[joined]), np.unique(ends[ends >= hosts]))
    if len(tried) <= _MOST_SIDES:
        return Halves(_all_sides(ends, rate, tried, hosts), exact=True)
    return Halves(np.inf, exact=False)


def _merged(wiring: Wiring) -> tuple[Ints, Floats]:
    """The links that work, those between the same two as one, and switches with the same cables as one, until no two
    are left that have them: ends [links, 2], the lower vertex first, and bytes/s [links].
    """
    works = wiring.bandwidth_bytes_per_s > 0
    ends, rate, hosts = wiring.ends[works], wiring.bandwidth_bytes_per_s[works], len(wiring.hosts)
    while True:
        ends, rate = _single(ends, rate)
        label = _same_cables(ends, rate, hosts)
        if (label[ends] == ends).all():
            return ends, rate
        ends = label[ends]


def _single(ends: Ints, rate: Floats) -> tuple[Ints, Floats]:
    """Parallel links as one."""
    pairs, of = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    return pairs.reshape(-1, 2).astype(np.int64), summed(of.ravel(), rate, len(pairs))


def _same_cables(ends: Ints, rate: Floats, hosts: int) -> Ints:
    """For each vertex the first switch with the same cables to the same others; hosts are themselves."""
    count = int(ends.max(initial=hosts - 1)) + 1
    tail, head = np.concatenate([ends, ends[:, ::-1]]).T
    order = np.lexsort((head, tail))
    head, cable = head[order], np.tile(rate, 2)[order]
    first = np.searchsorted(tail[order], np.arange(count + 1))
    label, seen = np.arange(count), dict[bytes, int]()
    for switch in range(hosts, count):
        own = slice(first[switch], first[switch + 1])
        label[switch] = seen.setdefault(head[own].tobytes() + cable[own].tobytes(), switch)
    return label


def _forest(ends: Ints, count: int, hosts: int) -> list[tuple[int, int, int]] | None:
    """Of a forest (vertex, its parent, the link between them), leaves first, roots with parent -1.

    None for what has a cycle, or a host with more than one link.
    """
    if np.bincount(ends.ravel(), minlength=count)[:hosts].max(initial=0) > 1:
        return None
    links: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for number, (one, other) in enumerate(ends.tolist()):
        links[one].append((other, number))
        links[other].append((one, number))
    found: list[tuple[int, int, int]] = []
    seen = [False] * count
    # switches are roots, unless two hosts are joined by themselves
    for root in (*range(hosts, count), *range(hosts)):
        if seen[root]:
            continue
        seen[root] = True
        waiting = [(root, -1, -1)]
        while waiting:
            vertex, parent, by = waiting.pop()
            found.append((vertex, parent, by))
            for other, number in links[vertex]:
                if number == by:
                    continue
                if seen[other]:
                    return None
                seen[other] = True
                waiting.append((other, vertex, number))
    return found[::-1]


def _tree_cut(ends: Ints, rate: Floats, order: list[tuple[int, int, int]], hosts: int) -> float:
    """The narrowest cut of a forest: for each vertex, each side of it and each number of hosts below it in the first
    half, the least that passes; children are added one by one.
    """
    below: dict[int, Floats] = {}
    whole = np.zeros((1, 1))
    for vertex, parent, link in order:
        own = below.pop(vertex, np.zeros((2, 1)))
        if vertex < hosts:
            # in the first half it is one of it, in the second none
            own = _joined(own, np.array([[np.inf, 0.0], [0.0, np.inf]]))
        if parent < 0:
            whole = _joined(whole, own.min(axis=0, keepdims=True))
            continue
        up = np.minimum(own, own[::-1] + rate[link])
        below[parent] = _joined(below.get(parent, np.zeros((2, 1))), up)
    return float(whole[0, hosts // 2])


def _joined(one: Floats, other: Floats) -> Floats:
    """The least sums by number of hosts together: min-plus convolution of rows, shape [rows, n + m - 1]."""
    if one.shape[1] < other.shape[1]:
        one, other = other, one
    found = np.full((len(one), one.shape[1] + other.shape[1] - 1), np.inf)
    for shift in range(other.shape[1]):
        part = found[:, shift : shift + one.shape[1]]
        np.minimum(part, one + other[:, shift : shift + 1], out=part)
    return found


def _all_sides(ends: Ints, rate: Floats, tried: Ints, hosts: int) -> float:
    """The narrowest cut by trying both sides of each of the `tried` vertices (switches, and hosts that are joined by
    themselves); each other host goes where it costs less, as many as a half has.
    """
    place = np.full(int(ends.max()) + 1, -1)
    place[tried] = np.arange(len(tried))
    among = (place[ends] >= 0).all(axis=1)
    cables = np.zeros((hosts, len(tried)))
    host, switch = ends[~among].T
    np.add.at(cables, (host, place[switch]), rate[~among])
    free = np.flatnonzero(place[:hosts] < 0) if len(place) >= hosts else np.arange(hosts)
    kinds, count = np.unique(cables[free], axis=0, return_counts=True)
    inner, fixed = place[ends[among]], tried < hosts
    half, best = hosts // 2, np.inf
    for start in range(0, 2 ** len(tried), _AT_ONCE):
        numbers = np.arange(start, min(start + _AT_ONCE, 2 ** len(tried)))
        first = (numbers[:, None] >> np.arange(len(tried)) & 1).astype(bool)
        cost = ((first[:, inner[:, 0]] != first[:, inner[:, 1]]) * rate[among]).sum(axis=1)
        best = min(best, float((cost + _least(first, kinds, count, half - first[:, fixed].sum(axis=1))).min()))
    return best


def _least(first: Bools, kinds: Floats, count: Ints, wanted: Ints) -> Floats:
    """What hosts add to the cut if `wanted` of them, those that cost least there, are in the first half: [sides].

    `first`: switches in the first half, [sides, switches]; `kinds`: hosts' cables to them, [kinds, switches], with
    `count` hosts of each. Infinite where there are not as many.
    """
    there, here = first @ kinds.T, ~first @ kinds.T
    order = np.argsort(here - there, axis=1, kind="stable")
    more = np.take_along_axis(here - there, order, axis=1)
    held = count[order]
    before = np.cumsum(held, axis=1) - held
    taken = np.clip(wanted[:, None] - before, 0, held)
    cost: Floats = (there * count).sum(axis=1) + (taken * more).sum(axis=1)
    return np.where((wanted < 0) | (wanted > count.sum()), np.inf, cost)
