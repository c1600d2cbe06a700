"""A plot as text: a sign for each series, axes with ticks, a legend below."""

from __future__ import annotations

import itertools

from planner.report.console import console, printable
from planner.report.report import Plot, Series

_SIGNS = "ox+*#@%&$=~ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_JOIN = "·"
_HEIGHT = 20
_NARROWEST, _WIDEST = 30, 110


def plot_text(plot: Plot) -> str:
    """The plot as wide as the terminal, at most 110 columns."""
    words = [printable(word) for _, word in plot.y.ticks]
    margin = max(map(len, words))
    width = min(max(console().width, _NARROWEST), _WIDEST) - margin - 3
    sheet = [[" "] * width for _ in range(_HEIGHT)]
    for number, one in enumerate(plot.series):
        _draw(sheet, plot, one, _SIGNS[number % len(_SIGNS)])
    at = {_row(plot, value): word for (value, _), word in zip(plot.y.ticks, words, strict=True)}
    lines = [printable(plot.title), "", printable(plot.y.title)]
    for row, cells in enumerate(sheet):
        word, edge = at.get(row, ""), "┤" if row in at else "│"
        lines.append(f"{word:>{margin}} {edge}{''.join(cells)}".rstrip())
    lines += _below(plot, margin, width)
    signs = [(_SIGNS[number % len(_SIGNS)], one.name) for number, one in enumerate(plot.series) if one.name]
    lines += ["", *(f"{sign} {printable(name)}" for sign, name in signs)] if signs else []
    return "\n".join(lines) + "\n"


def _below(plot: Plot, margin: int, width: int) -> list[str]:
    """The lower axis, its words where there is room for them, and its title."""
    edge, told, end = ["─"] * width, [" "] * (width + margin), -1
    for value, word in plot.x.ticks:
        column = _column(plot, value, width)
        edge[column] = "┴"
        shown = printable(word)
        start = max(0, min(column - len(shown) // 2 + margin, width + margin - len(shown)))
        if start > end:
            told[start : start + len(shown)] = shown
            end = start + len(shown)
    blank = " " * 2
    return [
        f"{'':>{margin}} └{''.join(edge)}",
        f"{blank}{''.join(told)}".rstrip(),
        f"{'':>{margin}}{blank}{printable(plot.x.title):^{width}}".rstrip(),
    ]


def _draw(sheet: list[list[str]], plot: Plot, one: Series, sign: str) -> None:
    """A series: dots from mark to mark where they are joined, then its marks above all."""
    width = len(sheet[0])
    places = [(_column(plot, mark.x, width), _row(plot, mark.y)) for mark in one.marks]
    if one.joined:
        for (x, y), (next_x, next_y) in itertools.pairwise(places):
            for column in range(x + 1, next_x):
                row = round(y + (next_y - y) * (column - x) / (next_x - x))
                if sheet[row][column] == " ":
                    sheet[row][column] = _JOIN
    for column, row in places:
        sheet[row][column] = sign


def _column(plot: Plot, value: float, width: int) -> int:
    return round(plot.x.place(value) * (width - 1))


def _row(plot: Plot, value: float) -> int:
    return round((1 - plot.y.place(value)) * (_HEIGHT - 1))
