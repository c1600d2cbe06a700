"""The plan document as a report: one record a plan, its step and memory as bars, a front as a scatter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.cost.settings import SETTINGS
from planner.documents.figures import flatten_part
from planner.documents.plan import DefaultsPart, PlanDocument, PlanPart, SearchPart, SettingsPart
from planner.report.report import (
    ChartAxis,
    ChartPoint,
    Column,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
)
from planner.report.views import breakdown, plan_words
from planner.report.views.plan_sentences import format_plan_sentences
from planner.search.objective import compute_effective_tokens
from planner.units import format_bytes, format_count, format_counted_noun, format_seconds, format_si

_MAX_BARS = 12
"""Plans that are drawn as bars; all are in the table."""
_MAX_FRONT_PLANS = 25
_USUAL_SETTINGS = frozenset(setting.format_label(setting.values[0]) for setting in SETTINGS.values())
"""Settings that are not listed where all plans have them; nor are those that make no difference to any plan."""


def build_plan_report(document: PlanDocument) -> Report:
    """The report of `plan` and `estimate`."""
    plans, model, cluster = document.plans, document.model, document.cluster
    best, title = plans[0], f"{model.title} on {cluster.title}"
    head: dict[str, RecordValue] = {"model": model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    head |= {"nodes": cluster.nodes, "devices": cluster.devices}
    names = [plan_words.format_strategy(plan.strategy) for plan in plans]
    drawn = [(f"{n}: {name}", plan) for n, (name, plan) in enumerate(zip(names, plans, strict=True), 1)][:_MAX_BARS]
    return Report(
        command="plan",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[{"rank": n, **head, **flatten_part(plan)} for n, plan in enumerate(plans, 1)],
        tables=[
            _build_plans_table(document),
            breakdown.build_step_table("Step of the best plan", best.terms, best.overlapped, best.step_time_s),
            breakdown.build_memory_table("Peak memory of the best plan (worst stage)", best.memory),
        ],
        charts=[
            breakdown.build_step_bars("Where the step goes", [(name, plan.terms) for name, plan in drawn]),
            breakdown.build_memory_bars("Peak memory (worst stage)", [(name, plan.memory) for name, plan in drawn]),
            *([_build_front_scatter(document)] if len(plans) > 1 else []),
        ],
        sentences=format_plan_sentences(document),
        cases=[
            ReportCase(title, f"plan {n} fits: {name}", plan.step_time_s)
            for n, (name, plan) in enumerate(zip(names, plans, strict=True), 1)
        ],
    )


def _enumerate_facts(document: PlanDocument) -> Iterator[tuple[str, str]]:
    """The scenario as it was understood, and the search."""
    model, cluster = document.model, document.cluster
    yield plan_words.build_model_fact(model)
    nodes, devices = format_counted_noun(cluster.nodes, "node"), format_counted_noun(cluster.devices, "device")
    size = f"{nodes} x {cluster.devices_per_node} {cluster.accelerator} = {devices}"
    yield "Cluster", f"{cluster.title}: {size}"
    yield plan_words.build_step_fact(model, document.scenario)
    yield from plan_words.build_memory_limit_facts(document.scenario, document.best_plan.memory.capacity_bytes)
    settings = [_format_settings(plan.settings, document.scenario.precision) for plan in document.plans]
    shared = [text for text in settings[0] if all(text in other for other in settings)]
    affecting = [
        setting.affects is None or any(setting.affects(plan.strategy) for plan in document.plans)
        for setting in SETTINGS.values()
    ]
    without_effect = {text for text, affects in zip(settings[0], affecting, strict=True) if not affects}
    unusual = [text for text in shared if text not in _USUAL_SETTINGS | without_effect]
    if unusual:
        yield "Settings", ", ".join(unusual)
    if document.defaults and document.defaults.values:
        yield "Defaults", _format_defaults(document.defaults)
    if document.search.candidates > 1:
        yield from _enumerate_search_facts(document.search)
    if model.note:
        yield "Note", model.note


def _format_defaults(defaults: DefaultsPart) -> str:
    """`of megatron-bridge: ZeRO 1, recompute none, sequence parallel yes`."""
    names = {"zero": "ZeRO"}
    texts = [f"{names.get(name, name.replace('_', ' '))} {value}" for name, value in defaults.values.items()]
    return f"of {defaults.source}: {', '.join(texts)}"


def _enumerate_search_facts(search: SearchPart) -> Iterator[tuple[str, str]]:
    """How many candidates there were, by what the plans are ordered, and how many each rule rejected."""
    combinations = (
        f" under {search.combinations} combinations of settings and batch" if search.combinations > 1 else ""
    )
    first, *others = search.objectives
    order = "" if first == "step-time" else f"; ordered by {first}"
    if others:
        order = f"; the Pareto front of {' and '.join(search.objectives)}"
    if search.critical_batch_tokens is not None:
        critical = format_count(search.critical_batch_tokens)
        order += f"; a token of a step of B counts 1 / (1 + B / {critical})"
    yield "Search", f"{search.candidates:,} candidates{combinations}, {search.feasible:,} fit; exhaustive{order}"
    rejections = ", ".join(f"{name} {format_count(count)}" for name, count in search.cut_by.items() if count)
    if rejections:
        yield "Rejected", rejections


def _build_plans_table(document: PlanDocument) -> ReportTable:
    """A row a plan: the degrees, the settings in which plans differ, and what plans are ordered by; the usual layout
    below them, where none of them has it.
    """
    plans, model, usual = list(document.plans), document.model, document.usual
    numbers = [str(number) for number in range(1, len(plans) + 1)]
    if usual is not None and usual.plan is not None and not usual.rank:
        plans.append(usual.plan)
        numbers.append("usual")
    strategies = [plan.strategy for plan in plans]
    batches = [f"{plan.global_batch:,}" for plan in plans]
    rates = [plan_words.format_throughput(model, plan) for plan in plans]
    sequence_parallel = ["yes" if item.sequence_parallel else "no" for item in strategies]
    columns = [
        Column("#", numbers),
        *([Column("batch", batches)] if len(set(batches)) > 1 else []),
        *(Column(name, [str(getattr(item, name)) for item in strategies]) for name in ("tp", "pp", "dp", "cp")),
        *(
            Column(name, [str(getattr(item, name)) for item in strategies])
            for name in ("ep", "etp")
            if any(getattr(item, name) > 1 for item in strategies)
        ),
        Column("vpp", [str(item.vpp) for item in strategies]),
        Column("mbs", [str(item.micro_batch) for item in strategies]),
        Column("ZeRO", [str(item.zero_stage) for item in strategies], short_heading="Z"),
        Column("recompute", [item.recompute for item in strategies], is_text=True, short_heading="rec"),
        Column("SP", sequence_parallel, is_text=True, drop_rank=1),
        *_build_settings_column(plans, document.scenario.precision),
        Column("step (10-90 %)", [plan_words.format_step(plan) for plan in plans]),
        *_build_distance_column(document, plans),
        Column(f"{plan_words.get_throughput_unit(model)}s/s", rates, drop_rank=3),
        *plan_words.build_mfu_columns(
            document.scenario.precision, [(plan.mfu, plan.mfu_bf16) for plan in plans], drop_rank=2
        ),
        Column("HFU", [f"{plan.hfu:.1%}" for plan in plans], drop_rank=4),
    ]
    for objective in document.search.objectives:
        figure = build_objective_figure(objective, document)
        if figure.heading:
            columns.append(Column(figure.heading, [figure.format_number(figure.compute(plan)) for plan in plans]))
    memory = [f"{plan.memory.total_bytes / 2**30:.1f}" for plan in plans]
    capacity_bytes, limit_bytes = plans[0].memory.capacity_bytes, document.scenario.memory_limit_bytes
    columns.append(Column(f"GiB of {(limit_bytes or capacity_bytes) / 2**30:.1f}", memory))
    is_front = len(document.search.objectives) > 1
    title = "Plans, the simplest of the best first" if document.search.excess > 0.0 else "Plans, the best first"
    return ReportTable(title, columns, bold_row=0, max_rows=_MAX_FRONT_PLANS if is_front else None)


def _build_distance_column(document: PlanDocument, plans: Sequence[PlanPart]) -> list[Column]:
    """By how much each plan's step is longer than the shortest, in which the error of all plans cancels; no column
    for a single plan, for several batches and where plans are ordered by something else.
    """
    is_by_time = document.search.objectives[0] in ("step-time", "tokens-per-s-per-device", "cost")
    if len(plans) < 2 or len(document.search.objectives) > 1 or not is_by_time:
        return []
    if len({plan.global_batch for plan in plans}) > 1:
        return []
    shortest_s = min(plan.step_time_s for plan in plans)
    return [Column("longer by", [f"{plan.step_time_s / shortest_s - 1.0:.1%}" for plan in plans], drop_rank=5)]


def _build_settings_column(plans: Sequence[PlanPart], precision: str) -> list[Column]:
    """Of every plan the settings in which plans differ; no column where they do not."""
    settings = [_format_settings(plan.settings, precision) for plan in plans]
    differing = [number for number, texts in enumerate(zip(*settings, strict=True)) if len(set(texts)) > 1]
    cells = [", ".join(texts[number] for number in differing) for texts in settings]
    return [Column("settings", cells, is_text=True)] if differing else []


def _format_settings(settings: SettingsPart, precision: str) -> list[str]:
    """Every setting in a few words; `precision` of the training."""
    labels = []
    for name, setting in SETTINGS.items():
        text = setting.format_value(getattr(settings, name))
        is_dtype = setting.kind == "dtype"
        labels.append(setting.format_label(plan_words.resolve_gradient_format(text, precision) if is_dtype else text))
    return labels


def _build_front_scatter(document: PlanDocument) -> PointChart:
    """Plans by the first two objectives; of one objective only by memory and step time."""
    objectives = document.search.objectives
    is_front = len(objectives) > 1
    names = objectives[:2] if is_front else ("memory", "step-time")
    x, y = (build_objective_figure(name, document) for name in names)
    points = []
    for n, plan in enumerate(document.plans, 1):
        x_value, y_value = x.compute(plan), y.compute(plan)
        texts = f"{x.format_value(x_value)}, {y.format_value(y_value)}"
        tooltip = f"{n}: {plan_words.format_strategy(plan.strategy)}: {texts}"
        points.append(ChartPoint(x_value, y_value, tooltip, n == 1))
    x_axis, y_axis = (
        ChartAxis(name.replace("-", " "), figure.heading or ("s" if name == "step-time" else "B"))
        for name, figure in zip(names, (x, y), strict=True)
    )
    title = "Pareto front" if is_front else "Plans by memory and step time"
    return PointChart(title, x_axis, y_axis, [PointSeries("", points)])


@dataclass(frozen=True)
class ObjectiveFigure:
    """The figure of a plan that an objective compares, and how it is written.

    `heading`: of its column, with the unit; empty where every table has it already, with its unit beside the number.
    """

    heading: str
    compute: Callable[[PlanPart], float]
    format_number: Callable[[float], str]

    def format_value(self, value: float) -> str:
        """A value with its unit, for where there is no heading."""
        return f"{self.format_number(value)} {self.heading}".rstrip()


def build_objective_figure(objective: str, document: PlanDocument) -> ObjectiveFigure:
    """The figure of an objective; also of `memory`, over which plans are drawn where there is one objective only.

    Dollars and joules are for each unit of throughput: a token, or an image. With a critical batch only tokens count
    that a step is worth (`search.objective.compute_effective_tokens`), as in the search.
    """
    model, critical_batch_tokens = document.model, document.search.critical_batch_tokens or 0.0
    unit, suffix = plan_words.get_throughput_unit(model), " that count" if critical_batch_tokens else ""

    def divide_by_units(amount: float | None, plan: PlanPart) -> float:
        tokens = compute_effective_tokens(plan.global_batch * model.seq_length, critical_batch_tokens)
        return (amount or 0.0) / plan_words.convert_to_throughput_units(model, tokens)

    figures = {
        "tokens-per-s-per-device": ObjectiveFigure(
            f"{unit}s/s/device", lambda plan: plan_words.get_throughput_per_s(model, plan)[1], format_si
        ),
        "cost": ObjectiveFigure(
            f"USD/M {unit}s{suffix}",
            lambda plan: divide_by_units(1e6 * (plan.cost_usd_per_step or 0), plan),
            "{:.3g}".format,
        ),
        "energy": ObjectiveFigure(
            f"J/{unit}{suffix.replace('count', 'counts')}",
            lambda plan: divide_by_units(plan.energy_j_per_step, plan),
            "{:.3g}".format,
        ),
        "memory-headroom": ObjectiveFigure(
            "",
            lambda plan: plan.memory.capacity_bytes - plan.memory.total_bytes,
            lambda size: f"{format_bytes(size)} free",
        ),
        "memory": ObjectiveFigure("", lambda plan: plan.memory.total_bytes, format_bytes),
        "step-time": ObjectiveFigure("", lambda plan: plan.step_time_s, format_seconds),
    }
    return figures[objective]
