"""What of a wiring is in use: without links that give nothing, and without switches that no traffic passes.

A switch is in use if it joins hosts, or lies on a shortest path between two switches that hosts are wired to: traffic
takes all shortest paths (`planner.cluster.network.ecmp_routing`). Hosts are all in use; failed ones are not in a
wiring.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np

from planner.cluster.model.cluster import Cluster, WiredCluster
from planner.cluster.model.wiring import Bools, Ints, Wiring, compute_hops
from planner.cluster.wired.build_links import build_regular_wiring

_UNREACHABLE = np.iinfo(np.int32).max
MAX_LISTED_DEVICES = 131_072
"""Devices of the largest regular cluster whose links are listed one by one."""


@singledispatch
def list_used_links(cluster: Cluster) -> Wiring | None:
    """The hosts, switches and links of a cluster that are in use; None where it is too large for that."""
    return build_regular_wiring(cluster) if cluster.devices <= MAX_LISTED_DEVICES else None


@list_used_links.register
def _(cluster: WiredCluster) -> Wiring | None:
    return prune_unused_links(cluster.wiring)


def prune_unused_links(wiring: Wiring) -> Wiring:
    """The wiring of all hosts with the switches and links that are in use."""
    hosts, count = len(wiring.hosts), len(wiring.vertex_names)
    is_used = np.arange(count) < hosts
    is_used[hosts:] = _find_rack_switches(wiring)[hosts:]
    is_working = wiring.bandwidth_bytes_per_s > 0
    if hosts > 1 and (is_working & ~wiring.in_rack).any():
        is_used[hosts:] |= _find_transit_switches(wiring)
    is_kept = is_working & is_used[wiring.endpoints].all(axis=1)
    new_vertex = np.cumsum(is_used) - 1
    switches = is_used[hosts:]
    return replace(
        wiring,
        switches=tuple(name for name, is_left in zip(wiring.switches, switches.tolist(), strict=True) if is_left),
        switch_latency_s=wiring.switch_latency_s[switches],
        in_network=wiring.in_network[switches],
        endpoints=new_vertex[wiring.endpoints[is_kept]],
        nic_index=wiring.nic_index[is_kept],
        bandwidth_bytes_per_s=wiring.bandwidth_bytes_per_s[is_kept],
        scale_up=wiring.scale_up[is_kept],
    )


def _find_rack_switches(wiring: Wiring) -> Bools:
    """Which vertices are scale-up switches of several hosts, shape [vertices]."""
    is_working = wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    pairs = np.unique(np.sort(wiring.endpoints[is_working], axis=1), axis=0)
    is_rack_switch: Bools = np.bincount(pairs[:, 1], minlength=len(wiring.vertex_names)) > 1
    return is_rack_switch


def _find_transit_switches(wiring: Wiring) -> Bools:
    """Which switches of the network traffic passes, shape [switches]."""
    hosts = len(wiring.hosts)
    endpoints = np.sort(wiring.endpoints[~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)], axis=1)
    uplinks = np.unique(endpoints[(endpoints[:, 0] < hosts) & (endpoints[:, 1] >= hosts)], axis=0)
    entry_switches, link_counts = np.unique(uplinks[:, 1], return_counts=True)
    # hosts that are wired to each other pass traffic on
    forwarding_hosts = np.unique(endpoints[(endpoints < hosts).all(axis=1)])
    inner_endpoints = endpoints[((endpoints >= hosts) | np.isin(endpoints, forwarding_hosts)).all(axis=1)]
    sources = np.union1d(entry_switches, forwarding_hosts)
    tail, head = np.concatenate([inner_endpoints, inner_endpoints[:, ::-1]]).T
    order = np.argsort(tail, kind="stable")
    first_link = np.searchsorted(tail[order], np.arange(len(wiring.vertex_names) + 1))
    hops = compute_hops(head[order], first_link, sources, np.int32).T.astype(np.int64)
    source_hops = hops[:, sources]
    is_transit = np.zeros(len(wiring.vertex_names), dtype=np.bool_)
    is_transit[sources] = (source_hops < _UNREACHABLE).sum(axis=1) > 1
    is_transit[entry_switches[link_counts > 1]] = True
    other_switches = np.flatnonzero(~is_transit[hosts:]) + hosts
    distinct_hops, column_index = np.unique(hops[:, other_switches], axis=1, return_inverse=True)
    lies_on_path = np.array([_is_between(column, source_hops) for column in distinct_hops.T], dtype=np.bool_)
    if len(other_switches):
        is_transit[other_switches] = lies_on_path[column_index.ravel()]
    return is_transit[hosts:]


def _is_between(hops: Ints, source_hops: Ints) -> bool:
    """Whether a switch so far from each entered one lies on a shortest path between two of them."""
    for source in np.argsort(hops, kind="stable").tolist():
        if hops[source] == _UNREACHABLE:
            return False
        is_on_path = (hops < _UNREACHABLE) & (hops[source] + hops == source_hops[source])
        is_on_path[source] = False
        if is_on_path.any():
            return True
    return False
