"""The hardware document as a report: one record an accelerator; of a comparison bars figure by figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.documents.hardware import (
    AcceleratorPart,
    ComparisonRowPart,
    HardwareComparisonPart,
    HardwareDocument,
    HardwareUnit,
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
    build_columns,
)
from planner.units import format_bytes, format_si

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
_LIST_HEADINGS = (
    "name", "part", "vendor", "kind", "place", "year", "peak", "memory", "bandwidth", "on-chip", "link", "W", "USD/h",
    "trains",
)  # fmt: skip
_DROP_ORDER = ("part", "vendor", "on-chip", "link", "kind", "place", "W", "year", "USD/h", "bandwidth")
_UNIT_FORMATS: dict[HardwareUnit, Callable[[float], str]] = {
    "FLOP/s": lambda value: format_si(value, "FLOP/s"),
    "OP/s": lambda value: format_si(value, "OP/s"),
    "B": format_bytes,
    "B/s": lambda value: format_si(value, "B/s"),
    "W": lambda value: f"{value:,g} W",
    "USD/h": lambda value: f"{value:.2f} USD",
    "bit": lambda value: f"{value:,.0f} bits",
    "FLOP/s/W": lambda value: format_si(value, "FLOP/s/W"),
    "FLOP/USD": lambda value: format_si(value, "FLOP"),
    "FLOP/B": lambda value: f"{value:,.0f} FLOP/B",
}


def build_hardware_report(document: HardwareDocument) -> Report:
    """The whole answer of a command of `hardware`."""
    accelerators, comparison = document.accelerators, document.comparison
    return Report(
        command="hardware",
        title=accelerators[0].title if len(accelerators) == 1 else f"{len(accelerators)} accelerators",
        keys=_RECORD_KEYS,
        facts=list(_enumerate_facts(accelerators[0])) if len(accelerators) == 1 else [],
        records=[_build_accelerator_record(accelerator, document.precision) for accelerator in accelerators],
        tables=list(_build_hardware_tables(document)),
        charts=_build_comparison_charts(accelerators, comparison)
        if comparison is not None
        else _build_landscape_charts(accelerators, document.precision),
        sentences=list(_enumerate_sentences(document)),
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
        columns = build_columns(("", *(item.name for item in accelerators)))
        rows = [
            ("vendor", *(item.vendor for item in accelerators)),
            ("kind", *(item.kind for item in accelerators)),
            ("year", *(str(item.year or "") for item in accelerators)),
            ("trains", *("yes" if item.can_train else "no" for item in accelerators)),
        ]
        rows += [
            (row.figure, *(_format_compared_figure(row, n) for n in range(len(accelerators))))
            for row in comparison.rows
        ]
        return [ReportTable("Side by side", columns, rows)]
    if len(accelerators) == 1:
        return list(_build_accelerator_tables(accelerators[0]))
    rows = [_build_list_row(item, document.precision) for item in accelerators]
    title = f"{len(accelerators)} accelerators"
    return [ReportTable(title, build_columns(_LIST_HEADINGS, (0, 1, 2, 3, 4, 13), _DROP_ORDER), rows)]


def _build_accelerator_tables(part: AcceleratorPart) -> Iterator[ReportTable]:
    """Every figure with its source; then the notes and the documents."""
    named_figures = list(enumerate_accelerator_figures(part))
    columns = build_columns(("figure", "value", "source", "confidence"), (0, 2, 3), ("confidence", "source"))
    rows = [(name, _format_named_figure(name, item), item.source, item.confidence) for name, item in named_figures]
    yield ReportTable("Figures", columns, rows)
    notes = [(name, item.note) for name, item in named_figures if item.note]
    if notes:
        yield ReportTable("Notes", build_columns(("figure", "note"), (0, 1)), notes)
    sources = [(key, item.title, item.url, item.date) for key, item in part.sources.items()]
    yield ReportTable("Sources", build_columns(("source", "title", "address", "date"), range(4)), sources)


def _enumerate_facts(part: AcceleratorPart) -> Iterator[tuple[str, str]]:
    """What one part is, and what follows from its figures at the usual precision."""
    year = f", {part.year}" if part.year else ""
    yield "Name", part.name
    yield "Kind", f"{part.kind} of {part.vendor}, {part.architecture}, {part.place}{year}"
    yield "Training", "yes" if part.can_train else f"no: {part.why_not_train}"
    if part.frameworks:
        yield "Frameworks", ", ".join(part.frameworks)
    if part.clouds:
        yield "Clouds", ", ".join(part.clouds)
    precision = find_usual_precision(part.peak_flops)
    peak = None if precision is None else part.peak_flops[precision].value
    if precision is None or peak is None:
        return
    operation = get_peak_unit(precision).removesuffix("/s")
    divisors = (
        (f"{operation}/s", "a watt", _get_figure_value(part.tdp)),
        (operation, "a dollar", None if part.usd_per_hour is None else part.usd_per_hour / 3600),
        (operation, "a byte of memory traffic at the ridge point", _get_figure_value(part.memory.bandwidth)),
    )
    texts = [f"{format_si(peak / divisor, unit)} for {noun}" for unit, noun, divisor in divisors if divisor]
    if texts:
        yield f"At {precision}", "; ".join(texts)


def _enumerate_sentences(document: HardwareDocument) -> Iterator[str]:
    """What the ratios of a comparison are to, and which of its parts cannot train; that nothing is listed."""
    if document.comparison is not None:
        precision = document.comparison.precision
        derived = (
            f"Per watt, per dollar and ridge point at {precision}"
            if precision
            else "No precision's peak is stated by all"
        )
        yield f"{derived}; ratios are to the first."
        yield from (
            f"{item.name} cannot train: {item.why_not_train}" for item in document.accelerators if not item.can_train
        )
    elif not document.accelerators:
        yield "No accelerator is like that."


def _build_list_row(part: AcceleratorPart, precision: Precision | None) -> tuple[str, ...]:
    """The cells under `_LIST_HEADINGS`; the peak is that of `precision`, else of the usual one."""
    peak_precision, memory = precision or find_usual_precision(part.peak_flops), part.memory
    peak = None if peak_precision is None else part.peak_flops.get(peak_precision)
    figures = (memory.capacity, memory.bandwidth, memory.on_chip, part.link.bandwidth if part.link else None)
    return (
        part.name,
        part.title,
        part.vendor,
        part.kind,
        part.place,
        str(part.year or ""),
        "" if peak is None else f"{format_si(peak.value)} {peak_precision}",
        *("" if item is None else _format_brief_figure(item) for item in figures),
        "" if part.tdp is None else f"{part.tdp.value:g}",
        "" if part.usd_per_hour is None else f"{part.usd_per_hour:.2f}",
        "yes" if part.can_train else "no",
    )


def _format_brief_figure(figure: SourcedFigurePart) -> str:
    text = format_sourced_figure(figure)
    return text.replace(".00 ", " ") if figure.unit == "B" else text


def _build_comparison_charts(accelerators: list[AcceleratorPart], comparison: HardwareComparisonPart) -> list[Chart]:
    """A chart a figure: what is known of it, part by part."""
    charts: list[Chart] = []
    for row in comparison.rows:
        bars = []
        for index, accelerator in enumerate(accelerators):
            value, display = row.values[index], _format_compared_figure(row, index)
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


def enumerate_accelerator_figures(part: AcceleratorPart) -> Iterator[tuple[str, SourcedFigurePart]]:
    """Every figure with what it is."""
    for precision in PRECISIONS:
        if precision in part.peak_flops:
            yield f"peak {precision}, dense", part.peak_flops[precision]
    memory = part.memory
    memory_type = f" ({memory.type})" if memory.type else ""
    named_figures = [
        (f"memory{memory_type}", memory.capacity),
        ("memory bandwidth", memory.bandwidth),
        ("bus width", memory.bus_width),
        ("rate of a pin", memory.pin_rate),
        ("on-chip memory", memory.on_chip),
        (f"link ({part.link.name})" if part.link else "link", part.link.bandwidth if part.link else None),
        ("power", part.tdp),
        ("idle", part.idle),
    ]
    yield from ((name, figure) for name, figure in named_figures if figure is not None)
    for price in part.prices:
        yield f"rent, {price.cloud} {price.date}", price.rent


def format_sourced_figure(figure: SourcedFigurePart) -> str:
    """A figure with its unit."""
    return _UNIT_FORMATS[figure.unit](figure.value)


def _format_named_figure(name: str, figure: SourcedFigurePart) -> str:
    if name == "rate of a pin":
        return format_si(figure.value * 8, "b/s")
    return format_sourced_figure(figure)


def _format_compared_figure(row: ComparisonRowPart, index: int) -> str:
    """One part's figure, with its ratio to the first one's."""
    value, ratio = row.values[index], row.ratios[index]
    if value is None:
        return "-"
    ratio_text = "" if index == 0 or ratio is None else f"  {_format_ratio(ratio)}"
    return _UNIT_FORMATS[row.unit](value) + ratio_text


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}x" if 0.1 <= ratio < 100 else f"{ratio:.2g}x"
