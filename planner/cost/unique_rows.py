"""Distinct combinations of a few integer columns, so that a term is computed once for each and gathered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Ints


@dataclass(frozen=True)
class UniqueRows:
    """`first_index[k]`: the position of a row with the k-th combination; `inverse[i]`: the combination of row i."""

    first_index: Ints
    inverse: Ints


def find_unique_rows(*columns: Ints) -> UniqueRows:
    """Combinations of equally long, non-negative columns, in time linear in their length.

    Each column is coded by a look-up table, the codes are joined by mixed radix; no sort of the rows.
    """
    code = np.zeros(len(columns[0]), dtype=np.int64)
    if not len(code):
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
