"""Diameter of a cluster: the most links on the shortest way between two devices.

A switch between two devices makes two links. A network card belongs to its device, so that the way from a device to
its leaf is one link (Dally and Towles 2004, Principles and Practices of Interconnection Networks, section 3.2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.intra_node import IntraNodeTopology, compute_link_shares
from planner.cluster.regular.torus import Torus, compute_coordinates, find_cluster_torus

Ints = NDArray[np.int64]


def compute_diameter_hops(cluster: Cluster) -> int:
    """Links between the two farthest devices of a regular cluster; 0 for a single device."""
    torus = find_cluster_torus(cluster)
    group_devices = compute_group_devices(cluster)
    if torus is not None and torus.devices >= cluster.devices:
        return compute_torus_diameter_hops(torus)
    network = [level for level in cluster.levels if level.through_nic]
    star_levels = [n for n, level in enumerate(cluster.levels) if n and not level.through_nic and level.axes is None]
    intra_node_hops = _compute_intra_node_hops(cluster, has_rack_switch=bool(star_levels))
    if any(group_devices[n] >= cluster.devices for n in star_levels):
        return 2
    if not network:
        return int(intra_node_hops.max())
    groups_apart = network[-1].topology == "dragonfly+"
    network_hops = 2 * (len(network) - groups_apart) + groups_apart
    if network[0].topology != "rail" or len(network) - groups_apart > 1:
        return network_hops
    return network_hops + _compute_cross_rail_hops(cluster, intra_node_hops)


def compute_torus_diameter_hops(torus: Torus) -> int:
    """Half of each closed axis, all of each open one: n k / 2 of the k-ary n-cube (Dally and Towles, 5.2.2)."""
    sides = zip(torus.shape, torus.wrap, strict=True)
    return sum(side // 2 if closed else side - 1 for side, closed in sides)


def compute_worst_latency_s(cluster: Cluster, hops: int) -> float:
    """Seconds that the first byte takes between the farthest devices, `hops` links apart: the latency of the
    outermost level, or where it has no switch that of each link on the way.
    """
    outermost = cluster.levels[-1]
    has_direct_links = cluster.levels[0].topology in ("hybrid-cube-mesh", "fully-connected") and cluster.nodes == 1
    return outermost.latency_s * (hops if outermost.axes is not None or has_direct_links else 1)


def _compute_intra_node_hops(cluster: Cluster, *, has_rack_switch: bool) -> Ints:
    """Links between the devices of one node, shape [devices, devices]; `has_rack_switch`: they meet at the switch of
    a rack.
    """
    count = cluster.devices_per_node
    switched = 2 * (1 - np.eye(count, dtype=np.int64))
    if cluster.intra_node is None or has_rack_switch:
        return switched
    shares = compute_link_shares(cluster.intra_node)
    torus = find_cluster_torus(cluster)
    if torus is not None:
        return _compute_torus_hops(torus, count)
    if shares is not None:
        is_adjacent = shares[:count, :count] > 0
        is_within_two = (is_adjacent.astype(np.int64) @ is_adjacent.astype(np.int64)) > 0
        hops = np.where(is_adjacent, 1, np.where(is_within_two, 2, 3))
        np.fill_diagonal(hops, 0)
        return hops
    return _compute_pcie_hops(cluster.intra_node, count) if cluster.intra_node.topology == "pcie" else switched


def _compute_torus_hops(torus: Torus, count: int) -> Ints:
    """Between the first devices of a torus."""
    positions = compute_coordinates(np.arange(count), torus.shape)
    axis_hops = np.abs(positions[:, None, :] - positions[None, :, :])
    wrapped_hops = np.where(torus.wrap, np.array(torus.shape) - axis_hops, axis_hops)
    hops: Ints = np.minimum(axis_hops, wrapped_hops).sum(axis=-1)
    return hops


def _compute_pcie_hops(intra_node: IntraNodeTopology, count: int) -> Ints:
    device = np.arange(count)
    switch, bridge = device // intra_node.switch_devices, intra_node.get_bridge(device)
    differs_in_bridge = bridge[:, None] != bridge[None, :]
    differs_in_switch = switch[:, None] != switch[None, :]
    hops_through_bridge = 4 if intra_node.switch_devices > 1 else 2
    hops = np.where(differs_in_bridge, hops_through_bridge + 1, np.where(differs_in_switch, hops_through_bridge, 2))
    np.fill_diagonal(hops, 0)
    return hops


def _compute_cross_rail_hops(cluster: Cluster, intra_node_hops: Ints) -> int:
    """Links inside nodes that lead from a device to the rail of the farthest one of another node."""
    nic_count = cluster.nics.count if cluster.nics else 1
    device = np.arange(cluster.devices_per_node)
    if nic_count >= cluster.devices_per_node:
        return int(intra_node_hops.max())
    rail = device * nic_count // cluster.devices_per_node
    rail_penalty = np.where(rail[:, None] == rail[None, :], 0, 1_000)
    # to a device of the wanted rail on either side of the network
    hops_to_rail = (intra_node_hops[:, :, None] + rail_penalty[None, :, :]).min(axis=1)
    return int((hops_to_rail[:, :, None] + intra_node_hops[None, :, :]).min(axis=1).max())
