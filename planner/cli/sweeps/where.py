"""Conditions on the rows of a table: `nodes >= 4 and cluster == "dgx-h100"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from planner.cli.sweeps.results import TableCell
from planner.errors import InputError
from planner.report.charts.plot_of_table import build_unknown_column_error

_OPTION_NAME = "--where"
_EXPECTED_FORM = 'COLUMN == VALUE, with ==, !=, <, <=, > or >=; several joined by "and"'
_CLAUSE_PATTERN = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|<|>|=)\s*("[^"]*"|'[^']*'|[^\s"'<>=!]+)\s*""")
_AND_PATTERN = re.compile(r"and\b", re.IGNORECASE)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_BOOLEAN_WORDS = {"yes": True, "true": True, "no": False, "false": False}


def select_rows_where(condition: str, columns: Mapping[str, Sequence[TableCell]]) -> list[bool]:
    """The rows that meet a condition; an empty cell meets only `!=`. Raises InputError for an invalid condition, an
    unknown column, and where no row is left.
    """
    mask = [True] * len(next(iter(columns.values())))
    at = 0
    while True:
        clause = _CLAUSE_PATTERN.match(condition, at)
        if clause is None:
            raise InputError("not a condition", key=_OPTION_NAME, value=condition, expected=_EXPECTED_FORM)
        name, sign, value = clause.groups()
        if name not in columns:
            raise build_unknown_column_error(name, columns, _OPTION_NAME)
        clause_mask = _evaluate_clause(columns[name], sign, value)
        mask = [first and second for first, second in zip(mask, clause_mask, strict=True)]
        at = clause.end()
        if at == len(condition):
            break
        joined = _AND_PATTERN.match(condition, at)
        if joined is None:
            raise InputError("not a condition", key=_OPTION_NAME, value=condition, expected=_EXPECTED_FORM)
        at = joined.end()
    if not any(mask):
        raise InputError(
            "no row meets the condition",
            key=_OPTION_NAME,
            value=condition,
            expected=_format_known_values(columns[name]),
        )
    return mask


def _evaluate_clause(cells: Sequence[TableCell], sign: str, value: str) -> list[bool]:
    """Whether each cell meets the comparison with the value; a number equals its text."""
    text = value[1:-1] if value[0] in "\"'" else value
    if sign in ("==", "=", "!="):
        equal = [_is_equal(cell, text) for cell in cells]
        return equal if sign != "!=" else [not item for item in equal]
    number = _parse_number(text)
    if number is None:
        raise InputError("not a number", key=_OPTION_NAME, value=text, expected=f"a number after {sign}")
    compared = _COMPARISONS[sign]
    return [_is_numeric(cell) and compared(float(cell or 0), number) for cell in cells]


def _is_equal(cell: TableCell, text: str) -> bool:
    if cell is None:
        return False
    if isinstance(cell, bool):
        return _BOOLEAN_WORDS.get(text.casefold()) is cell
    if isinstance(cell, int | float):
        return _parse_number(text) == cell
    return cell.casefold() == text.casefold()


def _is_numeric(cell: TableCell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _format_known_values(cells: Sequence[TableCell]) -> str:
    """Some of the column's values, for a message."""
    values = [str(cell) for cell in dict.fromkeys(cells) if cell is not None]
    return f"values in the table: {', '.join(values[:12])}{', ...' if len(values) > 12 else ''}"
