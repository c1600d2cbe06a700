"""The explain document as one HTML page: waterfall, memory of the stages, roofline of the operators, each as an SVG
inside it; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.cost.memory import KINDS
from planner.documents.explain import ExplainDocument, OperatorPart, StagePart, WaterfallPart
from planner.report.charts.svg import WIDTH, box, label, line, sheet
from planner.report.formats.html_page import to_html
from planner.report.formats.xml_text import escaped
from planner.report.views.explain_report import explain_report
from planner.report.views.explain_text import longest, operator_name, seconds_text, told_parts
from planner.units import format_bytes, format_seconds, format_si

_STYLE = """
rect.ideal { fill: #4d7f52; stroke: none; } rect.kernels { fill: #c28a35; stroke: none; }
rect.exchange { fill: #4a6785; stroke: none; } rect.saved { fill: #a9cfae; stroke: none; }
rect.total { fill: #1b1f24; stroke: none; }
rect.weights { fill: #4a6785; } rect.gradients { fill: #7da3c7; } rect.optimizer { fill: #b9cfe4; }
rect.activations { fill: #c28a35; } rect.logits { fill: #e3bd7c; } rect.buffers { fill: #8a8a80; }
rect.reserve { fill: #d5d5cc; } circle { stroke: #1b1f24; stroke-width: 0.5; fill-opacity: 0.75; }
circle.compute { fill: #c28a35; } circle.memory { fill: #4a6785; } circle.launch { fill: #8a8a80; }
"""
_KERNELS = ("attention", "other_arithmetic", "recompute", "efficiency", "memory", "launches", "host", "imbalance")
_ROW = 30
_LEFT, _RIGHT = 44.0, WIDTH - 12.0
_PLOT_TOP, _PLOT_BOTTOM = 16.0, 280.0


def page(document: ExplainDocument) -> str:
    """The page's text."""
    drawings = [
        ("From the ideal to the step", _waterfall(document.waterfall)),
        ("Memory of each stage's devices", _memory(document.stages)),
        ("Roofline of the operators", _roofline(document)),
    ]
    return to_html(explain_report(document), drawings, _STYLE)


def _waterfall(parts: Sequence[WaterfallPart]) -> str:
    """One bar a part, from where the ones before it end; its words above it."""
    shapes, at, y = [], 0.0, 6.0
    for part in told_parts(parts):
        low, high = sorted((at, at + part.share))
        at += part.share
        kind = "saved" if part.seconds < 0 else "kernels" if part.name in _KERNELS else "exchange"
        kind = "ideal" if part.name == "ideal" else kind
        words = f"{part.title}: {seconds_text(part.seconds)} ({part.share:.1%})"
        shapes += _bar(words, y, low, high, kind)
        y += _ROW
    total = math.fsum(part.seconds for part in parts)
    shapes += _bar(f"step: {format_seconds(total)}", y, 0.0, 1.0, "total")
    return sheet(y + _ROW + 4, "From the ideal to the step", shapes)


def _bar(words: str, y: float, low: float, high: float, kind: str) -> list[str]:
    """A bar across a share of the width with its words above it."""
    across = WIDTH - 16.0
    width = max((high - low) * across, 1.0)
    return [label(8, y + 10, words), box(8 + low * across, y + 14, width, 11, words, kind)]


def _memory(stages: Sequence[StagePart]) -> str:
    """One bar a stage, its kinds beside each other; the line is what a device has."""
    capacity = stages[0].memory.capacity_bytes
    scale = (WIDTH - 24.0) / max(capacity, *(stage.memory.total_bytes for stage in stages))
    shapes, y = [], 6.0
    for i, kind in enumerate(KINDS):
        x, row = 8.0 + i % 4 * 100, y + i // 4 * 16
        shapes += [box(x, row, 10, 10, "", kind), label(x + 14, row + 9, kind)]
    y += 40
    for stage in stages:
        total = format_bytes(stage.memory.total_bytes)
        held = f"{stage.micro_batches_in_flight:.3g} micro-batches in flight"
        shapes.append(label(8, y + 10, f"stage {stage.stage}: {stage.layers} layers, {total}, {held}"))
        x = 8.0
        for kind in KINDS:
            size = getattr(stage.memory, f"{kind}_bytes")
            title = f"stage {stage.stage}, {kind}: {format_bytes(size)}"
            if size:
                shapes.append(box(x, y + 14, size * scale, 11, title, kind))
            x += size * scale
        shapes.append(line((8 + capacity * scale, y + 11), (8 + capacity * scale, y + 28), "what a device has"))
        y += _ROW
    return sheet(y + 4, "Memory of each stage's devices", shapes)


def _roofline(document: ExplainDocument) -> str:
    """Achieved FLOP/s over FLOPs a byte, both by powers of ten, under the device's two ceilings.

    What multiplies nothing has no place here. The area of a circle is its share of all kernels' time.
    """
    roof = document.roofline
    told = [(one, share) for one, share in longest(roof.operators) if one.flops_per_byte and one.flops]
    intensities = [one.flops_per_byte or 1.0 for one, _ in told] + [roof.ridge_flops_per_byte]
    rates = [one.flops_per_s for one, _ in told] + [roof.peak_flops_per_s]
    x_ends = math.floor(math.log10(min(intensities)) - 0.3), math.ceil(math.log10(max(intensities)) + 0.1)
    y_ends = math.floor(math.log10(min(rates)) - 0.3), math.ceil(math.log10(max(rates)) + 0.1)

    def place(intensity: float, rate: float) -> tuple[float, float]:
        across = (math.log10(intensity) - x_ends[0]) / (x_ends[1] - x_ends[0])
        up = (math.log10(rate) - y_ends[0]) / (y_ends[1] - y_ends[0])
        return _LEFT + across * (_RIGHT - _LEFT), _PLOT_BOTTOM - up * (_PLOT_BOTTOM - _PLOT_TOP)

    shapes = []
    for power in range(x_ends[0], x_ends[1] + 1):
        x, _ = place(10.0**power, 10.0 ** y_ends[0])
        words = f"{10.0**power:g}"
        # about seven units a digit: the last one ends with the sheet
        shapes.append(label(min(x - 8, WIDTH - 4 - 7 * len(words)), _PLOT_BOTTOM + 14, words))
        shapes.append(line((x, _PLOT_TOP), (x, _PLOT_BOTTOM), ""))
    for power in range(y_ends[0], y_ends[1] + 1):
        _, y = place(10.0 ** x_ends[0], 10.0**power)
        shapes += [line((_LEFT, y), (_RIGHT, y), ""), label(4, y + 4, format_si(10.0**power))]
    # the memory's ceiling begins where it leaves the plot's floor or side
    lowest = max(10.0 ** x_ends[0], 10.0 ** y_ends[0] / roof.memory_bandwidth_bytes_per_s)
    ridge = place(roof.ridge_flops_per_byte, roof.peak_flops_per_s)
    start = place(lowest, lowest * roof.memory_bandwidth_bytes_per_s)
    end = place(10.0 ** x_ends[1], roof.peak_flops_per_s)
    bandwidth = f"memory: {format_si(roof.memory_bandwidth_bytes_per_s, 'B/s')}"
    shapes += [
        line(start, ridge, bandwidth, "scale-up"),
        line(ridge, end, f"peak: {format_si(roof.peak_flops_per_s, 'FLOP/s')}", "scale-up"),
        label(_LEFT, _PLOT_BOTTOM + 30, "FLOPs a byte, across; FLOP/s, up; circles by their time"),
    ]
    shapes += [_circle(one, share, place(one.flops_per_byte or 1.0, one.flops_per_s)) for one, share in told]
    named = [(one, place(one.flops_per_byte or 1.0, one.flops_per_s)) for one, _ in told[:6]]
    shapes += _names(named)
    return sheet(_PLOT_BOTTOM + 36, "Roofline of the operators", shapes)


def _circle(one: OperatorPart, share: float, at: tuple[float, float]) -> str:
    """One operator, with all its figures where it is pointed at."""
    least, most = (" at least", " at most") if one.traffic_hidden else ("", "")
    title = (
        f"{operator_name(one)}: {one.flops_per_byte:,.0f} FLOPs a byte{most}, "
        f"{format_si(one.flops_per_s, 'FLOP/s')} ({one.peak_share:.0%} of its peak), {share:.1%} of kernels' time, "
        f"bound by {one.bound}, moves {format_bytes(one.traffic_bytes)}{least}"
    )
    radius = 3.0 + 16.0 * math.sqrt(share)
    place = f'cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:.1f}"'
    return f'<circle class="{one.bound}" {place}><title>{escaped(title)}</title></circle>'


def _names(named: Sequence[tuple[OperatorPart, tuple[float, float]]]) -> list[str]:
    """Names left of the circles of the longest operators, moved down until none lies on another."""
    shapes, last = [], -math.inf
    for one, (x, y) in sorted(named, key=lambda pair: pair[1][1]):
        last = max(y + 4, last + 13)
        # about six units a letter
        left = max(_LEFT + 2, x - 26 - 6 * len(operator_name(one)))
        shapes.append(label(left, last, operator_name(one)))
    return shapes
