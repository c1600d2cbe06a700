"""The middle of a torus: the least that its links carry between two halves of its devices, and that the links of
tori carry between two halves of nodes.

For the k-ary n-cube 2 N / k = 2 k^(n-1) links, for the mesh half of it (Dally and Towles 2004, Principles and
Practices of Interconnection Networks, section 5.2.1); for odd and unequal sides Arjona Aroca and Fernandez Anta 2012
(arXiv 1202.6291).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.cluster.model.cluster import Cluster
from planner.cluster.regular.torus import Torus, neighbours, torus_of


@dataclass(frozen=True)
class _Grid:
    """Devices or nodes in rows: `shape` along each axis, which of them are closed (`wrap`), and what two neighbours
    along each axis are joined by, bytes/s in one direction.
    """

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    bytes_per_s: tuple[float, ...]


def halved_torus(cluster: Cluster) -> Torus | None:
    """The torus that is halved, if any: not one that ends with the node, of several nodes."""
    torus = torus_of(cluster)
    return None if torus is None or (cluster.nodes > 1 and torus.devices == cluster.devices_per_node) else torus


def is_all_a_torus(cluster: Cluster) -> bool:
    """Whether nothing joins the devices but one torus, so that it is halved by devices; else nodes stay whole."""
    torus = halved_torus(cluster)
    alone = all(level.axes is not None for level in cluster.levels[1:])
    return torus is not None and torus.devices >= cluster.devices and alone


def torus_cut(torus: Torus) -> float:
    """Bytes/s between two halves of the devices of a torus: N / k links across an even axis of k, and as many again
    where it is closed; across an odd one also what halves its middle row. Across the axes where that is least.
    """
    axes = len(torus.shape)
    return _halved(_Grid(torus.shape, torus.wrap, (torus.link_bytes_per_s,) * axes), tuple(range(axes)))


def torus_cut_is_narrowest(torus: Torus) -> bool:
    """Whether nothing less halves a torus.

    An even axis that is the longest (a closed one counted half): if every device sends to every other one, axis by
    axis, no link carries more than those in the middle of it, so that N^2 / 4 flows need N / k of them, or 2 N / k.
    Else where all axes are closed, or all open (Arjona Aroca and Fernandez Anta 2012).
    """
    sides = [(side, wrap) for side, wrap in zip(torus.shape, torus.wrap, strict=True) if side > 1]
    long = [side / (2 if wrap else 1) for side, wrap in sides]
    if any(side % 2 == 0 and one == max(long) for (side, _), one in zip(sides, long, strict=True)):
        return True
    return len({wrap for _, wrap in sides}) < 2 and all(side > 2 for side, _ in sides)


def tori_cut(cluster: Cluster, torus: Torus) -> float:
    """Bytes/s over the links of tori between half of the nodes and the others, where nodes are also joined otherwise.

    Of several full tori the one in the middle is halved. Else it is cut behind as many nodes, in the order of ranks,
    as make a half with the tori before it.
    """
    each = torus.devices // cluster.devices_per_node
    grid = _of_nodes(torus, cluster.devices_per_node)
    before = cluster.nodes // 2 % each
    if cluster.nodes % each or cluster.nodes == each:
        return _cut_behind(grid, before)
    return _halved(grid, tuple(range(len(grid.shape)))) if before else 0.0


def _of_nodes(torus: Torus, per_node: int) -> _Grid:
    """The nodes of a torus: neighbours are joined by all links between the faces of their blocks."""
    shape = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    return _Grid(shape, torus.wrap, tuple(per_node // part * torus.link_bytes_per_s for part in torus.block))


def _halved(grid: _Grid, axes: tuple[int, ...]) -> float:
    """The least that parts a plane of these axes."""
    best = math.inf
    for axis in axes:
        side = grid.shape[axis]
        rest = tuple(other for other in axes if other != axis)
        rows = math.prod(grid.shape[other] for other in rest) * (2 if grid.wrap[axis] else 1) * float(side > 1)
        more = _halved(grid, rest) if side % 2 and rest else 0.0
        best = min(best, rows * grid.bytes_per_s[axis] + more)
    return best


def _cut_behind(grid: _Grid, first: int) -> float:
    """What joins the first places of a grid, along its first axis first, with the others."""
    pairs = [pairs for _, pairs in neighbours(grid.shape, grid.wrap)]
    crossing = [float(((one < first).sum(axis=1) == 1).sum()) for one in pairs]
    return math.fsum(pairs * rate for pairs, rate in zip(crossing, grid.bytes_per_s, strict=True))
