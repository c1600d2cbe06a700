"""A torus of devices: its shape, where it has wrap-around links, and the block of it that is one node.

A device's bandwidth is that of all its links together: two an axis. Ranks count along the first axis first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Axes, Cluster, Level, joined_devices

Ints = NDArray[np.int64]


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


def torus_of(cluster: Cluster) -> Torus | None:
    """The torus that a cluster's nodes are parts of (the outermost one), or None where there is none.

    Of a cluster with faults it is the torus that it was before: what is left of it is a torus with holes.
    """
    if cluster.sound is not None and cluster.nodes > 1:
        return torus_of(cluster.sound.cluster)
    found = None
    for level, devices in zip(cluster.levels, joined_devices(cluster), strict=True):
        if level.axes is not None:
            found = _torus(level, level.axes, devices, cluster.devices_per_node)
    return found


def _torus(level: Level, axes: Axes, devices: int, per_node: int) -> Torus:
    shape = slice_shape(devices, axes.dims, axes.shape)
    whole, told = axes.shape, axes.wrap
    if whole and shape != whole:
        order = np.argsort(whole, kind="stable")
        whole, told = tuple(whole[axis] for axis in order), tuple(told[axis] for axis in order)
    # a ring of optical switches closes at any multiple; one of cables only when it is whole
    full = (
        [side % axes.wrap_multiple == 0 for side in shape] if axes.wrap_multiple else np.equal(shape, whole or shape)
    )
    wrap = tuple(bool(on and side > 1 and ends) for on, side, ends in zip(told, shape, full, strict=True))
    blocks = sorted(_factors(per_node, axes.dims), key=_cubic)
    block = next(one for one in blocks if not any(side % part for side, part in zip(shape, one, strict=True)))
    return Torus(shape, wrap, block, level.bandwidth_bytes_per_s / (2 * axes.dims))


def slice_shape(devices: int, dims: int, whole: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The part of a torus that so many devices are given: all of `whole`, or the most cubic one, short axes first,
    that lies inside of it (anywhere, where none does).
    """
    if whole and math.prod(whole) == devices:
        return whole
    shapes = [shape for shape in sorted(_factors(devices, dims), key=_cubic) if list(shape) == sorted(shape)]
    limits = sorted(whole) or [devices] * dims
    inside = (shape for shape in shapes if all(side <= most for side, most in zip(shape, limits, strict=True)))
    return next(inside, shapes[0])


def _cubic(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Orders shapes of one size: the shorter the axes together, the more cubic; long axes first among equals."""
    return sum(shape), tuple(-side for side in shape)


def _factors(number: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ordered ways to write a number as a product of so many."""
    if parts == 1:
        yield (number,)
        return
    for side in _divisors(number):
        for rest in _factors(number // side, parts - 1):
            yield (side, *rest)


def _divisors(number: int) -> list[int]:
    small = [side for side in range(1, math.isqrt(number) + 1) if number % side == 0]
    return sorted({*small, *(number // side for side in small)})


def coordinates(index: Ints, shape: tuple[int, ...]) -> Ints:
    """Places of so many things along each axis of a grid, the first axis counting fastest: shape [..., axes]."""
    strides = np.cumprod((1, *shape[:-1]))
    places: Ints = index[..., None] // strides % np.array(shape)
    return places


def index_of(places: Ints, shape: tuple[int, ...]) -> Ints:
    """The inverse of `coordinates`."""
    index: Ints = (places * np.cumprod((1, *shape[:-1]))).sum(axis=-1)
    return index


def neighbours(shape: tuple[int, ...], wrap: tuple[bool, ...]) -> Iterator[tuple[int, Ints]]:
    """For each axis the pairs of a grid that are joined along it, shape [pairs, 2]: from a place to the next higher
    one; the last to the first where the axis wraps round.
    """
    count = math.prod(shape)
    places = coordinates(np.arange(count), shape)
    for axis, side in enumerate(shape):
        has_next = places[:, axis] + 1 < side
        if wrap[axis] and side > 1:
            has_next[:] = True
        higher = places[has_next].copy()
        higher[:, axis] = (higher[:, axis] + 1) % side
        yield axis, np.stack([np.flatnonzero(has_next), index_of(higher, shape)], axis=1)
