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
from planner.cluster.regular.torus import Torus, enumerate_grid_neighbours, find_cluster_torus


@dataclass(frozen=True)
class _Grid:
    """Devices or nodes in rows: `shape` along each axis, which of them are closed (`wrap`), and what two neighbours
    along each axis are joined by, bytes/s in one direction.
    """

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    neighbour_bytes_per_s: tuple[float, ...]


def find_halved_torus(cluster: Cluster) -> Torus | None:
    """The torus that is halved, if any: not one that ends with the node, of several nodes."""
    torus = find_cluster_torus(cluster)
    return None if torus is None or (cluster.nodes > 1 and torus.devices == cluster.devices_per_node) else torus


def is_single_torus(cluster: Cluster) -> bool:
    """Whether nothing joins the devices but one torus, so that it is halved by devices; else nodes stay whole."""
    torus = find_halved_torus(cluster)
    has_torus_levels_only = all(level.axes is not None for level in cluster.levels[1:])
    return torus is not None and torus.devices >= cluster.devices and has_torus_levels_only


def compute_torus_cut_bytes_per_s(torus: Torus) -> float:
    """Bytes/s between two halves of the devices of a torus: N / k links across an even axis of k, and as many again
    where it is closed; across an odd one also what halves its middle row. Across the axes where that is least.
    """
    axes = len(torus.shape)
    return _compute_halving_cut_bytes_per_s(
        _Grid(torus.shape, torus.wrap, (torus.link_bytes_per_s,) * axes), tuple(range(axes))
    )


def is_torus_cut_narrowest(torus: Torus) -> bool:
    """Whether nothing less halves a torus.

    An even axis that is the longest (a closed one counted half): if every device sends to every other one, axis by
    axis, no link carries more than those in the middle of it, so that N^2 / 4 flows need N / k of them, or 2 N / k.
    Else where all axes are closed, or all open (Arjona Aroca and Fernandez Anta 2012).
    """
    sides = [(side, wrap) for side, wrap in zip(torus.shape, torus.wrap, strict=True) if side > 1]
    ring_lengths = [side / (2 if wrap else 1) for side, wrap in sides]
    if any(
        side % 2 == 0 and ring_length == max(ring_lengths)
        for (side, _), ring_length in zip(sides, ring_lengths, strict=True)
    ):
        return True
    return len({wrap for _, wrap in sides}) < 2 and all(side > 2 for side, _ in sides)


def compute_tori_cut_bytes_per_s(cluster: Cluster, torus: Torus) -> float:
    """Bytes/s over the links of tori between half of the nodes and the others, where nodes are also joined otherwise.

    Of several full tori the one in the middle is halved. Else it is cut behind as many nodes, in the order of ranks,
    as make a half with the tori before it.
    """
    nodes_per_torus = torus.devices // cluster.devices_per_node
    grid = _build_node_grid(torus, cluster.devices_per_node)
    nodes_before = cluster.nodes // 2 % nodes_per_torus
    if cluster.nodes % nodes_per_torus or cluster.nodes == nodes_per_torus:
        return _compute_cut_behind_bytes_per_s(grid, nodes_before)
    return _compute_halving_cut_bytes_per_s(grid, tuple(range(len(grid.shape)))) if nodes_before else 0.0


def _build_node_grid(torus: Torus, per_node: int) -> _Grid:
    """The nodes of a torus: neighbours are joined by all links between the faces of their blocks."""
    shape = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    return _Grid(shape, torus.wrap, tuple(per_node // part * torus.link_bytes_per_s for part in torus.block))


def _compute_halving_cut_bytes_per_s(grid: _Grid, axes: tuple[int, ...]) -> float:
    """The least that parts a plane of these axes."""
    best = math.inf
    for axis in axes:
        side = grid.shape[axis]
        other_axes = tuple(other_axis for other_axis in axes if other_axis != axis)
        rows = (
            math.prod(grid.shape[other_axis] for other_axis in other_axes)
            * (2 if grid.wrap[axis] else 1)
            * float(side > 1)
        )
        middle_row_bytes_per_s = (
            _compute_halving_cut_bytes_per_s(grid, other_axes) if side % 2 and other_axes else 0.0
        )
        best = min(best, rows * grid.neighbour_bytes_per_s[axis] + middle_row_bytes_per_s)
    return best


def _compute_cut_behind_bytes_per_s(grid: _Grid, first_half_nodes: int) -> float:
    """What joins the first places of a grid, along its first axis first, with the others."""
    pairs = [pairs for _, pairs in enumerate_grid_neighbours(grid.shape, grid.wrap)]
    crossing = [float(((axis_pairs < first_half_nodes).sum(axis=1) == 1).sum()) for axis_pairs in pairs]
    return math.fsum(pairs * rate for pairs, rate in zip(crossing, grid.neighbour_bytes_per_s, strict=True))
