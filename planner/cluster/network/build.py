"""The network of a cluster: the tiers of its levels, and routed flows where links are listed."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from planner.cluster.model.cluster import Cluster, DegradedCluster, WiredCluster
from planner.cluster.model.wiring import Ints, Wiring, find_leaf_parts
from planner.cluster.network.network import Network, build_tiers
from planner.cluster.network.routed_network import build_routed_network


@singledispatch
def _add_routes(cluster: Cluster, network: Network) -> Network:
    """`network`, the tiers of a cluster's levels, with the routes of the links where these are listed.

    A regular cluster has none: its levels state what every group gets.
    """
    return network


@_add_routes.register
def _(cluster: DegradedCluster, network: Network) -> Network:
    """`network`: that of the healthy cluster, with the levels that are left.

    Latencies and links inside nodes stay those of the healthy cluster. The bandwidth of a group beyond its node is
    that of the healthy cluster, times the bandwidth of its routed flows with the failed parts over that without
    them: a failed part that carries nothing changes nothing, and none makes anything faster.
    """
    if cluster.nodes == 1:
        return network
    levels, per_node, healthy_wiring = cluster.healthy.levels, cluster.devices_per_node, cluster.healthy_wiring
    index_by_name = {name: index for index, name in enumerate(healthy_wiring.hosts)}
    host_indices = np.array([index_by_name[name] for name in cluster.wiring.hosts], dtype=np.int64)
    scale_up_tier = sum(level.is_rack for level in levels)

    def build_tier_parts(wiring: Wiring, host_indices: Ints) -> Ints:
        group_parts = [host_indices * per_node // ranks for ranks in network.tier_group_ranks[1:].tolist()]
        level_parts = zip(levels, (np.arange(len(host_indices)), *group_parts), strict=True)
        return np.stack([wiring.scale_up_domains if level.is_rack else part for level, part in level_parts])

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


@_add_routes.register
def _(cluster: WiredCluster, network: Network) -> Network:
    if cluster.nodes == 1:
        return network
    wiring, hosts = cluster.wiring, len(cluster.wiring.hosts)
    # the part of each level that a host belongs to; the names are those of `build.wired_cluster`
    parts = {
        "node": np.arange(hosts),
        "rack": wiring.scale_up_domains,
        "leaf": find_leaf_parts(wiring),
        "fabric": np.zeros(hosts, dtype=np.int64),
    }
    tiers = np.stack([parts[level.name] for level in cluster.levels])
    scale_up_tier = sum(level.name in ("node", "rack") for level in cluster.levels) - 1
    return build_routed_network(network, wiring, tier_parts=tiers, scale_up_tier=scale_up_tier)


def build_network(cluster: Cluster, *, link_efficiency: float = 1.0, nic_efficiency: float = 1.0) -> Network:
    """The network of a cluster. Efficiencies: the fraction of the rated bandwidth that collectives reach, over links
    inside a node or rack, and over NICs.
    """
    network = build_tiers(cluster, link_efficiency=link_efficiency, nic_efficiency=nic_efficiency)
    return _add_routes(cluster, network)


@singledispatch
def compute_uplink_rates_bytes_per_s(cluster: Cluster) -> list[float]:
    """Bytes/s of one device, one direction, on the path up to each level, from the node outwards."""
    return [level.bandwidth_bytes_per_s for level in cluster.levels]


@compute_uplink_rates_bytes_per_s.register
def _(cluster: WiredCluster) -> list[float]:
    """The outermost level's is that of the leaf switch with the least."""
    rates = [level.bandwidth_bytes_per_s for level in cluster.levels]
    if cluster.is_regular or "leaf" not in [level.name for level in cluster.levels]:
        return rates
    wiring = cluster.wiring
    host_parts = find_leaf_parts(wiring)
    vertex_parts = np.concatenate([host_parts, np.full(len(wiring.switches), -1)])
    for end, other in ((0, 1), (1, 0)):
        up = (wiring.endpoints[:, end] < len(host_parts)) & (wiring.bandwidth_bytes_per_s > 0) & ~wiring.in_rack
        vertex_parts[wiring.endpoints[up, other]] = vertex_parts[wiring.endpoints[up, end]]
    source_part, target_part = vertex_parts[wiring.endpoints].T
    leaving = (source_part != target_part) & ~wiring.in_rack
    uplink_rates = np.zeros(len(host_parts))
    for link_parts in (source_part, target_part):
        counts = leaving & (link_parts >= 0)
        np.add.at(uplink_rates, link_parts[counts], wiring.bandwidth_bytes_per_s[counts])
    devices = np.bincount(host_parts, wiring.devices, len(host_parts))
    used_parts = np.unique(host_parts)
    return [*rates[:-1], min(rates[-1], float((uplink_rates[used_parts] / devices[used_parts]).min()))]
