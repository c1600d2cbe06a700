"""The arrays that the cost model and the search work on, their axes, and sums that are the same to the last bit.

Axes, by the names that docstrings use:

    plans        the candidates, one entry each; a single plan is an array of length one
    keys         distinct shards of a layer among the plans; `layer_row` has the key of each plan
    layer types  the distinct layers of the workload, then the embedding, then the head (`list_layer_types`)
    modes        recompute modes: none, selective, full
    splits       distinct (pp, vpp) among the plans; `stage_rows` has the split of each plan
    stages       distinct pipeline stages of a split
    rounds       distinct rounds of a split: the v-th chunks of all stages, which run at the same time
    chunks       distinct chunks (virtual stages) of a round
    tiers        levels of the network from the inside out
    parts        parts of a group of ranks, one for each parallel dimension in it
    jobs         jobs whose failures are computed

Sums do not depend on what stands beside a figure in its array, nor on the processor: the search and the scoring of a
single plan must agree exactly. BLAS and einsum promise neither. NumPy's exp and logarithms differ in the last digit
from one processor, and one version, to another; its sums and products do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
    """The values rounded to a number of significant bits: exp and logarithms are then the same on any processor."""
    fraction, exponent = np.frexp(values)
    rounded: Floats = np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)
    return rounded


def compute_ceil_log2(parts: Floats) -> Floats:
    """How many doublings of one part make at least a number: the logarithm to base 2, rounded upwards, exactly."""
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


@dataclass(frozen=True)
class UniqueRows:
    """Distinct combinations of a few integer columns, so that a term is computed once for each and gathered.

    `first_index[k]`: the position of a row with the k-th combination; `inverse[i]`: the combination of row i.
    """

    first_index: Ints
    inverse: Ints


def find_unique_rows(*columns: Ints) -> UniqueRows:
    """Combinations of equally long, non-negative columns, in time linear in their length.

    Each column is coded by a look-up table, the codes are joined by mixed radix; no sort of the rows.
    """
    code = np.zeros(len(columns[0]), dtype=np.int64)
    if len(code) <= 1:
        return UniqueRows(code, code)
    size = 1
    for column in columns:
        column_code, count = _encode_column(column)
        code = code * count + column_code
        size *= count
        if size > 4 * len(code) + 1024:
            code, size = _encode_column(code)
    code, size = _encode_column(code)
    first_index = np.zeros(size, dtype=np.int64)
    # the last write wins; any row of the combination will do, and the result is the same in every run
    first_index[code] = np.arange(len(code))
    return UniqueRows(first_index, code)


def find_distinct_values(column: Ints) -> Ints:
    """The distinct values, ascending; np.unique would import masked arrays for them."""
    ordered: Ints = np.sort(column)
    is_last = np.append(ordered[1:] != ordered[:-1], np.ones(len(ordered[:1]), dtype=np.bool_))
    distinct: Ints = ordered[is_last]
    return distinct


def _encode_column(column: Ints) -> tuple[Ints, int]:
    """The column with its values replaced by 0..count-1, and count."""
    low, high = int(column.min()), int(column.max())
    if high - low > 16 * len(column) + 65_536:
        values, codes = np.unique(column, return_inverse=True)
        return codes.astype(np.int64), len(values)
    used = np.zeros(high - low + 1, dtype=bool)
    used[column - low] = True
    codes = np.cumsum(used) - 1
    return codes[column - low], int(codes[-1]) + 1
