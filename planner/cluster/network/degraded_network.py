"""A degraded cluster: the figures of a regular cluster's levels, less what its failed parts take, link by link.

Levels, latencies and links inside nodes stay those of the healthy cluster. The bandwidth of a group beyond its node
is that of the healthy cluster, times the bandwidth of its routed flows with the failed parts over that without them:
a failed part that carries nothing changes nothing, and none makes anything faster.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import DegradedCluster, FabricLevel, RegularCluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.ecmp_routing import build_routes
from planner.cluster.network.network import Network
from planner.cluster.network.routed_network import RoutedNetwork, build_routed_network

Ints = NDArray[np.int64]


def build_degraded_cluster(healthy: RegularCluster, healthy_wiring: Wiring, wiring: Wiring) -> DegradedCluster:
    """The cluster with the links `wiring` that are left of a healthy one. Raises InputError for hosts that cannot
    reach each other.
    """
    count, levels = len(wiring.hosts), healthy.levels
    if count > 1:
        build_routes(wiring)
    remaining_share = 1.0 if count == 1 else _compute_rack_share(healthy_wiring, wiring)
    # where a node's links are those that lead to its rack, the devices of a node have no others
    rates = {level.bandwidth_bytes_per_s for level in levels if _is_rack(level)}
    levels = tuple(
        replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * remaining_share)
        if _is_rack(level) or (level is levels[0] and level.bandwidth_bytes_per_s in rates)
        else level
        for level in (levels[:1] if count == 1 else levels)
    )
    common = {field.name: getattr(healthy, field.name) for field in fields(healthy)}
    return DegradedCluster(
        **(common | {"nodes": count, "levels": levels}), wiring=wiring, healthy=healthy, healthy_wiring=healthy_wiring
    )


def build_degraded_network(cluster: DegradedCluster, network: Network) -> RoutedNetwork:
    """Network of a degraded cluster; `network`: that of the healthy one, with the levels that are left."""
    levels, per_node, healthy_wiring = cluster.healthy.levels, cluster.devices_per_node, cluster.healthy_wiring
    index_by_name = {name: index for index, name in enumerate(healthy_wiring.hosts)}
    host_indices = np.array([index_by_name[name] for name in cluster.wiring.hosts], dtype=np.int64)
    scale_up_tier = sum(_is_rack(level) for level in levels)

    def build_tier_parts(wiring: Wiring, host_indices: Ints) -> Ints:
        level_parts = (
            np.arange(len(host_indices)),
            *[host_indices * per_node // group_ranks for group_ranks in network.tier_group_ranks[1:].tolist()],
        )
        return np.stack(
            [
                wiring.scale_up_domains if _is_rack(level) else level_part
                for level, level_part in zip(levels, level_parts, strict=True)
            ]
        )

    healthy_network = build_routed_network(
        network,
        healthy_wiring,
        tier_parts=build_tier_parts(healthy_wiring, np.arange(len(healthy_wiring.hosts))),
        scale_up_tier=scale_up_tier,
        hosts=len(host_indices),
    )
    return build_routed_network(
        network,
        cluster.wiring,
        tier_parts=build_tier_parts(cluster.wiring, host_indices),
        scale_up_tier=scale_up_tier,
        healthy_network=healthy_network,
    )


def _is_rack(level: FabricLevel) -> bool:
    """Whether a level joins the devices of several hosts as if they were one host's."""
    return level.name != "node" and level.topology == "nvswitch" and not level.through_nic


def _compute_rack_share(healthy: Wiring, remaining: Wiring) -> float:
    """Share of a healthy host's bandwidth into its rack that the narrowest host with any has."""
    rack_bytes_per_s, healthy_bytes_per_s = (
        remaining.sum_host_bytes_per_s(remaining.in_rack),
        healthy.sum_host_bytes_per_s(healthy.in_rack),
    )
    return (
        float(rack_bytes_per_s[rack_bytes_per_s > 0].min() / healthy_bytes_per_s.max())
        if (rack_bytes_per_s > 0).any()
        else 1.0
    )
