"""A cluster whose file tells its wiring: which hosts are used, the levels by which it is told, and its network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.wiring import find_leaf_parts
from planner.cluster.network.degraded_network import build_degraded_network
from planner.cluster.network.network import Floats, Network
from planner.cluster.network.routed_network import RoutedNetwork, build_routed_network
from planner.cluster.regular.shares import build_bandwidth_shares
from planner.cluster.regular.tier_graph import build_tier_graph, compute_path_to_level
from planner.cluster.regular.torus import Torus, find_cluster_torus


def build_wired_network(cluster: Cluster, network: Network) -> RoutedNetwork:
    """The network of a cluster with a wiring; `network`: its tiers as the levels tell them."""
    wiring = cluster.wiring
    assert wiring is not None
    if cluster.before_faults is not None:
        return build_degraded_network(cluster.before_faults, wiring, network, cluster.name)
    hosts = len(wiring.hosts)
    # of each level that `_levels` may tell
    parts = {
        "node": np.arange(hosts),
        "rack": wiring.scale_up_domains,
        "leaf": find_leaf_parts(wiring),
        "fabric": np.zeros(hosts, dtype=np.int64),
    }
    tiers = np.stack([parts[level.name] for level in cluster.levels])
    scale_up_tier = sum(level.name in ("node", "rack") for level in cluster.levels) - 1
    return build_routed_network(network, wiring, cluster.name, tier_parts=tiers, scale_up_tier=scale_up_tier)


def build_network(cluster: Cluster, *, link_efficiency: float = 1.0, nic_efficiency: float = 1.0) -> Network:
    """The tiers of a cluster's graph; the efficiencies are what collectives reach of the rated bandwidth."""
    regular_cluster = cluster
    if cluster.before_faults is not None and cluster.nodes > 1:
        regular_cluster = replace(cluster.before_faults.cluster, levels=cluster.levels)
    graph = build_tier_graph(regular_cluster)
    group_ranks = compute_group_devices(regular_cluster)
    rates: list[float] = []
    latencies: list[float] = []
    for level in cluster.levels:
        bandwidth, latency = compute_path_to_level(graph, level.name)
        rates.append(bandwidth * (nic_efficiency if level.through_nic else link_efficiency))
        latencies.append(latency)
    network = Network(
        tier_group_ranks=np.array(group_ranks, dtype=np.int64),
        bandwidth_bytes_per_s=np.array(rates),
        latency_s=np.array(latencies),
        through_nic=np.array([level.through_nic for level in cluster.levels]),
        torus_axes=_compute_tier_axes(regular_cluster),
        shares=build_bandwidth_shares(regular_cluster),
        in_network=np.array([level.in_network for level in cluster.levels]),
        architecture=cluster.accelerator.architecture,
    )
    if cluster.wiring is None or cluster.nodes == 1:
        return network

    return build_wired_network(cluster, network)


def _compute_tier_axes(cluster: Cluster) -> tuple[Floats, ...]:
    """Each tier's torus axes: those of the whole torus, since a part of it has no wiring of its own."""
    torus = find_cluster_torus(cluster)
    axes = np.zeros((0, 2)) if torus is None else _compute_torus_axes(torus)
    return tuple(np.zeros((0, 2)) if level.axes is None else axes for level in cluster.levels)


def _compute_torus_axes(torus: Torus) -> Floats:
    """Strides at which each axis of a torus begins and ends, shape [axes, 2]."""
    axis_ends = np.cumprod(torus.shape)
    return np.stack([axis_ends / torus.shape, axis_ends], axis=1).astype(np.float64)
