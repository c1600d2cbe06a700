"""Charts: what is drawn, in which colours, and that nothing in a document can end the process or the drawing."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.step import STEP_TERMS
from planner.report.charts.chart_spec import build_chart_spec
from planner.report.charts.chart_svg import render_chart_svg, render_svg_file
from planner.report.charts.palette import (
    BOUND_COLOURS,
    MEMORY_COLOURS,
    SERIES_COLOURS,
    STEP_COLOURS,
    choose_colours,
)
from planner.report.report import (
    BarChart,
    BarSegment,
    Chart,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    ReferenceLine,
    RooflineChart,
    RooflinePoint,
    StackedBar,
    WaterfallChart,
)
from planner.report.views.plan_words import format_term_name
from tests.sample import mark_full

SVG = "{http://www.w3.org/2000/svg}"
TIME, MEMORY = ChartAxis("step time", "s"), ChartAxis("memory", "B")


def build_bar(label: str, *values: float, limit: float | None = None) -> StackedBar:
    return StackedBar(label, "end", [BarSegment(f"n{i}", v, f"{label} {i}") for i, v in enumerate(values)], limit)


def build_scatter(*points: tuple[float, float], references: tuple[ReferenceLine, ...] = ()) -> PointChart:
    series = PointSeries("", [ChartPoint(x, y, f"p{number}", number == 0) for number, (x, y) in enumerate(points)])
    return PointChart("points", TIME, MEMORY, [series], references)


def build_roofline(*points: tuple[float, float], name: str = "mlp") -> RooflineChart:
    operators = [RooflinePoint(name, x, y, 0.5, "compute", f"{name} {x:g}") for x, y in points]
    return RooflineChart("roof", operators, 1e15, 3e12)


CHARTS: dict[str, Chart] = {
    "bars": BarChart("bars", TIME, [build_bar("a", 0.1, 0.2, limit=0.4), build_bar("b", 0.3)], "plan", "deadline"),
    "points": build_scatter((0.1, 2.0**31), (0.2, 2.0**32), references=(ReferenceLine("x", 0.15, "deadline"),)),
    "waterfall": WaterfallChart(
        "waterfall", TIME, [build_bar("a", 0.1), build_bar("saved", -0.02)], build_bar("step", 0.08)
    ),
    "roofline": build_roofline((10, 1e13), (1000, 8e14)),
}


def draw(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(render_chart_svg(chart))


def texts(drawing: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()) for element in drawing.iter(f"{SVG}text")]


def list_titles(drawing: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in drawing.iter(f"{SVG}title")]


@pytest.mark.parametrize(
    ("name", "axes", "tooltips"),
    [
        ("bars", ["step time, ms", "plan"], ["a 0", "a 1", "b 0", "deadline 400 ms"]),
        ("points", ["step time, ms", "memory, GiB"], ["p0", "p1", "deadline"]),
        ("waterfall", ["step time, ms", "part"], ["a 0", "saved 0", "step 0"]),
        ("roofline", ["arithmetic intensity, FLOP/B", "achieved rate, PFLOP/s"], ["memory 3 TB/s", "mlp 10"]),
    ],
)
def test_a_chart_has_axis_titles_with_units_ticks_and_tooltips(
    name: str, axes: list[str], tooltips: list[str]
) -> None:
    drawing = draw(CHARTS[name])
    assert set(axes) <= set(texts(drawing))
    assert set(tooltips) <= set(list_titles(drawing))
    assert sum(bool(re.fullmatch(r"[0-9.,]+[KMB]?", text)) for text in texts(drawing)) >= 3
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") == name.replace("roofline", "roof")


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_runs_no_script_loads_no_file_and_is_the_same_each_time(name: str) -> None:
    text = render_chart_svg(CHARTS[name])
    assert not re.search(r"<script|<style|\sstyle=|href|url\(|\son\w+=|\sid=|http(?!://www\.w3\.org)", text)
    assert text == render_chart_svg(CHARTS[name])
    assert "#010203" not in text
    assert 'viewBox="0 0 360 ' in text
    file = render_svg_file("title & <b>", [CHARTS[name]])
    assert "prefers-color-scheme: dark" in file
    assert ElementTree.fromstring(file).findtext(f"{SVG}title") == "title & <b>"


@pytest.mark.full
def test_another_process_draws_the_same_bytes() -> None:
    program = "from tests.report.test_charts import *; print(*map(render_chart_svg, CHARTS.values()), end='')"
    environment = {"PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert other.stdout.decode() == " ".join(map(render_chart_svg, CHARTS.values()))


@pytest.mark.parametrize("letter", mark_full(["\x00", "\x01", "\x1b", "\ud800", "\x7f", "\ufffe", "\u202e"], every=3))
def test_a_letter_that_cannot_be_drawn_is_left_out(letter: str) -> None:
    """The library would end the whole process at such a letter."""
    evil = f"a{letter}b<i>"
    axis = ChartAxis(evil, evil)
    point = ChartPoint(0, 1, evil)
    charts: list[Chart] = [
        BarChart(evil, axis, [StackedBar(evil, evil, [BarSegment(evil, 1, evil)], 2)], evil, evil),
        PointChart(
            evil, ChartAxis(evil, evil, [evil]), axis, [PointSeries(evil, [point]), PointSeries("c", [point])]
        ),
        PointChart(evil, axis, axis, [PointSeries(evil, [point])], [ReferenceLine("y", 1, evil)]),
        WaterfallChart(evil, axis, [StackedBar(evil, evil, [BarSegment(evil, 1, evil)])], build_bar(evil, 1)),
        RooflineChart(evil, [RooflinePoint(evil, 1, 1e12, 0.5, evil, evil)], 1e15, 3e12),
    ]
    for chart in charts:
        drawing = draw(chart)
        assert drawing.get("aria-label") == "ab<i>"
        assert any("ab<i>" in text for text in texts(drawing))
        assert letter not in ElementTree.tostring(drawing, encoding="unicode")


EXTREMES = [0.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1.7e308, 1e-30, 1e30]


@pytest.mark.parametrize("value", mark_full(EXTREMES, every=4))
def test_zero_infinite_and_extreme_values_are_drawn_or_left_out(value: float) -> None:
    line = ReferenceLine("y", value, "limit")
    charts: list[Chart] = [
        BarChart("t", TIME, [build_bar("a", value), build_bar("b", value, value, limit=value)]),
        BarChart("t", TIME, [build_bar("a", value, 1.0, limit=value)]),
        build_scatter((value, value), references=(line,)),
        build_scatter((1.0, 1.0), (value, 2.0), (3.0, value), (1000.0, 1000.0), references=(line,)),
        WaterfallChart("t", TIME, [build_bar("a", value), build_bar("b", 1.0)], build_bar("step", value)),
        build_roofline((value, 1e12), (10.0, value), (100.0, 1e14)),
    ]
    for chart in charts:
        text = render_chart_svg(chart)
        assert "NaN" not in text
        assert "Infinity" not in text
    assert list_titles(draw(charts[1])).count("a 1") == 1


@pytest.mark.parametrize(
    "chart",
    [
        BarChart("t", TIME, []),
        BarChart("t", TIME, [StackedBar("a", "not known", [])]),
        PointChart("t", TIME, MEMORY, []),
        PointChart("t", TIME, MEMORY, [PointSeries("", [])]),
        PointChart("t", TIME, MEMORY, [PointSeries("", [])], has_diagonal=True),
        PointChart("t", ChartAxis("model", categories=["a"]), MEMORY, [PointSeries("", [ChartPoint(0, 1, "x")])]),
        WaterfallChart("t", TIME, [], StackedBar("step", "0 s", [])),
        build_roofline(),
    ],
)
def test_an_empty_chart_has_its_axes(chart: Chart) -> None:
    text = render_chart_svg(chart)
    assert "NaN" not in text
    assert len(texts(ElementTree.fromstring(text))) >= 3


def test_parts_of_a_waterfall_begin_where_the_previous_parts_end() -> None:
    parts = [build_bar("a", 2.0), build_bar("saved", -0.5), build_bar("b", 1.5)]
    spec = build_chart_spec(WaterfallChart("t", TIME, parts, build_bar("step", 3.0)))
    spans = [(row["from"], row["to"]) for row in spec["layer"][0]["data"]["values"]]
    assert spans == [(0.0, 2.0), (2.0, 1.5), (1.5, 3.0), (0.0, 3.0)]


def test_every_term_and_memory_category_has_a_colour_of_its_own() -> None:
    assert [format_term_name(term) for term in STEP_TERMS] == list(STEP_COLOURS)
    assert list(MEMORY_COLOURS) == list(MEMORY_CATEGORIES)
    assert choose_colours(["x", "data parallel", "y"]) == [
        SERIES_COLOURS[0],
        STEP_COLOURS["data parallel"],
        SERIES_COLOURS[1],
    ]


VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What is seen of linear red, green and blue; Machado, Oliveira and Fernandes (2009), severity 1."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def compute_linear_rgb(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def compute_lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b*: a distance of 2 is just seen, a distance of 10 at a glance."""
    f = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colours", [STEP_COLOURS, MEMORY_COLOURS, BOUND_COLOURS], ids=["step", "memory", "bound"])
@pytest.mark.parametrize("vision", VISION)
def test_colours_of_a_chart_are_distinguishable(colours: dict[str, str], vision: str) -> None:
    seen = {
        name: compute_lab(np.array(VISION[vision]) @ compute_linear_rgb(colour)) for name, colour in colours.items()
    }
    for (first, a), (second, b) in itertools.combinations(seen.items(), 2):
        assert np.linalg.norm(a - b) > 15, (first, second)


@pytest.mark.parametrize("paper", ["#ffffff", "#14171a"])
def test_colours_are_seen_on_light_and_dark(paper: str) -> None:
    background = float(TO_XYZ[1] @ compute_linear_rgb(paper))
    for colour in SERIES_COLOURS:
        light, dark = sorted((float(TO_XYZ[1] @ compute_linear_rgb(colour)), background), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 1.5, colour
