"""Shapes of a drawing as SVG elements: boxes, lines and texts, each with a title that shows when it is pointed at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from planner.report.console import strip_nonprintable
from planner.report.formats.xml_text import escape_xml

DRAWING_WIDTH = 420
"""Units across: a unit is about a pixel of a small screen, so that texts can be read there."""
_DRAWING_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1f24; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
text.small { font-size: 11px; stroke: none; }
text.head { font-size: 13px; font-weight: 600; }
text.middle { text-anchor: middle; }
rect { fill: #eef3fa; stroke: #4a6785; stroke-width: 1; }
rect.page { fill: #ffffff; stroke: none; }
rect.outline { fill: none; stroke: #8a8a80; stroke-dasharray: 3 2; }
rect.host { fill: #f7f7f4; stroke: #8a8a80; }
rect.device { fill: #dcefdc; stroke: #4d7f52; }
rect.scale-up { fill: #fdf0d8; stroke: #a9772b; }
line, path { stroke: #7d8fa3; stroke-width: 0.8; fill: none; }
line.scale-up, path.scale-up { stroke: #c28a35; stroke-width: 1.2; }
"""


def render_box(x: float, y: float, width: float, height: float, title: str, css_class: str = "") -> str:
    """A rectangle; `css_class`: its class."""
    geometry = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3"'
    return f"<rect {_format_class(css_class)}{geometry}>{_render_title(title)}</rect>"


def render_line(start: tuple[float, float], end: tuple[float, float], title: str, css_class: str = "") -> str:
    """A straight line."""
    geometry = f'x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}"'
    return f"<line {_format_class(css_class)}{geometry}>{_render_title(title)}</line>"


def render_arc(
    start: tuple[float, float], end: tuple[float, float], control: tuple[float, float], title: str, css_class: str
) -> str:
    """A curve from one place to another, drawn towards `control`."""
    path_data = f"M{start[0]:g},{start[1]:g} Q{control[0]:g},{control[1]:g} {end[0]:g},{end[1]:g}"
    return f'<path {_format_class(css_class)}d="{path_data}">{_render_title(title)}</path>'


def render_label(x: float, y: float, text: str, css_class: str = "") -> str:
    """A line of text."""
    return f'<text {_format_class(css_class)}x="{x:g}" y="{y:g}">{escape_xml(text)}</text>'


def render_text_lines(y: float, text: str, css_class: str = "", max_chars: int = 62) -> tuple[float, list[str]]:
    """Text in as many lines as it needs, and where the next line goes; `max_chars` characters fit a line."""
    lines = textwrap.wrap(strip_nonprintable(text), max_chars) or [""]
    return y + 15 * len(lines), [
        render_label(10, y + 15 * number, text_line, css_class) for number, text_line in enumerate(lines)
    ]


def shorten_name(name: str, max_chars: int) -> str:
    """A name of at most this many characters: the number at its end is kept as far as it goes."""
    if len(name) <= max_chars:
        return name
    trailing_digits = name[len(name.rstrip("0123456789")) :][-(max_chars - 2) :]
    return f"{name[: max_chars - 1 - len(trailing_digits)]}.{trailing_digits}"


def render_drawing(height: float, title: str, shapes: Sequence[str]) -> str:
    """The whole drawing; it stands alone and loads nothing."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {DRAWING_WIDTH} {height:g}" role="img" '
        f'width="{DRAWING_WIDTH * 2}" height="{height * 2:g}">'
    )
    lines = [head, f"<title>{escape_xml(title)}</title>", f"<style>{_DRAWING_STYLE}</style>"]
    return "\n".join(
        [*lines, f'<rect class="page" width="{DRAWING_WIDTH}" height="{height:g}"/>', *shapes, "</svg>", ""]
    )


def _format_class(css_class: str) -> str:
    return f'class="{css_class}" ' if css_class else ""


def _render_title(title: str) -> str:
    return f"<title>{escape_xml(title)}</title>" if title else ""
