"""Two kinds share a step's sequences in whole numbers so that the slower is fastest: exactly, by arithmetic."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints


def balanced(
    weight: tuple[Ints, Ints],
    most: tuple[Ints, Ints],
    slope: tuple[Floats, Floats],
    start: tuple[Floats, Floats],
    total: Ints,
) -> tuple[Ints, Ints, Floats]:
    """Whole x, y >= 1 with w x + v y = total, x and y at most `most`, that make max(a x + b, c y + d) least.

    All arrays of shape [pairs]: weights (w, v), slopes (a, c) >= 0 and starts (b, d). Also the maximum; infinite
    where no x and y do.

    The solutions of w x + v y = total are x = r + t v/g for whole t, g = gcd(w, v) and r = total/g (w/g)^-1 mod v/g
    (Bezout), none where g does not divide the total. Along t the first time never falls and the second never rises,
    so that the larger of them is least where they cross or next to it, or at an end of the t that are allowed: the
    two whole t on either side of the crossing, moved inside, hold the optimum.
    """
    g = np.gcd(*weight)
    w, v, whole = weight[0] // g, weight[1] // g, total // g
    r = whole * _inverses(w, v) % v
    r = np.where(r == 0, v, r)
    low = np.maximum(0, -((r * w - whole + most[1] * v) // (w * v)))  # y at most
    high = np.minimum((most[0] - r) // v, (whole - v - r * w) // (w * v))  # x at most, y at least one
    possible = (total % g == 0) & (low <= high)
    # a (r + t v) + b = c (whole - w (r + t v)) / v + d
    rise = slope[0] * v + slope[1] * w
    gap = slope[1] * (whole - w * r) / v + start[1] - slope[0] * r - start[0]
    crossing = np.clip(np.floor(gap / np.where(rise > 0, rise, 1.0)), -1e15, 1e15).astype(np.int64)
    best = np.full(len(w), np.inf)
    x = y = np.ones_like(w)
    for step in (-1, 0, 1, 2):  # one more on either side than needed: the division is rounded
        t = np.clip(crossing + step, low, np.maximum(low, high))
        one = r + t * v
        other = (whole - w * one) // v
        value = np.maximum(slope[0] * one + start[0], slope[1] * other + start[1])
        better = possible & (value < best)
        x, y, best = np.where(better, one, x), np.where(better, other, y), np.where(better, value, best)
    return x, y, best


def alike(
    weight: tuple[Ints, Ints],
    most: tuple[Ints, Ints],
    slope: tuple[Floats, Floats],
    start: tuple[Floats, Floats],
    total: Ints,
) -> tuple[Ints, Ints, Floats]:
    """The same where x = y is asked for."""
    both = weight[0] + weight[1]
    x = total // both
    possible = (total % both == 0) & (x >= 1) & (x <= most[0]) & (x <= most[1])
    value = np.maximum(slope[0] * x + start[0], slope[1] * x + start[1])
    return x, x, np.where(possible, value, np.inf)


def _inverses(w: Ints, v: Ints) -> Ints:
    """w^-1 modulo v, coprime; 0 modulo 1."""
    keys, of = np.unique(np.stack([w, v], axis=1), axis=0, return_inverse=True)
    found = [pow(one, -1, modulus) if modulus > 1 else 0 for one, modulus in keys.tolist()]
    return np.array(found, dtype=np.int64)[of.ravel()]
