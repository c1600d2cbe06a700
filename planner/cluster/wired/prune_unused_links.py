"""What of a wiring is in use: without links that give nothing, and without switches that no traffic passes.

A switch is in use if it joins hosts, or lies on a shortest way between two switches that hosts are wired to: traffic
takes all shortest paths (`planner.cluster.network.ecmp_routing`). Hosts are all in use; failed ones are not in a
wiring.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.wiring import Wiring

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_FAR = 1_000_000


def in_use(wiring: Wiring) -> Wiring:
    """The wiring of all hosts with the switches and links that are in use."""
    hosts, count = len(wiring.hosts), len(wiring.vertices)
    used = np.arange(count) < hosts
    used[hosts:] = _racks(wiring)[hosts:]
    works = wiring.bandwidth_bytes_per_s > 0
    if hosts > 1 and (works & ~wiring.in_rack).any():
        used[hosts:] |= _on_the_way(wiring)
    kept = works & used[wiring.ends].all(axis=1)
    place = np.cumsum(used) - 1
    switches = used[hosts:]
    return replace(
        wiring,
        switches=tuple(name for name, left in zip(wiring.switches, switches.tolist(), strict=True) if left),
        switch_latency_s=wiring.switch_latency_s[switches],
        in_network=wiring.in_network[switches],
        ends=place[wiring.ends[kept]],
        card=wiring.card[kept],
        bandwidth_bytes_per_s=wiring.bandwidth_bytes_per_s[kept],
        scale_up=wiring.scale_up[kept],
    )


def _racks(wiring: Wiring) -> Bools:
    """Which vertices are scale-up switches of several hosts, shape [vertices]."""
    works = wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    pairs = np.unique(np.sort(wiring.ends[works], axis=1), axis=0)
    found: Bools = np.bincount(pairs[:, 1], minlength=len(wiring.vertices)) > 1
    return found


def _on_the_way(wiring: Wiring) -> Bools:
    """Which switches of the network traffic passes, shape [switches]."""
    hosts = len(wiring.hosts)
    ends = np.sort(wiring.ends[~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)], axis=1)
    up = np.unique(ends[(ends[:, 0] < hosts) & (ends[:, 1] >= hosts)], axis=0)
    entered, served = np.unique(up[:, 1], return_counts=True)
    # hosts that are wired to each other pass traffic on
    passing = np.unique(ends[(ends < hosts).all(axis=1)])
    among = ends[((ends >= hosts) | np.isin(ends, passing)).all(axis=1)]
    begun = np.union1d(entered, passing)
    far = _far(among, begun, len(wiring.vertices))
    between = far[:, begun]
    passed = np.zeros(len(wiring.vertices), dtype=np.bool_)
    passed[begun] = (between < _FAR).sum(axis=1) > 1
    passed[entered[served > 1]] = True
    others = np.flatnonzero(~passed[hosts:]) + hosts
    kinds, of = np.unique(far[:, others], axis=1, return_inverse=True)
    on_a_way = np.array([_lies_between(column, between) for column in kinds.T], dtype=np.bool_)
    if len(others):
        passed[others] = on_a_way[of.ravel()]
    return passed[hosts:]


def _far(ends: Ints, sources: Ints, count: int) -> Ints:
    """Hops from each source to every vertex, shape [sources, vertices]: breadth first from all at once."""
    tail, head = np.concatenate([ends, ends[:, ::-1]]).T
    order = np.argsort(tail, kind="stable")
    tails, first = np.unique(tail[order], return_index=True)
    reached = np.zeros((count, len(sources)), dtype=np.bool_)
    reached[sources, np.arange(len(sources))] = True
    far = np.where(reached, 0, _FAR)
    packed = np.packbits(reached, axis=1)
    hops, fresh = 0, reached
    while fresh.any() and len(tails):
        hops += 1
        grown = packed.copy()
        grown[tails] |= np.bitwise_or.reduceat(packed[head[order]], first, axis=0)
        fresh = np.unpackbits(grown & ~packed, axis=1, count=len(sources)).astype(np.bool_)
        far[fresh] = hops
        packed = grown
    return far.T


def _lies_between(far: Ints, between: Ints) -> bool:
    """Whether a switch so far from each entered one lies on a shortest way between two of them."""
    for one in np.argsort(far, kind="stable").tolist():
        if far[one] == _FAR:
            return False
        there = (far < _FAR) & (far[one] + far == between[one])
        there[one] = False
        if there.any():
            return True
    return False
