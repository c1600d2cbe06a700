"""The compare document as a report: one record a cluster, also of those that are ruled out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.documents.compare import ClusterOfferPart, CompareDocument
from planner.documents.figures import flatten_part
from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.size import RunSizePart
from planner.report.report import (
    Chart,
    ChartAxis,
    Column,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    build_columns,
)
from planner.report.views import breakdown, plan_words, size_report
from planner.units import DAY_S, format_count, format_counted_noun, format_mass, format_parameter_count

_SIZE_KEYS = (
    *(name for name in RunSizePart.__struct_fields__ if name != "strategy"),
    *StrategyPart.__struct_fields__,
)
_MAX_LISTED_NAMES = 3


def build_compare_report(document: CompareDocument) -> Report:
    """The report of `compare`."""
    title = f"{document.model.title} on {format_counted_noun(len(document.offers), 'cluster')}"
    sizes = [(offer.name, offer.size) for offer in document.offers if offer.size is not None]
    charts: list[Chart] = []
    if sizes:
        energies = [
            (name, size.energy_kwh, size_report.format_run_energy(size) or "not known") for name, size in sizes
        ]
        limits = size_report.build_limit_lines(document.deadline_days, document.budget_usd)
        charts = [
            size_report.build_days_bars("Time of the run", sizes, document.deadline_days, "cluster"),
            size_report.build_rent_bars("Rent of the run", sizes, document.budget_usd),
            breakdown.build_figure_bars(
                "Energy of the run", ChartAxis("energy", "kWh"), energies, "cluster", "energy"
            ),
            *size_report.build_rent_time_scatters(sizes, sizes[0][1], limits),
        ]
    return Report(
        command="compare",
        title=title,
        facts=[("Compared", _format_heading(document))],
        records=[_build_record(document, number, offer) for number, offer in enumerate(document.offers, 1)],
        tables=list(_enumerate_tables(document)),
        charts=charts,
        sentences=_build_sentences(document),
        cases=[_build_case(title, offer) for offer in document.offers],
    )


def _build_record(document: CompareDocument, rank: int, offer: ClusterOfferPart) -> dict[str, RecordValue]:
    """One cluster, flat; null instead of figures where it is ruled out, with the reason last."""
    run = document.run
    record: dict[str, RecordValue] = {"rank": None if offer.size is None else rank, "model": document.model.name}
    record |= {"tokens": run.tokens}
    record |= {"cluster": offer.name, "accelerator": offer.accelerator, "frameworks": offer.frameworks}
    record |= {"clouds": offer.clouds, "on_front": offer.on_front, "calibrated": offer.calibrated}
    record["told_apart"] = offer.told_apart
    record |= dict.fromkeys(_SIZE_KEYS) if offer.size is None else flatten_part(offer.size)
    return record | {"ruled_out": offer.ruled_out}


def _build_case(title: str, offer: ClusterOfferPart) -> ReportCase:
    """A cluster passes, or is left out with what rules it out."""
    if offer.size is None:
        return ReportCase(title, offer.name, skip_reason=offer.ruled_out)
    return ReportCase(title, f"{offer.name}, {offer.size.nodes:,} nodes", DAY_S * offer.size.days)


def _format_heading(document: CompareDocument) -> str:
    """The run, its limits, and the figure that clusters are ranked by."""
    model = document.model
    run = size_report.format_run_length(model, document.run)
    limits = " and ".join(size_report.format_limits(document.deadline_days, document.budget_usd))
    text = f"{model.title}, {format_parameter_count(model.parameters)} parameters: {run}"
    text = f"{text}, {limits}" if limits else text
    return f"{text}; ranked by {document.ranked_by}, * on the Pareto front of time, cost and energy"


def _build_sentences(document: CompareDocument) -> list[str]:
    """The meaning of `~`, and what was assumed."""
    sized = [offer for offer in document.offers if offer.size is not None]
    sentences = []
    tied = [offer.name for offer in sized[1:] if not offer.told_apart]
    if tied:
        names = f"{', '.join(tied[:-1])} and {tied[-1]}" if len(tied) > 1 else tied[0]
        first = f"{sized[0].name} cannot be told apart from {names}"
        sentences.append(f"{first}: they differ by less than the error of such a comparison.")
    if any(not offer.calibrated for offer in sized):
        sentences.append(
            "~ uncalibrated: the cost model is fitted to measured runs of other accelerator generations only; ranked "
            "below what it cannot be told apart from"
        )
    if sized:
        sentences.append(plan_words.FASTEST_PLANS_COUNT)
    return [*sentences, *(f"Note: {note}" for note in document.notes)]


def _enumerate_tables(document: CompareDocument) -> Iterator[ReportTable]:
    """The clusters that are not ruled out, without columns in which nothing is known; then the others."""
    sized = [(offer, offer.size) for offer in document.offers if offer.size is not None]
    columns = [
        Column(heading, cells, is_text, drop_rank=drop_rank)
        for heading, is_text, drop_rank, format_cell in _list_columns(document.model)
        if any(cells := [format_cell(offer, size) for offer, size in sized])
    ]
    if sized:
        yield ReportTable(f"Clusters, the best by {document.ranked_by} first", columns, bold_row=0)
    ruled_out = [(offer.name, offer.ruled_out) for offer in document.offers if offer.size is None]
    if ruled_out:
        yield ReportTable("Ruled out", build_columns(("cluster", "why"), ruled_out, (0, 1)))


def _list_columns(
    model: ModelPart,
) -> list[tuple[str, bool, int, Callable[[ClusterOfferPart, RunSizePart], str]]]:
    """Columns of the clusters: heading, whether it holds text, drop rank, cell of a cluster with its run."""
    unit = plan_words.get_throughput_unit(model)

    def format_units(tokens: float | None, format_value: Callable[[float], str]) -> str:
        return "" if tokens is None else format_value(plan_words.convert_to_throughput_units(model, tokens))

    return [
        ("", True, 0, lambda offer, size: "*" if offer.on_front else ""),
        ("cluster", True, 0, lambda offer, size: offer.name + ("" if offer.calibrated else " ~")),
        ("accelerator", True, 2, lambda offer, size: offer.accelerator),
        ("nodes", False, 1, lambda offer, size: f"{size.nodes:,}"),
        ("devices", False, 0, lambda offer, size: f"{size.devices:,}"),
        ("batch", False, 7, lambda offer, size: f"{size.global_batch:,}"),
        ("time (10-90 %)", False, 0, lambda offer, size: size_report.format_run_time_interval(size)),
        ("cost (10-90 %)", False, 0, lambda offer, size: size_report.format_rent_interval(size, unknown="")),
        ("energy", False, 3, lambda offer, size: size_report.format_run_energy(size)),
        ("CO2e", False, 4, lambda offer, size: "" if size.carbon_kg is None else format_mass(size.carbon_kg)),
        ("MFU", False, 5, _format_mfu),
        (f"{unit}s/USD", False, 7, lambda offer, size: format_units(size.tokens_per_usd, format_count)),
        (f"{unit}s/J", False, 6, lambda offer, size: format_units(size.tokens_per_joule, "{:.3g}".format)),
        ("plan", True, 8, lambda offer, size: size_report.format_compact_strategy(size.strategy)),
        ("frameworks", True, 10, lambda offer, size: _format_name_list(offer.frameworks)),
        ("clouds", True, 9, lambda offer, size: _format_name_list(offer.clouds)),
    ]


def _format_mfu(offer: ClusterOfferPart, size: RunSizePart) -> str:
    """`41.2% of bf16`: clusters may train in different precisions; of a narrow one also against the 16-bit peak."""
    is_narrow = plan_words.is_narrow(size.mfu, size.mfu_bf16)
    return f"{size.mfu:.1%} of {size.mfu_peak}" + (f", {size.mfu_bf16:.1%} of bf16" if is_narrow else "")


def _format_name_list(names: list[str]) -> str:
    remaining = len(names) - _MAX_LISTED_NAMES
    return ", ".join(names[:_MAX_LISTED_NAMES]) + (f" +{remaining}" if remaining > 0 else "")
