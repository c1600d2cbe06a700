"""A regular cluster with faults: what its levels tell, less what the faults take, counted cable by cable.

Its levels, its latencies and the links inside its nodes stay as they were. What a group of ranks gets beyond its node
is what it got, times the bandwidth of its routed flows with the faults over that without: a fault that takes nothing
changes nothing, and none makes anything faster.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, FabricLevel, HealthyCluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.ecmp_routing import build_routes
from planner.cluster.network.network import Network
from planner.cluster.network.routed_network import RoutedNetwork, build_routed_network

Ints = NDArray[np.int64]


def build_degraded_cluster(healthy: HealthyCluster, wiring: Wiring, origin: str) -> Cluster:
    """The cluster that is left of a sound one. Raises InputError for hosts that cannot reach each other."""
    count, levels = len(wiring.hosts), healthy.cluster.levels
    if count > 1:
        build_routes(wiring, origin)
    remaining_share = 1.0 if count == 1 else _compute_rack_share(healthy.wiring, wiring)
    # where a node's links are those that lead to its rack, the devices of a node have no others
    rates = {level.bandwidth_bytes_per_s for level in levels if _is_rack(level)}
    levels = tuple(
        replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * remaining_share)
        if _is_rack(level) or (level is levels[0] and level.bandwidth_bytes_per_s in rates)
        else level
        for level in (levels[:1] if count == 1 else levels)
    )
    return replace(healthy.cluster, nodes=count, levels=levels, wiring=wiring, before_faults=healthy)


def build_degraded_network(healthy: HealthyCluster, wiring: Wiring, network: Network, origin: str) -> RoutedNetwork:
    """Its network; `network`: that of the sound cluster, with the levels of what is left."""
    levels, per_node = healthy.cluster.levels, healthy.cluster.devices_per_node
    index_by_name = {name: host_indices for host_indices, name in enumerate(healthy.wiring.hosts)}
    host_indices = np.array([index_by_name[name] for name in wiring.hosts], dtype=np.int64)
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
        healthy.wiring,
        origin,
        tier_parts=build_tier_parts(healthy.wiring, np.arange(len(healthy.wiring.hosts))),
        scale_up_tier=scale_up_tier,
        hosts=len(host_indices),
    )
    return build_routed_network(
        network,
        wiring,
        origin,
        tier_parts=build_tier_parts(wiring, host_indices),
        scale_up_tier=scale_up_tier,
        healthy_network=healthy_network,
    )


def _is_rack(level: FabricLevel) -> bool:
    """Whether a level joins the devices of several hosts as if they were one host's."""
    return level.name != "node" and level.topology == "nvswitch" and not level.through_nic


def _compute_rack_share(healthy: Wiring, remaining: Wiring) -> float:
    """Of the sound hosts' links into their racks, what the narrowest one that is joined to one has."""
    rack_bytes_per_s, healthy_bytes_per_s = (
        remaining.sum_host_bytes_per_s(remaining.in_rack),
        healthy.sum_host_bytes_per_s(healthy.in_rack),
    )
    return (
        float(rack_bytes_per_s[rack_bytes_per_s > 0].min() / healthy_bytes_per_s.max())
        if (rack_bytes_per_s > 0).any()
        else 1.0
    )
