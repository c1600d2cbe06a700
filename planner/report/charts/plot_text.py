"""A plot as text: a sign for each series, axes with ticks, a legend below."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from planner.report.charts.axes import (
    AxisScale,
    build_category_axis,
    build_number_axis,
    choose_display_unit,
    format_axis_title,
)
from planner.report.console import build_console, strip_nonprintable
from planner.report.report import ChartAxis, PointChart

_SERIES_SIGNS = "ox+*#@%&$=~ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_JOIN_SIGN = "·"
_PLOT_HEIGHT = 20
_MIN_WIDTH, _MAX_WIDTH = 30, 110


@dataclass(frozen=True)
class _TextAxis:
    """An axis in cells: where each value of the chart is, in its order, and the words of the ticks by their cell."""

    title: str
    cells: list[int]
    tick_labels: dict[int, str]


def render_plot_text(plot: PointChart) -> str:
    """The plot as wide as the terminal, at most 110 columns."""
    points = [point for series in plot.series for point in series.points]
    y_axis = _place_values(plot.y, [point.y for point in points], _PLOT_HEIGHT)
    margin = max(map(len, y_axis.tick_labels.values()))
    width = min(max(build_console().width, _MIN_WIDTH), _MAX_WIDTH) - margin - 3
    x_axis = _place_values(plot.x, [point.x for point in points], width)
    canvas = [[" "] * width for _ in range(_PLOT_HEIGHT)]
    cells = iter(zip(x_axis.cells, (_PLOT_HEIGHT - 1 - cell for cell in y_axis.cells), strict=True))
    for number, series in enumerate(plot.series):
        positions = list(itertools.islice(cells, len(series.points)))
        _draw_series(canvas, positions, _SERIES_SIGNS[number % len(_SERIES_SIGNS)], is_joined=series.is_joined)
    lines = [strip_nonprintable(plot.title), "", y_axis.title]
    for row, row_cells in enumerate(canvas):
        tick_label = y_axis.tick_labels.get(_PLOT_HEIGHT - 1 - row)
        edge = "│" if tick_label is None else "┤"
        lines.append(f"{tick_label or '':>{margin}} {edge}{''.join(row_cells)}".rstrip())
    lines += _format_x_axis(x_axis, margin, width)
    signs = [
        (_SERIES_SIGNS[number % len(_SERIES_SIGNS)], series.name)
        for number, series in enumerate(plot.series)
        if series.name
    ]
    lines += ["", *(f"{sign} {strip_nonprintable(name)}" for sign, name in signs)] if signs else []
    return "\n".join(lines) + "\n"


def _place_values(axis: ChartAxis, values: Sequence[float], length: int) -> _TextAxis:
    unit = choose_display_unit(axis.unit, values)
    shown = [value / unit.factor for value in values]
    if axis.categories:
        scale, ticks = build_category_axis(axis.categories)
    else:
        integers_only = not unit.name and all(value.is_integer() for value in shown)
        scale, ticks = build_number_axis(shown, integers_only=integers_only)
    return _TextAxis(
        strip_nonprintable(format_axis_title(axis, unit)),
        [_compute_cell(scale, value, length) for value in shown],
        {_compute_cell(scale, value, length): strip_nonprintable(label) for value, label in ticks},
    )


def _compute_cell(scale: AxisScale, value: float, length: int) -> int:
    return round(scale.locate(value) * (length - 1))


def _format_x_axis(axis: _TextAxis, margin: int, width: int) -> list[str]:
    """The lower axis, its words where there is room for them, and its title."""
    edge, label_cells, label_end = ["─"] * width, [" "] * (width + margin), -1
    for column, tick_label in axis.tick_labels.items():
        edge[column] = "┴"
        start = max(0, min(column - len(tick_label) // 2 + margin, width + margin - len(tick_label)))
        if start > label_end:
            label_cells[start : start + len(tick_label)] = tick_label
            label_end = start + len(tick_label)
    blank = " " * 2
    return [
        f"{'':>{margin}} └{''.join(edge)}",
        f"{blank}{''.join(label_cells)}".rstrip(),
        f"{'':>{margin}}{blank}{axis.title:^{width}}".rstrip(),
    ]


def _draw_series(canvas: list[list[str]], positions: list[tuple[int, int]], sign: str, *, is_joined: bool) -> None:
    """A series: dots from point to point where they are joined, then its points above all."""
    if is_joined:
        for (x, y), (next_x, next_y) in itertools.pairwise(positions):
            for column in range(x + 1, next_x):
                row = round(y + (next_y - y) * (column - x) / (next_x - x))
                if canvas[row][column] == " ":
                    canvas[row][column] = _JOIN_SIGN
    for column, row in positions:
        canvas[row][column] = sign
