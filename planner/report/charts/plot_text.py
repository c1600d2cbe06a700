"""A plot as text: a sign for each series, axes with ticks, a legend below."""

from __future__ import annotations

import itertools

from planner.report.console import build_console, strip_nonprintable
from planner.report.report import Plot, PlotSeries

_SERIES_SIGNS = "ox+*#@%&$=~ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_JOIN_SIGN = "·"
_PLOT_HEIGHT = 20
_MIN_WIDTH, _MAX_WIDTH = 30, 110


def render_plot_text(plot: Plot) -> str:
    """The plot as wide as the terminal, at most 110 columns."""
    tick_labels = [strip_nonprintable(tick_label) for _, tick_label in plot.y.ticks]
    margin = max(map(len, tick_labels))
    width = min(max(build_console().width, _MIN_WIDTH), _MAX_WIDTH) - margin - 3
    canvas = [[" "] * width for _ in range(_PLOT_HEIGHT)]
    for number, series in enumerate(plot.series):
        _draw_series(canvas, plot, series, _SERIES_SIGNS[number % len(_SERIES_SIGNS)])
    label_by_row = {
        _compute_row(plot, value): tick_label
        for (value, _), tick_label in zip(plot.y.ticks, tick_labels, strict=True)
    }
    lines = [strip_nonprintable(plot.title), "", strip_nonprintable(plot.y.title)]
    for row, cells in enumerate(canvas):
        tick_label, edge = label_by_row.get(row, ""), "┤" if row in label_by_row else "│"
        lines.append(f"{tick_label:>{margin}} {edge}{''.join(cells)}".rstrip())
    lines += _format_x_axis(plot, margin, width)
    signs = [
        (_SERIES_SIGNS[number % len(_SERIES_SIGNS)], series.name)
        for number, series in enumerate(plot.series)
        if series.name
    ]
    lines += ["", *(f"{sign} {strip_nonprintable(name)}" for sign, name in signs)] if signs else []
    return "\n".join(lines) + "\n"


def _format_x_axis(plot: Plot, margin: int, width: int) -> list[str]:
    """The lower axis, its words where there is room for them, and its title."""
    edge, label_cells, label_end = ["─"] * width, [" "] * (width + margin), -1
    for value, raw_label in plot.x.ticks:
        column = _compute_column(plot, value, width)
        edge[column] = "┴"
        tick_label = strip_nonprintable(raw_label)
        start = max(0, min(column - len(tick_label) // 2 + margin, width + margin - len(tick_label)))
        if start > label_end:
            label_cells[start : start + len(tick_label)] = tick_label
            label_end = start + len(tick_label)
    blank = " " * 2
    return [
        f"{'':>{margin}} └{''.join(edge)}",
        f"{blank}{''.join(label_cells)}".rstrip(),
        f"{'':>{margin}}{blank}{strip_nonprintable(plot.x.title):^{width}}".rstrip(),
    ]


def _draw_series(canvas: list[list[str]], plot: Plot, series: PlotSeries, sign: str) -> None:
    """A series: dots from mark to mark where they are joined, then its marks above all."""
    width = len(canvas[0])
    positions = [(_compute_column(plot, mark.x, width), _compute_row(plot, mark.y)) for mark in series.marks]
    if series.is_joined:
        for (x, y), (next_x, next_y) in itertools.pairwise(positions):
            for column in range(x + 1, next_x):
                row = round(y + (next_y - y) * (column - x) / (next_x - x))
                if canvas[row][column] == " ":
                    canvas[row][column] = _JOIN_SIGN
    for column, row in positions:
        canvas[row][column] = sign


def _compute_column(plot: Plot, value: float, width: int) -> int:
    return round(plot.x.locate(value) * (width - 1))


def _compute_row(plot: Plot, value: float) -> int:
    return round((1 - plot.y.locate(value)) * (_PLOT_HEIGHT - 1))
