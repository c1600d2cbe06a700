"""The explain document as one HTML page: waterfall, memory of the stages, roofline of the operators, each as an SVG
inside it; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.cost.memory import MEMORY_CATEGORIES
from planner.documents.explain import ExplainDocument, OperatorPart, StagePart, WaterfallPart
from planner.report.charts.svg import DRAWING_WIDTH, render_box, render_drawing, render_label, render_line
from planner.report.formats.html_page import render_html_page
from planner.report.formats.xml_text import escape_xml
from planner.report.views.explain_report import build_explain_report
from planner.report.views.explain_text import (
    format_operator_name,
    format_time_or_saving,
    rank_operators,
    select_visible_parts,
)
from planner.units import format_bytes, format_seconds, format_si

_EXPLAIN_STYLE = """
rect.ideal { fill: #4d7f52; stroke: none; } rect.kernels { fill: #c28a35; stroke: none; }
rect.exchange { fill: #4a6785; stroke: none; } rect.saved { fill: #a9cfae; stroke: none; }
rect.total { fill: #1b1f24; stroke: none; }
rect.weights { fill: #4a6785; } rect.gradients { fill: #7da3c7; } rect.optimizer { fill: #b9cfe4; }
rect.activations { fill: #c28a35; } rect.logits { fill: #e3bd7c; } rect.buffers { fill: #8a8a80; }
rect.reserve { fill: #d5d5cc; } circle { stroke: #1b1f24; stroke-width: 0.5; fill-opacity: 0.75; }
circle.compute { fill: #c28a35; } circle.memory { fill: #4a6785; } circle.launch { fill: #8a8a80; }
"""
_KERNEL_PARTS = (
    "attention",
    "other_arithmetic",
    "recompute",
    "efficiency",
    "memory",
    "launches",
    "host",
    "imbalance",
)
_ROW_HEIGHT = 30
_LEFT, _RIGHT = 44.0, DRAWING_WIDTH - 12.0
_PLOT_TOP, _PLOT_BOTTOM = 16.0, 280.0


def render_explain_page(document: ExplainDocument) -> str:
    """The page's text."""
    drawings = [
        ("From the ideal to the step", _render_waterfall(document.waterfall)),
        ("Memory of each stage's devices", _render_stage_memory(document.stages)),
        ("Roofline of the operators", _render_roofline(document)),
    ]
    return render_html_page(build_explain_report(document), drawings, _EXPLAIN_STYLE)


def _render_waterfall(parts: Sequence[WaterfallPart]) -> str:
    """One bar a part, from where the ones before it end; its words above it."""
    shapes, offset, y = [], 0.0, 6.0
    for part in select_visible_parts(parts):
        low, high = sorted((offset, offset + part.share))
        offset += part.share
        css_class = "saved" if part.seconds < 0 else "kernels" if part.name in _KERNEL_PARTS else "exchange"
        css_class = "ideal" if part.name == "ideal" else css_class
        text = f"{part.title}: {format_time_or_saving(part.seconds)} ({part.share:.1%})"
        shapes += _render_waterfall_bar(text, y, low, high, css_class)
        y += _ROW_HEIGHT
    total_s = math.fsum(part.seconds for part in parts)
    shapes += _render_waterfall_bar(f"step: {format_seconds(total_s)}", y, 0.0, 1.0, "total")
    return render_drawing(y + _ROW_HEIGHT + 4, "From the ideal to the step", shapes)


def _render_waterfall_bar(text: str, y: float, low: float, high: float, css_class: str) -> list[str]:
    """A bar across a share of the width with its words above it."""
    full_width = DRAWING_WIDTH - 16.0
    width = max((high - low) * full_width, 1.0)
    return [render_label(8, y + 10, text), render_box(8 + low * full_width, y + 14, width, 11, text, css_class)]


def _render_stage_memory(stages: Sequence[StagePart]) -> str:
    """One bar a stage, its kinds beside each other; the line is what a device has."""
    capacity = stages[0].memory.capacity_bytes
    scale = (DRAWING_WIDTH - 24.0) / max(capacity, *(stage.memory.total_bytes for stage in stages))
    shapes, y = [], 6.0
    for i, category in enumerate(MEMORY_CATEGORIES):
        x, row = 8.0 + i % 4 * 100, y + i // 4 * 16
        shapes += [render_box(x, row, 10, 10, "", category), render_label(x + 14, row + 9, category)]
    y += 40
    for stage in stages:
        total = format_bytes(stage.memory.total_bytes)
        in_flight_text = f"{stage.micro_batches_in_flight:.3g} micro-batches in flight"
        shapes.append(
            render_label(8, y + 10, f"stage {stage.stage}: {stage.layers} layers, {total}, {in_flight_text}")
        )
        x = 8.0
        for category in MEMORY_CATEGORIES:
            size = getattr(stage.memory, f"{category}_bytes")
            title = f"stage {stage.stage}, {category}: {format_bytes(size)}"
            if size:
                shapes.append(render_box(x, y + 14, size * scale, 11, title, category))
            x += size * scale
        shapes.append(
            render_line((8 + capacity * scale, y + 11), (8 + capacity * scale, y + 28), "what a device has")
        )
        y += _ROW_HEIGHT
    return render_drawing(y + 4, "Memory of each stage's devices", shapes)


def _render_roofline(document: ExplainDocument) -> str:
    """Achieved FLOP/s over FLOPs a byte, both by powers of ten, under the device's two ceilings.

    What multiplies nothing has no place here. The area of a circle is its share of all kernels' time.
    """
    roof = document.roofline
    measured_operators = [
        (operator, share)
        for operator, share in rank_operators(roof.operators)
        if operator.flops_per_byte and operator.flops
    ]
    intensities = [operator.flops_per_byte or 1.0 for operator, _ in measured_operators] + [roof.ridge_flops_per_byte]
    rates = [operator.flops_per_s for operator, _ in measured_operators] + [roof.peak_flops_per_s]
    x_exponents = math.floor(math.log10(min(intensities)) - 0.3), math.ceil(math.log10(max(intensities)) + 0.1)
    y_exponents = math.floor(math.log10(min(rates)) - 0.3), math.ceil(math.log10(max(rates)) + 0.1)

    def locate_point(intensity: float, rate: float) -> tuple[float, float]:
        x_share = (math.log10(intensity) - x_exponents[0]) / (x_exponents[1] - x_exponents[0])
        y_share = (math.log10(rate) - y_exponents[0]) / (y_exponents[1] - y_exponents[0])
        return _LEFT + x_share * (_RIGHT - _LEFT), _PLOT_BOTTOM - y_share * (_PLOT_BOTTOM - _PLOT_TOP)

    shapes = []
    for power in range(x_exponents[0], x_exponents[1] + 1):
        x, _ = locate_point(10.0**power, 10.0 ** y_exponents[0])
        tick_label = f"{10.0**power:g}"
        # about seven units a digit: the last one ends with the sheet
        shapes.append(
            render_label(min(x - 8, DRAWING_WIDTH - 4 - 7 * len(tick_label)), _PLOT_BOTTOM + 14, tick_label)
        )
        shapes.append(render_line((x, _PLOT_TOP), (x, _PLOT_BOTTOM), ""))
    for power in range(y_exponents[0], y_exponents[1] + 1):
        _, y = locate_point(10.0 ** x_exponents[0], 10.0**power)
        shapes += [render_line((_LEFT, y), (_RIGHT, y), ""), render_label(4, y + 4, format_si(10.0**power))]
    # the memory's ceiling begins where it leaves the plot's floor or side
    lowest = max(10.0 ** x_exponents[0], 10.0 ** y_exponents[0] / roof.memory_bandwidth_bytes_per_s)
    ridge = locate_point(roof.ridge_flops_per_byte, roof.peak_flops_per_s)
    start = locate_point(lowest, lowest * roof.memory_bandwidth_bytes_per_s)
    end = locate_point(10.0 ** x_exponents[1], roof.peak_flops_per_s)
    bandwidth = f"memory: {format_si(roof.memory_bandwidth_bytes_per_s, 'B/s')}"
    shapes += [
        render_line(start, ridge, bandwidth, "scale-up"),
        render_line(ridge, end, f"peak: {format_si(roof.peak_flops_per_s, 'FLOP/s')}", "scale-up"),
        render_label(_LEFT, _PLOT_BOTTOM + 30, "FLOPs a byte, across; FLOP/s, up; circles by their time"),
    ]
    shapes += [
        _render_operator_circle(operator, share, locate_point(operator.flops_per_byte or 1.0, operator.flops_per_s))
        for operator, share in measured_operators
    ]
    labelled_operators = [
        (operator, locate_point(operator.flops_per_byte or 1.0, operator.flops_per_s))
        for operator, _ in measured_operators[:6]
    ]
    shapes += _render_operator_names(labelled_operators)
    return render_drawing(_PLOT_BOTTOM + 36, "Roofline of the operators", shapes)


def _render_operator_circle(operator: OperatorPart, share: float, center: tuple[float, float]) -> str:
    """One operator, with all its figures where it is pointed at."""
    lower_bound, upper_bound = (" at least", " at most") if operator.traffic_hidden else ("", "")
    title = (
        f"{format_operator_name(operator)}: {operator.flops_per_byte:,.0f} FLOPs a byte{upper_bound}, "
        f"{format_si(operator.flops_per_s, 'FLOP/s')} ({operator.peak_share:.0%} "
        f"of its peak), {share:.1%} of kernels' time, "
        f"bound by {operator.bound}, moves {format_bytes(operator.traffic_bytes)}{lower_bound}"
    )
    radius = 3.0 + 16.0 * math.sqrt(share)
    geometry = f'cx="{center[0]:.1f}" cy="{center[1]:.1f}" r="{radius:.1f}"'
    return f'<circle class="{operator.bound}" {geometry}><title>{escape_xml(title)}</title></circle>'


def _render_operator_names(labelled_operators: Sequence[tuple[OperatorPart, tuple[float, float]]]) -> list[str]:
    """Names left of the circles of the longest operators, moved down until none lies on another."""
    shapes, last = [], -math.inf
    for operator, (x, y) in sorted(labelled_operators, key=lambda pair: pair[1][1]):
        last = max(y + 4, last + 13)
        # about six units a letter
        left = max(_LEFT + 2, x - 26 - 6 * len(format_operator_name(operator)))
        shapes.append(render_label(left, last, format_operator_name(operator)))
    return shapes
