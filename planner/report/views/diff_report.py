"""The diff document as a report: one record a change, one case a requirement of the comparison."""

from __future__ import annotations

from planner.cost.step import TERMS
from planner.documents.diff import ChangePart, DiffDocument, DifferencePart, TermPart
from planner.report.report import Bars, Case, Record, Report, Table
from planner.report.views.diff_text import (
    HEADINGS,
    closing,
    heading,
    rows_of,
    sentences,
    summary,
    term_rows,
    told_apart,
)
from planner.report.views.plan_report import step_bars


def diff_report(document: DiffDocument) -> Report:
    """The whole answer of `diff`. Without requirements each plan that is compared is a case that passes."""
    tables, told = [], []
    for one in told_apart(document):
        told += [" ".join([f"{heading(document, one)}.", *sentences(one)])]
        changes = rows_of([*one.inputs, *one.strategy, *one.figures, *one.memory])
        terms = term_rows(one.terms) + term_rows(one.hidden, ", hidden")
        titles = ((f"{one.name}: what changed", changes), (f"{one.name}: terms of the step", terms))
        tables += [Table(title, HEADINGS, rows) for title, rows in titles if rows]
    return Report(
        command="diff",
        title=f"{document.base} → {document.head}: {summary(document)}",
        facts=[],
        records=[record for one in document.differences for record in _records(one)],
        tables=tables,
        charts=[_bars(one) for one in told_apart(document) if one.terms],
        sentences=[*told, *closing(document)],
        cases=[case for one in document.differences for case in _cases(one)],
    )


def _bars(one: DifferencePart) -> Bars:
    """Both steps, one above the other, the terms in their own order."""
    by_name = {term.term: term for term in one.terms}
    base = {name: by_name[name].base_s for name in TERMS}
    head = {name: by_name[name].head_s for name in TERMS}
    return step_bars(f"{one.name}: where the step goes", [("base", base), ("head", head)])


def _records(one: DifferencePart) -> list[Record]:
    """A line a change, then a line a term; a plan in which nothing changed has one line."""
    groups = (("input", one.inputs), ("strategy", one.strategy), ("figure", one.figures), ("memory", one.memory))
    records = [_record(one, kind, change) for kind, changes in groups for change in changes]
    for kind, terms in (("term", one.terms), ("hidden", one.hidden)):
        records += [_record(one, kind, _as_change(kind, term)) for term in terms if term.change_s]
    nothing = ChangePart(name="", base=None, head=None, change=None, relative=None)
    return records or [_record(one, "", nothing)]


def _as_change(kind: str, term: TermPart) -> ChangePart:
    share = term.change_s / term.base_s if term.base_s else None
    name = f"{'terms' if kind == 'term' else kind}.{term.term}"
    return ChangePart(name=name, base=term.base_s, head=term.head_s, change=term.change_s, relative=share)


def _record(one: DifferencePart, kind: str, change: ChangePart) -> Record:
    return {
        "plan": one.name,
        "status": one.status,
        "kind": kind,
        "name": change.name,
        "base": change.base,
        "head": change.head,
        "change": change.change,
        "relative": change.relative,
    }


def _cases(one: DifferencePart) -> list[Case]:
    if not one.requirements:
        return [Case(one.name, one.status)]
    return [Case(one.name, part.requirement, failure="" if part.met else part.told) for part in one.requirements]
