"""Diameter of a cluster: the most links on the shortest way between two devices.

A switch between two devices makes two links. A network card belongs to its device, so that the way from a device to
its leaf is one link (Dally and Towles 2004, Principles and Practices of Interconnection Networks, section 3.2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, joined_devices
from planner.cluster.model.intra_node import Inside, link_shares
from planner.cluster.regular.torus import Torus, coordinates, torus_of

Ints = NDArray[np.int64]


def diameter_hops(cluster: Cluster) -> int:
    """Links between the two farthest devices of a regular cluster; 0 for a single device."""
    torus = torus_of(cluster)
    joined = joined_devices(cluster)
    if torus is not None and torus.devices >= cluster.devices:
        return torus_diameter(torus)
    network = [level for level in cluster.levels if level.through_nic]
    star = [n for n, level in enumerate(cluster.levels) if n and not level.through_nic and level.axes is None]
    inside = _inside_hops(cluster, rack=bool(star))
    if any(joined[n] >= cluster.devices for n in star):
        return 2
    if not network:
        return int(inside.max())
    groups_apart = network[-1].topology == "dragonfly+"
    up = 2 * (len(network) - groups_apart) + groups_apart
    if network[0].topology != "rail" or len(network) - groups_apart > 1:
        return up
    return up + _between_rails(cluster, inside)


def torus_diameter(torus: Torus) -> int:
    """Half of each closed axis, all of each open one: n k / 2 of the k-ary n-cube (Dally and Towles, 5.2.2)."""
    sides = zip(torus.shape, torus.wrap, strict=True)
    return sum(side // 2 if closed else side - 1 for side, closed in sides)


def worst_latency_s(cluster: Cluster, hops: int) -> float:
    """Seconds that the first byte takes between the farthest devices, `hops` links apart: the latency of the
    outermost level, or where it has no switch that of each link on the way.
    """
    outermost = cluster.levels[-1]
    direct = cluster.levels[0].topology in ("hybrid-cube-mesh", "fully-connected") and cluster.nodes == 1
    return outermost.latency_s * (hops if outermost.axes is not None or direct else 1)


def _inside_hops(cluster: Cluster, *, rack: bool) -> Ints:
    """Links between the devices of one node, shape [devices, devices]; `rack`: they meet at the switch of a rack."""
    count = cluster.devices_per_node
    switched = 2 * (1 - np.eye(count, dtype=np.int64))
    if cluster.inside is None or rack:
        return switched
    shares = link_shares(cluster.inside)
    torus = torus_of(cluster)
    if torus is not None:
        return _torus_hops(torus, count)
    if shares is not None:
        near = shares[:count, :count] > 0
        twice = (near.astype(np.int64) @ near.astype(np.int64)) > 0
        hops = np.where(near, 1, np.where(twice, 2, 3))
        np.fill_diagonal(hops, 0)
        return hops
    return _pcie_hops(cluster.inside, count) if cluster.inside.topology == "pcie" else switched


def _torus_hops(torus: Torus, count: int) -> Ints:
    """Between the first devices of a torus."""
    place = coordinates(np.arange(count), torus.shape)
    apart = np.abs(place[:, None, :] - place[None, :, :])
    round_the_end = np.where(torus.wrap, np.array(torus.shape) - apart, apart)
    hops: Ints = np.minimum(apart, round_the_end).sum(axis=-1)
    return hops


def _pcie_hops(inside: Inside, count: int) -> Ints:
    device = np.arange(count)
    switch, bridge = device // inside.switch_devices, inside.bridge_of(device)
    other_bridge = bridge[:, None] != bridge[None, :]
    other_switch = switch[:, None] != switch[None, :]
    through_bridge = 4 if inside.switch_devices > 1 else 2
    hops = np.where(other_bridge, through_bridge + 1, np.where(other_switch, through_bridge, 2))
    np.fill_diagonal(hops, 0)
    return hops


def _between_rails(cluster: Cluster, inside: Ints) -> int:
    """Links inside nodes that lead from a device to the rail of the farthest one of another node."""
    cards = cluster.cards.count if cluster.cards else 1
    device = np.arange(cluster.devices_per_node)
    if cards >= cluster.devices_per_node:
        return int(inside.max())
    rail = device * cards // cluster.devices_per_node
    same = np.where(rail[:, None] == rail[None, :], 0, 1_000)
    # to a device of the wanted rail on either side of the network
    onto = (inside[:, :, None] + same[None, :, :]).min(axis=1)
    return int((onto[:, :, None] + inside[None, :, :]).min(axis=1).max())
