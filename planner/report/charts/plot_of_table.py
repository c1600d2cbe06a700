"""A plot of a table's columns: which are its axes, which rows belong together, and which of them are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from planner.errors import InputError, find_nearest_name
from planner.report.charts.axes import number_axis, word_axis
from planner.report.report import Mark, Plot, Series

Cell = str | int | float | bool | None
Columns = Mapping[str, Sequence[Cell]]
Row = tuple[Cell, float, str]
"""x, y, and the series that it belongs to."""
Take = Literal["all", "least", "most"]
_MOST_SERIES = 40
_TOLD = 16
_STATUS = "status"


@dataclass(frozen=True)
class Drawn:
    """What is drawn: columns of the axes, columns whose values make the series, and which rows of equal x."""

    x: str
    y: str
    by: tuple[str, ...]
    take: Take = "all"


def drawn(columns: Columns, x: str | None, y: str | None, by: Sequence[str] | None, take: Take) -> Drawn:
    """What is asked for, with what suits the table where nothing is: MFU over the first number that was swept, and a
    series for each model and cluster. Raises InputError with the nearest name for a column that is not there.
    """
    own = list(columns)[: list(columns).index(_STATUS)] if _STATUS in columns else list(columns)
    swept = [name for name in own if len(_values(columns, name)) > 1]
    numbers = [name for name in columns if _is_number(columns[name])]
    for key, name in (("--x", x), ("--y", y), *(("--by", one) for one in by or ())):
        if name is not None and name not in columns:
            raise unknown_column(name, columns, key)
    if y is not None and y not in numbers and _values(columns, y):
        raise InputError("is no number", key="--y", value=y, expected=f"one of {', '.join(numbers)}")
    over = x or next((name for name in swept if name in numbers), None) or next(iter(swept or own))
    of = y or next((name for name in ("mfu", "step_time_s", *numbers) if name in columns and name != over), None)
    if of is None:
        raise InputError("no column is a number", key="--y", expected="results with at least one plan")
    usual = [name for name in ("model", "cluster") if name in swept and name != over]
    return Drawn(over, of, tuple(dict.fromkeys(by if by is not None else usual)), take)


def unknown_column(name: str, columns: Columns, key: str) -> InputError:
    """The error for a column that is not there: some that are, and the nearest."""
    told = [*list(columns)[:_TOLD], *(["..."] if len(columns) > _TOLD else [])]
    expected = f"a column of the table: {', '.join(told)}"
    return InputError(
        "unknown column", key=key, value=name, expected=expected, suggestion=find_nearest_name(name, columns)
    )


def plotted(columns: Columns, what: Drawn) -> tuple[Plot, int]:
    """The plot, and how many rows have no value for one of its axes. Raises InputError where none is left."""
    cells = zip(columns[what.x], columns[what.y], _names(columns, what.by), strict=True)
    rows: list[Row] = [(x, float(y), name) for x, y, name in cells if x is not None and _is_finite(y)]
    missing = len(columns[what.x]) - len(rows)
    if not rows:
        raise InputError("no row has both figures", key="--x, --y", expected=f"rows with {what.x} and {what.y}")
    rows = _taken(rows, what.take)
    y_axis = number_axis(what.y, [y for _, y, _ in rows])
    if _is_number(columns[what.x]):
        places = [float(x) for x, _, _ in rows if isinstance(x, int | float)]
        x_axis = number_axis(what.x, places)
    else:
        words = {word: place for place, word in enumerate(dict.fromkeys(_said(x) for x, _, _ in rows))}
        places = [float(words[_said(x)]) for x, _, _ in rows]
        x_axis = word_axis(what.x, list(words))
    series: dict[str, list[Mark]] = {}
    for place, (x, y, name) in zip(places, rows, strict=True):
        told = f"{what.x} {_said(x)}, {what.y} {y_axis.said(y)}"
        series.setdefault(name, []).append(Mark(place, y, f"{name}: {told}" if name else told))
    if len(series) > _MOST_SERIES:
        expected = f"at most {_MOST_SERIES}: other columns with --by, or fewer rows with --where"
        raise InputError("too many series", key="--by", value=f"{len(series):,}", expected=expected)
    title = f"{what.y} over {what.x}" + (f" by {', '.join(what.by)}" if what.by else "")
    return Plot(title, x_axis, y_axis, [_series(name, marks) for name, marks in series.items()]), missing


def _taken(rows: Sequence[Row], take: Take) -> list[Row]:
    """Of the rows of one series with the same x all, or the one with the least or most y."""
    if take == "all":
        return list(rows)
    sign = 1 if take == "least" else -1
    best: dict[tuple[Cell, str], Row] = {}
    for row in rows:
        key = (row[0], row[2])
        if key not in best or sign * row[1] < sign * best[key][1]:
            best[key] = row
    return list(best.values())


def _series(name: str, marks: Sequence[Mark]) -> Series:
    """The marks in the order of x; joined where each x has one of them."""
    ordered = sorted(marks, key=lambda mark: (mark.x, mark.y))
    return Series(name, ordered, len({mark.x for mark in ordered}) == len(ordered) > 1)


def _names(columns: Columns, by: Sequence[str]) -> list[str]:
    """Of each row the series that it belongs to: the values of these columns."""
    if not by:
        return [""] * len(next(iter(columns.values())))
    cells = zip(*(columns[name] for name in by), strict=True)
    alone = len(by) == 1
    return [
        ", ".join(
            _said(cell) if alone or isinstance(cell, str) else f"{name} {_said(cell)}"
            for name, cell in zip(by, row, strict=True)
        )
        for row in cells
    ]


def _values(columns: Columns, name: str) -> set[Cell]:
    return {cell for cell in columns[name] if cell is not None}


def _is_number(cells: Sequence[Cell]) -> bool:
    there = [cell for cell in cells if cell is not None]
    return bool(there) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in there)


def _is_finite(cell: Cell) -> TypeGuard[float]:
    return isinstance(cell, int | float) and math.isfinite(cell)


def _said(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "none" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
