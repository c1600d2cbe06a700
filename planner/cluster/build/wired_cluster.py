"""A cluster described link by link, or a degraded one: which hosts are used, and the levels that summarise it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import singledispatch

import numpy as np

from planner.cluster.build.power import compute_rated_overhead_w
from planner.cluster.build.regular_cluster import (
    resolve_intra_node,
    resolve_node_accelerator,
    resolve_node_host,
    resolve_regular_cluster,
)
from planner.cluster.model.cluster import Cluster, DegradedCluster, FabricLevel, RegularCluster, WiredCluster
from planner.cluster.model.spec import ClusterSpec, FailedPartSpec
from planner.cluster.model.wiring import Ints, Wiring, compute_uplink_bytes_per_s, find_leaf_parts
from planner.cluster.network.ecmp_routing import build_routes
from planner.cluster.regular.levels import has_in_network_reduction
from planner.cluster.wired.build_links import build_regular_wiring
from planner.cluster.wired.failed_parts import apply_failed_parts, select_hosts
from planner.cluster.wired.wiring_file import resolve_wiring
from planner.errors import InputError, name_origin

_MAX_EXPANDED_NODES = 131_072
"""Most nodes of a degraded cluster: every host and link of it is listed."""


def resolve_wired_cluster(
    spec: ClusterSpec,
    failed_parts: Sequence[FailedPartSpec] = (),
    *,
    nodes: int | None = None,
    devices: int | None = None,
) -> WiredCluster:
    """The cluster described link by link, or a regular one written out, with its failed parts.

    Hosts with fewer devices than the others are not used. `nodes` or `devices` of those that work are taken: those
    with the widest uplink, close together. Raises InputError where there are fewer, where a
    failed part is not there, and where hosts cannot reach each other.
    """
    if not spec.hosts:
        # the nodes are counted before those that failed are taken off
        base_cluster = resolve_regular_cluster(spec, nodes=nodes, devices=devices)
        if base_cluster.nodes > _MAX_EXPANDED_NODES:
            expected = f"at most {_MAX_EXPANDED_NODES:,} nodes"
            raise InputError("too many nodes for failed parts", value=base_cluster.nodes, expected=expected)
        healthy_wiring = build_regular_wiring(base_cluster)
        return _build_degraded_cluster(
            base_cluster, healthy_wiring, _apply_all_failed_parts(healthy_wiring, spec, failed_parts)
        )
    wiring, node = resolve_wiring(spec)
    accelerator = resolve_node_accelerator(node)
    has_reduction = has_in_network_reduction(node.link.in_network, node.link.topology, accelerator.architecture)
    wiring, has_nics = _apply_all_failed_parts(wiring, spec, failed_parts), node.nic is not None
    wired_cluster = WiredCluster(
        name=spec.name,
        title=spec.title or spec.name,
        accelerator=accelerator,
        nodes=len(wiring.hosts),
        devices_per_node=node.devices,
        levels=(FabricLevel("node", node.link.topology, node.devices, 0.0, 0.0, in_network=has_reduction),),
        host=resolve_node_host(node.host),
        intra_node=resolve_intra_node(node),
        node_overhead_w=compute_rated_overhead_w(node, accelerator),
        wiring=wiring,
    )
    return _build_wired_cluster(wired_cluster, wiring, has_nics, nodes=nodes, devices=devices)


def _apply_all_failed_parts(wiring: Wiring, spec: ClusterSpec, failed_parts: Sequence[FailedPartSpec]) -> Wiring:
    """The wiring without the failed parts of the file and of the command line."""
    return apply_failed_parts(apply_failed_parts(wiring, spec.failed_parts, "faults"), failed_parts, "--fault")


def _build_wired_cluster(
    base_cluster: WiredCluster,
    wiring: Wiring,
    has_nics: bool,
    *,
    nodes: int | None = None,
    devices: int | None = None,
) -> WiredCluster:
    """`base_cluster` with the usable hosts of a wiring, or `nodes` or `devices` of them; `has_nics`: whether
    hosts reach the network by NICs.
    """
    devices_per_host = int(wiring.devices.max())
    wiring = select_hosts(wiring, np.flatnonzero(wiring.devices == devices_per_host))
    count = _resolve_host_count(wiring, devices_per_host, nodes, devices)
    if count < len(wiring.hosts):
        wiring = select_hosts(wiring, _select_best_hosts(wiring, count))
    node_level = replace(
        base_cluster.levels[0],
        devices=devices_per_host,
        bandwidth_bytes_per_s=float(wiring.scale_up_bytes_per_s.min()),
        latency_s=float(wiring.scale_up_latency_s.max()),
    )
    levels = [node_level]
    if count > 1:
        max_hops = build_routes(wiring)[0].compute_max_hops()
        levels += _build_levels(wiring, max_hops, devices_per_host, has_nics, node_level.in_network)
    return replace(base_cluster, nodes=count, devices_per_node=devices_per_host, levels=tuple(levels), wiring=wiring)


def _build_degraded_cluster(healthy: RegularCluster, healthy_wiring: Wiring, wiring: Wiring) -> DegradedCluster:
    """The cluster with the links `wiring` that are left of a healthy one. Raises InputError for hosts that cannot
    reach each other.
    """
    count, levels = len(wiring.hosts), healthy.levels
    if count > 1:
        build_routes(wiring)
    remaining_share = 1.0 if count == 1 else _compute_rack_share(healthy_wiring, wiring)
    # where a node's links are those that lead to its rack, the devices of a node have no others
    rates = {level.bandwidth_bytes_per_s for level in levels if level.is_rack}
    levels = tuple(
        replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * remaining_share)
        if level.is_rack or (level is levels[0] and level.bandwidth_bytes_per_s in rates)
        else level
        for level in (levels[:1] if count == 1 else levels)
    )
    common = {field.name: getattr(healthy, field.name) for field in fields(healthy)}
    return DegradedCluster(
        **(common | {"nodes": count, "levels": levels}), wiring=wiring, healthy=healthy, healthy_wiring=healthy_wiring
    )


def _compute_rack_share(healthy: Wiring, remaining: Wiring) -> float:
    """Share of a healthy host's bandwidth into its rack that the narrowest host with any has."""
    healthy_bytes_per_s = healthy.sum_host_bytes_per_s(healthy.in_rack)
    rack_bytes_per_s = remaining.sum_host_bytes_per_s(remaining.in_rack)
    rack_bytes_per_s = rack_bytes_per_s[rack_bytes_per_s > 0]
    return float(rack_bytes_per_s.min() / healthy_bytes_per_s.max()) if len(rack_bytes_per_s) else 1.0


def select_nodes(cluster: WiredCluster, nodes: int) -> WiredCluster:
    """The `nodes` hosts of a cluster with the widest uplinks, close together.

    Raises InputError where there are not as many.
    """
    count = _resolve_host_count(cluster.wiring, cluster.devices_per_node, nodes, None)
    with name_origin(cluster.name):
        return _keep_hosts(cluster, _select_best_hosts(cluster.wiring, count))


@singledispatch
def remove_slow_hosts(cluster: Cluster) -> tuple[Cluster, tuple[str, ...]] | None:
    """The cluster without the hosts whose uplinks are narrower than the median, and their names; None where all are
    equal, as in a regular cluster.
    """
    return None


@remove_slow_hosts.register
def _(cluster: WiredCluster) -> tuple[Cluster, tuple[str, ...]] | None:
    if cluster.nodes == 1:
        return None
    uplink_bytes_per_s = compute_uplink_bytes_per_s(cluster.wiring)
    slow = uplink_bytes_per_s < np.median(uplink_bytes_per_s) * (1 - 1e-9)
    if not slow.any():
        return None
    removed_hosts = tuple(cluster.wiring.hosts[host] for host in np.flatnonzero(slow).tolist())
    with name_origin(cluster.name):
        return _keep_hosts(cluster, np.flatnonzero(~slow)), removed_hosts


@singledispatch
def _keep_hosts(cluster: WiredCluster, hosts: Ints) -> WiredCluster:
    """The cluster with these of its hosts, its levels anew."""
    wiring = select_hosts(cluster.wiring, hosts)
    return _build_wired_cluster(cluster, wiring, cluster.levels[-1].through_nic)


@_keep_hosts.register
def _(cluster: DegradedCluster, hosts: Ints) -> WiredCluster:
    return _build_degraded_cluster(cluster.healthy, cluster.healthy_wiring, select_hosts(cluster.wiring, hosts))


def _resolve_host_count(wiring: Wiring, per_host: int, nodes: int | None, devices: int | None) -> int:
    """How many hosts are used."""
    if nodes is not None and devices is not None:
        raise InputError("conflicting options", key="--nodes, --devices", expected="either --nodes or --devices")
    available = len(wiring.hosts)
    if devices is not None and (devices < 1 or devices % per_host):
        expected = f"a multiple of {per_host}, up to {available * per_host:,}"
        raise InputError("not a whole number of nodes", key="--devices", value=devices, expected=expected)
    count = nodes if devices is None else devices // per_host
    if count is None:
        return available
    if not 1 <= count <= available:
        key = "--nodes" if devices is None else "--devices"
        expected = f"from 1 to {available:,} nodes ({available * per_host:,} devices)"
        raise InputError("out of range", key=key, value=nodes or devices, expected=expected)
    return count


def _select_best_hosts(wiring: Wiring, count: int) -> Ints:
    """So many hosts: of those with the widest uplink, whole groups below the same switches first."""
    uplink_bytes_per_s, part = compute_uplink_bytes_per_s(wiring), find_leaf_parts(wiring)
    hosts_by_rate = np.argsort(-uplink_bytes_per_s, kind="stable")
    least_bytes_per_s = uplink_bytes_per_s[hosts_by_rate[count - 1]]
    _, group_index = np.unique(
        np.where(uplink_bytes_per_s >= least_bytes_per_s, part, -1 - np.arange(len(uplink_bytes_per_s))),
        return_inverse=True,
    )
    group_size = np.bincount(group_index)[group_index]
    selected = np.lexsort(
        (np.arange(len(uplink_bytes_per_s)), part, -group_size, uplink_bytes_per_s < least_bytes_per_s)
    )[:count]
    return np.sort(selected)


def _build_levels(
    wiring: Wiring, max_hops: int, devices_per_host: int, has_nics: bool, has_node_reduction: bool
) -> list[FabricLevel]:
    """The levels beyond a node: a scale-up rack where there is one, hosts at the same switches, all of them.

    `max_hops`: links between the switches that are the farthest from each other; `has_node_reduction`: whether
    NVSwitches of the accelerators' generation add; the network does where all of its switches do.
    """
    levels: list[FabricLevel] = []
    switch_latency_s = float(wiring.switch_latency_s.max(initial=0.0))
    has_network_reduction = bool(wiring.in_network.all()) and len(wiring.switches) > 0
    domain = wiring.scale_up_domains
    rack_hosts = int(np.bincount(domain).max())
    if rack_hosts > 1:
        rack_bytes_per_s = wiring.sum_host_bytes_per_s(wiring.in_rack)
        rate = float(rack_bytes_per_s[rack_bytes_per_s > 0].min()) / devices_per_host  # of the narrowest host
        latency, devices = float(wiring.scale_up_latency_s.max()) + switch_latency_s, rack_hosts * devices_per_host
        levels.append(FabricLevel("rack", "nvswitch", devices, rate, latency, in_network=has_node_reduction))
    if rack_hosts == len(wiring.hosts):
        return levels
    share = float(np.median(compute_uplink_bytes_per_s(wiring))) / devices_per_host
    nic_latency_s = float(wiring.nic_latency_s.max())
    leaf_hosts = int(np.bincount(find_leaf_parts(wiring)).max())
    if rack_hosts < leaf_hosts < len(wiring.hosts):
        latency, devices = nic_latency_s + switch_latency_s, leaf_hosts * devices_per_host
        levels.append(FabricLevel("leaf", "fat-tree", devices, share, latency, None, has_nics, has_network_reduction))
    latency = nic_latency_s + (max_hops + 1) * switch_latency_s
    levels.append(FabricLevel("fabric", "fat-tree", 0, share, latency, None, has_nics, has_network_reduction))
    return levels
