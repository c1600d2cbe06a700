"""Conditions on the rows of a table: `nodes >= 4 and cluster == "dgx-h100"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from planner.cli.sweeps.results import Cell
from planner.errors import InputError
from planner.report.charts.plot_of_table import unknown_column

_KEY = "--where"
_FORM = 'COLUMN == VALUE, with ==, !=, <, <=, > or >=; several joined by "and"'
_CLAUSE = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|<|>|=)\s*("[^"]*"|'[^']*'|[^\s"'<>=!]+)\s*""")
_AND = re.compile(r"and\b", re.IGNORECASE)
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = {"yes": True, "true": True, "no": False, "false": False}


def kept_by(condition: str, columns: Mapping[str, Sequence[Cell]]) -> list[bool]:
    """Which rows a condition keeps; a cell without a value is kept by none but `!=`. Raises InputError where it makes
    no sense, where it names no column, and where it keeps nothing.
    """
    kept = [True] * len(next(iter(columns.values())))
    at = 0
    while True:
        clause = _CLAUSE.match(condition, at)
        if clause is None:
            raise InputError("not a condition", key=_KEY, value=condition, expected=_FORM)
        name, sign, told = clause.groups()
        if name not in columns:
            raise unknown_column(name, columns, _KEY)
        held = _held(columns[name], sign, told)
        kept = [one and other for one, other in zip(kept, held, strict=True)]
        at = clause.end()
        if at == len(condition):
            break
        joined = _AND.match(condition, at)
        if joined is None:
            raise InputError("not a condition", key=_KEY, value=condition, expected=_FORM)
        at = joined.end()
    if not any(kept):
        raise InputError("no row is left", key=_KEY, value=condition, expected=_left(columns[name]))
    return kept


def _held(cells: Sequence[Cell], sign: str, told: str) -> list[bool]:
    """For each cell whether it stands so to the value; equal are also a number and its text."""
    text = told[1:-1] if told[0] in "\"'" else told
    if sign in ("==", "=", "!="):
        equal = [_equals(cell, text) for cell in cells]
        return equal if sign != "!=" else [not one for one in equal]
    number = _number(text)
    if number is None:
        raise InputError("not a number", key=_KEY, value=text, expected=f"a number after {sign}")
    compared = _COMPARED[sign]
    return [_is_number(cell) and compared(float(cell or 0), number) for cell in cells]


def _equals(cell: Cell, text: str) -> bool:
    if cell is None:
        return False
    if isinstance(cell, bool):
        return _WORDS.get(text.casefold()) is cell
    if isinstance(cell, int | float):
        return _number(text) == cell
    return cell.casefold() == text.casefold()


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _left(cells: Sequence[Cell]) -> str:
    """Some of the values that are there, for a message."""
    told = [str(cell) for cell in dict.fromkeys(cells) if cell is not None]
    return f"values that rows have: {', '.join(told[:12])}{', ...' if len(told) > 12 else ''}"
