"""Charts as SVG inside a page: stacked bars and scatters. Each shape has a title that shows when it is pointed at.

A unit is about a pixel of a phone; colours and texts are the page's own, so that they follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.report.charts.axes import share_between
from planner.report.charts.palette import COLOURS
from planner.report.formats.xml_text import escaped
from planner.report.report import (
    Bar,
    Bars,
    Chart,
    Plot,
    Point,
    Scatter,
)

_WIDTH = 360


_ROW, _THICK, _LINE = 40, 16, 15


_FITS = 52
"""Letters that a line of text has room for."""


_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 220, 14, 346, 24, 186


def chart(told: Chart) -> str:
    """One figure with its title and, of bars with several kinds of pieces, its legend."""
    if isinstance(told, Plot):
        from planner.report.charts.plot_svg import figure

        return figure(told)
    drawn = _bars(told) if isinstance(told, Bars) else _scatter(told)
    return f"<figure><figcaption>{escaped(told.title)}</figcaption>{drawn}</figure>"


def _bars(told: Bars) -> str:
    names = list(dict.fromkeys(piece.name for bar in told.bars for piece in bar.pieces))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    longest = max((max(_length(bar), bar.limit or 0.0) for bar in told.bars), default=0.0) or 1.0
    shapes: list[str] = []
    y = 0
    for bar in told.bars:
        below = _LINE if len(bar.label) + len(bar.end) > _FITS else 0
        shapes += _bar(bar, y, below, longest, colours)
        y += _ROW + below
    sheet = _sheet(y + 2, told.title, shapes)
    if len(names) < 2:
        return sheet
    legend = "".join(f'<li><span style="background:{colours[name]}"></span>{escaped(name)}</li>' for name in names)
    return f'{sheet}<ul class="legend">{legend}</ul>'


def _length(bar: Bar) -> float:
    return math.fsum(piece.value for piece in bar.pieces)


def _bar(bar: Bar, y: int, below: int, longest: float, colours: dict[str, str]) -> list[str]:
    """A line of text, of long texts two, and the bar below it."""
    scale, x = _WIDTH / longest, 0.0
    label = bar.label if len(bar.label) <= _FITS else f"{bar.label[: _FITS - 1]}…"
    shapes = [
        f'<text x="0" y="{y + 14}">{escaped(label)}<title>{escaped(bar.label)}</title></text>',
        f'<text class="end" x="{_WIDTH}" y="{y + 14 + below}">{escaped(bar.end)}</text>',
    ]
    y += below
    for piece in bar.pieces:
        width = piece.value * scale
        place = f'x="{x:.2f}" y="{y + 19}" width="{width:.2f}" height="{_THICK}"'
        shapes.append(f'<rect {place} fill="{colours[piece.name]}"><title>{escaped(piece.told)}</title></rect>')
        x += width
    if bar.limit is not None:
        at = min(bar.limit * scale, _WIDTH - 1.0)
        shapes.append(f'<line class="limit" x1="{at:.2f}" y1="{y + 17}" x2="{at:.2f}" y2="{y + 21 + _THICK}"/>')
    return shapes


def _scatter(told: Scatter) -> str:
    xs, ys = _scaled([one.x for one in told.points], told), _scaled([one.y for one in told.points], told)
    across, up = (xs + ys, xs + ys) if told.diagonal else (xs, ys)
    ends = (_LEFT + 12, _RIGHT - 8), (_BOTTOM - 12, _TOP + 8)
    x_words = f"{told.x_title}: {_ends(told.x_told)}"
    shapes = [
        f'<path class="axis" d="M{_LEFT},{_TOP} V{_BOTTOM} H{_RIGHT}"/>',
        f'<text x="0" y="14">{escaped(told.y_title)}: {escaped(_ends(told.y_told))}</text>',
        f'<text class="end" x="{_WIDTH}" y="{_BOTTOM + 20}">{escaped(x_words)}</text>',
    ]
    if told.diagonal:
        shapes.append(f'<path class="axis" d="M{ends[0][0]},{ends[1][0]} L{ends[0][1]},{ends[1][1]}"/>')
    # the first plan is drawn last, above what lies on it
    for one, x, y in sorted(zip(told.points, xs, ys, strict=True), key=lambda placed: placed[0].first):
        shapes += [_point(one, _place(x, across, *ends[0]), _place(y, up, *ends[1]))]
    return _sheet(_HEIGHT, told.title, shapes)


def _scaled(values: Sequence[float], told: Scatter) -> list[float]:
    return [math.log10(one) for one in values] if told.logarithmic else list(values)


def _ends(told: tuple[str, str]) -> str:
    return told[0] if told[0] == told[1] else f"{told[0]} to {told[1]}"


def _place(value: float, values: Sequence[float], start: float, end: float) -> float:
    """Where a value is on an axis from the least to the most."""
    return start + (end - start) * share_between(value, min(values), max(values))


def _point(one: Point, x: float, y: float) -> str:
    radius, kind = (7, "first") if one.first else (5, "other")
    return (
        f'<circle class="{kind}" cx="{x:.2f}" cy="{y:.2f}" r="{radius}"><title>{escaped(one.told)}</title></circle>'
    )


def _sheet(height: float, title: str, shapes: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escaped(title)}">'
        + "".join(shapes)
        + "</svg>"
    )
