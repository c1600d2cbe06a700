"""The diff document as a report: one record a change, one case a requirement of the comparison."""

from __future__ import annotations

from planner.cost.step import STEP_TERMS
from planner.documents.diff import DiffDocument, FigureChangePart, PlanDiffPart, TermChangePart
from planner.report.report import BarChart, Report, ReportCase, ReportRecord, ReportTable
from planner.report.views.diff_text import (
    DIFF_HEADINGS,
    build_change_rows,
    build_term_rows,
    format_closing_sentences,
    format_diff_heading,
    format_diff_sentences,
    format_diff_summary,
    select_reported_differences,
)
from planner.report.views.plan_report import build_step_bars


def build_diff_report(document: DiffDocument) -> Report:
    """The whole answer of `diff`. Without requirements each plan that is compared is a case that passes."""
    tables, plan_sentences = [], []
    for difference in select_reported_differences(document):
        plan_sentences += [
            " ".join([f"{format_diff_heading(document, difference)}.", *format_diff_sentences(difference)])
        ]
        changes = build_change_rows(
            [*difference.inputs, *difference.strategy, *difference.figures, *difference.memory]
        )
        terms = build_term_rows(difference.terms) + build_term_rows(difference.hidden, ", overlapped")
        titles = ((f"{difference.name}: what changed", changes), (f"{difference.name}: terms of the step", terms))
        tables += [ReportTable(title, DIFF_HEADINGS, rows) for title, rows in titles if rows]
    return Report(
        command="diff",
        title=f"{document.base} → {document.head}: {format_diff_summary(document)}",
        facts=[],
        records=[record for difference in document.differences for record in _build_diff_records(difference)],
        tables=tables,
        charts=[
            _build_diff_bars(difference) for difference in select_reported_differences(document) if difference.terms
        ],
        sentences=[*plan_sentences, *format_closing_sentences(document)],
        cases=[case for difference in document.differences for case in _build_diff_cases(difference)],
    )


def _build_diff_bars(difference: PlanDiffPart) -> BarChart:
    """Both steps, one above the other, the terms in their own order."""
    by_name = {term.term: term for term in difference.terms}
    base = {name: by_name[name].base_s for name in STEP_TERMS}
    head = {name: by_name[name].head_s for name in STEP_TERMS}
    return build_step_bars(f"{difference.name}: where the step goes", [("base", base), ("head", head)])


def _build_diff_records(difference: PlanDiffPart) -> list[ReportRecord]:
    """A line a change, then a line a term; a plan in which nothing changed has one line."""
    groups = (
        ("input", difference.inputs),
        ("strategy", difference.strategy),
        ("figure", difference.figures),
        ("memory", difference.memory),
    )
    records = [_build_diff_record(difference, category, change) for category, changes in groups for change in changes]
    for category, terms in (("term", difference.terms), ("hidden", difference.hidden)):
        records += [
            _build_diff_record(difference, category, _convert_term_to_change(category, term))
            for term in terms
            if term.change_s
        ]
    empty_change = FigureChangePart(name="", base=None, head=None, change=None, relative=None)
    return records or [_build_diff_record(difference, "", empty_change)]


def _convert_term_to_change(category: str, term: TermChangePart) -> FigureChangePart:
    share = term.change_s / term.base_s if term.base_s else None
    name = f"{'terms' if category == 'term' else category}.{term.term}"
    return FigureChangePart(name=name, base=term.base_s, head=term.head_s, change=term.change_s, relative=share)


def _build_diff_record(difference: PlanDiffPart, category: str, change: FigureChangePart) -> ReportRecord:
    return {
        "plan": difference.name,
        "status": difference.status,
        "kind": category,
        "name": change.name,
        "base": change.base,
        "head": change.head,
        "change": change.change,
        "relative": change.relative,
    }


def _build_diff_cases(difference: PlanDiffPart) -> list[ReportCase]:
    if not difference.requirements:
        return [ReportCase(difference.name, difference.status)]
    return [
        ReportCase(difference.name, requirement.requirement, failure="" if requirement.met else requirement.told)
        for requirement in difference.requirements
    ]
