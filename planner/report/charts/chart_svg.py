"""Charts as SVG through vl-convert, which draws Vega-Lite specifications: no network, no script, no style.

Texts, axes and ticks are in `currentColor`, so that they follow light, dark and print; each mark has a `<title>`,
which browsers show where it is pointed at. See docs/explanation/charts.md.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from planner.report.charts.chart_spec import CHART_WIDTH, INK, Spec, build_chart_spec
from planner.report.console import strip_nonprintable
from planner.report.report import Chart

_VEGA_LITE_VERSION = "5.20"
"""Of the grammar; another one may place things otherwise."""
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"
_FILE_PLOT_WIDTH = 520
_FILE_STYLE = """
:root { color: #1b1f24; background: #ffffff; }
@media (prefers-color-scheme: dark) { :root { color: #e6e8eb; background: #14171a; } }
"""
_MARKS_WITH_TOOLTIP = ("bar", "point", "rule mark", "tick")
_UNUSED_ATTRIBUTES = ("class", "role", "aria-roledescription", "aria-label", "aria-hidden", "pointer-events")
_GEOMETRY_ATTRIBUTES = ("transform", "d", "x2", "y2")
_LONG_FRACTION = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
"""Rounded, so that the last digits of another machine's arithmetic do not show."""


def render_chart_svg(chart: Chart) -> str:
    """The chart for a page, which has its title beside it, as wide as there is room."""
    spec = build_chart_spec(chart) | {"autosize": {"type": "fit-x", "contains": "padding"}, "width": CHART_WIDTH}
    root = _draw_spec(spec, chart.title)
    del root.attrib["width"], root.attrib["height"]
    return ET.tostring(root, encoding="unicode")


def render_svg_file(title: str, charts: Sequence[Chart]) -> str:
    """One file that stands alone, with the charts below each other, in colours of its own for light and dark."""
    panels = [
        build_chart_spec(chart)
        | {"width": _FILE_PLOT_WIDTH, "title": {"text": chart.title, "anchor": "start", "color": INK}}
        for chart in charts
    ]
    heading = {} if [chart.title for chart in charts] == [title] else {"title": {"text": title, "color": INK}}
    root = _draw_spec({"vconcat": panels, **heading}, title)
    name, style = root.makeelement(f"{{{_SVG_NAMESPACE}}}title", {}), root.makeelement("style", {})
    name.text, style.text = strip_nonprintable(title), _FILE_STYLE
    style.tag = f"{{{_SVG_NAMESPACE}}}style"
    root[:0] = [name, style]
    return ET.tostring(root, encoding="unicode") + "\n"


def _draw_spec(spec: Spec, title: str) -> ET.Element:
    """The drawing, without what only Vega's own script would use."""
    import vl_convert  # 34 MB: only where something is drawn

    sheet = _strip_texts({**spec, "background": None, "padding": 4, "config": _build_config()})
    # one control character would end the whole process: the library has no exception for it
    svg = vl_convert.vegalite_to_svg(sheet, vl_version=_VEGA_LITE_VERSION, allowed_base_urls=[])
    ET.register_namespace("", _SVG_NAMESPACE)
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("display") == "none" or child.get("class") == "background":
                parent.remove(child)
    for element in root.iter():
        tooltip = element.get("aria-label")
        if tooltip and element.get("aria-roledescription") in _MARKS_WITH_TOOLTIP:
            ET.SubElement(element, f"{{{_SVG_NAMESPACE}}}title").text = tooltip
        for name, value in list(element.attrib.items()):
            if value == INK:
                element.set(name, "currentColor")
            elif name in _UNUSED_ATTRIBUTES or (name, value) == ("opacity", "1"):
                del element.attrib[name]
            elif name in _GEOMETRY_ATTRIBUTES:
                element.set(name, _LONG_FRACTION.sub(lambda match: f"{float(match[0]):.2f}", value))
    root.attrib.update({"role": "img", "aria-label": strip_nonprintable(title)})
    return root


def _strip_texts(value: Any) -> Any:
    """The specification without characters that cannot be drawn."""
    if isinstance(value, str):
        return strip_nonprintable(value)
    if isinstance(value, dict):
        return {key: _strip_texts(item) for key, item in value.items()}
    return [_strip_texts(item) for item in value] if isinstance(value, (list, tuple)) else value


def _build_config() -> Spec:
    text = {"labelColor": INK, "titleColor": INK}
    sizes = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"}
    lines = {"domainColor": INK, "tickColor": INK, "gridColor": INK, "gridOpacity": 0.15, "domainOpacity": 0.5}
    return {
        "axis": {**text, **sizes, **lines, "labelOverlap": True},
        "legend": {**text, **sizes, "labelLimit": 150},
        "text": {"color": INK},
        "view": {"stroke": None},
    }
