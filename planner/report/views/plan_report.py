"""The plan document as a report: one record a plan, its step and memory as bars, a front as a scatter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planner.cost.memory import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.documents.figures import flatten_part
from planner.documents.plan import MemoryBreakdownPart, PlanDocument, PlanPart, SearchPart, SettingsPart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    ChartPoint,
    Column,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
    build_columns,
)
from planner.report.views.objectives import build_objective_figure
from planner.report.views.plan_sentences import format_plan_sentences
from planner.report.views.plan_words import (
    build_model_fact,
    build_step_fact,
    format_strategy,
    format_term_name,
    get_throughput_per_s,
    get_throughput_unit,
)
from planner.units import format_bytes, format_count, format_counted_noun, format_seconds

_MAX_BARS = 12
"""Plans that are drawn as bars; all are in the table."""
_MAX_FRONT_PLANS = 25
_USUAL_SETTINGS = frozenset(setting.format_label(setting.values[0]) for setting in SETTINGS.values())
"""Settings that go without saying where all plans have them."""


def build_plan_report(document: PlanDocument) -> Report:
    """The whole answer of `plan` and `estimate`."""
    plans, model, cluster = document.plans, document.model, document.cluster
    title = f"{model.title} on {cluster.title}"
    head: dict[str, RecordValue] = {"model": model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    head |= {"nodes": cluster.nodes, "devices": cluster.devices}
    return Report(
        command="plan",
        title=title,
        facts=_build_plan_facts(document),
        records=[{"rank": n, **head, **flatten_part(plan)} for n, plan in enumerate(plans, 1)],
        tables=[
            _build_plans_table(document),
            build_step_table("Step of the best plan", plans[0].terms, plans[0].hidden, plans[0].step_time_s),
            build_memory_table("Peak memory of the best plan (worst stage)", plans[0].memory),
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


def _build_plan_facts(document: PlanDocument) -> list[tuple[str, str]]:
    """What was understood."""
    model, cluster, search = document.model, document.cluster, document.search
    facts = [
        build_model_fact(model),
        (
            "Cluster",
            f"{cluster.title}: {format_counted_noun(cluster.nodes, 'node')} x {cluster.devices_per_node} "
            f"{cluster.accelerator} = {format_counted_noun(cluster.devices, 'device')}",
        ),
        build_step_fact(model, document.training),
    ]
    settings = _format_common_settings(document.plans, document.training.precision)
    if settings:
        facts.append(("Settings", settings))
    if search.candidates > 1:
        facts += _build_search_facts(search)
    return facts + ([("Note", model.note)] if model.note else [])


def _build_search_facts(search: SearchPart) -> list[tuple[str, str]]:
    """What was looked at, by what the plans are ordered, and which rule cut how many."""
    combinations_note = (
        f" under {search.questions} combinations of settings and batch" if search.questions > 1 else ""
    )
    first, *others = search.objectives
    if others:
        order = f"; the Pareto front of {' and '.join(search.objectives)}"
    else:
        order = "" if first == "step-time" else f"; ordered by {first}"
    if search.critical_batch_tokens is not None:
        critical = format_count(search.critical_batch_tokens)
        order += f"; a token of a step of B counts 1 / (1 + B / {critical})"
    rejections = ", ".join(f"{name} {format_count(count)}" for name, count in search.cut_by.items() if count)
    return [
        (
            "Search",
            f"{search.candidates:,} candidates{combinations_note}, {search.feasible:,} fit; exhaustive{order}",
        ),
        *([("Rejected", rejections)] if rejections else []),
    ]


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
    return ReportTable(
        title, build_columns(("term", "time", "share", "overlapped"), drop_order=("overlapped",)), rows
    )


def build_memory_table(title: str, memory: MemoryBreakdownPart) -> ReportTable:
    """What a device holds."""
    sizes = {category: float(getattr(memory, f"{category}_bytes")) for category in MEMORY_CATEGORIES}
    sizes |= {"total": memory.total_bytes, "capacity": memory.capacity_bytes}
    rows = [
        (category, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
        for category, size in sizes.items()
        if size
    ]
    return ReportTable(title, build_columns(("category", "memory", "share")), rows)


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


def _build_plans_table(document: PlanDocument) -> ReportTable:
    """A row a plan: the degrees, the settings in which plans differ, and what plans are ordered by."""
    plans, strategies = document.plans, [plan.strategy for plan in document.plans]
    capacity_gib = plans[0].memory.capacity_bytes / 2**30
    batches = [f"{plan.global_batch:,}" for plan in plans]
    columns = [
        (Column("#"), [str(number) for number in range(1, len(plans) + 1)]),
        *([(Column("batch"), batches)] if len(set(batches)) > 1 else []),
        *((Column(name), [str(getattr(item, name)) for item in strategies]) for name in ("tp", "pp", "dp", "cp")),
        *(
            (Column(name), [str(getattr(item, name)) for item in strategies])
            for name in ("ep", "etp")
            if any(getattr(item, name) > 1 for item in strategies)
        ),
        (Column("vpp"), [str(item.vpp) for item in strategies]),
        (Column("mbs"), [str(item.micro_batch) for item in strategies]),
        (Column("ZeRO", short_heading="Z"), [str(item.zero_stage) for item in strategies]),
        (Column("recompute", is_text=True, short_heading="rec"), [item.recompute for item in strategies]),
        (Column("SP", is_text=True, drop_rank=1), ["yes" if item.sequence_parallel else "no" for item in strategies]),
        *_build_settings_columns(plans, document.training.precision),
        (Column("step"), [format_seconds(plan.step_time_s) for plan in plans]),
        (
            Column(f"{get_throughput_unit(document.model)}s/s", drop_rank=3),
            [format_count(get_throughput_per_s(document.model, plan)[0]) for plan in plans],
        ),
        (Column("MFU", drop_rank=2), [f"{plan.mfu:.1%}" for plan in plans]),
        (Column("HFU", drop_rank=4), [f"{plan.hfu:.1%}" for plan in plans]),
        *_build_objective_columns(document),
        (Column(f"GiB of {capacity_gib:.1f}"), [f"{plan.memory.total_bytes / 2**30:.1f}" for plan in plans]),
    ]
    return ReportTable(
        "Plans, the best first",
        [column for column, _ in columns],
        list(zip(*(cells for _, cells in columns), strict=True)),
        bold_row=0,
        max_rows=_MAX_FRONT_PLANS if len(document.search.objectives) > 1 else None,
    )


def _format_common_settings(plans: Sequence[PlanPart], precision: str) -> str:
    """The settings that all plans share, where they are not the usual ones; maybe empty. `precision` of training."""
    words = [_format_settings(plan.settings, precision) for plan in plans]
    shared = [word for word in words[0] if all(word in other for other in words)]
    return ", ".join(word for word in shared if word not in _USUAL_SETTINGS)


def resolve_gradient_format(format_name: str, precision: str) -> str:
    """A number format of gradients by its own name: bf16 stands for 16 bits, which are fp16 where training is."""
    return precision if (format_name, precision) == ("bf16", "fp16") else format_name


def _format_settings(settings: SettingsPart, precision: str) -> list[str]:
    """Every setting in a few words."""
    labels = []
    for name, setting in SETTINGS.items():
        text = setting.format_value(getattr(settings, name))
        labels.append(
            setting.format_label(resolve_gradient_format(text, precision) if setting.kind == "dtype" else text)
        )
    return labels


def _build_settings_columns(plans: Sequence[PlanPart], precision: str) -> list[tuple[Column, list[str]]]:
    """Of every plan the settings in which plans differ."""
    words = [_format_settings(plan.settings, precision) for plan in plans]
    differ = [number for number, column in enumerate(zip(*words, strict=True)) if len(set(column)) > 1]
    cells = [", ".join(row[number] for number in differ) for row in words]
    return [(Column("settings", is_text=True), cells)] if differ else []


def _build_objective_columns(document: PlanDocument) -> list[tuple[Column, list[str]]]:
    """What the plans are ordered by, where no other column tells it."""
    figures = [
        build_objective_figure(name, document)
        for name in document.search.objectives
        if name not in ("step-time", "memory-headroom")
    ]
    return [
        (Column(figure.heading), [figure.format_number(figure.compute_value(plan)) for plan in document.plans])
        for figure in figures
    ]
