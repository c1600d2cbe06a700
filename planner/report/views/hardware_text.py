"""Accelerators for people: a listing, one part with the sources of its figures, parts side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from planner.documents.hardware import (
    AcceleratorPart,
    ComparisonRowPart,
    HardwareComparisonPart,
    HardwareUnit,
    SourcedFigurePart,
    build_accelerator_part,
)
from planner.hardware.accelerator import Precision
from planner.hardware.catalogue import PRECISIONS, AcceleratorEntry
from planner.report.console import (
    build_console,
    build_plain_table,
    enumerate_column_subsets,
    find_fitting_table,
    get_console_text,
    measure_table_width,
    print_lines,
    strip_nonprintable,
)
from planner.units import format_bytes, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MAX_WIDTH = 10_000
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
_DROPPABLE_COLUMNS = ("part", "vendor", "on-chip", "link", "kind", "place", "W", "year", "USD/h", "bandwidth")
"""Columns of the listing in the order in which they make room."""


def render_hardware_list(entries: Sequence[AcceleratorEntry], precision: Precision | None) -> str:
    """One line for each part, with as many columns as the terminal has room for; a few lines for each where not even
    a few columns fit. The peak is that of `precision`, else the one that training uses, or the nearest that is known.
    """
    out = build_console(_MAX_WIDTH)
    rows = [_build_list_row(entry, precision) for entry in entries]
    if not rows:
        return "No accelerator is like that.\n"
    table = find_fitting_table(
        out,
        lambda columns: _build_list_table(rows, columns),
        enumerate_column_subsets(list(rows[0]), _DROPPABLE_COLUMNS),
    )
    if table is not None:
        out.print(table)
    else:
        for row in rows:
            values = [f"  {key}: {value}" for key, value in list(row.items())[1:] if value]
            out.print("\n".join([row["name"], *values]), markup=False)
    return get_console_text(out)


def _build_list_row(entry: AcceleratorEntry, precision: Precision | None) -> dict[str, str]:
    """The cells of one line by their headings."""
    spec, peak_precision = entry.spec, precision or entry.usual_precision
    peak = entry.find_peak_flops(precision)
    return {
        "name": strip_nonprintable(spec.name),
        "part": strip_nonprintable(spec.title),
        "vendor": strip_nonprintable(spec.vendor),
        "kind": spec.kind,
        "place": spec.place,
        "year": str(spec.year or ""),
        "peak": "" if peak is None else f"{format_si(peak)} {peak_precision}",
        "memory": _format_brief_figure("B", entry.memory_bytes),
        "bandwidth": _format_brief_figure("B/s", entry.memory_bandwidth_bytes_per_s),
        "on-chip": _format_brief_figure("B", entry.on_chip_bytes),
        "link": _format_brief_figure("B/s", entry.link_bytes_per_s),
        "W": "" if entry.tdp_w is None else f"{entry.tdp_w:g}",
        "USD/h": "" if entry.usd_per_hour is None else f"{entry.usd_per_hour:.2f}",
        "trains": "yes" if spec.can_train else "no",
    }


def _format_brief_figure(unit: HardwareUnit, value: float | None) -> str:
    if value is None:
        return ""
    return format_bytes(value).replace(".00 ", " ") if unit == "B" else _UNIT_FORMATS[unit](value)


def _build_list_table(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> Table:
    table = build_plain_table()
    text_columns = ("name", "part", "vendor", "kind", "place", "trains")
    for heading in columns:
        table.add_column(heading, justify="left" if heading in text_columns else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[heading] for heading in columns))
    return table


def render_accelerator_text(entry: AcceleratorEntry, *, with_sources: bool) -> str:
    """One part: what it is, every figure with its source; with `with_sources` also the notes and the documents."""
    part, out = build_accelerator_part(entry), build_console()
    print_lines(out, map(strip_nonprintable, _format_accelerator_heading(part)))
    named_figures = list(enumerate_accelerator_figures(part))
    table = find_fitting_table(out, lambda count: _build_figure_table(named_figures, count), (4, 3, 2))
    out.print(table or _build_figure_table(named_figures, 2))
    print_lines(out, _format_derived_figures(entry))
    if with_sources:
        out.print()
        print_lines(out, map(strip_nonprintable, _format_sources(part, named_figures)))
    return get_console_text(out)


def _format_accelerator_heading(part: AcceleratorPart) -> Iterator[str]:
    year = f", {part.year}" if part.year else ""
    yield f"{part.title} ({part.name})"
    yield f"Kind        {part.kind} of {part.vendor}, {part.architecture}, {part.place}{year}"
    yield "Training    yes" if part.can_train else f"Training    no: {part.why_not_train}"
    if part.frameworks:
        yield f"Frameworks  {', '.join(part.frameworks)}"
    if part.clouds:
        yield f"Clouds      {', '.join(part.clouds)}"


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


def _build_figure_table(named_figures: Sequence[tuple[str, SourcedFigurePart]], columns: int) -> Table:
    table = build_plain_table()
    for heading in ("figure", "value", "source", "confidence")[:columns]:
        table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=columns > 2)
    for name, figure in named_figures:
        cells = (
            strip_nonprintable(name),
            _format_named_figure(name, figure),
            strip_nonprintable(figure.source),
            figure.confidence,
        )
        table.add_row(*cells[:columns])
    return table


def format_sourced_figure(figure: SourcedFigurePart) -> str:
    """A figure with its unit."""
    return _UNIT_FORMATS[figure.unit](figure.value)


def _format_named_figure(name: str, figure: SourcedFigurePart) -> str:
    if name == "rate of a pin":
        return format_si(figure.value * 8, "b/s")
    return format_sourced_figure(figure)


def _format_derived_figures(entry: AcceleratorEntry) -> Iterator[str]:
    """What follows from the figures, at the usual precision."""
    peak_precision = entry.usual_precision
    operation = "OP" if peak_precision and peak_precision.startswith("int") else "FLOP"
    rows = (
        (f"{operation}/s", "a watt", entry.compute_flops_per_w()),
        (operation, "a dollar", entry.compute_flop_per_usd()),
        (operation, "a byte of memory traffic at the ridge point", entry.compute_ridge_flop_per_byte()),
    )
    texts = [f"{format_si(value, unit)} for {per_noun}" for unit, per_noun, value in rows if value is not None]
    if texts:
        yield f"At {peak_precision}: {'; '.join(texts)}"


def _format_sources(part: AcceleratorPart, named_figures: Sequence[tuple[str, SourcedFigurePart]]) -> Iterator[str]:
    """Notes of the figures, then the documents by the key that the figures name."""
    notes = [f"  {name}: {figure.note}" for name, figure in named_figures if figure.note]
    if notes:
        yield "Notes"
        yield from notes
    yield "Sources"
    for key, source in part.sources.items():
        yield f"  {key}: " + ", ".join(text for text in (source.title, source.url, source.date) if text)


def render_hardware_comparison(entries: Sequence[AcceleratorEntry], comparison: HardwareComparisonPart) -> str:
    """Parts side by side with ratios to the first; as many at a time as the terminal has room for."""
    out = build_console(_MAX_WIDTH)
    remaining = list(range(1, len(entries)))
    while remaining:
        size = next(
            (
                n
                for n in range(len(remaining), 0, -1)
                if _has_room_for_columns(out, entries, comparison, [0, *remaining[:n]])
            ),
            0,
        )
        if not size:  # not even two beside each other: one below the other
            out.print(
                "\n".join(_format_comparison_record(entries, comparison, index) for index in range(len(entries))),
                markup=False,
            )
            break
        out.print(_build_comparison_table(entries, comparison, [0, *remaining[:size]]))
        remaining = remaining[size:]
    if comparison.precision is not None:
        out.print(f"Per watt, per dollar and ridge point at {comparison.precision}; ratios are to the first.")
    else:
        out.print("No precision's peak is stated by all; ratios are to the first.")
    inference_only = [entry for entry in entries if not entry.spec.can_train]
    print_lines(
        out,
        [strip_nonprintable(f"{entry.name} cannot train: {entry.spec.why_not_train}") for entry in inference_only],
    )
    return get_console_text(out)


def _has_room_for_columns(
    out: Console, entries: Sequence[AcceleratorEntry], comparison: HardwareComparisonPart, indices: Sequence[int]
) -> bool:
    return measure_table_width(out, _build_comparison_table(entries, comparison, indices)) <= out.width


def _build_comparison_table(
    entries: Sequence[AcceleratorEntry], comparison: HardwareComparisonPart, indices: Sequence[int]
) -> Table:
    table = build_plain_table()
    table.add_column("")
    for index in indices:
        table.add_column(strip_nonprintable(entries[index].name), justify="right")
    facts: tuple[tuple[str, Callable[[AcceleratorEntry], str]], ...] = (
        ("vendor", lambda entry: strip_nonprintable(entry.spec.vendor)),
        ("kind", lambda entry: entry.spec.kind),
        ("year", lambda entry: str(entry.spec.year or "")),
        ("trains", lambda entry: "yes" if entry.spec.can_train else "no"),
    )
    for name, fact in facts:
        table.add_row(name, *(fact(entries[index]) for index in indices))
    for row in comparison.rows:
        table.add_row(row.figure, *(format_compared_figure(row, index) for index in indices))
    return table


def _format_comparison_record(
    entries: Sequence[AcceleratorEntry], comparison: HardwareComparisonPart, index: int
) -> str:
    """One part's figures below its name."""
    lines = [f"  {row.figure}: {format_compared_figure(row, index)}" for row in comparison.rows]
    return "\n".join([strip_nonprintable(entries[index].name), *lines])


def format_compared_figure(row: ComparisonRowPart, index: int) -> str:
    """One part's figure, with its ratio to the first one's."""
    value, ratio = row.values[index], row.ratios[index]
    if value is None:
        return "-"
    ratio_text = "" if index == 0 or ratio is None else f"  {_format_ratio(ratio)}"
    return _UNIT_FORMATS[row.unit](value) + ratio_text


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}x" if 0.1 <= ratio < 100 else f"{ratio:.2g}x"
