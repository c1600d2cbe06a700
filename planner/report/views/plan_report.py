"""The plan document as a report: one record a plan, its step and memory as bars, a front as a scatter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from planner.cost.memory import MEMORY_CATEGORIES
from planner.documents.plan import MemoryBreakdownPart, PlanDocument, PlanPart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
)
from planner.report.views.objectives import build_objective_figure
from planner.report.views.plan_text import format_plan_heading, format_plan_sentences
from planner.report.views.plan_words import format_strategy, format_term_name
from planner.report.views.plans_table import PlanColumn, build_plan_columns
from planner.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeteroPlanPart

_MAX_BARS = 12
"""Plans that are drawn as bars; all are in the table."""


def build_plan_report(document: PlanDocument) -> Report:
    """The whole answer of `plan` and `estimate`."""
    plans, model, cluster = document.plans, document.model, document.cluster
    title = f"{model.title} on {cluster.title}"
    head: dict[str, RecordValue] = {"model": model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    head |= {"nodes": cluster.nodes, "devices": cluster.devices}
    return Report(
        command="plan",
        title=title,
        facts=parse_heading_facts(format_plan_heading(document)),
        records=[{"rank": n, **head, **build_plan_record(plan)} for n, plan in enumerate(plans, 1)],
        tables=[
            build_report_table("Plans, the best first", build_plan_columns(document)),
            build_step_table("Step of the best plan", plans[0].terms, plans[0].hidden, plans[0].step_time_s),
            build_memory_table("Fullest device of the best plan", plans[0].memory),
        ],
        charts=[
            build_step_bars("Where the step goes", [(name, plan.terms) for name, plan in _label_plans(plans)]),
            build_memory_bars(
                "Peak memory (worst stage)", [(name, plan.memory) for name, plan in _label_plans(plans)]
            ),
            *([_build_front_scatter(document)] if len(plans) > 1 else []),
        ],
        sentences=format_plan_sentences(document),
        cases=[
            ReportCase(title, f"plan {n} fits: {format_strategy(plan.strategy)}", plan.step_time_s)
            for n, plan in enumerate(plans, 1)
        ],
    )


def build_report_table(title: str, columns: Sequence[PlanColumn]) -> ReportTable:
    """Columns as a table of the report."""
    text_columns = frozenset(number for number, column in enumerate(columns) if not column.is_right_aligned)
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return ReportTable(title, [column.heading for column in columns], rows, text_columns)


def parse_heading_facts(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of the lines of a heading: a word, and from the eleventh column on what is said of it."""
    return [(line[:10].strip(), line[10:].strip()) for line in lines]


def build_plan_record(plan: PlanPart) -> dict[str, RecordValue]:
    """One plan, flat: its split and settings by their names, `term_NAME_s` that add up to `step_time_s`,
    `hidden_NAME_s`, `memory_KIND_bytes`.
    """
    record: dict[str, RecordValue] = {**collect_part_fields(plan.strategy), **collect_part_fields(plan.settings)}
    record |= {"global_batch": plan.global_batch, "step_time_s": plan.step_time_s}
    record |= collect_time_fields(plan)
    record |= {
        "hfu": plan.hfu,
        "cost_usd_per_step": plan.cost_usd_per_step,
        "energy_j_per_step": plan.energy_j_per_step,
    }
    record |= {f"memory_{name}": size for name, size in collect_part_fields(plan.memory).items()}
    return record | {"bottleneck": plan.bottleneck}


def collect_time_fields(part: PlanPart | HeteroPlanPart) -> dict[str, RecordValue]:
    """Where a step goes and what it yields, flat."""
    record: dict[str, RecordValue] = {f"term_{name}_s": seconds for name, seconds in part.terms.items()}
    record |= {f"hidden_{name}_s": seconds for name, seconds in part.hidden.items()}
    throughput_fields = (
        "tokens_per_s",
        "tokens_per_s_per_device",
        "samples_per_s",
        "samples_per_s_per_device",
        "mfu",
    )
    return record | {name: getattr(part, name) for name in throughput_fields}


def collect_part_fields(part: msgspec.Struct) -> dict[str, RecordValue]:
    """The fields of a part that has no parts in it."""
    return {name: getattr(part, name) for name in part.__struct_fields__}


def build_step_bars(title: str, bars: Sequence[tuple[str, Mapping[str, float]]]) -> BarChart:
    """Steps side by side, one bar each: (label, seconds by term)."""
    drawn_bars = []
    for label, terms in bars:
        step_time_s = math.fsum(terms.values())
        segments = [
            BarSegment(
                format_term_name(name),
                seconds,
                f"{format_term_name(name)}: {format_seconds(seconds)}, {seconds / step_time_s:.1%}",
            )
            for name, seconds in terms.items()
            if seconds
        ]
        drawn_bars.append(StackedBar(label, format_seconds(step_time_s), segments))
    return BarChart(title, ChartAxis("step time", "s"), drawn_bars, bar_title="plan")


def build_memory_bars(
    title: str, bars: Sequence[tuple[str, MemoryBreakdownPart]], bar_title: str = "plan"
) -> BarChart:
    """What fullest devices hold, one bar each, with their capacity as a line."""
    drawn_bars = []
    for label, memory in bars:
        sizes = {category: float(getattr(memory, f"{category}_bytes")) for category in MEMORY_CATEGORIES}
        segments = [
            BarSegment(
                category, size, f"{category}: {format_bytes(size)}, {size / memory.capacity_bytes:.1%} of the device"
            )
            for category, size in sizes.items()
            if size
        ]
        drawn_bars.append(
            StackedBar(label, f"{memory.total_bytes / memory.capacity_bytes:.1%}", segments, memory.capacity_bytes)
        )
    axis = ChartAxis("memory per device", "B")
    return BarChart(title, axis, drawn_bars, bar_title=bar_title, limit_title="capacity")


def build_step_table(
    title: str, terms: Mapping[str, float], overlapped: Mapping[str, float], step_time_s: float
) -> ReportTable:
    """Where a step goes; what runs beside other work is told as hidden."""
    rows = [
        (
            format_term_name(name),
            format_seconds(seconds),
            f"{seconds / step_time_s:.1%}",
            _format_nonzero_seconds(overlapped.get(name, 0.0)),
        )
        for name, seconds in terms.items()
        if seconds or overlapped.get(name)
    ]
    rows.append(("total", format_seconds(step_time_s), "", ""))
    return ReportTable(title, ("term", "time", "share", "overlapped"), rows)


def build_memory_table(title: str, memory: MemoryBreakdownPart) -> ReportTable:
    """What a device holds."""
    sizes = {category: float(getattr(memory, f"{category}_bytes")) for category in MEMORY_CATEGORIES}
    sizes |= {"total": memory.total_bytes, "capacity": memory.capacity_bytes}
    rows = [
        (category, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
        for category, size in sizes.items()
        if size
    ]
    return ReportTable(title, ("kind", "memory", "share"), rows)


def _format_nonzero_seconds(seconds: float) -> str:
    return format_seconds(seconds) if seconds else ""


def _label_plans(plans: Sequence[PlanPart]) -> list[tuple[str, PlanPart]]:
    """The first plans with what they are called beside their bars."""
    return [(f"{n}: {format_strategy(plan.strategy)}", plan) for n, plan in enumerate(plans[:_MAX_BARS], 1)]


def _build_front_scatter(document: PlanDocument) -> PointChart:
    """Plans by the two objectives of a front; by memory and step time where there is one objective only."""
    objectives, plans = document.search.objectives, document.plans
    x_name, y_name = objectives[:2] if len(objectives) > 1 else ("memory", "step-time")
    x_figure, y_figure = build_objective_figure(x_name, document), build_objective_figure(y_name, document)
    xs, ys = [x_figure.compute_value(plan) for plan in plans], [y_figure.compute_value(plan) for plan in plans]
    points = [
        ChartPoint(
            x,
            y,
            f"{n}: {format_strategy(plan.strategy)}: {x_figure.format_value(x)}, {y_figure.format_value(y)}",
            n == 1,
        )
        for n, (plan, x, y) in enumerate(zip(plans, xs, ys, strict=True), 1)
    ]
    title = "Pareto front" if len(objectives) > 1 else "Plans by memory and step time"
    x, y = (
        ChartAxis(name.replace("-", " "), objective_figure.heading or ("s" if name == "step-time" else "B"))
        for name, objective_figure in ((x_name, x_figure), (y_name, y_figure))
    )
    return PointChart(title, x, y, [PointSeries("", points)])
