"""The curve of a size as a picture: days and dollars over devices, in SVG, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from planner.documents.size import SizeDocument
from planner.report.charts.axes import compute_relative_position
from planner.report.console import strip_nonprintable
from planner.report.views.plan_words import format_token_amount
from planner.report.views.size_text import format_usd
from planner.units import format_count, format_counted_noun, format_days

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 72, 56, 48
_DAYS_COLOUR, _USD_COLOUR = "#1f5fa8", "#b4531a"


def render_size_curve_svg(document: SizeDocument) -> str:
    """One file: days in blue on the left axis, rent in orange on the right, the answer ringed."""
    rows = document.curve
    x_axis = _LogAxis([row.devices for row in rows], _LEFT, _WIDTH - _RIGHT)
    days_axis = _LogAxis([row.days for row in rows], _HEIGHT - _BOTTOM, _TOP)
    usd_axis = _LogAxis([row.usd for row in rows if row.usd], _HEIGHT - _BOTTOM, _TOP)
    title = (
        f"{document.model.title} on {document.cluster}: {format_token_amount(document.model, document.run.tokens)}"
    )
    title = strip_nonprintable(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" fill="#222222">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="42" fill="{_DAYS_COLOUR}">days</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="42" text-anchor="end" fill="{_USD_COLOUR}">rent, USD</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle" '
        'fill="#222222">devices</text>',
    ]
    for value in x_axis.compute_ticks():
        tick_x = x_axis.locate(value)
        parts.append(
            f'<line x1="{tick_x:.1f}" y1="{_TOP}" x2="{tick_x:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#dddddd"/>'
        )
        parts.append(_render_label(tick_x, _HEIGHT - _BOTTOM + 18, "middle", "#222222", f"{value:,.0f}"))
    parts += [
        _render_label(_LEFT - 8, days_axis.locate(value) + 4, "end", _DAYS_COLOUR, f"{value:,.3g}")
        for value in days_axis.compute_ticks()
    ]
    parts += [
        _render_label(_WIDTH - _RIGHT + 8, usd_axis.locate(value) + 4, "start", _USD_COLOUR, format_count(value))
        for value in usd_axis.compute_ticks()
    ]
    parts += _render_polyline(
        [(x_axis.locate(row.devices), days_axis.locate(row.days)) for row in rows], _DAYS_COLOUR
    )
    parts += _render_polyline(
        [(x_axis.locate(row.devices), usd_axis.locate(row.usd)) for row in rows if row.usd], _USD_COLOUR
    )
    for row in rows:
        ring_style = ' stroke="#222222" stroke-width="3"' if row.nodes == document.answer.nodes else ""
        tooltip = (
            f"{format_counted_noun(row.nodes, 'node')}, {format_counted_noun(row.devices, 'device')}"
            f": {format_days(row.days)}, "
        )
        tooltip += format_usd(row.usd)
        centre = f'cx="{x_axis.locate(row.devices):.1f}" cy="{days_axis.locate(row.days):.1f}"'
        parts.append(
            f'<circle {centre} r="5" fill="{_DAYS_COLOUR}"{ring_style}><title>{escape(tooltip)}</title></circle>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


class _LogAxis:
    """A logarithmic axis from the least to the most of some values, between two places in the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.min_value, self.max_value = (min(values), max(values)) if values else (1.0, 1.0)
        self.start, self.end = start, end

    def locate(self, value: float) -> float:
        """Where a value is."""
        return self.start + (self.end - self.start) * compute_relative_position(
            value, self.min_value, self.max_value, is_logarithmic=True
        )

    def compute_ticks(self) -> list[float]:
        """One, two and five of each power of ten within; at least the ends."""
        low, high = math.floor(math.log10(self.min_value)), math.ceil(math.log10(self.max_value))
        steps = [step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)]
        inner_ticks = [value for value in steps if self.min_value <= value <= self.max_value]
        return inner_ticks if len(inner_ticks) > 1 else sorted({self.min_value, self.max_value})


def _render_label(x: float, y: float, anchor: str, colour: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _render_polyline(points: Sequence[tuple[float, float]], colour: str) -> list[str]:
    if len(points) < 2:
        return []
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="2"/>']
