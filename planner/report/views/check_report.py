"""The check document as a report: one record and one case a requirement."""

from __future__ import annotations

from planner.documents.check import (
    CheckDocument,
    ConditionPart,
    PlanCheckPart,
    format_obstacle_line,
    get_checked_answer,
)
from planner.documents.figures import format_figure_value, read_figure_values
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.report import (
    BarChart,
    RecordValue,
    Report,
    ReportCase,
    ReportRecord,
    ReportTable,
    build_columns,
)
from planner.report.views.plan_report import build_memory_bars, build_step_bars
from planner.report.views.plan_words import format_split
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.units import format_counted_noun

_FIGURE_NAMES = (
    "step_time_s", "tokens_per_s", "mfu", "memory.total", "memory.headroom", "cost_usd_per_step", "cost_usd",
    "energy_j_per_step", "days",
)  # fmt: skip
_CHECK_COLUMNS = build_columns(
    ("plan", "split", "model", "cluster", "step", "MFU", "headroom", "USD/step", "requirements"),
    (0, 1, 2, 3, 8),
    ("model", "cluster", "split"),
)
_ROW_FIGURES = ("step_time_s", "mfu", "memory.headroom", "cost_usd_per_step")


def build_check_report(document: CheckDocument) -> Report:
    """The whole answer of `check`. A plan without requirements is one record, and a case that it fits."""
    rows = [
        (checked_plan.name, requirement.requirement, "met" if requirement.met else "not met", requirement.told)
        for checked_plan in document.checked
        for requirement in checked_plan.requirements
    ]
    tables = [
        ReportTable("Plans", _CHECK_COLUMNS, [_build_check_row(checked_plan) for checked_plan in document.checked])
    ]
    if rows:
        columns = build_columns(("plan", "requirement", "", "value"), range(4))
        tables.append(ReportTable("Requirements", columns, rows))
    return Report(
        command="check",
        title=f"{document.file}: {_format_check_summary(document)}",
        facts=[],
        records=[record for checked_plan in document.checked for record in _build_check_records(checked_plan)],
        tables=tables,
        charts=_build_check_charts(document),
        sentences=[
            f"{checked_plan.name}: {format_obstacle_line(checked_plan)}"
            for checked_plan in document.checked
            if checked_plan.obstacle
        ],
        cases=[case for checked_plan in document.checked for case in _build_check_cases(checked_plan)],
    )


def _build_check_charts(document: CheckDocument) -> list[BarChart]:
    """Steps and memory of all plans that fit, side by side; of two kinds of nodes, the step alone."""
    feasible_plans = [
        (checked_plan.name, answer)
        for checked_plan in document.checked
        if (answer := get_checked_answer(checked_plan)) is not None
    ]
    steps = [
        (name, answer.ways[0].terms if isinstance(answer, HeterogeneousDocument) else answer.plans[0].terms)
        for name, answer in feasible_plans
    ]
    memories = [
        (checked_plan.name, checked_plan.plan.plans[0].memory)
        for checked_plan in document.checked
        if checked_plan.plan is not None
    ]
    charts = [build_step_bars("Where the step goes", steps)] if steps else []
    return charts + ([build_memory_bars("Peak memory (worst stage)", memories)] if memories else [])


def _build_check_records(checked: PlanCheckPart) -> list[ReportRecord]:
    answer = get_checked_answer(checked)
    values = {} if answer is None else read_figure_values(answer)
    figures: dict[str, RecordValue] = {PLAN_FIGURES[name].column: values.get(name) for name in _FIGURE_NAMES}
    figures |= {"model": values.get("model"), "cluster": values.get("cluster"), "devices": values.get("devices")}
    requirements: list[ConditionPart | None] = [*checked.requirements] or [None]
    return [
        {
            "plan": checked.name,
            "outcome": checked.outcome,
            "requirement": None if requirement is None else requirement.requirement,
            "met": None if requirement is None else requirement.met,
            "told": requirement.told if requirement is not None else format_obstacle_line(checked),
            **figures,
        }
        for requirement in requirements
    ]


def _build_check_cases(checked: PlanCheckPart) -> list[ReportCase]:
    answer = get_checked_answer(checked)
    if answer is None:
        return [ReportCase(checked.name, "fits", failure=format_obstacle_line(checked))]
    step_time = read_figure_values(answer)["step_time_s"]
    seconds = float(step_time) if isinstance(step_time, float) else 0.0
    return [ReportCase(checked.name, "fits", seconds)] + [
        ReportCase(checked.name, requirement.requirement, seconds, "" if requirement.met else requirement.told)
        for requirement in checked.requirements
    ]


def _format_check_summary(document: CheckDocument) -> str:
    """`3 plans, 5 requirements: 1 not met`."""
    requirements = [item for checked_plan in document.checked for item in checked_plan.requirements]
    unmet_count, infeasible_count = (
        sum(not item.met for item in requirements),
        sum(get_checked_answer(item) is None for item in document.checked),
    )
    counts_text = (
        f"{format_counted_noun(len(document.checked), 'plan')}, "
        f"{format_counted_noun(len(requirements), 'requirement')}: "
    )
    problems = ([f"{unmet_count} not met"] if unmet_count else []) + (
        [f"{format_counted_noun(infeasible_count, 'plan')} cannot fit"] if infeasible_count else []
    )
    return counts_text + (", ".join(problems) if problems else "all met" if requirements else "nothing is required")


def _build_check_row(checked: PlanCheckPart) -> tuple[str, ...]:
    answer = get_checked_answer(checked)
    if answer is None:
        return (checked.name, "nothing fits", *[""] * (len(_CHECK_COLUMNS) - 3), "not checked")
    values = read_figure_values(answer)
    split = (
        answer.ways[0].split if isinstance(answer, HeterogeneousDocument) else format_split(answer.plans[0].strategy)
    )
    figures = [format_figure_value(values.get(name), PLAN_FIGURES[name].unit) for name in _ROW_FIGURES]
    met = sum(requirement.met for requirement in checked.requirements)
    verdict = f"{met} of {len(checked.requirements)} met" if checked.requirements else ""
    return (
        checked.name,
        split,
        answer.model.title,
        answer.cluster.title,
        *figures[:-1],
        figures[-1].removesuffix(" USD"),
        verdict,
    )
