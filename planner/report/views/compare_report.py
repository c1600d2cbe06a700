"""The compare document as a report: one record a cluster, also of those that are ruled out."""

from __future__ import annotations

from planner.documents.compare import ClusterOfferPart, CompareDocument
from planner.documents.plan import StrategyPart
from planner.documents.sizing import RunSizePart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
)
from planner.report.views.compare_text import (
    COMPARE_TEXT_COLUMNS,
    build_compare_rows,
    format_compare_heading,
    format_compare_sentences,
)
from planner.report.views.size_report import (
    build_days_bars,
    build_limit_lines,
    build_rent_bars,
    build_rent_time_scatters,
    collect_size_fields,
)
from planner.report.views.size_text import format_run_energy
from planner.units import DAY_S

_SIZE_KEYS = (
    *(name for name in RunSizePart.__struct_fields__ if name != "strategy"),
    *StrategyPart.__struct_fields__,
)


def build_compare_report(document: CompareDocument) -> Report:
    """The whole answer of `compare`."""
    title = f"{document.model.title} on {len(document.offers)} clusters"
    feasible_sizes = [(offer.name, offer.size) for offer in document.offers if offer.size is not None]
    return Report(
        command="compare",
        title=title,
        facts=[("Compared", format_compare_heading(document))],
        records=[_build_compare_record(document, number, offer) for number, offer in enumerate(document.offers, 1)],
        tables=list(_build_compare_tables(document)),
        charts=[
            build_days_bars("Time of the run", feasible_sizes, document.deadline_days, bar_title="cluster"),
            build_rent_bars("Rent of the run", feasible_sizes, document.budget_usd),
            _build_energy_bars(feasible_sizes),
            *build_rent_time_scatters(
                feasible_sizes, feasible_sizes[0][1], build_limit_lines(document.deadline_days, document.budget_usd)
            ),
        ]
        if feasible_sizes
        else [],
        sentences=format_compare_sentences(document),
        cases=[_build_compare_case(title, offer) for offer in document.offers],
    )


def _build_compare_record(document: CompareDocument, rank: int, offer: ClusterOfferPart) -> dict[str, RecordValue]:
    """One cluster, flat; null instead of figures where it is ruled out, with the reason last."""
    run = document.run
    record: dict[str, RecordValue] = {"rank": None if offer.size is None else rank, "model": document.model.name}
    record |= {"tokens": run.tokens, "steps": run.steps, "global_batch": run.global_batch}
    record |= {"cluster": offer.name, "accelerator": offer.accelerator, "frameworks": offer.frameworks}
    record |= {"clouds": offer.clouds, "on_front": offer.on_front, "calibrated": offer.calibrated}
    record |= dict.fromkeys(_SIZE_KEYS) if offer.size is None else collect_size_fields(offer.size)
    return record | {"ruled_out": offer.ruled_out}


def _build_compare_tables(document: CompareDocument) -> list[ReportTable]:
    rows = build_compare_rows(document)
    tables = []
    if rows:
        text_columns = frozenset(number for number, name in enumerate(rows[0]) if name in COMPARE_TEXT_COLUMNS)
        title = f"Clusters, the best by {document.ranked_by} first"
        tables.append(ReportTable(title, list(rows[0]), [list(row.values()) for row in rows], text_columns))
    ruled_out = [(offer.name, offer.ruled_out) for offer in document.offers if offer.size is None]
    if ruled_out:
        tables.append(ReportTable("Ruled out", ("cluster", "why"), ruled_out, frozenset({0, 1})))
    return tables


def _build_energy_bars(sizes: list[tuple[str, RunSizePart]]) -> BarChart:
    """Energy at the meter; no bar where it is not known."""
    bars = []
    for label, size in sizes:
        display = format_run_energy(size) or "not known"
        segments = [] if size.energy_kwh is None else [BarSegment("energy", size.energy_kwh, f"{label}: {display}")]
        bars.append(StackedBar(label, display, segments))
    return BarChart("Energy of the run", ChartAxis("energy", "kWh"), bars, bar_title="cluster")


def _build_compare_case(title: str, offer: ClusterOfferPart) -> ReportCase:
    """A cluster passes, or is left out with what rules it out."""
    if offer.size is None:
        return ReportCase(title, offer.name, skip_reason=offer.ruled_out)
    return ReportCase(title, f"{offer.name}, {offer.size.nodes:,} nodes", DAY_S * offer.size.days)
