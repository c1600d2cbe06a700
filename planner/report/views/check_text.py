"""The check document for people: a line a plan, then every requirement with what was found."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.check import CheckDocument, CheckedPart, answer_of
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.console import printable
from planner.report.views.plan_words import split_words
from planner.studies.conditions.display import format_figure_value
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.studies.conditions.values import compute_figure_values
from planner.units import format_counted_noun

HEADINGS = ("plan", "split", "model", "cluster", "step", "MFU", "headroom", "USD/step", "requirements")
WORDS = frozenset({0, 1, 2, 3, 8})
"""Columns of HEADINGS that hold words, not numbers."""
_FIGURES = ("step_time_s", "mfu", "memory.headroom", "cost_usd_per_step")


def check_text(document: CheckDocument) -> str:
    """The whole answer as text for stdout."""
    from planner.report.listing_table import listing

    table = listing(HEADINGS, plan_rows(document), numbers_from=4)
    told = [f"{printable(document.file)}: {summary(document)}", "", table.rstrip("\n"), "", *required_lines(document)]
    return "".join(f"{line}\n" for line in told)


def summary(document: CheckDocument) -> str:
    """`3 plans, 5 requirements: 1 not met`."""
    required = [one for checked in document.checked for one in checked.requirements]
    missed, unfit = sum(not one.met for one in required), sum(answer_of(one) is None for one in document.checked)
    told = (
        f"{format_counted_noun(len(document.checked), 'plan')}, {format_counted_noun(len(required), 'requirement')}: "
    )
    faults = ([f"{missed} not met"] if missed else []) + (
        [f"{format_counted_noun(unfit, 'plan')} cannot fit"] if unfit else []
    )
    return told + (", ".join(faults) if faults else "all met" if required else "nothing is required")


def plan_rows(document: CheckDocument) -> list[tuple[str, ...]]:
    """A row a plan, as HEADINGS says."""
    return [_row(one) for one in document.checked]


def _row(checked: CheckedPart) -> tuple[str, ...]:
    answer = answer_of(checked)
    if answer is None:
        return (checked.name, "nothing fits", *[""] * (len(HEADINGS) - 3), "not held")
    values = compute_figure_values(answer)
    title, cluster = printable(answer.model.title), printable(answer.cluster.title)
    split = (
        answer.ways[0].split if isinstance(answer, HeterogeneousDocument) else split_words(answer.plans[0].strategy)
    )
    figures = [format_figure_value(values.get(name), PLAN_FIGURES[name].unit) for name in _FIGURES]
    met = sum(one.met for one in checked.requirements)
    required = f"{met} of {len(checked.requirements)} met" if checked.requirements else ""
    return (checked.name, printable(split), title, cluster, *figures[:-1], figures[-1].removesuffix(" USD"), required)


def required_lines(document: CheckDocument) -> Sequence[str]:
    """A line for each requirement, and for each plan that does not fit."""
    lines = []
    for one in document.checked:
        lines += [f"{one.name}: {printable(line)}" for line in one.obstacle.splitlines()]
        for required in one.requirements:
            told = f"met      {required.requirement}" if required.met else f"not met  {required.requirement}"
            lines.append(printable(f"{one.name}: {told}" + (f": {required.told}" if required.told else "")))
    return lines
