"""Shapes of a drawing as SVG elements: boxes, lines and texts, each with a title that shows when it is pointed at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from planner.report.console import printable
from planner.report.formats.xml_text import escaped

WIDTH = 420
"""Units across: a unit is about a pixel of a small screen, so that texts can be read there."""
_STYLE = """
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


def box(x: float, y: float, width: float, height: float, title: str, kind: str = "") -> str:
    """A rectangle; `kind`: its class."""
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3"'
    return f"<rect {_class(kind)}{place}>{_title(title)}</rect>"


def line(one: tuple[float, float], other: tuple[float, float], title: str, kind: str = "") -> str:
    """A straight line."""
    ends = f'x1="{one[0]:g}" y1="{one[1]:g}" x2="{other[0]:g}" y2="{other[1]:g}"'
    return f"<line {_class(kind)}{ends}>{_title(title)}</line>"


def arc(
    one: tuple[float, float], other: tuple[float, float], bend: tuple[float, float], title: str, kind: str
) -> str:
    """A curve from one place to another, drawn towards `bend`."""
    way = f"M{one[0]:g},{one[1]:g} Q{bend[0]:g},{bend[1]:g} {other[0]:g},{other[1]:g}"
    return f'<path {_class(kind)}d="{way}">{_title(title)}</path>'


def label(x: float, y: float, words: str, kind: str = "") -> str:
    """A line of text."""
    return f'<text {_class(kind)}x="{x:g}" y="{y:g}">{escaped(words)}</text>'


def in_lines(y: float, words: str, kind: str = "", most: int = 62) -> tuple[float, list[str]]:
    """Text in as many lines as it needs, and where the next line goes; `most` characters fit a line."""
    lines = textwrap.wrap(printable(words), most) or [""]
    return y + 15 * len(lines), [label(10, y + 15 * number, one, kind) for number, one in enumerate(lines)]


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters: the number at its end is kept as far as it goes."""
    if len(name) <= most:
        return name
    number = name[len(name.rstrip("0123456789")) :][-(most - 2) :]
    return f"{name[: most - 1 - len(number)]}.{number}"


def sheet(height: float, title: str, shapes: Sequence[str]) -> str:
    """The whole drawing; it stands alone and loads nothing."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'width="{WIDTH * 2}" height="{height * 2:g}">'
    )
    lines = [head, f"<title>{escaped(title)}</title>", f"<style>{_STYLE}</style>"]
    return "\n".join([*lines, f'<rect class="page" width="{WIDTH}" height="{height:g}"/>', *shapes, "</svg>", ""])


def _class(kind: str) -> str:
    return f'class="{kind}" ' if kind else ""


def _title(title: str) -> str:
    return f"<title>{escaped(title)}</title>" if title else ""
