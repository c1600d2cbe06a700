"""The size document as a report: one record a size of the curve, days and rent as bars with their limits."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.size import SizeDocument
from planner.documents.sizing import SizePart
from planner.report.report import (
    Bar,
    Bars,
    Case,
    Piece,
    Point,
    Report,
    Scatter,
    Table,
    Value,
)
from planner.report.views.plan_report import facts, fields
from planner.report.views.size_text import (
    energy_text,
    format_usd,
    heading,
    run_time,
    sentences,
    split,
)
from planner.units import DAY_S, format_duration


def size_report(document: SizeDocument) -> Report:
    """The whole answer of `size`."""
    title = f"{document.model.title} on {document.cluster}"
    return Report(
        command="size",
        title=title,
        facts=facts(heading(document)),
        records=[_record(document, one) for one in document.curve],
        tables=[_table(document)],
        charts=[
            days_bars(
                "Time of the run", [(_name(document, one), one) for one in document.curve], document.deadline_days
            ),
            usd_bars("Rent of the run", [(_name(document, one), one) for one in document.curve], document.budget_usd),
            *money_and_time([(_name(document, one), one) for one in document.curve], document.answer),
        ],
        sentences=sentences(document),
        cases=[_case(document, title, one) for one in document.curve],
    )


def size_fields(size: SizePart) -> dict[str, Value]:
    """A run on so many nodes, flat: its figures, then the split by its names."""
    figures: dict[str, Value] = {name: getattr(size, name) for name in size.__struct_fields__ if name != "strategy"}
    return figures | fields(size.strategy)


def days_bars(title: str, sizes: Sequence[tuple[str, SizePart]], limit: float | None = None) -> Bars:
    """How long the run is, and what of it failures cost; `limit`: days that it may be."""
    drawn = []
    for label, size in sizes:
        whole, lost = size.days, size.days - size.days_without_failures
        pieces = [
            Piece(name, days, f"{label}: {name} {format_duration(DAY_S * days)}, {days / whole:.1%}")
            for name, days in (("training", size.days_without_failures), ("failures", lost))
            if days > 0
        ]
        drawn.append(Bar(label, run_time(size), pieces, limit))
    return Bars(title, drawn)


def usd_bars(title: str, sizes: Sequence[tuple[str, SizePart]], limit: float | None = None) -> Bars:
    """What the run's nodes cost; no bar where no rent is known."""
    drawn = []
    for label, size in sizes:
        said = format_usd(size.usd)
        pieces = [] if size.usd is None else [Piece("rent", size.usd, f"{label}: {said}")]
        drawn.append(Bar(label, said, pieces, limit))
    return Bars(title, drawn)


def money_and_time(sizes: Sequence[tuple[str, SizePart]], first: SizePart | None) -> list[Scatter]:
    """Rent over days; none where rents are not known of two at least."""
    known = [(label, one, one.usd) for label, one in sizes if one.usd]
    if len(known) < 2:
        return []
    points = [
        Point(one.days, usd, f"{label}: {run_time(one)}, {format_usd(usd)}", one == first)
        for label, one, usd in known
    ]
    days, rents = [one.days for _, one, _ in known], [usd for _, _, usd in known]
    x_told = format_duration(DAY_S * min(days)), format_duration(DAY_S * max(days))
    y_told = format_usd(min(rents)), format_usd(max(rents))
    return [Scatter("Rent and time", "time", "rent", x_told, y_told, points, logarithmic=True)]


def _name(document: SizeDocument, size: SizePart) -> str:
    answer = ", the answer" if size.nodes == document.answer.nodes else ""
    return f"{size.nodes:,} nodes, {size.devices:,} devices{answer}"


def _record(document: SizeDocument, size: SizePart) -> dict[str, Value]:
    run = document.run
    record: dict[str, Value] = {"model": document.model.name, "cluster": document.cluster}
    record |= {"accelerator": document.accelerator, "tokens": run.tokens, "steps": run.steps}
    record |= {"global_batch": run.global_batch, "deadline_days": document.deadline_days}
    record |= {"budget_usd": document.budget_usd, "answer": size.nodes == document.answer.nodes}
    return record | size_fields(size)


def _table(document: SizeDocument) -> Table:
    headings = ("", "nodes", "devices", "time", "rent", "energy", "MFU", "goodput", "plan")
    rows = [
        (
            "*" if one.nodes == document.answer.nodes else "",
            f"{one.nodes:,}",
            f"{one.devices:,}",
            run_time(one),
            format_usd(one.usd),
            energy_text(one),
            f"{one.mfu:.1%}",
            f"{one.goodput_share:.1%}",
            split(one.strategy),
        )
        for one in document.curve
    ]
    return Table("Sizes around the answer (*)", headings, rows, frozenset({0, 8}))


def _case(document: SizeDocument, title: str, size: SizePart) -> Case:
    """A size that meets what is asked passes; another is left out with what it misses."""
    missed = []
    if document.deadline_days is not None and size.days > document.deadline_days:
        missed.append(f"takes {size.days:.4g} days, more than {document.deadline_days:g}")
    if document.budget_usd is not None and (size.usd is None or size.usd > document.budget_usd):
        missed.append(f"{format_usd(size.usd)}, not within {format_usd(document.budget_usd)}")
    return Case(title, _name(document, size), DAY_S * size.days, skipped="; ".join(missed))
