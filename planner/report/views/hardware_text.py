"""Accelerators for people: a listing, one part with the sources of its figures, parts side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from planner.documents.hardware import (
    ComparisonPart,
    FigurePart,
    HardwarePart,
    RowPart,
    Unit,
    hardware_part,
)
from planner.hardware.accelerator import Precision
from planner.hardware.catalogue import PRECISIONS, Entry
from planner.report.console import (
    console,
    ever_fewer,
    first_that_fits,
    natural_width,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.units import format_bytes, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDEST = 10_000
_FORMATS: dict[Unit, Callable[[float], str]] = {
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
_LEFT_OUT = ("part", "vendor", "on-chip", "link", "kind", "place", "W", "year", "USD/h", "bandwidth")
"""Columns of the listing in the order in which they make room."""


def list_text(found: Sequence[Entry], precision: Precision | None) -> str:
    """One line for each part, with as many columns as the terminal has room for; a few lines for each where not even
    a few columns fit. The peak is that of `precision`, else the one that training uses, or the nearest that is known.
    """
    out = console(_WIDEST)
    rows = [_listed(one, precision) for one in found]
    if not rows:
        return "No accelerator is like that.\n"
    table = first_that_fits(out, lambda kept: _listing(rows, kept), ever_fewer(list(rows[0]), _LEFT_OUT))
    if table is not None:
        out.print(table)
    else:
        for row in rows:
            values = [f"  {key}: {value}" for key, value in list(row.items())[1:] if value]
            out.print("\n".join([row["name"], *values]), markup=False)
    return text_of(out)


def _listed(entry: Entry, precision: Precision | None) -> dict[str, str]:
    """The cells of one line by their headings."""
    spec, at = entry.spec, precision or entry.usual_precision
    peak = entry.peak(precision)
    return {
        "name": printable(spec.name),
        "part": printable(spec.title),
        "vendor": printable(spec.vendor),
        "kind": spec.kind,
        "place": spec.place,
        "year": str(spec.year or ""),
        "peak": "" if peak is None else f"{format_si(peak)} {at}",
        "memory": _brief("B", entry.memory_bytes),
        "bandwidth": _brief("B/s", entry.memory_bandwidth_bytes_per_s),
        "on-chip": _brief("B", entry.on_chip_bytes),
        "link": _brief("B/s", entry.link_bytes_per_s),
        "W": "" if entry.tdp_w is None else f"{entry.tdp_w:g}",
        "USD/h": "" if entry.usd_per_hour is None else f"{entry.usd_per_hour:.2f}",
        "trains": "yes" if spec.can_train else "no",
    }


def _brief(unit: Unit, value: float | None) -> str:
    if value is None:
        return ""
    return format_bytes(value).replace(".00 ", " ") if unit == "B" else _FORMATS[unit](value)


def _listing(rows: Sequence[dict[str, str]], kept: Sequence[str]) -> Table:
    table = plain_table()
    words = ("name", "part", "vendor", "kind", "place", "trains")
    for heading in kept:
        table.add_column(heading, justify="left" if heading in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[heading] for heading in kept))
    return table


def show_text(entry: Entry, *, sources: bool) -> str:
    """One part: what it is, every figure with its source; with `sources` also the notes and the documents."""
    part, out = hardware_part(entry), console()
    print_lines(out, map(printable, _heading(part)))
    told = list(figures(part))
    table = first_that_fits(out, lambda count: _figure_table(told, count), (4, 3, 2))
    out.print(table or _figure_table(told, 2))
    print_lines(out, _derived(entry))
    if sources:
        out.print()
        print_lines(out, map(printable, _documents(part, told)))
    return text_of(out)


def _heading(part: HardwarePart) -> Iterator[str]:
    year = f", {part.year}" if part.year else ""
    yield f"{part.title} ({part.name})"
    yield f"Kind        {part.kind} of {part.vendor}, {part.architecture}, {part.place}{year}"
    yield "Training    yes" if part.can_train else f"Training    no: {part.why_not_train}"
    if part.frameworks:
        yield f"Frameworks  {', '.join(part.frameworks)}"
    if part.clouds:
        yield f"Clouds      {', '.join(part.clouds)}"


def figures(part: HardwarePart) -> Iterator[tuple[str, FigurePart]]:
    """Every figure with what it is."""
    for precision in PRECISIONS:
        if precision in part.peak_flops:
            yield f"peak {precision}, dense", part.peak_flops[precision]
    memory = part.memory
    kind = f" ({memory.type})" if memory.type else ""
    named = [
        (f"memory{kind}", memory.capacity),
        ("memory bandwidth", memory.bandwidth),
        ("bus width", memory.bus_width),
        ("rate of a pin", memory.pin_rate),
        ("on-chip memory", memory.on_chip),
        (f"link ({part.link.name})" if part.link else "link", part.link.bandwidth if part.link else None),
        ("power", part.tdp),
        ("idle", part.idle),
    ]
    yield from ((name, figure) for name, figure in named if figure is not None)
    for price in part.prices:
        yield f"rent, {price.cloud} {price.date}", price.rent


def _figure_table(figures: Sequence[tuple[str, FigurePart]], columns: int) -> Table:
    table = plain_table()
    for heading in ("figure", "value", "source", "confidence")[:columns]:
        table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=columns > 2)
    for name, figure in figures:
        cells = (printable(name), _value(name, figure), printable(figure.source), figure.confidence)
        table.add_row(*cells[:columns])
    return table


def figure_text(figure: FigurePart) -> str:
    """A figure with its unit."""
    return _FORMATS[figure.unit](figure.value)


def _value(name: str, figure: FigurePart) -> str:
    if name == "rate of a pin":
        return format_si(figure.value * 8, "b/s")
    return figure_text(figure)


def _derived(entry: Entry) -> Iterator[str]:
    """What follows from the figures, at the usual precision."""
    at = entry.usual_precision
    what = "OP" if at and at.startswith("int") else "FLOP"
    rows = (
        (f"{what}/s", "a watt", entry.flops_per_w()),
        (what, "a dollar", entry.flop_per_usd()),
        (what, "a byte of memory traffic at the ridge point", entry.ridge_flop_per_byte()),
    )
    told = [f"{format_si(value, unit)} for {each}" for unit, each, value in rows if value is not None]
    if told:
        yield f"At {at}: {'; '.join(told)}"


def _documents(part: HardwarePart, figures: Sequence[tuple[str, FigurePart]]) -> Iterator[str]:
    """Notes of the figures, then the documents by the key that the figures name."""
    notes = [f"  {name}: {figure.note}" for name, figure in figures if figure.note]
    if notes:
        yield "Notes"
        yield from notes
    yield "Sources"
    for key, source in part.sources.items():
        yield f"  {key}: " + ", ".join(one for one in (source.title, source.url, source.date) if one)


def compare_text(found: Sequence[Entry], comparison: ComparisonPart) -> str:
    """Parts side by side with ratios to the first; as many at a time as the terminal has room for."""
    out = console(_WIDEST)
    rest = list(range(1, len(found)))
    while rest:
        size = next((n for n in range(len(rest), 0, -1) if _fits(out, found, comparison, [0, *rest[:n]])), 0)
        if not size:  # not even two beside each other: one below the other
            out.print("\n".join(_record(found, comparison, index) for index in range(len(found))), markup=False)
            break
        out.print(_comparison_table(found, comparison, [0, *rest[:size]]))
        rest = rest[size:]
    if comparison.precision is not None:
        out.print(f"Per watt, per dollar and ridge point at {comparison.precision}; ratios are to the first.")
    else:
        out.print("No precision's peak is stated by all; ratios are to the first.")
    unable = [one for one in found if not one.spec.can_train]
    print_lines(out, [printable(f"{one.name} cannot train: {one.spec.why_not_train}") for one in unable])
    return text_of(out)


def _fits(out: Console, found: Sequence[Entry], comparison: ComparisonPart, chosen: Sequence[int]) -> bool:
    return natural_width(out, _comparison_table(found, comparison, chosen)) <= out.width


def _comparison_table(found: Sequence[Entry], comparison: ComparisonPart, chosen: Sequence[int]) -> Table:
    table = plain_table()
    table.add_column("")
    for index in chosen:
        table.add_column(printable(found[index].name), justify="right")
    facts: tuple[tuple[str, Callable[[Entry], str]], ...] = (
        ("vendor", lambda one: printable(one.spec.vendor)),
        ("kind", lambda one: one.spec.kind),
        ("year", lambda one: str(one.spec.year or "")),
        ("trains", lambda one: "yes" if one.spec.can_train else "no"),
    )
    for name, fact in facts:
        table.add_row(name, *(fact(found[index]) for index in chosen))
    for row in comparison.rows:
        table.add_row(row.figure, *(compared(row, index) for index in chosen))
    return table


def _record(found: Sequence[Entry], comparison: ComparisonPart, index: int) -> str:
    """One part's figures below its name."""
    lines = [f"  {row.figure}: {compared(row, index)}" for row in comparison.rows]
    return "\n".join([printable(found[index].name), *lines])


def compared(row: RowPart, index: int) -> str:
    """One part's figure, with its ratio to the first one's."""
    value, ratio = row.values[index], row.ratios[index]
    if value is None:
        return "-"
    beside = "" if index == 0 or ratio is None else f"  {_times(ratio)}"
    return _FORMATS[row.unit](value) + beside


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if 0.1 <= ratio < 100 else f"{ratio:.2g}x"
