"""The share of a tier's bandwidth that a group has where devices are not all joined equally.

Below one switch every group has all of it. In a torus a group has the links of the axes that it spans, in a full mesh
those to its own members; groups of a dragonfly+ are joined by few links each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.intra_node import compute_intra_node_shares
from planner.cluster.model.wiring import Bools, Floats, Ints
from planner.cluster.regular.torus import Torus, find_cluster_torus

TrafficPattern = Literal["ring", "all-to-all"]
"""Who sends to whom in a group: each rank to the next one, or every rank to every other."""


@dataclass(frozen=True)
class BandwidthShares:
    """`node_shares`: shares by members and stride inside a node, of rings and of all-to-alls, shape [2, devices + 1,
    devices + 1]; None where every group has all. `is_torus`: for each tier whether it is a torus, `torus` that torus.
    `dragonfly_groups`: how many groups of a dragonfly+ the outermost tier joins; 0 where it is none.
    """

    node_shares: Floats | None
    torus: Torus | None
    is_torus: Bools
    dragonfly_groups: int

    def compute_group_shares(self, members: Floats, sizes: Ints, strides: Ints, pattern: TrafficPattern) -> Floats:
        """Of each tier's bandwidth, what each group has: shape [groups, tiers].

        `members`: ranks below one part of each tier; `sizes` and `strides` of the groups' parts, [groups, parts].
        """
        shares = np.ones_like(members)
        if self.torus is not None:
            shares[:, self.is_torus] = compute_torus_shares(self.torus, sizes, strides, pattern)[:, None]
        if self.node_shares is not None:
            max_members = len(self.node_shares[0]) - 1
            smallest_stride = np.where(sizes > 1, strides, max_members).min(axis=1)
            members_in_node = np.minimum(members[:, 0], max_members).astype(np.int64)
            shares[:, 0] *= self.node_shares[0 if pattern == "ring" else 1][
                members_in_node, np.minimum(smallest_stride, max_members)
            ]
        if self.dragonfly_groups > 2 and pattern == "ring":
            shares[:, -1] *= compute_dragonfly_share(self.dragonfly_groups)
        return shares

    def compute_hop_shares(self, tier: Ints, stride: Ints) -> Floats:
        """The same for what one device sends to one other, `stride` apart, at the given tier; shape [plans]."""
        shares = np.ones(len(tier))
        if self.torus is not None:
            shares = np.where(self.is_torus[tier], 1 / (2 * len(self.torus.shape)), shares)
        if self.node_shares is not None:
            max_members = len(self.node_shares[0]) - 1
            shares = np.where(
                tier == 0, shares * self.node_shares[0][min(2, max_members), np.minimum(stride, max_members)], shares
            )
        return shares


def build_bandwidth_shares(cluster: Cluster) -> BandwidthShares | None:
    """The shares of a cluster's tiers; None where every group has all of every tier."""
    node_shares = None if cluster.intra_node is None else compute_intra_node_shares(cluster.intra_node)
    torus, group_devices, last = find_cluster_torus(cluster), compute_group_devices(cluster), cluster.levels[-1]
    dragonfly_groups = -(-cluster.devices // group_devices[-2]) if last.topology == "dragonfly+" else 0
    if node_shares is None and torus is None and dragonfly_groups <= 2:
        return None
    is_torus = np.array([level.axes is not None for level in cluster.levels])
    return BandwidthShares(None if node_shares is None else np.stack(node_shares), torus, is_torus, dragonfly_groups)


def compute_dragonfly_share(groups: int) -> float:
    """Of what a group can send out, what a ring over all groups gets: G / (2 (G - 1)).

    Only 1 / (G - 1) of it leads straight to the next group; the rest goes round by a third one, over two links
    (Valiant routing).
    """
    return groups / (2 * (groups - 1))


def compute_torus_shares(torus: Torus, sizes: Ints, strides: Ints, pattern: TrafficPattern) -> Floats:
    """Of a device's links in a torus, those that a group has: shape [groups].

    A ring has both links of an axis that it spans from end to end where the axis is closed, and one else. An
    all-to-all of g ranks is as fast as the middle of its longest axis: through that of a closed axis of k go 8/k (g -
    1)/g of a link's bandwidth for each device, of an open one half of it (Dally and Towles 2004, Principles and
    Practices of Interconnection Networks, section 5.2); an odd axis has no middle, between its two halves goes 1 -
    1/k^2 as much.
    """
    axis_stops = np.cumprod(torus.shape).astype(np.float64)
    axis_starts = axis_stops / torus.shape
    first, last = strides[:, :, None], (strides * sizes)[:, :, None]
    low, high = np.maximum(first, axis_starts), np.minimum(last, axis_stops)
    length = np.maximum(high / low, 1.0).prod(axis=1)
    links = np.where((length >= torus.shape) & np.array(torus.wrap), 2.0, 1.0)
    is_spanned = length > 1
    ring = np.maximum(np.where(is_spanned, links, 0.0).sum(axis=1), 1.0)
    if pattern == "all-to-all":
        odd_factor = 1 - np.where(length % 2 == 1, 1 / length**2, 0.0)
        middle_share = np.where(is_spanned, 4 * links / (length * np.where(is_spanned, odd_factor, 1.0)), np.inf).min(
            axis=1
        )
        ranks = length.prod(axis=1)
        is_crossed = is_spanned.any(axis=1)
        ring = np.where(is_crossed, np.where(is_crossed, middle_share, 0.0) * (ranks - 1) / ranks, ring)
    shares: Floats = ring / (2 * len(torus.shape))
    return shares
