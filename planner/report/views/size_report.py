"""The size document as a report: one record a size of the curve, days and rent as bars with their limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.documents.figures import flatten_part
from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.size import RunSizePart, SizeDocument, TrainingRunPart
from planner.report.report import (
    BarChart,
    ChartAxis,
    ChartPoint,
    Column,
    PointChart,
    PointSeries,
    RecordValue,
    ReferenceLine,
    Report,
    ReportCase,
    ReportTable,
)
from planner.report.views import breakdown, plan_words
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
    format_usd,
    format_usd_interval,
    format_with_interval,
)

NamedSizes = Sequence[tuple[str, RunSizePart]]
"""Runs by the names that they have in charts."""
_DAYS_AXIS, _RENT_AXIS = ChartAxis("time", "days"), ChartAxis("rent", "USD")


def build_size_report(document: SizeDocument) -> Report:
    """The report of `size`."""
    title, sizes = f"{document.model.title} on {document.cluster}", _name_sizes(document)
    limits = build_limit_lines(document.deadline_days, document.budget_usd)
    return Report(
        command="size",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_record(document, size) for size in document.curve],
        tables=[_build_size_table(document)],
        charts=[
            *build_size_curves(document),
            build_days_bars("Time of the run", sizes, document.deadline_days),
            *build_rent_time_scatters(sizes, document.answer, limits),
        ],
        sentences=list(_enumerate_sentences(document)),
        cases=[
            ReportCase(title, name, DAY_S * size.days, skip_reason=_format_missed_limits(document, size))
            for name, size in sizes
        ],
    )


def build_days_bars(
    title: str, sizes: NamedSizes, limit_days: float | None = None, bar_title: str = "size"
) -> BarChart:
    """Days of each run, training and failures apart; `limit_days`: the deadline."""
    bars = []
    for label, size in sizes:
        days = {"training": size.days_without_failures, "failures": size.days - size.days_without_failures}
        time = format_run_time(size)
        bars.append(
            breakdown.build_stacked_bar(
                label, time, days, size.days, lambda value: format_duration(DAY_S * value), limit_days
            )
        )
    return BarChart(title, _DAYS_AXIS, bars, bar_title=bar_title, limit_title="deadline")


def build_rent_bars(title: str, sizes: NamedSizes, limit_usd: float | None = None) -> BarChart:
    """The rent of each run's nodes; no bar where it is not known."""
    figures = [(label, size.usd, format_usd(size.usd)) for label, size in sizes]
    return breakdown.build_figure_bars(title, _RENT_AXIS, figures, "cluster", "rent", limit_usd, "budget")


def build_size_curves(document: SizeDocument) -> list[PointChart]:
    """Days over devices with the deadline, and rent with the budget where it is known; the answer is highlighted."""
    time_points, rent_points = [], []
    for label, size in _name_sizes(document):
        is_answer = size == document.answer
        time_points.append(ChartPoint(size.devices, size.days, f"{label}: {format_run_time(size)}", is_answer))
        if size.usd is not None:
            rent_points.append(ChartPoint(size.devices, size.usd, f"{label}: {format_usd(size.usd)}", is_answer))
    limits = build_limit_lines(document.deadline_days, document.budget_usd)
    curves = [("Time by size", _DAYS_AXIS, time_points, "x"), ("Rent by size", _RENT_AXIS, rent_points, "y")]
    return [
        PointChart(
            title,
            ChartAxis("devices"),
            y,
            [PointSeries("", points, is_joined=True)],
            [ReferenceLine("y", line.value, line.label) for line in limits if line.axis == axis],
        )
        for title, y, points, axis in curves
        if points
    ]


def build_rent_time_scatters(
    sizes: NamedSizes, highlighted: RunSizePart, limits: Sequence[ReferenceLine] = ()
) -> list[PointChart]:
    """Rent over days with limits of `build_limit_lines`; no chart where fewer than two rents are known."""
    points = [
        ChartPoint(
            size.days, size.usd, f"{label}: {format_run_time(size)}, {format_usd(size.usd)}", size == highlighted
        )
        for label, size in sizes
        if size.usd
    ]
    if len(points) < 2:
        return []
    return [PointChart("Rent and time", _DAYS_AXIS, _RENT_AXIS, [PointSeries("", points)], limits)]


def build_limit_lines(deadline_days: float | None, budget_usd: float | None) -> list[ReferenceLine]:
    """The deadline on an axis of days across and the budget on one of dollars upwards, where they are given."""
    lines = []
    if deadline_days is not None:
        lines.append(ReferenceLine("x", deadline_days, f"deadline {format_duration(DAY_S * deadline_days)}"))
    if budget_usd is not None:
        lines.append(ReferenceLine("y", budget_usd, f"budget {format_usd(budget_usd)}"))
    return lines


def _name_sizes(document: SizeDocument) -> list[tuple[str, RunSizePart]]:
    return [
        (
            f"{size.nodes:,} nodes, {size.devices:,} devices"
            + (", the answer" if size.nodes == document.answer.nodes else ""),
            size,
        )
        for size in document.curve
    ]


def _build_record(document: SizeDocument, size: RunSizePart) -> dict[str, RecordValue]:
    run = document.run
    record: dict[str, RecordValue] = {"model": document.model.name, "cluster": document.cluster}
    record |= {"accelerator": document.accelerator, "tokens": run.tokens, "steps": size.steps}
    record |= {"global_batch": size.global_batch, "deadline_days": document.deadline_days}
    record |= {"budget_usd": document.budget_usd, "answer": size.nodes == document.answer.nodes}
    return record | flatten_part(size)


def _build_size_table(document: SizeDocument) -> ReportTable:
    curve, answer = document.curve, document.answer
    max_days = max(size.days for size in curve)
    columns = [
        Column("", ["*" if size.nodes == answer.nodes else "" for size in curve], is_text=True),
        Column("nodes", [f"{size.nodes:,}" for size in curve]),
        Column("devices", [f"{size.devices:,}" for size in curve]),
        Column("batch", [f"{size.global_batch:,}" for size in curve], drop_rank=5),
        Column("time (10-90 %)", [format_run_time_interval(size) for size in curve]),
        Column("rent (10-90 %)", [format_rent_interval(size) for size in curve]),
        Column("energy", [format_run_energy(size) for size in curve], drop_rank=1),
        *plan_words.build_mfu_columns(answer.mfu_peak, [(size.mfu, size.mfu_bf16) for size in curve], drop_rank=2),
        Column("goodput", [f"{size.goodput_share:.1%}" for size in curve], drop_rank=3),
        Column("plan", [format_compact_strategy(size.strategy) for size in curve], is_text=True, drop_rank=4),
    ]
    return ReportTable(
        "Sizes around the answer (*)",
        columns,
        bars=[[(size.days / max_days, "#")] for size in curve],
        bold_row=curve.index(answer) if answer in curve else None,
    )


def _format_missed_limits(document: SizeDocument, size: RunSizePart) -> str:
    """How a size misses the deadline and the budget; empty where it meets both."""
    missed = []
    if document.deadline_days is not None and size.days > document.deadline_days:
        missed.append(f"takes {size.days:.4g} days, more than {document.deadline_days:g}")
    if document.budget_usd is not None and (size.usd is None or size.usd > document.budget_usd):
        missed.append(f"{format_usd(size.usd)}, not within {format_usd(document.budget_usd)}")
    return "; ".join(missed)


def _enumerate_facts(document: SizeDocument) -> Iterator[tuple[str, str]]:
    """The run with its limits, the size that was found, and its plan."""
    answer = document.answer
    yield plan_words.build_model_fact(document.model)
    length = format_run_length(document.model, document.run)
    yield "Run", ", ".join([length, *format_limits(document.deadline_days, document.budget_usd)])
    nodes = f"{format_counted_noun(answer.nodes, 'node')} of {document.cluster}"
    size = f"{nodes} = {answer.devices:,} {document.accelerator}"
    yield "Answer", f"{size}: {format_run_time_interval(answer)}, {format_rent_interval(answer)}"
    spares = f"{plan_words.format_spare_nodes(answer.spare_nodes)} in addition"
    mfu = plan_words.format_mfu(answer.mfu, answer.mfu_peak, answer.mfu_bf16)
    shares = f"{mfu}, goodput {answer.goodput_share:.1%}"
    yield "Plan", f"{format_compact_strategy(answer.strategy)}; {shares}, {spares}"


def _enumerate_sentences(document: SizeDocument) -> Iterator[str]:
    """The compute-optimal model, energy, and what was assumed."""
    optimal, answer = document.compute_optimal, document.answer
    if optimal is not None:
        ratio = optimal.tokens_per_parameter
        # three digits of less than one: a short run is not none
        tokens_per_parameter = f"{ratio:,.1f}" if ratio >= 1 else f"{ratio:.3g}"
        parameters, tokens = format_parameter_count(optimal.parameters), format_count(optimal.tokens)
        yield (
            f"Chinchilla: {tokens_per_parameter} tokens a parameter; the same FLOPs are best spent on "
            f"{parameters} parameters and {tokens} tokens (20 a parameter)."
        )
    if answer.energy_kwh is not None:
        carbon = "" if answer.carbon_kg is None else f", {format_mass(answer.carbon_kg)} CO2e"
        yield f"Energy of the whole site: {format_run_energy(answer)}{carbon}."
    yield plan_words.FASTEST_PLANS_COUNT
    yield from (f"Note: {note}." for note in document.notes)


def format_limits(deadline_days: float | None, budget_usd: float | None) -> list[str]:
    """`within 30 days`, `for at most 200,000 USD`; those that are given."""
    limits = [] if deadline_days is None else [f"within {format_days(deadline_days)}"]
    return limits + ([] if budget_usd is None else [f"for at most {format_usd(budget_usd)}"])


def format_run_length(model: ModelPart, run: TrainingRunPart) -> str:
    """Tokens, or images, and steps of a run, and how much of a device's memory plans may use."""
    limit = "" if run.memory_limit is None else f", memory limit {run.memory_limit}"
    amount = plan_words.format_token_amount(model, run.tokens)
    if run.steps is None or run.global_batch is None:
        batches = format_counted_noun(run.batch.high, model.sample)
        return f"{amount} in steps of {run.batch.low:,} to {batches}{limit}"
    steps, batch = format_counted_noun(run.steps, "step"), format_counted_noun(run.global_batch, model.sample)
    return f"{amount} in {steps} of {batch}{limit}"


def format_run_time(size: RunSizePart) -> str:
    """How long the run takes, failures included."""
    return format_duration(DAY_S * size.days)


def format_run_time_interval(size: RunSizePart) -> str:
    """The same with its interval: `34.2 d (30.1-39.9)`."""
    return format_with_interval(size.days, size.days_p10, size.days_p90, lambda days: format_duration(DAY_S * days))


def format_rent_interval(size: RunSizePart, unknown: str = "no known rent") -> str:
    """The rent of the run's nodes with its interval; `unknown` where it is not known."""
    if size.usd is None or size.usd_p10 is None or size.usd_p90 is None:
        return unknown
    return format_usd_interval(size.usd, size.usd_p10, size.usd_p90)


def format_run_energy(size: RunSizePart) -> str:
    """Energy of the whole site; empty where it is not known."""
    return "" if size.energy_kwh is None else format_energy(J_PER_KWH * size.energy_kwh)


def format_compact_strategy(strategy: StrategyPart) -> str:
    """A plan in a few words, without degrees of one."""
    return plan_words.format_strategy(strategy, always_listed=())
