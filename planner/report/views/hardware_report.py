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
    ChartAxis,
    ChartPoint,
    Column,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    build_columns,
)
from planner.report.views import breakdown
from planner.units import format_bytes, format_si

_TEXT_FIELDS = ("name", "title", "vendor", "architecture", "kind", "place", "year", "can_train", "why_not_train")
_DEFAULT_PRECISION: Precision = "bf16"
_PEAK_KEYS = {f"peak_{precision}_flops": precision for precision in PRECISIONS}
_FIGURE_KEYS = (
    "memory_bytes",
    "memory_bandwidth_bytes_per_s",
    "on_chip_bytes",
    "link_bytes_per_s",
    "tdp_w",
    "idle_w",
)
_RECORD_KEYS = (
    *_TEXT_FIELDS, "frameworks", "clouds", *_PEAK_KEYS, "precision", "peak_flops", *_FIGURE_KEYS, "usd_per_hour",
)  # fmt: skip
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
    """The report of the commands of `hardware`."""
    accelerators, comparison, precision = document.accelerators, document.comparison, document.precision
    is_single = len(accelerators) == 1
    title = accelerators[0].title if is_single else f"{len(accelerators)} accelerators"
    if comparison is not None:
        tables = [_build_comparison_table(accelerators, comparison)]
    elif is_single:
        tables = list(_enumerate_accelerator_tables(accelerators[0]))
    else:
        tables = [ReportTable(title, _build_list_columns(accelerators, precision))]
    return Report(
        command="hardware",
        title=title,
        keys=_RECORD_KEYS,
        facts=list(_enumerate_facts(accelerators[0])) if is_single else [],
        records=[_build_record(part, precision) for part in accelerators],
        tables=tables,
        charts=_build_landscape_charts(accelerators, precision)
        if comparison is None
        else _build_comparison_charts(accelerators, comparison),
        sentences=list(_enumerate_sentences(document)),
        cases=[
            ReportCase("hardware", f"{part.name} can train", skip_reason=part.why_not_train) for part in accelerators
        ],
    )


def _build_record(part: AcceleratorPart, precision: Precision | None) -> dict[str, RecordValue]:
    """One accelerator, flat; null where no source states a figure. `peak_flops` is that of `precision`, which by
    default is the usual one.
    """
    peak_precision = precision or find_usual_precision(part.peak_flops)
    peaks = {name: figure.value for name, figure in part.peak_flops.items()}
    memory, link = part.memory, part.link.bandwidth if part.link else None
    figures = (memory.capacity, memory.bandwidth, memory.on_chip, link, part.tdp, part.idle)
    record: dict[str, RecordValue] = {name: getattr(part, name) for name in _TEXT_FIELDS}
    record |= {"frameworks": part.frameworks, "clouds": part.clouds}
    record |= {key: peaks.get(name) for key, name in _PEAK_KEYS.items()}
    record |= {
        "precision": peak_precision,
        "peak_flops": None if peak_precision is None else peaks.get(peak_precision),
    }
    record |= {key: _get_value(figure) for key, figure in zip(_FIGURE_KEYS, figures, strict=True)}
    return record | {"usd_per_hour": part.usd_per_hour}


def _get_value(figure: SourcedFigurePart | None) -> float | None:
    return None if figure is None else figure.value


def _build_comparison_table(accelerators: list[AcceleratorPart], comparison: HardwareComparisonPart) -> ReportTable:
    rows = [
        ("vendor", *(part.vendor for part in accelerators)),
        ("kind", *(part.kind for part in accelerators)),
        ("year", *(str(part.year or "") for part in accelerators)),
        ("trains", *("yes" if part.can_train else "no" for part in accelerators)),
    ]
    numbers = range(len(accelerators))
    rows += [(row.figure, *(_format_compared_figure(row, number) for number in numbers)) for row in comparison.rows]
    return ReportTable("Side by side", build_columns(("", *(part.name for part in accelerators)), rows))


def _enumerate_accelerator_tables(part: AcceleratorPart) -> Iterator[ReportTable]:
    """Every figure with its source; then the notes and the documents."""
    figures = list(enumerate_accelerator_figures(part))
    rows = [(name, _format_named_figure(name, item), item.source, item.confidence) for name, item in figures]
    headings = ("figure", "value", "source", "confidence")
    yield ReportTable("Figures", build_columns(headings, rows, (0, 2, 3), ("confidence", "source")))
    notes = [(name, item.note) for name, item in figures if item.note]
    if notes:
        yield ReportTable("Notes", build_columns(("figure", "note"), notes, (0, 1)))
    sources = [(key, item.title, item.url, item.date) for key, item in part.sources.items()]
    yield ReportTable("Sources", build_columns(("source", "title", "address", "date"), sources, range(4)))


def _enumerate_facts(part: AcceleratorPart) -> Iterator[tuple[str, str]]:
    """The accelerator in words, and what follows from its figures at the usual precision."""
    year = f", {part.year}" if part.year else ""
    yield "Name", part.name
    yield "Kind", f"{part.kind} of {part.vendor}, {part.architecture}, {part.place}{year}"
    yield "Training", "yes" if part.can_train else f"no: {part.why_not_train}"
    if part.frameworks:
        yield "Frameworks", ", ".join(part.frameworks)
    if part.clouds:
        yield "Clouds", ", ".join(part.clouds)
    precision = find_usual_precision(part.peak_flops)
    if precision is None:
        return
    peak, operation = part.peak_flops[precision].value, get_peak_unit(precision).removesuffix("/s")
    tdp_w, bandwidth = _get_value(part.tdp), _get_value(part.memory.bandwidth)
    texts = [f"{format_si(peak / tdp_w, f'{operation}/s')} per watt"] if tdp_w else []
    texts += [f"{format_si(3600 * peak / part.usd_per_hour, operation)} per dollar"] if part.usd_per_hour else []
    texts += [f"ridge point {format_si(peak / bandwidth, operation)} per byte of memory traffic"] if bandwidth else []
    if texts:
        yield f"At {precision}", "; ".join(texts)


def _enumerate_sentences(document: HardwareDocument) -> Iterator[str]:
    """The reference of a comparison's ratios, and which of its parts cannot train; that nothing is listed."""
    if document.comparison is not None:
        precision = document.comparison.precision
        derived = f"Per watt, per dollar and ridge point at {precision}"
        yield f"{derived if precision else 'No precision has a known peak for all'}; ratios are to the first."
        yield from (
            f"{part.name} cannot train: {part.why_not_train}" for part in document.accelerators if not part.can_train
        )
    elif not document.accelerators:
        yield "No accelerator matches."


def _build_list_columns(accelerators: list[AcceleratorPart], precision: Precision | None) -> list[Column]:
    """A row an accelerator; empty cells where no source states a figure."""

    def format_peak(part: AcceleratorPart) -> str:
        name = precision or find_usual_precision(part.peak_flops)
        peak = None if name is None else part.peak_flops.get(name)
        return "" if peak is None else f"{format_si(peak.value)} {name}"

    def format_figure(figure: SourcedFigurePart | None) -> str:
        text = "" if figure is None else format_sourced_figure(figure)
        return text.replace(".00 ", " ") if figure is not None and figure.unit == "B" else text

    links = [part.link.bandwidth if part.link else None for part in accelerators]
    return [
        Column("name", [part.name for part in accelerators], is_text=True),
        Column("part", [part.title for part in accelerators], is_text=True, drop_rank=10),
        Column("vendor", [part.vendor for part in accelerators], is_text=True, drop_rank=9),
        Column("kind", [part.kind for part in accelerators], is_text=True, drop_rank=6),
        Column("place", [part.place for part in accelerators], is_text=True, drop_rank=5),
        Column("year", [str(part.year or "") for part in accelerators], drop_rank=3),
        Column("peak FLOP/s", [format_peak(part) for part in accelerators]),
        Column("memory", [format_figure(part.memory.capacity) for part in accelerators]),
        Column("bandwidth", [format_figure(part.memory.bandwidth) for part in accelerators], drop_rank=1),
        Column("on-chip", [format_figure(part.memory.on_chip) for part in accelerators], drop_rank=8),
        Column("link", [format_figure(figure) for figure in links], drop_rank=7),
        Column("W", ["" if part.tdp is None else f"{part.tdp.value:g}" for part in accelerators], drop_rank=4),
        Column(
            "USD/h", [f"{part.usd_per_hour:.2f}" if part.usd_per_hour else "" for part in accelerators], drop_rank=2
        ),
        Column("trains", ["yes" if part.can_train else "no" for part in accelerators], is_text=True),
    ]


def _build_comparison_charts(
    accelerators: list[AcceleratorPart], comparison: HardwareComparisonPart
) -> list[BarChart]:
    """A chart a figure: what is known of it, accelerator by accelerator."""
    return [
        breakdown.build_figure_bars(
            row.figure,
            ChartAxis(row.figure, row.unit),
            [(part.name, row.values[n], _format_compared_figure(row, n)) for n, part in enumerate(accelerators)],
            "accelerator",
        )
        for row in comparison.rows
    ]


def _build_landscape_charts(accelerators: list[AcceleratorPart], precision: Precision | None) -> list[PointChart]:
    """Peak over memory bandwidth of all accelerators that state both; none for fewer than two."""
    peak_precision = precision or _DEFAULT_PRECISION
    unit, points = get_peak_unit(peak_precision), []
    for part in accelerators:
        peak, bandwidth = _get_value(part.peak_flops.get(peak_precision)), _get_value(part.memory.bandwidth)
        if peak and bandwidth:
            tooltip = f"{part.name}: {format_si(peak, unit)}, {format_si(bandwidth, 'B/s')}"
            points.append(ChartPoint(bandwidth, peak, tooltip))
    if len(points) < 2:
        return []
    x, y = ChartAxis("memory bandwidth", "B/s"), ChartAxis(f"{peak_precision} peak", unit)
    return [PointChart(f"Peak in {peak_precision} over memory bandwidth", x, y, [PointSeries("", points)])]


def enumerate_accelerator_figures(part: AcceleratorPart) -> Iterator[tuple[str, SourcedFigurePart]]:
    """Every figure that a source states, by its name."""
    memory, link = part.memory, part.link
    memory_type = f" ({memory.type})" if memory.type else ""
    figures = [
        *((f"peak {precision}, dense", part.peak_flops.get(precision)) for precision in PRECISIONS),
        (f"memory{memory_type}", memory.capacity),
        ("memory bandwidth", memory.bandwidth),
        ("bus width", memory.bus_width),
        ("rate of a pin", memory.pin_rate),
        ("on-chip memory", memory.on_chip),
        (f"link ({link.name})" if link else "link", link.bandwidth if link else None),
        ("power", part.tdp),
        ("idle", part.idle),
        *((f"rent, {price.cloud} {price.date}", price.rent) for price in part.prices),
    ]
    yield from ((name, figure) for name, figure in figures if figure is not None)


def format_sourced_figure(figure: SourcedFigurePart) -> str:
    """A figure with its unit."""
    return _UNIT_FORMATS[figure.unit](figure.value)


def _format_named_figure(name: str, figure: SourcedFigurePart) -> str:
    return format_si(figure.value * 8, "b/s") if name == "rate of a pin" else format_sourced_figure(figure)


def _format_compared_figure(row: ComparisonRowPart, index: int) -> str:
    """The figure of an accelerator, with its ratio to that of the first; `-` where it is not known."""
    value, ratio = row.values[index], row.ratios[index]
    if value is None:
        return "-"
    text = _UNIT_FORMATS[row.unit](value)
    if index == 0 or ratio is None:
        return text
    return f"{text}  {ratio:.2f}x" if 0.1 <= ratio < 100 else f"{text}  {ratio:.2g}x"
