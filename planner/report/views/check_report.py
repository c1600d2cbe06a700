"""The check document as a report: one record and one case a requirement."""

from __future__ import annotations

from collections.abc import Iterator

from planner.documents.check import CheckDocument, PlanCheckPart, format_obstacle_line, get_checked_answer
from planner.documents.figures import format_figure_value, read_figure_values
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.report import BarChart, RecordValue, Report, ReportCase, ReportRecord, ReportTable, build_columns
from planner.report.views import breakdown, plan_words
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.units import format_counted_noun

_RECORD_FIGURES = (
    "step_time_s", "step_time_p10_s", "step_time_p90_s", "tokens_per_s", "mfu", "memory.total", "memory.headroom",
    "cost_usd_per_step", "cost_usd", "energy_j_per_step", "days",
)  # fmt: skip
_PLAN_HEADINGS = (
    "plan",
    "split",
    "model",
    "cluster",
    "step (10-90 %)",
    "MFU",
    "headroom",
    "USD/step",
    "requirements",
)
_ROW_FIGURES = ("mfu", "memory.headroom", "cost_usd_per_step")


def build_check_report(document: CheckDocument) -> Report:
    """The report of `check`. A plan without requirements is one record, and a case that it fits."""
    plan_rows = [_build_plan_row(checked) for checked in document.checked]
    columns = build_columns(_PLAN_HEADINGS, plan_rows, (0, 1, 2, 3, 8), ("model", "cluster", "split"))
    rows = [
        (checked.name, item.requirement, "met" if item.met else "not met", item.reason)
        for checked in document.checked
        for item in checked.requirements
    ]
    requirements = ReportTable("Requirements", build_columns(("plan", "requirement", "", "value"), rows, range(4)))
    return Report(
        command="check",
        title=f"{document.file}: {_format_summary(document)}",
        facts=[],
        records=[record for checked in document.checked for record in _enumerate_records(checked)],
        tables=[ReportTable("Plans", columns), *([requirements] if rows else [])],
        charts=_build_charts(document),
        sentences=[
            f"{checked.name}: {format_obstacle_line(checked)}" for checked in document.checked if checked.obstacle
        ],
        cases=[case for checked in document.checked for case in _build_cases(checked)],
    )


def _build_charts(document: CheckDocument) -> list[BarChart]:
    """Steps and memory of all plans that fit; of heterogeneous clusters the step alone."""
    steps, memories = [], []
    for checked in document.checked:
        answer = get_checked_answer(checked)
        if isinstance(answer, HeterogeneousDocument):
            steps.append((checked.name, answer.plans[0].terms))
        elif answer is not None:
            steps.append((checked.name, answer.plans[0].terms))
            memories.append((checked.name, answer.plans[0].memory))
    charts = [breakdown.build_step_bars("Where the step goes", steps)] if steps else []
    return charts + ([breakdown.build_memory_bars("Peak memory (worst stage)", memories)] if memories else [])


def _enumerate_records(checked: PlanCheckPart) -> Iterator[ReportRecord]:
    answer = get_checked_answer(checked)
    values = {} if answer is None else read_figure_values(answer)
    figures: dict[str, RecordValue] = {PLAN_FIGURES[name].column: values.get(name) for name in _RECORD_FIGURES}
    figures |= {name: values.get(name) for name in ("model", "cluster", "devices")}
    head = {"plan": checked.name, "outcome": checked.outcome}
    if not checked.requirements:
        yield {**head, "requirement": None, "met": None, "told": format_obstacle_line(checked), **figures}
    for item in checked.requirements:
        yield {**head, "requirement": item.requirement, "met": item.met, "told": item.reason, **figures}


def _build_cases(checked: PlanCheckPart) -> list[ReportCase]:
    answer = get_checked_answer(checked)
    if answer is None:
        return [ReportCase(checked.name, "fits", failure=format_obstacle_line(checked))]
    step_time_s = read_figure_values(answer)["step_time_s"]
    seconds = float(step_time_s) if isinstance(step_time_s, float) else 0.0
    return [ReportCase(checked.name, "fits", seconds)] + [
        ReportCase(checked.name, item.requirement, seconds, "" if item.met else item.reason)
        for item in checked.requirements
    ]


def _format_summary(document: CheckDocument) -> str:
    """`3 plans, 5 requirements: 1 not met`."""
    requirements = [item for checked in document.checked for item in checked.requirements]
    unmet = sum(not item.met for item in requirements)
    infeasible = sum(get_checked_answer(item) is None for item in document.checked)
    problems = [f"{unmet} not met"] if unmet else []
    problems += [f"{format_counted_noun(infeasible, 'plan')} cannot fit"] if infeasible else []
    verdict = ", ".join(problems) or ("all met" if requirements else "nothing is required")
    plans = format_counted_noun(len(document.checked), "plan")
    return f"{plans}, {format_counted_noun(len(requirements), 'requirement')}: {verdict}"


def _build_plan_row(checked: PlanCheckPart) -> tuple[str, ...]:
    """One plan under `_PLAN_HEADINGS`."""
    answer = get_checked_answer(checked)
    if answer is None:
        return (checked.name, "nothing fits", *[""] * (len(_PLAN_HEADINGS) - 3), "not checked")
    if isinstance(answer, HeterogeneousDocument):
        split = answer.plans[0].split
    else:
        split = plan_words.format_split(answer.plans[0].strategy)
    values = read_figure_values(answer)
    mfu, *figures, cost = (format_figure_value(values.get(name), PLAN_FIGURES[name].unit) for name in _ROW_FIGURES)
    mfu = f"{mfu} of {answer.scenario.precision}"
    mfu_bf16 = answer.best_plan.mfu_bf16
    if plan_words.is_narrow(answer.best_plan.mfu, mfu_bf16):
        mfu += f", {format_figure_value(mfu_bf16, 'ratio')} of bf16"
    met = sum(item.met for item in checked.requirements)
    verdict = f"{met} of {len(checked.requirements)} met" if checked.requirements else ""
    step = plan_words.format_step(answer.best_plan)
    head = (checked.name, split, answer.model.title, answer.cluster.title, step)
    return (*head, mfu, *figures, cost.removesuffix(" USD"), verdict)
