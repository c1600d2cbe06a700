"""The arrays that the cost model and the search work on, and sums of them that are the same to the last bit, whatever
stands beside a figure in its array and whichever processor it is.

BLAS and einsum promise neither; the search and the scoring of a single plan must agree exactly. NumPy's exp and
logarithms differ in the last digit from one processor, and one version, to another; its sums and products do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
NumericArray = TypeVar("NumericArray", Floats, Ints)


def sum_products(weights: Floats, values: Floats) -> Floats:
    """Sum over the last axis of weights times values (broadcast), added entry by entry in order."""
    total = weights[..., 0] * values[..., 0]
    for entry in range(1, weights.shape[-1]):
        total = total + weights[..., entry] * values[..., entry]
    return total


def round_significant(values: Floats, bits: int = 44) -> Floats:
    """The values rounded to so many significant bits: exp and logarithms are then the same on any processor."""
    fraction, exponent = np.frexp(values)
    rounded: Floats = np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)
    return rounded


def compute_ceil_log2(parts: Floats) -> Floats:
    """How many doublings of one part make at least so many: the logarithm to base 2, rounded upwards, exactly."""
    fraction, exponent = np.frexp(parts)
    count: Floats = exponent - (fraction == 0.5).astype(np.float64)
    return count


def take_columns(table: NumericArray, index: Ints) -> NumericArray:
    """`table[index]`, kept in memory entry by entry: what then runs over the plans runs over neighbours."""
    columns = np.ascontiguousarray(np.moveaxis(table, 0, -1))
    return np.moveaxis(np.take(columns, index, axis=-1), -1, 0)


def sum_in_order(parts: Iterable[Floats]) -> Floats:
    """Sum of equally shaped arrays, in order."""
    return reduce(np.add, parts)


def find_last_axis_max(values: Floats) -> Floats:
    """Maximum over the (short) last axis; column by column, which is faster than a reduction over it."""
    return reduce(np.maximum, (values[..., entry] for entry in range(values.shape[-1])))
