"""What of a wiring is in use: without links that give nothing, and without switches that no traffic passes.

A switch is in use if it joins hosts, or lies on a shortest way between two switches that hosts are wired to: traffic
takes all shortest ways (`planner.cluster.routing`). Hosts are all in use; those that are gone are not in a wiring.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.routing import routes
from planner.cluster.wiring import Wiring

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_FAR = np.iinfo(np.int16).max


def in_use(wiring: Wiring, origin: str) -> Wiring:
    """The wiring of all hosts with the switches and links that are in use. Raises InputError as `routes`."""
    hosts, count = len(wiring.hosts), len(wiring.vertices)
    used = np.arange(count) < hosts
    used[hosts:] = _racks(wiring)[hosts:]
    works = wiring.bandwidth_bytes_per_s > 0
    if hosts > 1 and (works & ~wiring.in_rack).any():
        used[hosts:] |= _on_the_way(wiring, origin)
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
    pairs = np.unique(np.sort(wiring.ends[wiring.in_rack], axis=1), axis=0)
    found: Bools = np.bincount(pairs[:, 1], minlength=len(wiring.vertices)) > 1
    return found


def _on_the_way(wiring: Wiring, origin: str) -> Bools:
    """Which switches of the network traffic passes, shape [switches]."""
    found, ports = routes(wiring, origin)
    distance = found.distance
    way = np.diff(found.first_way)
    pairs = np.unique(np.stack([found.way_router, np.repeat(ports.host, way)], axis=1), axis=0)
    entered, served = np.unique(pairs[:, 0], return_counts=True)
    between = distance[np.ix_(entered, entered)].astype(np.int64)
    reached = (between < _FAR).sum(axis=1)
    passed = np.zeros(len(distance), dtype=np.bool_)
    passed[entered] = (served > 1) | (reached > 1)
    others = np.flatnonzero(~passed)
    far, of = np.unique(distance[np.ix_(others, entered)], axis=0, return_inverse=True)
    on_a_way = np.array([_lies_between(row.astype(np.int64), between) for row in far], dtype=np.bool_)
    if len(others):
        passed[others] = on_a_way[of.ravel()]
    return passed[len(passed) - len(wiring.switches) :]


def _lies_between(far: Ints, between: Ints) -> bool:
    """Whether a router so far from each entered one lies on a shortest way between two of them."""
    for one in np.argsort(far, kind="stable").tolist():
        if far[one] == _FAR:
            return False
        there = (far < _FAR) & (far[one] + far == between[one])
        there[one] = False
        if there.any():
            return True
    return False
