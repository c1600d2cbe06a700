"""Charts as Vega-Lite specifications: plain dicts, which `chart_svg` draws.

A unit across is about a pixel of a phone. Texts reach the library as data or titles only, never as expressions.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from planner.report.charts.axes import (
    AxisScale,
    DisplayUnit,
    choose_display_unit,
    choose_log_base,
    compute_log_ticks,
    format_axis_title,
    is_drawable,
)
from planner.report.charts.palette import SERIES_COLOURS, choose_colours, sort_terms
from planner.report.report import (
    BarChart,
    Chart,
    ChartAxis,
    PointChart,
    ReferenceLine,
    RooflineChart,
    RooflinePoint,
    StackedBar,
    WaterfallChart,
)

Spec = dict[str, Any]
INK = "#010203"
"""Stands for the colour of the text around a chart."""
CHART_WIDTH = 360
_ROW_HEIGHT, _TALL_ROW_HEIGHT, _BAR_HEIGHT, _PLOT_HEIGHT, _ROOFLINE_HEIGHT = 40, 54, 14, 220, 280
_MAX_LINE_CHARS = 50
"""Letters that a line of text above a bar has room for."""
_MIN_BAR_SHARE = 0.006
_MAX_LABELLED_OPERATORS, _LABEL_HEIGHT, _LETTER_WIDTH = 6, 13, 5.6
_DASHES: tuple[list[int], ...] = ([], [6, 3], [2, 3], [8, 3, 2, 3])
"""Of lines whose colours are used up."""
_NUMBER_LABEL = (
    "abs(datum.value) >= 10000 ? replace(replace(format(datum.value, '~s'), 'G', 'B'), 'k', 'K')"
    " : format(datum.value, ',')"
)
"""The words of a tick without a unit's prefix: 250K, 1.5M, 2B."""


def build_chart_spec(chart: Chart) -> Spec:
    """The specification of a chart, without its title."""
    if isinstance(chart, BarChart):
        return _build_bar_spec(chart)
    if isinstance(chart, PointChart):
        return _build_point_spec(chart)
    if isinstance(chart, WaterfallChart):
        return _build_waterfall_spec(chart)
    return _build_roofline_spec(chart)


def _build_bar_spec(chart: BarChart) -> Spec:
    """Each bar under its label; its segments beside each other from zero."""
    segments: list[Spec] = []
    limits: list[Spec] = []
    for row, bar in enumerate(chart.bars):
        drawn = [segment for segment in bar.segments if is_drawable(segment.value)]
        ends = accumulate((segment.value for segment in drawn), initial=0.0)
        segments += [
            {"row": row, "name": segment.name, "from": start, "to": end, "tooltip": segment.tooltip}
            for segment, (start, end) in zip(drawn, pairwise(ends), strict=True)
        ]
        if bar.limit is not None and is_drawable(bar.limit):
            limits.append({"row": row, "from": bar.limit})
    names = sort_terms(list(dict.fromkeys(segment["name"] for segment in segments)))
    return _build_row_spec(chart.x, chart.bars, segments, limits, chart.bar_title, chart.limit_title, names)


def _build_waterfall_spec(chart: WaterfallChart) -> Spec:
    """One bar a part, from where the ones before it end, and the whole below them."""
    rows: list[Spec] = []
    offset = 0.0
    # what is too short to be seen is drawn about two units long
    shortest = _MIN_BAR_SHARE * max((abs(segment.value) for segment in chart.total.segments), default=0.0)
    for row, bar in enumerate([*chart.parts, chart.total]):
        start = 0.0 if bar is chart.total else offset
        for segment in bar.segments:
            if is_drawable(segment.value):
                offset = start + segment.value
                end = start + math.copysign(max(abs(segment.value), shortest), segment.value)
                name = "" if bar is chart.total else segment.name
                rows.append({"row": row, "name": name, "from": start, "to": end, "tooltip": segment.tooltip})
    return _build_row_spec(chart.x, [*chart.parts, chart.total], rows, [], "part", "", [])


def _build_row_spec(
    axis: ChartAxis,
    bars: Sequence[StackedBar],
    segments: list[Spec],
    limits: list[Spec],
    bar_title: str,
    limit_title: str,
    legend_names: list[str],
) -> Spec:
    """Rows of bars with words above each, over one axis. Without names there is no legend; "" is drawn in ink."""
    values = [row[key] for row in (*segments, *limits) for key in ("from", "to") if key in row]
    unit = choose_display_unit(axis.unit, values)
    for row in (*segments, *limits):
        row |= {key: row[key] / unit.factor for key in ("from", "to") if key in row}
    labels = [{"row": row, "end": bar.end_label, **_wrap_label(bar)} for row, bar in enumerate(bars)]
    is_tall = any(label["above"] for label in labels)
    height = _TALL_ROW_HEIGHT if is_tall else _ROW_HEIGHT
    for limit in limits:
        limit["tooltip"] = f"{limit_title} {unit.format_value(limit['from'] * unit.factor)}"
    names = legend_names or list(dict.fromkeys(row["name"] for row in segments))
    colours = [colour if name else INK for name, colour in zip(names, choose_colours(names), strict=True)]
    colour = _build_colour_encoding(names, colours, has_legend=len(legend_names) > 1)
    x = {"field": "from", **_build_linear_axis(format_axis_title(axis, unit), starts_at_zero=True)}
    if not any(values):
        x["scale"] |= {"domain": [0, 1]}
    text: Spec = {"type": "text", "fontSize": 12, "baseline": "middle"}
    bar_offset = height / 2 - _BAR_HEIGHT / 2 - 6
    label_offset = bar_offset - _BAR_HEIGHT / 2 - 9
    left: Spec = {"x": {"value": 2}, "text": {"field": "label"}}
    tick: Spec = {"type": "tick", "size": _BAR_HEIGHT + 6, "thickness": 2, "opacity": 1, "color": INK}
    bar_mark: Spec = {"type": "bar", "height": _BAR_HEIGHT, "yOffset": bar_offset}
    right: Spec = {"x": {"value": "width"}, "text": {"field": "end"}}
    above: Spec = left | {"text": {"field": "above"}}
    layers = [
        _build_layer(segments, bar_mark, x=x, x2={"field": "to"}, color=colour),
        _build_layer(labels, {**text, "align": "left", "yOffset": label_offset}, **left),
        _build_layer(labels, {**text, "align": "left", "yOffset": label_offset - 15}, **above),
        _build_layer(labels, {**text, "align": "right", "yOffset": label_offset}, **right),
        _build_layer(limits, {**tick, "yOffset": bar_offset}, x={"field": "from", "type": "quantitative"}),
    ]
    if len({limit["from"] for limit in limits}) == 1:
        note: Spec = {"type": "text", "fontSize": 11, "baseline": "bottom", "align": "right", "fontStyle": "italic"}
        place: Spec = {"x": {"value": "width"}, "y": {"value": -4}, "text": {"field": "label"}}
        layers.append(_build_layer([{"label": f"| {limits[0]['tooltip']}"}], note, **place))
    row_axis: Spec = {"title": bar_title or None, "labels": False, "ticks": False, "grid": False}
    y = {"field": "row", "type": "ordinal", "axis": row_axis, "scale": {"padding": 0}}
    for layer in layers:
        layer["encoding"].setdefault("y", y)
    return _build_sheet({"step": height}, layers)


def _build_point_spec(chart: PointChart) -> Spec:
    """Points of each series, joined or not, with lines of reference across."""
    points = [
        (series, point)
        for series in chart.series
        for point in series.points
        if is_drawable(point.x) and is_drawable(point.y)
    ]
    references = [line for line in chart.references if is_drawable(line.value)]
    xs = [point.x for _, point in points] + [line.value for line in references if line.axis == "x"]
    ys = [point.y for _, point in points] + [line.value for line in references if line.axis == "y"]
    if chart.has_diagonal:
        xs = ys = xs + ys
    x_unit, y_unit = choose_display_unit(chart.x.unit, xs), choose_display_unit(chart.y.unit, ys)
    x_axis, x_scale = _build_point_axis("x", chart.x, x_unit, xs)
    y_axis, y_scale = _build_point_axis("y", chart.y, y_unit, ys)
    rows: list[Spec] = [
        {
            "x": chart.x.categories[int(point.x)] if chart.x.categories else point.x / x_unit.factor,
            "y": point.y / y_unit.factor,
            "series": series.name,
            "is_joined": series.is_joined,
            "is_highlighted": point.is_highlighted,
            "tooltip": point.tooltip,
        }
        for series, point in points
    ]
    names = list(dict.fromkeys(series.name for series in chart.series))
    colour = _build_colour_encoding(names, choose_colours(names), field="series", has_legend=len(names) > 1)
    dot_colour = colour
    if len(names) == 1 and any(row["is_highlighted"] for row in rows):
        condition = {"test": "datum.is_highlighted", "value": SERIES_COLOURS[1]}
        dot_colour = {"condition": condition, "value": SERIES_COLOURS[0]}
    dash: Spec = {"value": _DASHES[0]}
    if len(names) > len(SERIES_COLOURS):
        dashes = [_DASHES[number // len(SERIES_COLOURS) % len(_DASHES)] for number in range(len(names))]
        dash = {"field": "series", "type": "nominal", "scale": {"domain": names, "range": dashes}, "legend": None}
    size = {"condition": {"test": "datum.is_highlighted", "value": 130}, "value": 50}
    layers = [
        _build_layer([row for row in rows if row["is_joined"]], {"type": "line"}, color=colour, strokeDash=dash),
        # the highlighted point lies above what is drawn before it
        _build_layer(
            sorted(rows, key=lambda row: bool(row["is_highlighted"])),
            {"type": "point", "filled": True, "opacity": 1},
            color=dot_colour,
            size=size,
        ),
    ]
    if chart.has_diagonal and rows:
        low, high = min(xs) / x_unit.factor, max(xs) / x_unit.factor
        layers.insert(0, _build_path([(low, low), (high, high)], f"{chart.x.title} = {chart.y.title}"))
    for line in references:
        unit, scale = (x_unit, x_scale) if line.axis == "x" else (y_unit, y_scale)
        layers += _build_reference(line, unit, scale, rows)
    return _build_sheet(_PLOT_HEIGHT, layers, x=x_axis, y=y_axis)


def _build_roofline_spec(chart: RooflineChart) -> Spec:
    """Circles under the two ceilings; the longest operators have their names beside them."""
    points = [
        point
        for point in chart.points
        if all(value > 0 and is_drawable(value) for value in (point.flops_per_byte, point.flops_per_s))
    ]
    unit = choose_display_unit("FLOP/s", [chart.peak_flops_per_s])
    ridge, peak = chart.peak_flops_per_s / chart.bandwidth_bytes_per_s, chart.peak_flops_per_s / unit.factor
    xs = [point.flops_per_byte for point in points] + [ridge]
    ys = [point.flops_per_s / unit.factor for point in points] + [peak]
    x_scale, y_scale = AxisScale(min(xs) / 4, max(xs) * 3, 10), AxisScale(min(ys) / 10, max(ys) * 2, 10)
    # the memory's ceiling begins where it leaves the plot's floor or side
    left = max(x_scale.min_value, y_scale.min_value * ridge / peak)
    bandwidth = choose_display_unit("B/s", [chart.bandwidth_bytes_per_s]).format_value(chart.bandwidth_bytes_per_s)
    words = f"memory {bandwidth}", f"peak {unit.format_value(chart.peak_flops_per_s)}"
    ceilings = [[(left, left * peak / ridge), (ridge, peak)], [(ridge, peak), (x_scale.max_value, peak)]]
    rows: list[Spec] = [
        {
            "x": point.flops_per_byte,
            "y": point.flops_per_s / unit.factor,
            "bound": point.bound,
            "weight": point.weight,
            "tooltip": point.tooltip,
        }
        for point in sorted(points, key=lambda point: -point.weight)
    ]
    names = list(dict.fromkeys(row["bound"] for row in rows))
    colour = _build_colour_encoding(names, choose_colours(names), field="bound", has_legend=True, title="bound by")
    area = {"domain": [0, 1], "range": [30, 1500]}
    size = {"field": "weight", "type": "quantitative", "scale": area, "legend": None}
    note: Spec = {"type": "text", "baseline": "bottom", "fontSize": 11, "dy": -3}
    notes = [("left", 4, words[0]), ("right", "width", words[1])]
    layers = [
        *(_build_path(corners, tooltip) for corners, tooltip in zip(ceilings, words, strict=True)),
        *(
            _build_layer(
                [{"y": peak, "label": text}], {**note, "align": align}, x={"value": x}, text={"field": "label"}
            )
            for align, x, text in notes
        ),
        _build_layer(rows, {"type": "point", "filled": True, "opacity": 1}, color=colour, size=size),
        *_build_operator_labels(points, unit, x_scale),
    ]
    return _build_sheet(
        _ROOFLINE_HEIGHT,
        layers,
        x={"field": "x", **_build_log_axis("arithmetic intensity, FLOP/B", x_scale)},
        y={"field": "y", **_build_log_axis(f"achieved rate, {unit.name}", y_scale)},
    )


def _build_operator_labels(points: Sequence[RooflinePoint], unit: DisplayUnit, x_scale: AxisScale) -> list[Spec]:
    """Names of the longest operators in a lower corner, each with a thin line to its circle: in the right one, which
    lies below the peak's ceiling, but where circles are in it.
    """
    top_flops_per_s = max((point.flops_per_s for point in points), default=0.0)
    is_left = any(
        x_scale.locate(point.flops_per_byte) > 0.5 and point.flops_per_s < top_flops_per_s / 10 for point in points
    )
    longest = sorted(points, key=lambda point: -point.weight)[:_MAX_LABELLED_OPERATORS]
    # in the order of their circles, so that lines cross as little as they can
    longest.sort(key=lambda point: point.flops_per_byte, reverse=not is_left)
    column = max((len(point.name) for point in longest), default=0) * _LETTER_WIDTH + 4
    text: Spec = {"type": "text", "baseline": "middle", "fontSize": 11, "align": "right" if is_left else "left"}
    rule: Spec = {"type": "rule", "color": INK, "strokeWidth": 0.5, "opacity": 0.6}
    layers = []
    for number, point in enumerate(longest, 1):
        y = {"value": _ROOFLINE_HEIGHT - 8 - _LABEL_HEIGHT * (len(longest) - number)}
        edges = [column, column + 3] if is_left else [{"expr": f"width - {column + shift:.0f}"} for shift in (0, 3)]
        row = {"x": point.flops_per_byte, "y": point.flops_per_s / unit.factor, "label": point.name}
        layers += [
            _build_layer([row], text, x={"value": edges[0]}, y=y, text={"field": "label"}),
            _build_layer([row | {"tooltip": point.name}], rule, x2={"value": edges[1]}, y2=y),
        ]
    return layers


def _build_reference(line: ReferenceLine, unit: DisplayUnit, scale: AxisScale, rows: Sequence[Spec]) -> list[Spec]:
    """A dashed line across the plot and its label, on the side where fewer points lie above it."""
    value = line.value / unit.factor
    rule: Spec = {"type": "rule", "color": INK, "strokeDash": [5, 3]}
    text: Spec = {"type": "text", "baseline": "bottom", "dy": -3, "fontSize": 11}
    data = [{line.axis: value, "label": line.label, "tooltip": line.label}]
    across = {line.axis: {"field": line.axis, "type": "quantitative"}}
    if line.axis == "x":
        is_left = scale.locate(value) < 0.5
        text |= {"baseline": "top", "dy": 2, "align": "left" if is_left else "right", "dx": 4 if is_left else -4}
        return [
            _build_layer(data, rule, **across, y={"value": 0}, y2={"value": "height"}),
            _build_layer(data, text, **across, y={"value": 0}, text={"field": "label"}),
        ]
    above = [number for number, row in enumerate(rows) if row["y"] > value]
    is_left = sum(number < len(rows) / 2 for number in above) <= len(above) / 2
    text |= {"align": "left" if is_left else "right", "dx": 4 if is_left else 0}
    return [
        _build_layer(data, rule, **across, x={"value": 0}, x2={"value": "width"}),
        _build_layer(data, text, **across, x={"value": 0 if is_left else "width"}, text={"field": "label"}),
    ]


def _build_point_axis(
    field: str, axis: ChartAxis, unit: DisplayUnit, values: Sequence[float]
) -> tuple[Spec, AxisScale]:
    """The encoding of an axis of a plot, and where values are on it."""
    title = format_axis_title(axis, unit)
    if axis.categories:
        angle = 0 if sum(map(len, axis.categories)) < 36 else -35
        return {
            "field": field,
            "type": "ordinal",
            "scale": {"type": "point", "domain": list(axis.categories), "padding": 0.3},
            "axis": {"title": title, "labelAngle": angle, "labelLimit": 120, "grid": True},
        }, AxisScale(0, len(axis.categories) - 1)
    shown = [value / unit.factor for value in values]
    if not shown:
        shown = [0.0, 1.0]
    base = choose_log_base(shown)
    scale = AxisScale(min(shown), max(shown), base)
    if base:
        return {"field": field, **_build_log_axis(title, scale, padding=10)}, scale
    encoding = {"field": field, **_build_linear_axis(title, starts_at_zero=False)}
    encoding["scale"] |= {"domain": [scale.min_value, scale.max_value], "padding": 6}
    if scale.min_value == scale.max_value:
        margin = abs(scale.min_value) / 10 or 1.0
        encoding["scale"] |= {"domain": [scale.min_value - margin, scale.max_value + margin]}
    if not unit.name and all(value == math.floor(value) for value in shown):
        encoding["axis"]["tickMinStep"] = 1
    return encoding, scale


def _build_linear_axis(title: str, *, starts_at_zero: bool) -> Spec:
    axis = {"title": title, "tickCount": 5, "labelExpr": _NUMBER_LABEL}
    return {"type": "quantitative", "scale": {"type": "linear", "zero": starts_at_zero, "nice": True}, "axis": axis}


def _build_log_axis(title: str, scale: AxisScale, padding: float = 0) -> Spec:
    ticks = compute_log_ticks(scale.min_value, scale.max_value, scale.base)
    limits = {"domain": [scale.min_value, scale.max_value], "nice": False, "padding": padding}
    return {
        "type": "quantitative",
        "scale": {"type": "log", "base": scale.base, **limits},
        "axis": {"title": title, "values": ticks, "labelExpr": _NUMBER_LABEL},
    }


def _build_colour_encoding(
    names: Sequence[str], colours: Sequence[str], *, field: str = "name", has_legend: bool, title: str | None = None
) -> Spec:
    """Each name's colour, and the legend below the chart."""
    columns = 2 if max(map(len, names), default=0) > 16 else 3
    # wide, since the fonts of a browser may be wider than those that the library measures
    legend = {"orient": "bottom", "columns": columns, "title": title, "symbolLimit": 0, "columnPadding": 28}
    scale = {"domain": list(names), "range": list(colours)}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend if has_legend else None}


def _build_path(points: Sequence[tuple[float, float]], tooltip: str) -> Spec:
    """Lines from each point to the next."""
    rows = [{"x": a[0], "y": a[1], "x2": b[0], "y2": b[1], "tooltip": tooltip} for a, b in pairwise(points)]
    mark = {"type": "rule", "color": INK, "strokeWidth": 1.5}
    return _build_layer(rows, mark, x2={"field": "x2"}, y2={"field": "y2"})


def _build_layer(rows: Sequence[Spec], mark: Spec, **encoding: Any) -> Spec:
    """Rows drawn with a mark; each has its tooltip, but for lines through many and for texts."""
    description = {} if mark["type"] in ("line", "text") else {"description": {"field": "tooltip"}}
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": {**description, **encoding}}


def _build_sheet(height: float | Spec, layers: Sequence[Spec], **encoding: Spec) -> Spec:
    return {"width": CHART_WIDTH, "height": height, "encoding": encoding, "layer": list(layers)}


def _wrap_label(bar: StackedBar) -> Spec:
    """The label of a bar beside its end label; of a long one the first line stands above."""
    room = _MAX_LINE_CHARS - len(bar.end_label) - 1
    if len(bar.label) <= room:
        return {"above": "", "label": bar.label}
    above, *rest = textwrap.wrap(bar.label, _MAX_LINE_CHARS) or [""]
    return {"above": above, "label": textwrap.shorten(" ".join(rest), max(room, 8), placeholder=" …")}
