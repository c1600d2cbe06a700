"""The size document as a report: one record a size of the curve, days and rent as bars with their limits."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.figures import flatten_part
from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.size import SizeDocument
from planner.documents.sizing import RunSizePart, TrainingRunPart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    RecordValue,
    ReferenceLine,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
    build_columns,
)
from planner.report.views.plan_words import build_model_fact, format_strategy, format_token_amount
from planner.units import (
    DAY_S,
    J_PER_KWH,
    format_count,
    format_counted_noun,
    format_days,
    format_duration,
    format_energy,
    format_mass,
    format_parameter_count,
)

_DAYS_AXIS, _RENT_AXIS = ChartAxis("time", "days"), ChartAxis("rent", "USD")


def build_size_report(document: SizeDocument) -> Report:
    """The whole answer of `size`."""
    title = f"{document.model.title} on {document.cluster}"
    return Report(
        command="size",
        title=title,
        facts=_build_size_facts(document),
        records=[_build_size_record(document, size) for size in document.curve],
        tables=[_build_size_table(document)],
        charts=[
            *build_size_curves(document),
            build_days_bars(
                "Time of the run",
                [(_format_size_name(document, size), size) for size in document.curve],
                document.deadline_days,
            ),
            *build_rent_time_scatters(
                [(_format_size_name(document, size), size) for size in document.curve],
                document.answer,
                build_limit_lines(document.deadline_days, document.budget_usd),
            ),
        ],
        sentences=_format_size_sentences(document),
        cases=[_build_size_case(document, title, size) for size in document.curve],
    )


def build_days_bars(
    title: str, sizes: Sequence[tuple[str, RunSizePart]], limit_days: float | None = None, bar_title: str = "size"
) -> BarChart:
    """How long the run is, and what of it failures cost; `limit_days`: days that it may be."""
    bars = []
    for label, size in sizes:
        total_days, lost_days = size.days, size.days - size.days_without_failures
        segments = [
            BarSegment(name, days, f"{label}: {name} {format_duration(DAY_S * days)}, {days / total_days:.1%}")
            for name, days in (("training", size.days_without_failures), ("failures", lost_days))
            if days > 0
        ]
        bars.append(StackedBar(label, format_run_time(size), segments, limit_days))
    return BarChart(title, _DAYS_AXIS, bars, bar_title=bar_title, limit_title="deadline")


def build_rent_bars(title: str, sizes: Sequence[tuple[str, RunSizePart]], limit_usd: float | None = None) -> BarChart:
    """What the run's nodes cost; no bar where no rent is known."""
    bars = []
    for label, size in sizes:
        display = format_usd(size.usd)
        segments = [] if size.usd is None else [BarSegment("rent", size.usd, f"{label}: {display}")]
        bars.append(StackedBar(label, display, segments, limit_usd))
    return BarChart(title, _RENT_AXIS, bars, bar_title="cluster", limit_title="budget")


def build_size_curves(document: SizeDocument) -> list[PointChart]:
    """Days over devices with the deadline, and rent with the budget where it is known; the answer is highlighted."""
    sizes = [(_format_size_name(document, size), size) for size in document.curve]
    day_points = [
        ChartPoint(size.devices, size.days, f"{label}: {format_run_time(size)}", size == document.answer)
        for label, size in sizes
    ]
    rent_points = [
        ChartPoint(size.devices, size.usd, f"{label}: {format_usd(size.usd)}", size == document.answer)
        for label, size in sizes
        if size.usd is not None
    ]
    limits, devices = build_limit_lines(document.deadline_days, document.budget_usd), ChartAxis("devices")
    curves = [("Time by size", _DAYS_AXIS, day_points, "x"), ("Rent by size", _RENT_AXIS, rent_points, "y")]
    return [
        PointChart(
            title,
            devices,
            y,
            [PointSeries("", points, is_joined=True)],
            [ReferenceLine("y", line.value, line.label) for line in limits if line.axis == axis],
        )
        for title, y, points, axis in curves
        if points
    ]


def build_rent_time_scatters(
    sizes: Sequence[tuple[str, RunSizePart]], highlighted: RunSizePart | None, limits: Sequence[ReferenceLine] = ()
) -> list[PointChart]:
    """Rent over days, with a deadline at a value of x and a budget at one of y; none where rents are not known of two
    at least.
    """
    known_rents = [(label, size, size.usd) for label, size in sizes if size.usd]
    if len(known_rents) < 2:
        return []
    points = [
        ChartPoint(size.days, usd, f"{label}: {format_run_time(size)}, {format_usd(usd)}", size == highlighted)
        for label, size, usd in known_rents
    ]
    return [PointChart("Rent and time", _DAYS_AXIS, _RENT_AXIS, [PointSeries("", points)], limits)]


def build_limit_lines(deadline_days: float | None, budget_usd: float | None) -> list[ReferenceLine]:
    """The deadline on an axis of days across and the budget on one of dollars upwards, where they are given."""
    lines = []
    if deadline_days is not None:
        lines.append(ReferenceLine("x", deadline_days, f"deadline {format_duration(DAY_S * deadline_days)}"))
    if budget_usd is not None:
        lines.append(ReferenceLine("y", budget_usd, f"budget {format_usd(budget_usd)}"))
    return lines


def _format_size_name(document: SizeDocument, size: RunSizePart) -> str:
    answer = ", the answer" if size.nodes == document.answer.nodes else ""
    return f"{size.nodes:,} nodes, {size.devices:,} devices{answer}"


def _build_size_record(document: SizeDocument, size: RunSizePart) -> dict[str, RecordValue]:
    run = document.run
    record: dict[str, RecordValue] = {"model": document.model.name, "cluster": document.cluster}
    record |= {"accelerator": document.accelerator, "tokens": run.tokens, "steps": run.steps}
    record |= {"global_batch": run.global_batch, "deadline_days": document.deadline_days}
    record |= {"budget_usd": document.budget_usd, "answer": size.nodes == document.answer.nodes}
    return record | flatten_part(size)


def _build_size_table(document: SizeDocument) -> ReportTable:
    headings = ("", "nodes", "devices", "time", "rent", "energy", "MFU", "goodput", "plan")
    columns = build_columns(headings, (0, 8), ("plan", "goodput", "MFU", "energy"))
    max_days = max(size.days for size in document.curve)
    rows = [
        (
            "*" if size.nodes == document.answer.nodes else "",
            f"{size.nodes:,}",
            f"{size.devices:,}",
            format_run_time(size),
            format_usd(size.usd),
            format_run_energy(size),
            f"{size.mfu:.1%}",
            f"{size.goodput_share:.1%}",
            format_compact_strategy(size.strategy),
        )
        for size in document.curve
    ]
    return ReportTable(
        "Sizes around the answer (*)",
        columns,
        rows,
        bars=[[(size.days / max_days, "#")] for size in document.curve],
        bold_row=document.curve.index(document.answer) if document.answer in document.curve else None,
    )


def _build_size_case(document: SizeDocument, title: str, size: RunSizePart) -> ReportCase:
    """A size that meets what is asked passes; another is left out with what it misses."""
    unmet_limits = []
    if document.deadline_days is not None and size.days > document.deadline_days:
        unmet_limits.append(f"takes {size.days:.4g} days, more than {document.deadline_days:g}")
    if document.budget_usd is not None and (size.usd is None or size.usd > document.budget_usd):
        unmet_limits.append(f"{format_usd(size.usd)}, not within {format_usd(document.budget_usd)}")
    return ReportCase(
        title, _format_size_name(document, size), DAY_S * size.days, skip_reason="; ".join(unmet_limits)
    )


def _build_size_facts(document: SizeDocument) -> list[tuple[str, str]]:
    """The run and the answer."""
    model, run, answer = document.model, document.run, document.answer
    limits = [f"in {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    return [
        build_model_fact(model),
        ("Run", f"{format_run_length(model, run)} {' '.join(limits)}".rstrip()),
        (
            "Answer",
            f"{format_counted_noun(answer.nodes, 'node')} of "
            f"{document.cluster} = {answer.devices:,} "
            f"{document.accelerator}: {format_run_time(answer)}, {format_usd(answer.usd)}",
        ),
        (
            "Plan",
            f"{format_compact_strategy(answer.strategy)}; MFU {answer.mfu:.1%}"
            f", goodput {answer.goodput_share:.1%}, "
            f"{format_counted_noun(answer.spare_nodes, 'spare node')} beside",
        ),
    ]


def _format_size_sentences(document: SizeDocument) -> list[str]:
    """Chinchilla's line, energy, and what was assumed."""
    compute_optimal, lines = document.compute_optimal, []
    if compute_optimal is not None:
        lines.append(
            f"Chinchilla: {_format_few_digits(compute_optimal.tokens_per_parameter)} "
            "tokens a parameter; the same FLOPs are best spent on "
            f"{format_parameter_count(compute_optimal.parameters)} parameters and "
            f"{format_count(compute_optimal.tokens)} tokens (20 a parameter)."
        )
    answer = document.answer
    if answer.energy_kwh is not None:
        carbon = "" if answer.carbon_kg is None else f", {format_mass(answer.carbon_kg)} CO2e"
        lines.append(f"Energy: {format_run_energy(answer)} at the meter{carbon}.")
    return lines + [f"Note: {note}." for note in document.notes]


def _format_few_digits(value: float) -> str:
    """One decimal, of less than one three digits: a short run is not none."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.3g}"


def format_run_length(model: ModelPart, run: TrainingRunPart) -> str:
    """So many tokens, or images, in so many steps."""
    steps, batch = (
        format_counted_noun(run.steps, "step"),
        format_counted_noun(run.global_batch, model.sample),
    )
    return f"{format_token_amount(model, run.tokens)} in {steps} of {batch}"


def format_run_time(size: RunSizePart) -> str:
    """How long the run takes, failures included."""
    return format_duration(DAY_S * size.days)


def format_run_energy(size: RunSizePart) -> str:
    """Energy at the meter; empty where it is not known."""
    return "" if size.energy_kwh is None else format_energy(J_PER_KWH * size.energy_kwh)


def format_usd(amount_usd: float | None) -> str:
    """`1.26 M USD`, `12,300 USD`; `no known rent` where there is none."""
    if amount_usd is None:
        return "no known rent"
    if amount_usd < 10:
        return f"{amount_usd:.2f} USD"
    return f"{format_count(amount_usd)} USD" if amount_usd >= 1e6 else f"{amount_usd:,.0f} USD"


def format_compact_strategy(strategy: StrategyPart) -> str:
    """A plan in a few words, without degrees of one."""
    return format_strategy(strategy, always_listed=())
