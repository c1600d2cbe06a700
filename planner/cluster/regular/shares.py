"""What share of a tier's bandwidth a group has where not all devices are alike to each other.

Below one switch every group has all of it. In a torus a group has the links of the axes that it spans, in a full mesh
those to its own members; groups of a dragonfly+ are joined by few links each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, joined_devices
from planner.cluster.model.intra_node import group_shares
from planner.cluster.regular.torus import Torus, torus_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pattern = Literal["ring", "exchange"]
"""Who sends to whom in a group: each rank to the next one, or every rank to every other."""


@dataclass(frozen=True)
class Shares:
    """`node`: shares by members and stride inside a node, of rings and of exchanges, shape [2, devices + 1,
    devices + 1]; None where every group has all. `tori`: for each tier whether it is a torus, `torus` that torus.
    `groups`: how many groups of a dragonfly+ the outermost tier joins; 0 where it is none.
    """

    node: Floats | None
    torus: Torus | None
    tori: NDArray[np.bool_]
    groups: int

    def of(self, members: Floats, sizes: Ints, strides: Ints, pattern: Pattern) -> Floats:
        """Of each tier's bandwidth, what each group has: shape [groups, tiers].

        `members`: ranks below one part of each tier; `sizes` and `strides` of the groups' parts, [groups, parts].
        """
        shares = np.ones_like(members)
        if self.torus is not None:
            shares[:, self.tori] = torus_share(self.torus, sizes, strides, pattern)[:, None]
        if self.node is not None:
            most = len(self.node[0]) - 1
            nearest = np.where(sizes > 1, strides, most).min(axis=1)
            inside = np.minimum(members[:, 0], most).astype(np.int64)
            shares[:, 0] *= self.node[0 if pattern == "ring" else 1][inside, np.minimum(nearest, most)]
        if self.groups > 2 and pattern == "ring":
            shares[:, -1] *= dragonfly_share(self.groups)
        return shares

    def hop(self, tier: Ints, stride: Ints) -> Floats:
        """The same for what one device sends to one other, `stride` apart, at the given tier; shape [plans]."""
        shares = np.ones(len(tier))
        if self.torus is not None:
            shares = np.where(self.tori[tier], 1 / (2 * len(self.torus.shape)), shares)
        if self.node is not None:
            most = len(self.node[0]) - 1
            shares = np.where(tier == 0, shares * self.node[0][min(2, most), np.minimum(stride, most)], shares)
        return shares


def shares_of(cluster: Cluster) -> Shares | None:
    """The shares of a cluster's tiers; None where every group has all of every tier."""
    node = None if cluster.inside is None else group_shares(cluster.inside)
    torus, joined, last = torus_of(cluster), joined_devices(cluster), cluster.levels[-1]
    groups = -(-cluster.devices // joined[-2]) if last.topology == "dragonfly+" else 0
    if node is None and torus is None and groups <= 2:
        return None
    tori = np.array([level.axes is not None for level in cluster.levels])
    return Shares(None if node is None else np.stack(node), torus, tori, groups)


def dragonfly_share(groups: int) -> float:
    """Of what a group can send out, what a ring over all groups gets: G / (2 (G - 1)).

    Only 1 / (G - 1) of it leads straight to the next group; the rest goes round by a third one, over two links
    (Valiant routing).
    """
    return groups / (2 * (groups - 1))


def torus_share(torus: Torus, sizes: Ints, strides: Ints, pattern: Pattern) -> Floats:
    """Of a device's links in a torus, those that a group has: shape [groups].

    A ring has both links of an axis that it spans from end to end where the axis is closed, and one else. An exchange
    of g ranks is as fast as the middle of its longest axis: through that of a closed axis of k go 8/k (g - 1)/g of a
    link's bandwidth for each device, of an open one half of it (Dally and Towles 2004, Principles and Practices of
    Interconnection Networks, section 5.2); an odd axis has no middle, its two halves exchange 1 - 1/k^2 as much.
    """
    ends = np.cumprod(torus.shape).astype(np.float64)
    starts = ends / torus.shape
    first, last = strides[:, :, None], (strides * sizes)[:, :, None]
    low, high = np.maximum(first, starts), np.minimum(last, ends)
    length = np.maximum(high / low, 1.0).prod(axis=1)
    links = np.where((length >= torus.shape) & np.array(torus.wrap), 2.0, 1.0)
    spanned = length > 1
    ring = np.maximum(np.where(spanned, links, 0.0).sum(axis=1), 1.0)
    if pattern == "exchange":
        odd = 1 - np.where(length % 2 == 1, 1 / length**2, 0.0)
        middle = np.where(spanned, 4 * links / (length * np.where(spanned, odd, 1.0)), np.inf).min(axis=1)
        ranks = length.prod(axis=1)
        crossed = spanned.any(axis=1)
        ring = np.where(crossed, np.where(crossed, middle, 0.0) * (ranks - 1) / ranks, ring)
    shares: Floats = ring / (2 * len(torus.shape))
    return shares
