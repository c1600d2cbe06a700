"""A cluster whose file tells its wiring: which hosts are used, the levels by which it is told, and its network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster, joined_devices
from planner.cluster.model.wiring import switch_parts
from planner.cluster.network.degraded_network import degraded_network
from planner.cluster.network.network import Floats, Network
from planner.cluster.network.routed_network import RoutedNetwork, routed
from planner.cluster.regular.shares import Pattern as Pattern
from planner.cluster.regular.shares import shares_of
from planner.cluster.regular.tier_graph import build_graph, way_up
from planner.cluster.regular.torus import Torus, torus_of


def routed_network(cluster: Cluster, network: Network) -> RoutedNetwork:
    """The network of a cluster with a wiring; `network`: its tiers as the levels tell them."""
    wiring = cluster.wiring
    assert wiring is not None
    if cluster.sound is not None:
        return degraded_network(cluster.sound, wiring, network, cluster.name)
    hosts = len(wiring.hosts)
    # of each level that `_levels` may tell
    parts = {
        "node": np.arange(hosts),
        "rack": wiring.domains,
        "leaf": switch_parts(wiring),
        "fabric": np.zeros(hosts, dtype=np.int64),
    }
    tiers = np.stack([parts[level.name] for level in cluster.levels])
    scale_up = sum(level.name in ("node", "rack") for level in cluster.levels) - 1
    return routed(network, wiring, cluster.name, parts=tiers, scale_up=scale_up)


def build_network(cluster: Cluster, *, link_efficiency: float = 1.0, nic_efficiency: float = 1.0) -> Network:
    """The tiers of a cluster's graph; the efficiencies are what collectives reach of the rated bandwidth."""
    regular = cluster
    if cluster.sound is not None and cluster.nodes > 1:
        regular = replace(cluster.sound.cluster, levels=cluster.levels)
    graph = build_graph(regular)
    joined = joined_devices(regular)
    rates: list[float] = []
    latencies: list[float] = []
    for level in cluster.levels:
        bandwidth, latency = way_up(graph, level.name)
        rates.append(bandwidth * (nic_efficiency if level.through_nic else link_efficiency))
        latencies.append(latency)
    network = Network(
        joined=np.array(joined, dtype=np.int64),
        bandwidth_bytes_per_s=np.array(rates),
        latency_s=np.array(latencies),
        through_nic=np.array([level.through_nic for level in cluster.levels]),
        torus_axes=_axes_of_tiers(regular),
        shares=shares_of(regular),
        in_network=np.array([level.in_network for level in cluster.levels]),
        architecture=cluster.accelerator.architecture,
    )
    if cluster.wiring is None or cluster.nodes == 1:
        return network

    return routed_network(cluster, network)


def _axes_of_tiers(cluster: Cluster) -> tuple[Floats, ...]:
    """Each tier's torus axes: those of the whole torus, since a part of it has no wiring of its own."""
    torus = torus_of(cluster)
    axes = np.zeros((0, 2)) if torus is None else _torus_axes(torus)
    return tuple(np.zeros((0, 2)) if level.axes is None else axes for level in cluster.levels)


def _torus_axes(torus: Torus) -> Floats:
    """Strides at which each axis of a torus begins and ends, shape [axes, 2]."""
    ends = np.cumprod(torus.shape)
    return np.stack([ends / torus.shape, ends], axis=1).astype(np.float64)
