"""The compare document as a report: one record a cluster, also of those that are ruled out."""

from __future__ import annotations

from planner.documents.compare import ClusterOfferPart, CompareDocument
from planner.documents.figures import flatten_part
from planner.documents.plan import ModelPart, StrategyPart
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
    build_columns,
)
from planner.report.views.plan_words import convert_to_throughput_units, get_throughput_unit
from planner.report.views.size_report import (
    build_days_bars,
    build_limit_lines,
    build_rent_bars,
    build_rent_time_scatters,
    format_compact_strategy,
    format_run_energy,
    format_run_length,
    format_run_time,
    format_usd,
)
from planner.units import DAY_S, format_count, format_days, format_mass, format_parameter_count

_SIZE_KEYS = (
    *(name for name in RunSizePart.__struct_fields__ if name != "strategy"),
    *StrategyPart.__struct_fields__,
)
_DROPPABLE_COLUMNS = (
    "frameworks",
    "clouds",
    "plan",
    "tokens/USD",
    "tokens/J",
    "MFU",
    "CO2e",
    "energy",
    "accelerator",
    "nodes",
)
"""Columns in the order in which they make room."""
_TEXT_COLUMNS = ("", "cluster", "accelerator", "plan", "frameworks", "clouds")
"""Columns that hold no numbers."""
_MAX_LISTED_NAMES = 3


def build_compare_report(document: CompareDocument) -> Report:
    """The whole answer of `compare`."""
    title = f"{document.model.title} on {len(document.offers)} clusters"
    feasible_sizes = [(offer.name, offer.size) for offer in document.offers if offer.size is not None]
    return Report(
        command="compare",
        title=title,
        facts=[("Compared", _format_compare_heading(document))],
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
        sentences=_format_compare_sentences(document),
        cases=[_build_compare_case(title, offer) for offer in document.offers],
    )


def _build_compare_record(document: CompareDocument, rank: int, offer: ClusterOfferPart) -> dict[str, RecordValue]:
    """One cluster, flat; null instead of figures where it is ruled out, with the reason last."""
    run = document.run
    record: dict[str, RecordValue] = {"rank": None if offer.size is None else rank, "model": document.model.name}
    record |= {"tokens": run.tokens, "steps": run.steps, "global_batch": run.global_batch}
    record |= {"cluster": offer.name, "accelerator": offer.accelerator, "frameworks": offer.frameworks}
    record |= {"clouds": offer.clouds, "on_front": offer.on_front, "calibrated": offer.calibrated}
    record |= dict.fromkeys(_SIZE_KEYS) if offer.size is None else flatten_part(offer.size)
    return record | {"ruled_out": offer.ruled_out}


def _build_compare_tables(document: CompareDocument) -> list[ReportTable]:
    rows = _build_compare_rows(document)
    tables = []
    if rows:
        headings, unit = list(rows[0]), f"{get_throughput_unit(document.model)}s"
        text_columns = [number for number, name in enumerate(headings) if name in _TEXT_COLUMNS]
        columns = build_columns(headings, text_columns, [name.replace("tokens", unit) for name in _DROPPABLE_COLUMNS])
        title = f"Clusters, the best by {document.ranked_by} first"
        tables.append(ReportTable(title, columns, [list(row.values()) for row in rows], bold_row=0))
    ruled_out = [(offer.name, offer.ruled_out) for offer in document.offers if offer.size is None]
    if ruled_out:
        tables.append(ReportTable("Ruled out", build_columns(("cluster", "why"), (0, 1)), ruled_out))
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


def _format_compare_heading(document: CompareDocument) -> str:
    """What is compared, by what."""
    model, run = document.model, document.run
    limits = [f"within {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for at most {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    title = (
        f"{model.title}, {format_parameter_count(model.parameters)} "
        f"parameters: {format_run_length(model, run)} "
        f"{' and '.join(limits)}".rstrip()
    )
    return f"{title}; ranked by {document.ranked_by}, * on the front of time, money and energy"


def _format_compare_sentences(document: CompareDocument) -> list[str]:
    """What `~` says, and what was assumed."""
    has_uncalibrated = any(offer.size is not None and not offer.calibrated for offer in document.offers)
    text = "~: no measured run of this generation is behind the model's numbers, only those of others"
    return [*([text] if has_uncalibrated else []), *(f"Note: {note}" for note in document.notes)]


def _build_compare_rows(document: CompareDocument) -> list[dict[str, str]]:
    """A line for each cluster that is not ruled out: cells by their headings.

    A column without a single figure tells nothing and is left out.
    """
    rows = [
        _build_compare_row(document.model, offer, offer.size) for offer in document.offers if offer.size is not None
    ]
    return [{name: cell for name, cell in row.items() if any(other_row[name] for other_row in rows)} for row in rows]


def _build_compare_row(model: ModelPart, offer: ClusterOfferPart, size: RunSizePart) -> dict[str, str]:
    """The cells of one line by their headings; empty where a figure is not known."""
    unit, per_usd, per_joule = get_throughput_unit(model), size.tokens_per_usd, size.tokens_per_joule
    return {
        "": "*" if offer.on_front else "",
        "cluster": offer.name + ("" if offer.calibrated else " ~"),
        "accelerator": offer.accelerator,
        "nodes": f"{size.nodes:,}",
        "devices": f"{size.devices:,}",
        "time": format_run_time(size),
        "cost": "" if size.usd is None else format_usd(size.usd),
        "energy": format_run_energy(size),
        "CO2e": "" if size.carbon_kg is None else format_mass(size.carbon_kg),
        "MFU": f"{size.mfu:.1%}",
        f"{unit}s/USD": "" if per_usd is None else format_count(convert_to_throughput_units(model, per_usd)),
        f"{unit}s/J": "" if per_joule is None else f"{convert_to_throughput_units(model, per_joule):.3g}",
        "plan": format_compact_strategy(size.strategy),
        "frameworks": _format_name_list(offer.frameworks),
        "clouds": _format_name_list(offer.clouds),
    }


def _format_name_list(names: list[str]) -> str:
    remaining = len(names) - _MAX_LISTED_NAMES
    return ", ".join(names[:_MAX_LISTED_NAMES]) + (f" +{remaining}" if remaining > 0 else "")
