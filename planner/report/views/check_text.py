"""The check document for people: a line a plan, then every requirement with what was found."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.check import CheckDocument, PlanCheckPart, get_checked_answer
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.console import strip_nonprintable
from planner.report.views.plan_words import format_split
from planner.studies.conditions.display import format_figure_value
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.studies.conditions.values import compute_figure_values
from planner.units import format_counted_noun

CHECK_HEADINGS = ("plan", "split", "model", "cluster", "step", "MFU", "headroom", "USD/step", "requirements")
CHECK_TEXT_COLUMNS = frozenset({0, 1, 2, 3, 8})
"""Columns of HEADINGS that hold words, not numbers."""
_FIGURE_NAMES = ("step_time_s", "mfu", "memory.headroom", "cost_usd_per_step")


def render_check_text(document: CheckDocument) -> str:
    """The whole answer as text for stdout."""
    from planner.report.listing_table import render_listing

    table = render_listing(CHECK_HEADINGS, build_check_rows(document), first_number_column=4)
    lines = [
        f"{strip_nonprintable(document.file)}: {format_check_summary(document)}",
        "",
        table.rstrip("\n"),
        "",
        *format_requirement_lines(document),
    ]
    return "".join(f"{line}\n" for line in lines)


def format_check_summary(document: CheckDocument) -> str:
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


def build_check_rows(document: CheckDocument) -> list[tuple[str, ...]]:
    """A row a plan, as HEADINGS says."""
    return [_build_check_row(checked_plan) for checked_plan in document.checked]


def _build_check_row(checked: PlanCheckPart) -> tuple[str, ...]:
    answer = get_checked_answer(checked)
    if answer is None:
        return (checked.name, "nothing fits", *[""] * (len(CHECK_HEADINGS) - 3), "not checked")
    values = compute_figure_values(answer)
    title, cluster = strip_nonprintable(answer.model.title), strip_nonprintable(answer.cluster.title)
    split = (
        answer.ways[0].split if isinstance(answer, HeterogeneousDocument) else format_split(answer.plans[0].strategy)
    )
    figures = [format_figure_value(values.get(name), PLAN_FIGURES[name].unit) for name in _FIGURE_NAMES]
    met = sum(requirement.met for requirement in checked.requirements)
    verdict = f"{met} of {len(checked.requirements)} met" if checked.requirements else ""
    return (
        checked.name,
        strip_nonprintable(split),
        title,
        cluster,
        *figures[:-1],
        figures[-1].removesuffix(" USD"),
        verdict,
    )


def format_requirement_lines(document: CheckDocument) -> Sequence[str]:
    """A line for each requirement, and for each plan that does not fit."""
    lines = []
    for checked_plan in document.checked:
        lines += [f"{checked_plan.name}: {strip_nonprintable(line)}" for line in checked_plan.obstacle.splitlines()]
        for requirement in checked_plan.requirements:
            verdict = (
                f"met      {requirement.requirement}" if requirement.met else f"not met  {requirement.requirement}"
            )
            lines.append(
                strip_nonprintable(
                    f"{checked_plan.name}: {verdict}" + (f": {requirement.told}" if requirement.told else "")
                )
            )
    return lines
