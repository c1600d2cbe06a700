"""The hardware document as a report: one record an accelerator; of a comparison bars figure by figure."""

from __future__ import annotations

from planner.documents.hardware import ComparisonPart, FigurePart, HardwareDocument, HardwarePart, peak_unit
from planner.hardware.accelerator import Precision
from planner.hardware.catalogue import PRECISIONS, usual_precision
from planner.report.report import (
    Bar,
    Bars,
    Case,
    Chart,
    Piece,
    Point,
    Report,
    Scatter,
    Table,
    Value,
)
from planner.report.views.hardware_text import compared, figure_text, figures
from planner.units import format_si

_WORDS = ("name", "title", "vendor", "architecture", "kind", "place", "year", "can_train", "why_not_train")
_USUAL: Precision = "bf16"
_FIGURES = ("memory_bytes", "memory_bandwidth_bytes_per_s", "on_chip_bytes", "link_bytes_per_s", "tdp_w", "idle_w")
_PEAKS = (*(f"peak_{one}_flops" for one in PRECISIONS), "precision", "peak_flops")
_KEYS = (*_WORDS, "frameworks", "clouds", *_PEAKS, *_FIGURES, "usd_per_hour")


def hardware_report(document: HardwareDocument) -> Report:
    """The whole answer of a command of `hardware`."""
    found, comparison = document.accelerators, document.comparison
    return Report(
        command="hardware",
        title=found[0].title if len(found) == 1 else f"{len(found)} accelerators",
        keys=_KEYS,
        facts=[],
        records=[_record(one, document.precision) for one in found],
        tables=list(_tables(document)),
        charts=_compared(found, comparison) if comparison is not None else _landscape(found, document.precision),
        sentences=[f"{one.name} cannot train: {one.why_not_train}" for one in found if not one.can_train]
        if comparison is not None
        else [],
        cases=[Case("hardware", f"{one.name} can train", skipped=one.why_not_train) for one in found],
    )


def _record(part: HardwarePart, precision: Precision | None) -> dict[str, Value]:
    """One part, flat; null where no source states a figure. Beside all peaks the one at `precision`, or the usual."""
    memory, link, at = (
        part.memory,
        part.link.bandwidth if part.link else None,
        precision or usual_precision(part.peak_flops),
    )
    peaks = [_value(part.peak_flops.get(one)) for one in PRECISIONS]
    peak = None if at is None else _value(part.peak_flops.get(at))
    told = (memory.capacity, memory.bandwidth, memory.on_chip, link, part.tdp, part.idle)
    words: list[Value] = [getattr(part, name) for name in _WORDS]
    values = (*words, part.frameworks, part.clouds, *peaks, at, peak, *map(_value, told), part.usd_per_hour)
    return dict(zip(_KEYS, values, strict=True))


def _value(figure: FigurePart | None) -> float | None:
    return None if figure is None else figure.value


def _tables(document: HardwareDocument) -> list[Table]:
    found, comparison = document.accelerators, document.comparison
    if comparison is not None:
        rows = [(row.figure, *(compared(row, n) for n in range(len(found)))) for row in comparison.rows]
        return [Table("Side by side", ("", *(one.name for one in found)), rows)]
    if len(found) == 1:
        told = [(name, figure_text(one), one.source, one.confidence) for name, one in figures(found[0])]
        headings = ("figure", "value", "source", "confidence")
        sources = [(key, one.title, one.url, one.date) for key, one in found[0].sources.items()]
        return [
            Table("Figures", headings, told, frozenset({0, 2, 3})),
            Table("Sources", ("source", "title", "address", "date"), sources, frozenset({0, 1, 2, 3})),
        ]
    columns = ("name", "part", "vendor", "kind", "year", "peak", "memory", "bandwidth", "W", "USD/h")
    return [Table("Accelerators", columns, [_row(one, document.precision) for one in found], frozenset({0, 1, 2, 3}))]


def _row(part: HardwarePart, precision: Precision | None) -> tuple[str, ...]:
    at, memory = precision or usual_precision(part.peak_flops), part.memory
    rent = "" if part.usd_per_hour is None else f"{part.usd_per_hour:.2f}"
    figure = None if at is None else part.peak_flops.get(at)
    peak = "" if figure is None else f"{figure_text(figure)} {at}"
    told = ("" if one is None else figure_text(one) for one in (memory.capacity, memory.bandwidth))
    power = "" if part.tdp is None else f"{part.tdp.value:g}"
    return (part.name, part.title, part.vendor, part.kind, str(part.year or ""), peak, *told, power, rent)


def _compared(found: list[HardwarePart], comparison: ComparisonPart) -> list[Chart]:
    """A chart a figure: what is known of it, part by part."""
    charts: list[Chart] = []
    for row in comparison.rows:
        bars = []
        for number, one in enumerate(found):
            value, said = row.values[number], compared(row, number)
            pieces = [] if value is None else [Piece(row.figure, value, f"{one.name}: {said}")]
            bars.append(Bar(one.name, said, pieces))
        charts.append(Bars(row.figure, bars))
    return charts


def _landscape(found: list[HardwarePart], precision: Precision | None) -> list[Chart]:
    """Peak over memory bandwidth of all parts that state both; none for fewer than two."""
    at = precision or _USUAL
    unit, points = peak_unit(at), []
    for one in found:
        peak, bandwidth = _value(one.peak_flops.get(at)), _value(one.memory.bandwidth)
        if peak and bandwidth:
            said = f"{one.name}: {format_si(peak, unit)}, {format_si(bandwidth, 'B/s')}"
            points.append(Point(bandwidth, peak, said))
    if len(points) < 2:
        return []
    xs, ys = [one.x for one in points], [one.y for one in points]
    x_told = format_si(min(xs), "B/s"), format_si(max(xs), "B/s")
    y_told = format_si(min(ys), unit), format_si(max(ys), unit)
    title = f"Peak in {at} over memory bandwidth"
    return [Scatter(title, "memory bandwidth", "peak", x_told, y_told, points, logarithmic=True)]
