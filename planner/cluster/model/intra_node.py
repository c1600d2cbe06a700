"""What a group of ranks gets inside a node whose devices are not all on one switch.

A full mesh and a hybrid cube mesh have a link between two devices and nothing between others; in a PCIe node devices
share the uplink from a PCIe switch, and the two processors' host bridges share the link between them. Shares are of
one device's bandwidth, one direction; groups of a kind tile the node and run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from planner.cluster.model.wiring import Floats, Ints

_DGX1_LINKS = ((0, 1, 1), (0, 2, 1), (0, 3, 2), (1, 2, 2), (1, 3, 1), (2, 3, 2))
_DGX1_CROSS_LINKS = (2, 2, 1, 1)
CUBE_MESH_DEVICES = 8


@dataclass(frozen=True, slots=True)
class IntraNodeTopology:
    """How a whole node's `devices` are joined.

    Of a PCIe node: `switch_devices` below one PCIe switch (1: there is none), `bridges` host bridges, and what the
    link between two bridges carries as a multiple of one device's bandwidth, `bridge_share`. `host_share`: the same
    for a device's path through the processors, taken where no links join a group.
    """

    topology: str
    devices: int
    switch_devices: int = 1
    bridges: int = 1
    bridge_share: float = 1.0
    host_share: float = 0.1

    def get_bridge(self, device: Ints) -> Ints:
        """The host bridge that each device hangs on."""
        return device * self.bridges // self.devices


def compute_link_shares(intra_node: IntraNodeTopology) -> Floats | None:
    """Of one device's bandwidth, what each pair's link has: shape [devices, devices]; None where there are switches.

    The hybrid cube mesh is that of a DGX-1 with V100, six links a device (`nvidia-smi topo -m`, as in
    https://github.com/NVIDIA/nccl/issues/671): two meshes of four, and a link of each device to the other mesh.
    """
    count = intra_node.devices
    if intra_node.topology == "fully-connected":
        return (1 - np.eye(count)) / max(count - 1, 1)
    if intra_node.topology != "hybrid-cube-mesh":
        return None
    links = np.zeros((CUBE_MESH_DEVICES, CUBE_MESH_DEVICES))
    for source, target, width in _DGX1_LINKS:
        links[source, target] = links[source + 4, target + 4] = width
    for source, width in enumerate(_DGX1_CROSS_LINKS):
        links[source, source + 4] = width
    return (links + links.T) / 6


@lru_cache(maxsize=32)
def compute_intra_node_shares(intra_node: IntraNodeTopology) -> tuple[Floats, Floats] | None:
    """Shares of rings and of all-to-alls, shape [devices + 1, devices + 1]: by members of a group and their stride.

    The slowest of all groups of a kind decides. None where a switch or a torus joins all devices.
    """
    if intra_node.topology not in ("fully-connected", "hybrid-cube-mesh", "pcie") or intra_node.devices < 2:
        return None
    count = intra_node.devices
    compute_shares = _compute_pcie_shares if intra_node.topology == "pcie" else _compute_direct_link_shares
    ring, all_to_all = np.ones((2, count + 1, count + 1))
    for members in range(2, count + 1):
        for stride in range(1, (count - 1) // (members - 1) + 1):
            groups = _enumerate_groups(count, members, stride)
            ring[members, stride], all_to_all[members, stride] = compute_shares(intra_node, groups)
    return ring, all_to_all


def _enumerate_groups(devices: int, members: int, stride: int) -> Ints:
    """All groups of `members` devices, `stride` apart, that lie in the node side by side; shape [groups, members]."""
    block = members * stride
    first_devices = np.arange(max(devices // block, 1))[:, None] * block + np.arange(stride)[None, :]
    groups = first_devices.reshape(-1, 1) + stride * np.arange(members)[None, :]
    fitting_groups: Ints = groups[groups[:, -1] < devices]
    return fitting_groups


def _compute_direct_link_shares(intra_node: IntraNodeTopology, groups: Ints) -> tuple[float, float]:
    """Groups on links of their own. No algorithm beats the narrowest cut: of an all-gather, a part of k ranks has k
    shards to send to the rest (Zhao et al. 2024, arXiv 2402.06787, section 4); of an all-to-all, k (g - k) messages.
    """
    links = compute_link_shares(intra_node)
    assert links is not None
    if intra_node.topology == "fully-connected":
        share = (groups.shape[1] - 1) / (intra_node.devices - 1)
        return share, share
    ring = all_to_all = np.inf
    for group in groups:
        cut, size = _compute_subset_cuts(links[np.ix_(group, group)])
        other_members = len(group) - 1
        ring = min(ring, float((cut / size).min()) * other_members)
        all_to_all = min(all_to_all, float((cut / (size * (len(group) - size))).min()) * other_members)
    # what no links join goes through the processors
    return max(ring, intra_node.host_share), max(all_to_all, intra_node.host_share)


def _compute_subset_cuts(links: Floats) -> tuple[Floats, Floats]:
    """Bandwidth out of every part of a group, and the part's size; shape [parts]."""
    count = len(links)
    part = (np.arange(1, 2**count - 1)[:, None] >> np.arange(count)[None, :] & 1).astype(np.float64)
    cut = np.einsum("pi,ij,pj->p", part, links, 1 - part)
    return cut, part.sum(axis=1)


def _compute_pcie_shares(intra_node: IntraNodeTopology, groups: Ints) -> tuple[float, float]:
    """All groups at once over the uplinks of PCIe switches and the link between host bridges: the share at which
    the most loaded one is full.
    """
    members = groups.shape[1]
    ring_pairs = np.stack([groups, np.roll(groups, -1, axis=1)], axis=-1).reshape(-1, 2)
    source, target = np.broadcast_arrays(groups[:, :, None], groups[:, None, :])
    pairs = np.stack([source.ravel(), target.ravel()], axis=1)
    ring_load = _compute_peak_load(intra_node, ring_pairs)
    return min(1.0, 1 / ring_load), min(1.0, (members - 1) / _compute_peak_load(intra_node, pairs))


def _compute_peak_load(intra_node: IntraNodeTopology, pairs: Ints) -> float:
    """Flows over the most loaded link, per bandwidth of one device that it has."""
    switch, bridge = pairs // intra_node.switch_devices, intra_node.get_bridge(pairs)
    leaves_switch = switch[:, 0] != switch[:, 1]
    leaves_bridge = bridge[:, 0] != bridge[:, 1]
    peak_load = float(np.bincount(pairs[pairs[:, 0] != pairs[:, 1], 0]).max())
    if intra_node.switch_devices > 1 and leaves_switch.any():
        peak_load = max(peak_load, float(np.bincount(switch[leaves_switch, 0]).max()))
    if leaves_bridge.any():
        bridge_load = np.bincount(bridge[leaves_bridge] @ np.array([intra_node.bridges, 1]))
        peak_load = max(peak_load, float(bridge_load.max()) / intra_node.bridge_share)
    return peak_load
