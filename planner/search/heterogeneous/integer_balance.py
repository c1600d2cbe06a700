"""Divide the sequences of a step over two pools in whole numbers so that the slower pool is fastest, exactly."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints


def balance_shares(
    weight: tuple[Ints, Ints],
    max_count: tuple[Ints, Ints],
    slope: tuple[Floats, Floats],
    intercept: tuple[Floats, Floats],
    total: Ints,
) -> tuple[Ints, Ints, Floats]:
    """Whole x, y >= 1 with w x + v y = total, x and y at most `max_count`, that minimise max(a x + b, c y + d).

    All arrays have shape [pairs]: weights (w, v), slopes (a, c) >= 0, intercepts (b, d). Returns x, y and the
    maximum, which is infinite where no x and y exist.

    The solutions of w x + v y = total are x = r + t v/g for whole t, g = gcd(w, v) and r = total/g (w/g)^-1 mod v/g
    (Bezout); there are none where g does not divide the total. With t the first time never decreases and the second
    never increases, so that their maximum is least at a whole t next to the crossing, or at an end of the allowed
    interval: the two whole t around the crossing, clipped to the interval, contain the optimum.
    """
    g = np.gcd(*weight)
    w, v, reduced_total = weight[0] // g, weight[1] // g, total // g
    residue = reduced_total * _compute_modular_inverses(w, v) % v
    residue = np.where(residue == 0, v, residue)
    low = np.maximum(0, -((residue * w - reduced_total + max_count[1] * v) // (w * v)))  # y at most
    high = np.minimum(
        (max_count[0] - residue) // v, (reduced_total - v - residue * w) // (w * v)
    )  # x at most, y at least one
    possible = (total % g == 0) & (low <= high)
    # a (r + t v) + b = c (whole - w (r + t v)) / v + d
    slope_sum = slope[0] * v + slope[1] * w
    gap = slope[1] * (reduced_total - w * residue) / v + intercept[1] - slope[0] * residue - intercept[0]
    crossing = np.clip(np.floor(gap / np.where(slope_sum > 0, slope_sum, 1.0)), -1e15, 1e15).astype(np.int64)
    best = np.full(len(w), np.inf)
    x = y = np.ones_like(w)
    for step in (-1, 0, 1, 2):  # one more on each side than needed, since the division is rounded
        t = np.clip(crossing + step, low, np.maximum(low, high))
        first_count = residue + t * v
        second_count = (reduced_total - w * first_count) // v
        value = np.maximum(slope[0] * first_count + intercept[0], slope[1] * second_count + intercept[1])
        better = possible & (value < best)
        x, y, best = (
            np.where(better, first_count, x),
            np.where(better, second_count, y),
            np.where(better, value, best),
        )
    return x, y, best


def balance_equal_shares(
    weight: tuple[Ints, Ints],
    max_count: tuple[Ints, Ints],
    slope: tuple[Floats, Floats],
    intercept: tuple[Floats, Floats],
    total: Ints,
) -> tuple[Ints, Ints, Floats]:
    """The same with the constraint x = y."""
    combined_weight = weight[0] + weight[1]
    x = total // combined_weight
    possible = (total % combined_weight == 0) & (x >= 1) & (x <= max_count[0]) & (x <= max_count[1])
    value = np.maximum(slope[0] * x + intercept[0], slope[1] * x + intercept[1])
    return x, x, np.where(possible, value, np.inf)


def _compute_modular_inverses(w: Ints, v: Ints) -> Ints:
    """w^-1 modulo v for coprime w and v; 0 for modulus 1."""
    keys, inverse_index = np.unique(np.stack([w, v], axis=1), axis=0, return_inverse=True)
    inverses = [pow(residue, -1, modulus) if modulus > 1 else 0 for residue, modulus in keys.tolist()]
    return np.array(inverses, dtype=np.int64)[inverse_index.ravel()]
