"""The plan document as a report: one record a plan, its step and memory as bars, a front as a scatter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from planner.cost.memory import KINDS
from planner.documents.plan import Document, MemoryPart, PlanPart
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
from planner.report.views.objectives import figure_of
from planner.report.views.plan_text import heading, sentences
from planner.report.views.plan_words import plan_in_words, term_name
from planner.report.views.plans_table import Column, columns
from planner.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeteroPlanPart

_SHOWN = 12
"""Plans that are drawn as bars; all are in the table."""


def plan_report(document: Document) -> Report:
    """The whole answer of `plan` and `estimate`."""
    plans, model, cluster = document.plans, document.model, document.cluster
    title = f"{model.title} on {cluster.title}"
    head: dict[str, Value] = {"model": model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    head |= {"nodes": cluster.nodes, "devices": cluster.devices}
    return Report(
        command="plan",
        title=title,
        facts=facts(heading(document)),
        records=[{"rank": n, **head, **plan_record(one)} for n, one in enumerate(plans, 1)],
        tables=[
            table_of("Plans, the best first", columns(document)),
            step_table("Step of the best plan", plans[0].terms, plans[0].hidden, plans[0].step_time_s),
            memory_table("Fullest device of the best plan", plans[0].memory),
        ],
        charts=[
            step_bars("Where the step goes", [(name, one.terms) for name, one in _named(plans)]),
            memory_bars("Memory of the fullest device", [(name, one.memory) for name, one in _named(plans)]),
            *([_front(document)] if len(plans) > 1 else []),
        ],
        sentences=sentences(document),
        cases=[
            Case(title, f"plan {n} fits: {plan_in_words(one.strategy)}", one.step_time_s)
            for n, one in enumerate(plans, 1)
        ],
    )


def table_of(title: str, columns: Sequence[Column]) -> Table:
    """Columns as a table of the report."""
    words = frozenset(number for number, one in enumerate(columns) if not one.right)
    rows = list(zip(*(one.cells for one in columns), strict=True))
    return Table(title, [one.heading for one in columns], rows, words)


def facts(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of the lines of a heading: a word, and from the eleventh column on what is said of it."""
    return [(line[:10].strip(), line[10:].strip()) for line in lines]


def plan_record(plan: PlanPart) -> dict[str, Value]:
    """One plan, flat: its split and settings by their names, `term_NAME_s` that add up to `step_time_s`,
    `hidden_NAME_s`, `memory_KIND_bytes`.
    """
    record: dict[str, Value] = {**fields(plan.strategy), **fields(plan.settings)}
    record |= {"global_batch": plan.global_batch, "step_time_s": plan.step_time_s}
    record |= time_fields(plan)
    record |= {
        "hfu": plan.hfu,
        "cost_usd_per_step": plan.cost_usd_per_step,
        "energy_j_per_step": plan.energy_j_per_step,
    }
    record |= {f"memory_{name}": size for name, size in fields(plan.memory).items()}
    return record | {"bottleneck": plan.bottleneck}


def time_fields(part: PlanPart | HeteroPlanPart) -> dict[str, Value]:
    """Where a step goes and what it yields, flat."""
    record: dict[str, Value] = {f"term_{name}_s": seconds for name, seconds in part.terms.items()}
    record |= {f"hidden_{name}_s": seconds for name, seconds in part.hidden.items()}
    yields = ("tokens_per_s", "tokens_per_s_per_device", "samples_per_s", "samples_per_s_per_device", "mfu")
    return record | {name: getattr(part, name) for name in yields}


def fields(part: msgspec.Struct) -> dict[str, Value]:
    """The fields of a part that has no parts in it."""
    return {name: getattr(part, name) for name in part.__struct_fields__}


def step_bars(title: str, bars: Sequence[tuple[str, Mapping[str, float]]]) -> Bars:
    """Steps side by side, one bar each: (label, seconds by term)."""
    drawn = []
    for label, terms in bars:
        whole = math.fsum(terms.values())
        pieces = [
            Piece(term_name(name), seconds, f"{term_name(name)}: {format_seconds(seconds)}, {seconds / whole:.1%}")
            for name, seconds in terms.items()
            if seconds
        ]
        drawn.append(Bar(label, format_seconds(whole), pieces))
    return Bars(title, drawn)


def memory_bars(title: str, bars: Sequence[tuple[str, MemoryPart]]) -> Bars:
    """What fullest devices hold, one bar each, with their capacity as a line."""
    drawn = []
    for label, memory in bars:
        sizes = {kind: float(getattr(memory, f"{kind}_bytes")) for kind in KINDS}
        pieces = [
            Piece(kind, size, f"{kind}: {format_bytes(size)}, {size / memory.capacity_bytes:.1%} of the device")
            for kind, size in sizes.items()
            if size
        ]
        drawn.append(Bar(label, f"{memory.total_bytes / memory.capacity_bytes:.1%}", pieces, memory.capacity_bytes))
    return Bars(title, drawn)


def step_table(title: str, terms: Mapping[str, float], hidden: Mapping[str, float], whole: float) -> Table:
    """Where a step goes; what runs beside other work is told as hidden."""
    rows = [
        (term_name(name), format_seconds(seconds), f"{seconds / whole:.1%}", _or_empty(hidden.get(name, 0.0)))
        for name, seconds in terms.items()
        if seconds or hidden.get(name)
    ]
    rows.append(("total", format_seconds(whole), "", ""))
    return Table(title, ("term", "time", "share", "hidden"), rows)


def memory_table(title: str, memory: MemoryPart) -> Table:
    """What a device holds."""
    sizes = {kind: float(getattr(memory, f"{kind}_bytes")) for kind in KINDS}
    sizes |= {"total": memory.total_bytes, "capacity": memory.capacity_bytes}
    rows = [(kind, format_bytes(size), f"{size / memory.capacity_bytes:.1%}") for kind, size in sizes.items() if size]
    return Table(title, ("kind", "memory", "share"), rows)


def _or_empty(seconds: float) -> str:
    return format_seconds(seconds) if seconds else ""


def _named(plans: Sequence[PlanPart]) -> list[tuple[str, PlanPart]]:
    """The first plans with what they are called beside their bars."""
    return [(f"{n}: {plan_in_words(one.strategy)}", one) for n, one in enumerate(plans[:_SHOWN], 1)]


def _front(document: Document) -> Scatter:
    """Plans by the two objectives of a front; by memory and step time where there is one objective only."""
    objectives, plans = document.search.objectives, document.plans
    x_name, y_name = objectives[:2] if len(objectives) > 1 else ("memory", "step-time")
    x_figure, y_figure = figure_of(x_name, document), figure_of(y_name, document)
    xs, ys = [x_figure.of(plan) for plan in plans], [y_figure.of(plan) for plan in plans]
    points = [
        Point(x, y, f"{n}: {plan_in_words(plan.strategy)}: {x_figure.said(x)}, {y_figure.said(y)}", n == 1)
        for n, (plan, x, y) in enumerate(zip(plans, xs, ys, strict=True), 1)
    ]
    title = "Pareto front" if len(objectives) > 1 else "Plans by memory and step time"
    ends = [(one.said(min(of)), one.said(max(of))) for one, of in ((x_figure, xs), (y_figure, ys))]
    return Scatter(title, _axis(x_name), _axis(y_name), ends[0], ends[1], points)


def _axis(name: str) -> str:
    return name.replace("-", " ")
