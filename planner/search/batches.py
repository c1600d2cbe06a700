"""Numbers of sequences that the widths of a number of devices divide: what a batch is rounded to.

dp x pp micro-batches of interleaved stages, or dp of plain ones, have to divide the batch, and both divide the
devices. So the more of the devices a batch has as a common divisor, the more plans can run it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from planner.search.space import compute_divisors


@dataclass(frozen=True)
class BatchRange:
    """Batches from `low` to `high`, in sequences; `near`: the wanted one, which need not be whole."""

    low: int
    high: int
    near: float

    @property
    def is_single(self) -> bool:
        """Whether there is one batch alone."""
        return self.low == self.high


def list_divisible_batches(batches: BatchRange, devices: int) -> tuple[int, ...]:
    """The batches of a range that no other one beats: which share a divisor with the devices that no other's shared
    divisor is a multiple of, ascending. Of batches that share the same divisor the one nearest to `near` stands.
    """
    if batches.is_single:
        return (batches.low,)
    nearest: dict[int, int] = {}
    for batch in _enumerate_multiples(batches, devices):
        shared = math.gcd(batch, devices)
        if shared not in nearest or _compute_distance(batches, batch) < _compute_distance(batches, nearest[shared]):
            nearest[shared] = batch
    widest: list[int] = []
    for width in sorted(nearest, reverse=True):
        if not any(other % width == 0 for other in widest):
            widest.append(width)
    return tuple(sorted(nearest[width] for width in widest))


def choose_divisible_batch(batches: BatchRange, devices: int) -> int:
    """The batch of a range for a single plan on these devices.

    An odd divisor of the devices that does not divide the batch has to be in tp, pp or cp, where it fits badly: so
    the largest odd shared divisor decides, then the largest shared divisor.
    """

    def rank(batch: int) -> tuple[int, int, tuple[float, int]]:
        shared = math.gcd(batch, devices)
        return -(shared // (shared & -shared)), -shared, _compute_distance(batches, batch)

    return min(list_divisible_batches(batches, devices), key=rank)


def _enumerate_multiples(batches: BatchRange, devices: int) -> Iterable[int]:
    """Of every divisor of the devices the multiples in the range that are nearest to `near`, below and above."""
    for width in compute_divisors(devices).tolist():
        below = math.floor(batches.near / width)
        for count in (below, below + 1):
            # an end of the range may lie between `near` and its multiple
            bounded = min(max(count, -(-batches.low // width)), batches.high // width)
            if bounded * width >= batches.low and bounded > 0:
                yield bounded * width


def _compute_distance(batches: BatchRange, batch: int) -> tuple[float, int]:
    """How far a batch is from the wanted one; of equally near ones the larger is nearer."""
    return abs(batch - batches.near), -batch
