"""A plot as SVG, alone or inside a page: axes with ticks, lines and marks, a legend; marks tell their figures."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.charts.palette import CHART_PALETTE
from planner.report.formats.xml_text import escape_xml
from planner.report.report import Plot, PlotSeries

_WIDTH, _PAGE_WIDTH = 640, 400
"""Units across, alone and in a page: there a unit is about a pixel of a phone."""
_LEFT, _RIGHT_MARGIN, _TOP, _BOTTOM = 70, 20, 40, 330
_LINE_HEIGHT = 18
_LETTER_WIDTH = 6.6
"""About how wide a letter is."""
_DASH_PATTERNS = ("", "6 3", "2 3", "8 3 2 3")
"""Of lines whose colours are used up."""
_PLOT_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1f24; }
text.end { text-anchor: end; } text.middle { text-anchor: middle; } text.head { font-size: 15px; }
.grid { stroke: #d0d4d9; fill: none; } .axis { stroke: #5b6470; fill: none; }
circle:hover { stroke: #1b1f24; stroke-width: 2; }
"""
_IN_PAGE_STYLE = (
    "<style>svg text.middle { text-anchor: middle; } svg .grid { stroke: var(--line); fill: none; }</style>"
)
"""What the page's own style does not know."""


def render_plot_svg(plot: Plot) -> str:
    """One file that stands alone and loads nothing."""
    shapes, height = _render_plot_shapes(plot, _WIDTH - _RIGHT_MARGIN, with_title=True)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape_xml(plot.title)}</title>",
            f"<style>{_PLOT_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *shapes,
            "</svg>",
            "",
        ]
    )


def render_plot_figure(plot: Plot) -> str:
    """The same as a figure of a page, in the page's colours."""
    shapes, height = _render_plot_shapes(plot, _PAGE_WIDTH - _RIGHT_MARGIN, with_title=False)
    head = f'<svg viewBox="0 0 {_PAGE_WIDTH} {height}" role="img" aria-label="{escape_xml(plot.title)}">'
    svg = f"{head}{_IN_PAGE_STYLE}{''.join(shapes)}</svg>"
    return f"<figure><figcaption>{escape_xml(plot.title)}</figcaption>{svg}</figure>"


def _render_plot_shapes(plot: Plot, right: int, *, with_title: bool) -> tuple[list[str], int]:
    """All of the drawing, up to so many units across, and how high it is."""
    shapes = [f'<text class="head" x="{_LEFT}" y="18">{escape_xml(plot.title)}</text>'] if with_title else []
    shapes += [*_render_axes(plot, right)]
    for number, series in enumerate(plot.series):
        shapes += _render_series(plot, series, number, right)
    legend, height = _render_legend(plot.series, _BOTTOM + 58, right)
    return [*shapes, *legend], height


def _render_axes(plot: Plot, right: int) -> list[str]:
    """Axes, their ticks with lines across, and what they are of."""
    shapes: list[str] = []
    label_step = max(
        1, -(-int(sum(len(tick_label) * _LETTER_WIDTH + 14 for _, tick_label in plot.x.ticks)) // (right - _LEFT))
    )
    for number, (value, tick_label) in enumerate(plot.x.ticks):
        x = _compute_x(plot, value, right)
        shapes.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_BOTTOM}"/>')
        if number % label_step == 0:
            shapes.append(f'<text class="middle" x="{x:.1f}" y="{_BOTTOM + 17}">{escape_xml(tick_label)}</text>')
    for value, tick_label in plot.y.ticks:
        y = _compute_y(plot, value)
        shapes.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        shapes.append(f'<text class="end" x="{_LEFT - 7}" y="{y + 4:.1f}">{escape_xml(tick_label)}</text>')
    shapes.append(f'<path class="axis" d="M{_LEFT},{_TOP} V{_BOTTOM} H{right}"/>')
    shapes.append(f'<text x="4" y="{_TOP - 8}">{escape_xml(plot.y.title)}</text>')
    shapes.append(
        f'<text class="middle" x="{(_LEFT + right) / 2}" y="{_BOTTOM + 36}">{escape_xml(plot.x.title)}</text>'
    )
    return shapes


def _render_series(plot: Plot, series: PlotSeries, number: int, right: int) -> list[str]:
    """A series: its line, then its marks."""
    colour, dash = _get_series_style(number)
    positions = [(_compute_x(plot, mark.x, right), _compute_y(plot, mark.y)) for mark in series.marks]
    shapes = []
    if series.is_joined:
        coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in positions)
        shapes.append(f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    for (x, y), mark in zip(positions, series.marks, strict=True):
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" '
            f'fill="{colour}"><title>{escape_xml(mark.tooltip)}</title></circle>'
        )
    return shapes


def _get_series_style(number: int) -> tuple[str, str]:
    dash = _DASH_PATTERNS[number // len(CHART_PALETTE) % len(_DASH_PATTERNS)]
    return CHART_PALETTE[number % len(CHART_PALETTE)], f' stroke-dasharray="{dash}"' if dash else ""


def _render_legend(series: Sequence[PlotSeries], top: int, right: int) -> tuple[list[str], int]:
    """Names of the series in lines of as many as fit, and where the drawing ends."""
    labelled_series = [(number, drawn_series.name) for number, drawn_series in enumerate(series) if drawn_series.name]
    if not labelled_series:
        return [], top - 10
    shapes: list[str] = []
    x, y = float(_LEFT), top
    for number, name in labelled_series:
        width = len(name) * _LETTER_WIDTH + 40
        if x > _LEFT and x + width > right:
            x, y = float(_LEFT), y + _LINE_HEIGHT
        colour, dash = _get_series_style(number)
        geometry = f'x1="{x:.1f}" y1="{y - 4}" x2="{x + 18:.1f}" y2="{y - 4}"'
        shapes.append(f'<line {geometry} stroke="{colour}" stroke-width="3"{dash}/>')
        shapes.append(f'<text x="{x + 23:.1f}" y="{y}">{escape_xml(name)}</text>')
        x += width
    return shapes, y + 12


def _compute_x(plot: Plot, value: float, right: int) -> float:
    return _LEFT + (right - _LEFT) * plot.x.locate(value)


def _compute_y(plot: Plot, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * plot.y.locate(value)
