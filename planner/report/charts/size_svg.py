"""The curve of a size as a picture: days and dollars over devices, in SVG, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from planner.documents.size import SizeDocument
from planner.report.charts.axes import share_between
from planner.report.console import printable
from planner.report.views.plan_words import amount
from planner.report.views.size_text import format_usd
from planner.units import format_counted_noun, format_days, format_si

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 72, 56, 48
_DAYS, _USD = "#1f5fa8", "#b4531a"


def curve_svg(document: SizeDocument) -> str:
    """One file: days in blue on the left axis, rent in orange on the right, the answer ringed."""
    rows = document.curve
    x = _Axis([row.devices for row in rows], _LEFT, _WIDTH - _RIGHT)
    days = _Axis([row.days for row in rows], _HEIGHT - _BOTTOM, _TOP)
    usd = _Axis([row.usd for row in rows if row.usd], _HEIGHT - _BOTTOM, _TOP)
    title = f"{document.model.title} on {document.cluster}: {amount(document.model, document.run.tokens)}"
    title = printable(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" fill="#222222">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="42" fill="{_DAYS}">days</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="42" text-anchor="end" fill="{_USD}">rent, USD</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle" '
        'fill="#222222">devices</text>',
    ]
    for value in x.ticks():
        at = x.place(value)
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#dddddd"/>')
        parts.append(_label(at, _HEIGHT - _BOTTOM + 18, "middle", "#222222", f"{value:,.0f}"))
    parts += [_label(_LEFT - 8, days.place(value) + 4, "end", _DAYS, f"{value:,.3g}") for value in days.ticks()]
    parts += [
        _label(_WIDTH - _RIGHT + 8, usd.place(value) + 4, "start", _USD, format_si(value)) for value in usd.ticks()
    ]
    parts += _line([(x.place(row.devices), days.place(row.days)) for row in rows], _DAYS)
    parts += _line([(x.place(row.devices), usd.place(row.usd)) for row in rows if row.usd], _USD)
    for row in rows:
        ring = ' stroke="#222222" stroke-width="3"' if row.nodes == document.answer.nodes else ""
        told = f"{format_counted_noun(row.nodes, 'node')}, {format_counted_noun(row.devices, 'device')}: {format_days(row.days)}, "
        told += format_usd(row.usd)
        centre = f'cx="{x.place(row.devices):.1f}" cy="{days.place(row.days):.1f}"'
        parts.append(f'<circle {centre} r="5" fill="{_DAYS}"{ring}><title>{escape(told)}</title></circle>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """A logarithmic axis from the least to the most of some values, between two places in the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.least, self.most = (min(values), max(values)) if values else (1.0, 1.0)
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        """Where a value is."""
        return self.start + (self.end - self.start) * share_between(value, self.least, self.most, is_logarithmic=True)

    def ticks(self) -> list[float]:
        """One, two and five of each power of ten within; at least the ends."""
        low, high = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        steps = [step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)]
        within = [value for value in steps if self.least <= value <= self.most]
        return within if len(within) > 1 else sorted({self.least, self.most})


def _label(x: float, y: float, anchor: str, colour: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> list[str]:
    if len(points) < 2:
        return []
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="2"/>']
