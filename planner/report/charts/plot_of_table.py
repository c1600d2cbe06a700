"""A plot of a table's columns: which are its axes, which rows belong together, and which of them are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from planner.errors import InputError, find_nearest_name
from planner.report.charts.axes import choose_display_unit, is_drawable
from planner.report.report import ChartAxis, ChartPoint, PointChart, PointSeries

TableCell = str | int | float | bool | None
TableColumns = Mapping[str, Sequence[TableCell]]
PlotRow = tuple[TableCell, float, str]
"""x, y, and the series that it belongs to."""
RowSelectionMode = Literal["all", "least", "most"]
_MAX_SERIES = 40
_MAX_LISTED_COLUMNS = 16
_STATUS_COLUMN = "status"
_SHARE_COLUMNS = ("mfu", "hfu")
_UNITS_BY_WORD = {"usd": "USD", "j": "J", "w": "W", "kg": "kg", "days": "days"}


@dataclass(frozen=True)
class PlotSpec:
    """What is drawn: columns of the axes, columns whose values make the series, and which rows of equal x."""

    x: str
    y: str
    series_columns: tuple[str, ...]
    selection: RowSelectionMode = "all"


def resolve_plot_spec(
    columns: TableColumns,
    x: str | None,
    y: str | None,
    series_columns: Sequence[str] | None,
    selection: RowSelectionMode,
) -> PlotSpec:
    """The plot that options describe; by default MFU over the first number that was swept, and a series for each
    model and cluster. Raises InputError with the nearest name for a column that is not there.
    """
    names = list(columns)
    input_columns = names[: names.index(_STATUS_COLUMN)] if _STATUS_COLUMN in columns else names
    swept_columns = [name for name in input_columns if len(_collect_values(columns, name)) > 1]
    number_columns = [name for name in columns if _is_number_column(columns[name])]
    for key, name in (("--x", x), ("--y", y), *(("--by", column) for column in series_columns or ())):
        if name is not None and name not in columns:
            raise build_unknown_column_error(name, columns, key)
    if y is not None and y not in number_columns and _collect_values(columns, y):
        raise InputError("is no number", key="--y", value=y, expected=f"one of {', '.join(number_columns)}")
    x_column = (
        x
        or next((name for name in swept_columns if name in number_columns), None)
        or next(iter(swept_columns or input_columns))
    )
    y_candidates = [name for name in ("mfu", "step_time_s", *number_columns) if name in columns and name != x_column]
    y_column = y or next(iter(y_candidates), None)
    if y_column is None:
        raise InputError("no column is a number", key="--y", expected="results with at least one plan")
    default_series_columns = [name for name in ("model", "cluster") if name in swept_columns and name != x_column]
    return PlotSpec(
        x_column,
        y_column,
        tuple(dict.fromkeys(series_columns if series_columns is not None else default_series_columns)),
        selection,
    )


def build_unknown_column_error(name: str, columns: TableColumns, key: str) -> InputError:
    """The error for a column that is not there: some that are, and the nearest."""
    listed_columns = [*list(columns)[:_MAX_LISTED_COLUMNS], *(["..."] if len(columns) > _MAX_LISTED_COLUMNS else [])]
    expected = f"a column of the table: {', '.join(listed_columns)}"
    return InputError(
        "unknown column", key=key, value=name, expected=expected, suggestion=find_nearest_name(name, columns)
    )


def build_plot(columns: TableColumns, spec: PlotSpec) -> tuple[PointChart, int]:
    """The plot, and how many rows have no value for one of its axes. Raises InputError where none is left."""
    cells = zip(columns[spec.x], columns[spec.y], _compute_series_names(columns, spec.series_columns), strict=True)
    rows: list[PlotRow] = [
        (x, float(y), name) for x, y, name in cells if (isinstance(x, str | bool) or _is_number(x)) and _is_number(y)
    ]
    missing_rows = len(columns[spec.x]) - len(rows)
    if not rows:
        raise InputError("no row has both figures", key="--x, --y", expected=f"rows with {spec.x} and {spec.y}")
    rows = _select_rows(rows, spec.selection)
    y_unit = _find_unit(spec.y)
    y_display = choose_display_unit(y_unit, [y for _, y, _ in rows])
    if _is_number_column(columns[spec.x]):
        positions = [float(x) for x, _, _ in rows if isinstance(x, int | float)]
        x_axis = ChartAxis(spec.x, _find_unit(spec.x))
    else:
        categories = list(dict.fromkeys(_format_cell(x) for x, _, _ in rows))
        category_positions = {category: float(position) for position, category in enumerate(categories)}
        positions = [category_positions[_format_cell(x)] for x, _, _ in rows]
        x_axis = ChartAxis(spec.x, categories=categories)
    series: dict[str, list[ChartPoint]] = {}
    for position, (x, y, name) in zip(positions, rows, strict=True):
        tooltip = f"{spec.x} {_format_cell(x)}, {spec.y} {y_display.format_value(y)}"
        series.setdefault(name, []).append(ChartPoint(position, y, f"{name}: {tooltip}" if name else tooltip))
    if len(series) > _MAX_SERIES:
        expected = f"at most {_MAX_SERIES}: other columns with --by, or fewer rows with --where"
        raise InputError("too many series", key="--by", value=f"{len(series):,}", expected=expected)
    title = f"{spec.y} over {spec.x}" + (f" by {', '.join(spec.series_columns)}" if spec.series_columns else "")
    drawn_series = [_build_series(name, points) for name, points in series.items()]
    return PointChart(title, x_axis, ChartAxis(spec.y, y_unit), drawn_series), missing_rows


def _select_rows(rows: Sequence[PlotRow], selection: RowSelectionMode) -> list[PlotRow]:
    """Of the rows of one series with the same x all, or the one with the least or most y."""
    if selection == "all":
        return list(rows)
    sign = 1 if selection == "least" else -1
    best: dict[tuple[TableCell, str], PlotRow] = {}
    for row in rows:
        key = (row[0], row[2])
        if key not in best or sign * row[1] < sign * best[key][1]:
            best[key] = row
    return list(best.values())


def _build_series(name: str, points: Sequence[ChartPoint]) -> PointSeries:
    """The points in the order of x; joined where each x has one of them."""
    ordered = sorted(points, key=lambda point: (point.x, point.y))
    return PointSeries(name, ordered, len({point.x for point in ordered}) == len(ordered) > 1)


def _find_unit(name: str) -> str:
    """The unit of a column, by its name."""
    suffix = name.rsplit("_", 1)[-1]
    if name in _SHARE_COLUMNS or suffix == "share":
        return "share"
    if name.endswith("_per_s") or "_per_s_" in name:
        return ""
    if "_" in name and suffix in ("bytes", "s"):
        return {"bytes": "B", "s": "s"}[suffix]
    words = name.split("_")
    return next((unit for key, unit in _UNITS_BY_WORD.items() if key in words), "")


def _compute_series_names(columns: TableColumns, series_columns: Sequence[str]) -> list[str]:
    """Of each row the series that it belongs to: the values of these columns."""
    if not series_columns:
        return [""] * len(next(iter(columns.values())))
    cells = zip(*(columns[name] for name in series_columns), strict=True)
    is_single_column = len(series_columns) == 1
    return [
        ", ".join(
            _format_cell(cell) if is_single_column or isinstance(cell, str) else f"{name} {_format_cell(cell)}"
            for name, cell in zip(series_columns, row, strict=True)
        )
        for row in cells
    ]


def _collect_values(columns: TableColumns, name: str) -> set[TableCell]:
    return {cell for cell in columns[name] if cell is not None}


def _is_number_column(cells: Sequence[TableCell]) -> bool:
    known_cells = [cell for cell in cells if cell is not None]
    return bool(known_cells) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known_cells
    )


def _is_number(cell: TableCell) -> TypeGuard[float]:
    return isinstance(cell, int | float) and is_drawable(cell)


def _format_cell(cell: TableCell) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "none" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
