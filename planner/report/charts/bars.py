"""Charts as SVG inside a page: stacked bars and scatters. Each shape has a title that shows when it is pointed at.

A unit is about a pixel of a phone; colours and texts are the page's own, so that they follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.report.charts.axes import compute_relative_position
from planner.report.charts.palette import CHART_PALETTE
from planner.report.formats.xml_text import escape_xml
from planner.report.report import (
    BarChart,
    Chart,
    Plot,
    ScatterChart,
    ScatterPoint,
    StackedBar,
)

_CHART_WIDTH = 360


_ROW_HEIGHT, _BAR_THICKNESS, _LINE_HEIGHT = 40, 16, 15


_MAX_LINE_CHARS = 52
"""Letters that a line of text has room for."""


_SCATTER_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 220, 14, 346, 24, 186


def render_chart(report_chart: Chart) -> str:
    """One figure with its title and, of bars with several kinds of pieces, its legend."""
    if isinstance(report_chart, Plot):
        from planner.report.charts.plot_svg import render_plot_figure

        return render_plot_figure(report_chart)
    svg = _render_bar_chart(report_chart) if isinstance(report_chart, BarChart) else _render_scatter(report_chart)
    return f"<figure><figcaption>{escape_xml(report_chart.title)}</figcaption>{svg}</figure>"


def _render_bar_chart(bar_chart: BarChart) -> str:
    segment_names = list(dict.fromkeys(segment.name for bar in bar_chart.bars for segment in bar.segments))
    colours = {name: CHART_PALETTE[number % len(CHART_PALETTE)] for number, name in enumerate(segment_names)}
    max_length = max((max(_compute_bar_length(bar), bar.limit or 0.0) for bar in bar_chart.bars), default=0.0) or 1.0
    shapes: list[str] = []
    y = 0
    for bar in bar_chart.bars:
        label_offset = _LINE_HEIGHT if len(bar.label) + len(bar.end_label) > _MAX_LINE_CHARS else 0
        shapes += _render_bar(bar, y, label_offset, max_length, colours)
        y += _ROW_HEIGHT + label_offset
    sheet = _wrap_svg(y + 2, bar_chart.title, shapes)
    if len(segment_names) < 2:
        return sheet
    legend = "".join(
        f'<li><span style="background:{colours[name]}"></span>{escape_xml(name)}</li>' for name in segment_names
    )
    return f'{sheet}<ul class="legend">{legend}</ul>'


def _compute_bar_length(bar: StackedBar) -> float:
    return math.fsum(segment.value for segment in bar.segments)


def _render_bar(bar: StackedBar, y: int, label_offset: int, max_length: float, colours: dict[str, str]) -> list[str]:
    """A line of text, of long texts two, and the bar below it."""
    scale, x = _CHART_WIDTH / max_length, 0.0
    label = bar.label if len(bar.label) <= _MAX_LINE_CHARS else f"{bar.label[: _MAX_LINE_CHARS - 1]}…"
    shapes = [
        f'<text x="0" y="{y + 14}">{escape_xml(label)}<title>{escape_xml(bar.label)}</title></text>',
        f'<text class="end" x="{_CHART_WIDTH}" y="{y + 14 + label_offset}">{escape_xml(bar.end_label)}</text>',
    ]
    y += label_offset
    for segment in bar.segments:
        width = segment.value * scale
        geometry = f'x="{x:.2f}" y="{y + 19}" width="{width:.2f}" height="{_BAR_THICKNESS}"'
        shapes.append(
            f'<rect {geometry} fill="{colours[segment.name]}"><title>{escape_xml(segment.tooltip)}</title></rect>'
        )
        x += width
    if bar.limit is not None:
        limit_x = min(bar.limit * scale, _CHART_WIDTH - 1.0)
        shapes.append(
            f'<line class="limit" x1="{limit_x:.2f}" y1="{y + 17}" '
            f'x2="{limit_x:.2f}" y2="{y + 21 + _BAR_THICKNESS}"/>'
        )
    return shapes


def _render_scatter(scatter: ScatterChart) -> str:
    xs, ys = (
        _scale_values([point.x for point in scatter.points], scatter),
        _scale_values([point.y for point in scatter.points], scatter),
    )
    x_domain, y_domain = (xs + ys, xs + ys) if scatter.has_diagonal else (xs, ys)
    plot_ranges = (_LEFT + 12, _RIGHT - 8), (_BOTTOM - 12, _TOP + 8)
    x_label = f"{scatter.x_title}: {_format_bounds(scatter.x_range_text)}"
    shapes = [
        f'<path class="axis" d="M{_LEFT},{_TOP} V{_BOTTOM} H{_RIGHT}"/>',
        f'<text x="0" y="14">{escape_xml(scatter.y_title)}: '
        f"{escape_xml(_format_bounds(scatter.y_range_text))}</text>",
        f'<text class="end" x="{_CHART_WIDTH}" y="{_BOTTOM + 20}">{escape_xml(x_label)}</text>',
    ]
    if scatter.has_diagonal:
        shapes.append(
            f'<path class="axis" d="M{plot_ranges[0][0]},{plot_ranges[1][0]} '
            f'L{plot_ranges[0][1]},{plot_ranges[1][1]}"/>'
        )
    # the first plan is drawn last, above what lies on it
    for point, x, y in sorted(zip(scatter.points, xs, ys, strict=True), key=lambda placed: placed[0].is_highlighted):
        shapes += [
            _render_point(
                point, _map_to_range(x, x_domain, *plot_ranges[0]), _map_to_range(y, y_domain, *plot_ranges[1])
            )
        ]
    return _wrap_svg(_SCATTER_HEIGHT, scatter.title, shapes)


def _scale_values(values: Sequence[float], scatter: ScatterChart) -> list[float]:
    return [math.log10(value) for value in values] if scatter.is_logarithmic else list(values)


def _format_bounds(bounds: tuple[str, str]) -> str:
    return bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"


def _map_to_range(value: float, values: Sequence[float], start: float, end: float) -> float:
    """Where a value is on an axis from the least to the most."""
    return start + (end - start) * compute_relative_position(value, min(values), max(values))


def _render_point(point: ScatterPoint, x: float, y: float) -> str:
    radius, css_class = (7, "first") if point.is_highlighted else (5, "other")
    return (
        f'<circle class="{css_class}" cx="{x:.2f}" cy="{y:.2f}" '
        f'r="{radius}"><title>{escape_xml(point.tooltip)}</title></circle>'
    )


def _wrap_svg(height: float, title: str, shapes: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_CHART_WIDTH} {height:g}" role="img" aria-label="{escape_xml(title)}">'
        + "".join(shapes)
        + "</svg>"
    )
