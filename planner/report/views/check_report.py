"""The check document as a report: one record and one case a requirement."""

from __future__ import annotations

from planner.documents.check import CheckDocument, CheckedPart, RequirementPart, answer_of, obstacle_line
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.report import (
    Bars,
    Case,
    Record,
    Report,
    Table,
    Value,
)
from planner.report.views.check_text import HEADINGS, WORDS, plan_rows, summary
from planner.report.views.plan_report import memory_bars, step_bars
from planner.studies.conditions.values import compute_figure_values

_FIGURES = (
    "step_time_s", "tokens_per_s", "mfu", "memory.total", "memory.headroom", "cost_usd_per_step", "cost_usd",
    "energy_j_per_step", "days",
)  # fmt: skip
_SI = {"memory.total": "memory_total_bytes", "memory.headroom": "memory_headroom_bytes", "days": "run_s"}


def check_report(document: CheckDocument) -> Report:
    """The whole answer of `check`. A plan without requirements is one record, and a case that it fits."""
    rows = [
        (one.name, required.requirement, "met" if required.met else "not met", required.told)
        for one in document.checked
        for required in one.requirements
    ]
    tables = [Table("Plans", HEADINGS, plan_rows(document), WORDS)]
    if rows:
        headings = ("plan", "requirement", "", "what was found")
        tables.append(Table("Requirements", headings, rows, frozenset(range(4))))
    return Report(
        command="check",
        title=f"{document.file}: {summary(document)}",
        facts=[],
        records=[record for one in document.checked for record in _records(one)],
        tables=tables,
        charts=_charts(document),
        sentences=[f"{one.name}: {obstacle_line(one)}" for one in document.checked if one.obstacle],
        cases=[case for one in document.checked for case in _cases(one)],
    )


def _charts(document: CheckDocument) -> list[Bars]:
    """Steps and memory of all plans that fit, side by side; of two kinds of nodes, the step alone."""
    fit = [(one.name, answer) for one in document.checked if (answer := answer_of(one)) is not None]
    steps = [
        (name, answer.ways[0].terms if isinstance(answer, HeterogeneousDocument) else answer.plans[0].terms)
        for name, answer in fit
    ]
    memories = [(one.name, one.plan.plans[0].memory) for one in document.checked if one.plan is not None]
    charts = [step_bars("Where the step goes", steps)] if steps else []
    return charts + ([memory_bars("Memory of the fullest device", memories)] if memories else [])


def _records(checked: CheckedPart) -> list[Record]:
    answer = answer_of(checked)
    values = {} if answer is None else compute_figure_values(answer)
    figures: dict[str, Value] = {_SI.get(name, name): values.get(name) for name in _FIGURES}
    figures |= {"model": values.get("model"), "cluster": values.get("cluster"), "devices": values.get("devices")}
    required: list[RequirementPart | None] = [*checked.requirements] or [None]
    return [
        {
            "plan": checked.name,
            "outcome": checked.outcome,
            "requirement": None if one is None else one.requirement,
            "met": None if one is None else one.met,
            "told": one.told if one is not None else obstacle_line(checked),
            **figures,
        }
        for one in required
    ]


def _cases(checked: CheckedPart) -> list[Case]:
    answer = answer_of(checked)
    if answer is None:
        return [Case(checked.name, "fits", failure=obstacle_line(checked))]
    step = compute_figure_values(answer)["step_time_s"]
    seconds = float(step) if isinstance(step, float) else 0.0
    return [Case(checked.name, "fits", seconds)] + [
        Case(checked.name, one.requirement, seconds, "" if one.met else one.told) for one in checked.requirements
    ]
