"""A torus of devices: its shape, where it has wrap-around links, and the block of it that is one node.

A device's bandwidth is that of all its links together: two an axis. Ranks count along the first axis first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.cluster.model.cluster import Cluster, FabricLevel, TorusAxes, compute_group_devices
from planner.cluster.model.wiring import Ints


@dataclass(frozen=True)
class Torus:
    """`shape`: devices along each axis; `wrap`: whether the ends of an axis are joined; `block`: one node's part of
    the shape; `link_bytes_per_s`: one link, one direction.
    """

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    block: tuple[int, ...]
    link_bytes_per_s: float

    @property
    def devices(self) -> int:
        """How many devices form one torus."""
        return math.prod(self.shape)


def find_cluster_torus(cluster: Cluster) -> Torus | None:
    """The torus that a cluster's nodes are parts of (the outermost one), or None where there is none.

    Of a degraded cluster it is that of the healthy one: what is left of it is a torus with holes.
    """
    torus, cluster = None, cluster.layout
    for level, devices in zip(cluster.levels, compute_group_devices(cluster), strict=True):
        if level.axes is not None:
            torus = _build_torus(level, level.axes, devices, cluster.devices_per_node)
    return torus


def _build_torus(level: FabricLevel, axes: TorusAxes, devices: int, per_node: int) -> Torus:
    shape = compute_slice_shape(devices, axes.dims, axes.shape)
    full_shape, closed_axes = axes.shape, axes.wrap
    if full_shape and shape != full_shape:
        order = np.argsort(full_shape, kind="stable")
        full_shape, closed_axes = (
            tuple(full_shape[axis] for axis in order),
            tuple(closed_axes[axis] for axis in order),
        )
    # a ring of optical switches closes at any multiple; one of fixed links only when it is whole
    is_closable = list(np.equal(shape, full_shape or shape))
    if axes.wrap_multiple:
        is_closable = [side % axes.wrap_multiple == 0 for side in shape]
    wrap = tuple(
        bool(is_closed and side > 1 and closes)
        for is_closed, side, closes in zip(closed_axes, shape, is_closable, strict=True)
    )
    blocks = sorted(_enumerate_factors(per_node, axes.dims), key=_build_cubic_key)
    block = next(
        candidate for candidate in blocks if not any(side % part for side, part in zip(shape, candidate, strict=True))
    )
    return Torus(shape, wrap, block, level.bandwidth_bytes_per_s / (2 * axes.dims))


def compute_slice_shape(devices: int, dims: int, full_shape: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The part of a torus that a number of devices gets: all of `full_shape`, or the most cubic one, short axes
    first, that lies inside of it (anywhere, where none does).
    """
    if full_shape and math.prod(full_shape) == devices:
        return full_shape
    shapes = sorted(_enumerate_factors(devices, dims), key=_build_cubic_key)
    shapes = [shape for shape in shapes if list(shape) == sorted(shape)]
    limits = sorted(full_shape) or [devices] * dims
    fitting_shapes = (
        shape for shape in shapes if all(side <= limit for side, limit in zip(shape, limits, strict=True))
    )
    return next(fitting_shapes, shapes[0])


def _build_cubic_key(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Orders shapes of one size: the shorter the axes together, the more cubic; long axes first among equals."""
    return sum(shape), tuple(-side for side in shape)


def _enumerate_factors(number: int, factor_count: int) -> Iterator[tuple[int, ...]]:
    """Every ordered product of `factor_count` factors that is the number."""
    if factor_count == 1:
        yield (number,)
        return
    for side in _list_divisors(number):
        for other_factors in _enumerate_factors(number // side, factor_count - 1):
            yield (side, *other_factors)


def _list_divisors(number: int) -> list[int]:
    small = [side for side in range(1, math.isqrt(number) + 1) if number % side == 0]
    return sorted({*small, *(number // side for side in small)})


def compute_coordinates(index: Ints, shape: tuple[int, ...]) -> Ints:
    """Places of indices along each axis of a grid, the first axis counting fastest: shape [..., axes]."""
    strides = np.cumprod((1, *shape[:-1]))
    places: Ints = index[..., None] // strides % np.array(shape)
    return places


def compute_grid_index(places: Ints, shape: tuple[int, ...]) -> Ints:
    """The inverse of `compute_coordinates`."""
    index: Ints = (places * np.cumprod((1, *shape[:-1]))).sum(axis=-1)
    return index


def enumerate_grid_neighbours(shape: tuple[int, ...], wrap: tuple[bool, ...]) -> Iterator[tuple[int, Ints]]:
    """For each axis the pairs of a grid that are joined along it, shape [pairs, 2]: from a place to the next higher
    one; the last to the first where the axis wraps round.
    """
    count = math.prod(shape)
    places = compute_coordinates(np.arange(count), shape)
    for axis, side in enumerate(shape):
        has_next = places[:, axis] + 1 < side
        if wrap[axis] and side > 1:
            has_next[:] = True
        higher = places[has_next].copy()
        higher[:, axis] = (higher[:, axis] + 1) % side
        yield axis, np.stack([np.flatnonzero(has_next), compute_grid_index(higher, shape)], axis=1)
