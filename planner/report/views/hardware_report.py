"""The hardware document as a report: one record an accelerator; of a comparison bars figure by figure."""

from __future__ import annotations

from planner.documents.hardware import (
    AcceleratorPart,
    HardwareComparisonPart,
    HardwareDocument,
    SourcedFigurePart,
    get_peak_unit,
)
from planner.hardware.accelerator import Precision
from planner.hardware.catalogue import PRECISIONS, find_usual_precision
from planner.report.report import (
    BarChart,
    BarSegment,
    Chart,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
)
from planner.report.views.hardware_text import (
    enumerate_accelerator_figures,
    format_compared_figure,
    format_sourced_figure,
)
from planner.units import format_si

_TEXT_FIELDS = ("name", "title", "vendor", "architecture", "kind", "place", "year", "can_train", "why_not_train")
_DEFAULT_PRECISION: Precision = "bf16"
_FIGURE_KEYS = (
    "memory_bytes",
    "memory_bandwidth_bytes_per_s",
    "on_chip_bytes",
    "link_bytes_per_s",
    "tdp_w",
    "idle_w",
)
_PEAK_KEYS = (*(f"peak_{one}_flops" for one in PRECISIONS), "precision", "peak_flops")
_RECORD_KEYS = (*_TEXT_FIELDS, "frameworks", "clouds", *_PEAK_KEYS, *_FIGURE_KEYS, "usd_per_hour")


def build_hardware_report(document: HardwareDocument) -> Report:
    """The whole answer of a command of `hardware`."""
    accelerators, comparison = document.accelerators, document.comparison
    return Report(
        command="hardware",
        title=accelerators[0].title if len(accelerators) == 1 else f"{len(accelerators)} accelerators",
        keys=_RECORD_KEYS,
        facts=[],
        records=[_build_accelerator_record(accelerator, document.precision) for accelerator in accelerators],
        tables=list(_build_hardware_tables(document)),
        charts=_build_comparison_charts(accelerators, comparison)
        if comparison is not None
        else _build_landscape_charts(accelerators, document.precision),
        sentences=[
            f"{accelerator.name} cannot train: {accelerator.why_not_train}"
            for accelerator in accelerators
            if not accelerator.can_train
        ]
        if comparison is not None
        else [],
        cases=[
            ReportCase("hardware", f"{accelerator.name} can train", skip_reason=accelerator.why_not_train)
            for accelerator in accelerators
        ],
    )


def _build_accelerator_record(part: AcceleratorPart, precision: Precision | None) -> dict[str, RecordValue]:
    """One part, flat; null where no source states a figure. Beside all peaks the one at `precision`, or the usual."""
    memory, link, peak_precision = (
        part.memory,
        part.link.bandwidth if part.link else None,
        precision or find_usual_precision(part.peak_flops),
    )
    peaks = [_get_figure_value(part.peak_flops.get(item)) for item in PRECISIONS]
    peak = None if peak_precision is None else _get_figure_value(part.peak_flops.get(peak_precision))
    known_figures = (memory.capacity, memory.bandwidth, memory.on_chip, link, part.tdp, part.idle)
    text_values: list[RecordValue] = [getattr(part, name) for name in _TEXT_FIELDS]
    values = (
        *text_values,
        part.frameworks,
        part.clouds,
        *peaks,
        peak_precision,
        peak,
        *map(_get_figure_value, known_figures),
        part.usd_per_hour,
    )
    return dict(zip(_RECORD_KEYS, values, strict=True))


def _get_figure_value(figure: SourcedFigurePart | None) -> float | None:
    return None if figure is None else figure.value


def _build_hardware_tables(document: HardwareDocument) -> list[ReportTable]:
    accelerators, comparison = document.accelerators, document.comparison
    if comparison is not None:
        rows = [
            (row.figure, *(format_compared_figure(row, n) for n in range(len(accelerators))))
            for row in comparison.rows
        ]
        return [ReportTable("Side by side", ("", *(item.name for item in accelerators)), rows)]
    if len(accelerators) == 1:
        figure_rows = [
            (name, format_sourced_figure(item), item.source, item.confidence)
            for name, item in enumerate_accelerator_figures(accelerators[0])
        ]
        headings = ("figure", "value", "source", "confidence")
        sources = [(key, item.title, item.url, item.date) for key, item in accelerators[0].sources.items()]
        return [
            ReportTable("Figures", headings, figure_rows, frozenset({0, 2, 3})),
            ReportTable("Sources", ("source", "title", "address", "date"), sources, frozenset({0, 1, 2, 3})),
        ]
    columns = ("name", "part", "vendor", "kind", "year", "peak", "memory", "bandwidth", "W", "USD/h")
    return [
        ReportTable(
            "Accelerators",
            columns,
            [_build_accelerator_row(item, document.precision) for item in accelerators],
            frozenset({0, 1, 2, 3}),
        )
    ]


def _build_accelerator_row(part: AcceleratorPart, precision: Precision | None) -> tuple[str, ...]:
    peak_precision, memory = precision or find_usual_precision(part.peak_flops), part.memory
    rent = "" if part.usd_per_hour is None else f"{part.usd_per_hour:.2f}"
    figure = None if peak_precision is None else part.peak_flops.get(peak_precision)
    peak = "" if figure is None else f"{format_sourced_figure(figure)} {peak_precision}"
    memory_cells = (
        "" if item is None else format_sourced_figure(item) for item in (memory.capacity, memory.bandwidth)
    )
    power = "" if part.tdp is None else f"{part.tdp.value:g}"
    return (part.name, part.title, part.vendor, part.kind, str(part.year or ""), peak, *memory_cells, power, rent)


def _build_comparison_charts(accelerators: list[AcceleratorPart], comparison: HardwareComparisonPart) -> list[Chart]:
    """A chart a figure: what is known of it, part by part."""
    charts: list[Chart] = []
    for row in comparison.rows:
        bars = []
        for index, accelerator in enumerate(accelerators):
            value, display = row.values[index], format_compared_figure(row, index)
            segments = [] if value is None else [BarSegment("figure", value, f"{accelerator.name}: {display}")]
            bars.append(StackedBar(accelerator.name, display, segments))
        charts.append(BarChart(row.figure, ChartAxis(row.figure, row.unit), bars, bar_title="accelerator"))
    return charts


def _build_landscape_charts(accelerators: list[AcceleratorPart], precision: Precision | None) -> list[Chart]:
    """Peak over memory bandwidth of all parts that state both; none for fewer than two."""
    peak_precision = precision or _DEFAULT_PRECISION
    unit, points = get_peak_unit(peak_precision), []
    for item in accelerators:
        peak, bandwidth = (
            _get_figure_value(item.peak_flops.get(peak_precision)),
            _get_figure_value(item.memory.bandwidth),
        )
        if peak and bandwidth:
            tooltip = f"{item.name}: {format_si(peak, unit)}, {format_si(bandwidth, 'B/s')}"
            points.append(ChartPoint(bandwidth, peak, tooltip))
    if len(points) < 2:
        return []
    x, y = ChartAxis("memory bandwidth", "B/s"), ChartAxis(f"{peak_precision} peak", unit)
    return [PointChart(f"Peak in {peak_precision} over memory bandwidth", x, y, [PointSeries("", points)])]
