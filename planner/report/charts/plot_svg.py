"""A plot as SVG, alone or inside a page: axes with ticks, lines and marks, a legend; marks tell their figures."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.charts.palette import COLOURS
from planner.report.formats.xml_text import escaped
from planner.report.report import Plot, Series

_WIDTH, _PAGE_WIDTH = 640, 400
"""Units across, alone and in a page: there a unit is about a pixel of a phone."""
_LEFT, _AT_RIGHT, _TOP, _BOTTOM = 70, 20, 40, 330
_LINE = 18
_LETTER = 6.6
"""About how wide a letter is."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Of lines whose colours are used up."""
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1f24; }
text.end { text-anchor: end; } text.middle { text-anchor: middle; } text.head { font-size: 15px; }
.grid { stroke: #d0d4d9; fill: none; } .axis { stroke: #5b6470; fill: none; }
circle:hover { stroke: #1b1f24; stroke-width: 2; }
"""
_IN_A_PAGE = "<style>svg text.middle { text-anchor: middle; } svg .grid { stroke: var(--line); fill: none; }</style>"
"""What the page's own style does not know."""


def plot_svg(plot: Plot) -> str:
    """One file that stands alone and loads nothing."""
    shapes, height = _shapes(plot, _WIDTH - _AT_RIGHT, head=True)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escaped(plot.title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *shapes,
            "</svg>",
            "",
        ]
    )


def figure(plot: Plot) -> str:
    """The same as a figure of a page, in the page's colours."""
    shapes, height = _shapes(plot, _PAGE_WIDTH - _AT_RIGHT, head=False)
    head = f'<svg viewBox="0 0 {_PAGE_WIDTH} {height}" role="img" aria-label="{escaped(plot.title)}">'
    drawn = f"{head}{_IN_A_PAGE}{''.join(shapes)}</svg>"
    return f"<figure><figcaption>{escaped(plot.title)}</figcaption>{drawn}</figure>"


def _shapes(plot: Plot, right: int, *, head: bool) -> tuple[list[str], int]:
    """All of the drawing, up to so many units across, and how high it is."""
    shapes = [f'<text class="head" x="{_LEFT}" y="18">{escaped(plot.title)}</text>'] if head else []
    shapes += [*_frame(plot, right)]
    for number, one in enumerate(plot.series):
        shapes += _drawn(plot, one, number, right)
    legend, height = _legend(plot.series, _BOTTOM + 58, right)
    return [*shapes, *legend], height


def _frame(plot: Plot, right: int) -> list[str]:
    """Axes, their ticks with lines across, and what they are of."""
    shapes: list[str] = []
    every = max(1, -(-int(sum(len(word) * _LETTER + 14 for _, word in plot.x.ticks)) // (right - _LEFT)))
    for number, (value, word) in enumerate(plot.x.ticks):
        x = _across(plot, value, right)
        shapes.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_BOTTOM}"/>')
        if number % every == 0:
            shapes.append(f'<text class="middle" x="{x:.1f}" y="{_BOTTOM + 17}">{escaped(word)}</text>')
    for value, word in plot.y.ticks:
        y = _up(plot, value)
        shapes.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        shapes.append(f'<text class="end" x="{_LEFT - 7}" y="{y + 4:.1f}">{escaped(word)}</text>')
    shapes.append(f'<path class="axis" d="M{_LEFT},{_TOP} V{_BOTTOM} H{right}"/>')
    shapes.append(f'<text x="4" y="{_TOP - 8}">{escaped(plot.y.title)}</text>')
    shapes.append(f'<text class="middle" x="{(_LEFT + right) / 2}" y="{_BOTTOM + 36}">{escaped(plot.x.title)}</text>')
    return shapes


def _drawn(plot: Plot, one: Series, number: int, right: int) -> list[str]:
    """A series: its line, then its marks."""
    colour, dash = _look(number)
    places = [(_across(plot, mark.x, right), _up(plot, mark.y)) for mark in one.marks]
    shapes = []
    if one.joined:
        told = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        shapes.append(f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    for (x, y), mark in zip(places, one.marks, strict=True):
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escaped(mark.told)}</title></circle>'
        )
    return shapes


def _look(number: int) -> tuple[str, str]:
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    return COLOURS[number % len(COLOURS)], f' stroke-dasharray="{dash}"' if dash else ""


def _legend(series: Sequence[Series], top: int, right: int) -> tuple[list[str], int]:
    """Names of the series in lines of as many as fit, and where the drawing ends."""
    named = [(number, one.name) for number, one in enumerate(series) if one.name]
    if not named:
        return [], top - 10
    shapes: list[str] = []
    x, y = float(_LEFT), top
    for number, name in named:
        width = len(name) * _LETTER + 40
        if x > _LEFT and x + width > right:
            x, y = float(_LEFT), y + _LINE
        colour, dash = _look(number)
        line = f'x1="{x:.1f}" y1="{y - 4}" x2="{x + 18:.1f}" y2="{y - 4}"'
        shapes.append(f'<line {line} stroke="{colour}" stroke-width="3"{dash}/>')
        shapes.append(f'<text x="{x + 23:.1f}" y="{y}">{escaped(name)}</text>')
        x += width
    return shapes, y + 12


def _across(plot: Plot, value: float, right: int) -> float:
    return _LEFT + (right - _LEFT) * plot.x.place(value)


def _up(plot: Plot, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * plot.y.place(value)
