"""The diff document as a report: one record a change, one case a requirement of the comparison."""

from __future__ import annotations

from collections.abc import Sequence

from planner.cost.step import STEP_TERMS
from planner.documents.diff import DiffDocument, FigureChangePart, PlanDiffPart, StepChangeCausePart, TermChangePart
from planner.documents.figures import format_figure_value
from planner.report.report import BarChart, Report, ReportCase, ReportRecord, ReportTable, build_columns
from planner.report.views.plan_report import build_step_bars
from planner.report.views.plan_words import format_term_name
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.units import format_seconds

DiffRow = tuple[str, str, str, str]
"""A name, the value in the base, in the head, and the change."""
DIFF_HEADINGS: DiffRow = ("", "base", "head", "change")
HEADLINE_FIGURES = ("step_time_s", "tokens_per_s", "mfu", "memory.headroom", "cost_usd_per_step", "cost_usd")
"""The figures of a plan's own line."""
_MAX_CAUSES = 4


def build_diff_report(document: DiffDocument) -> Report:
    """The whole answer of `diff`. Without requirements each plan that is compared is a case that passes."""
    tables, plan_sentences = [], []
    for difference in select_reported_differences(document):
        plan_sentences += [f"{format_diff_heading(document, difference)}.", *format_diff_sentences(difference)]
        changes = build_change_rows(
            [*difference.inputs, *difference.strategy, *difference.figures, *difference.memory]
        )
        terms = build_term_rows(difference.terms) + build_term_rows(difference.hidden, ", overlapped")
        titles = ((f"{difference.name}: what changed", changes), (f"{difference.name}: terms of the step", terms))
        tables += [ReportTable(title, build_columns(DIFF_HEADINGS), rows) for title, rows in titles if rows]
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


def format_diff_summary(document: DiffDocument) -> str:
    """`1 plan changed, 1 added, 2 unchanged`."""
    counts: dict[str, int] = {}
    for difference in document.differences:
        counts[difference.status] = counts.get(difference.status, 0) + 1
    order = ("changed", "added", "removed", "fits now", "fits no more", "fits in neither", "unchanged")
    status_counts = [f"{counts[status]} {status}" for status in order if status in counts]
    first, _, rest = status_counts[0].partition(" ")
    return ", ".join([f"{first} {'plan' if first == '1' else 'plans'} {rest}", *status_counts[1:]])


def select_reported_differences(document: DiffDocument) -> list[PlanDiffPart]:
    """The plans that are told one by one: all but those that are the same, or fit in neither."""
    return [
        difference for difference in document.differences if difference.status not in ("unchanged", "fits in neither")
    ]


def format_closing_sentences(document: DiffDocument) -> list[str]:
    """What is said at the end: what did not change, and what counts as that."""
    lines = []
    for status in ("unchanged", "fits in neither"):
        names = [difference.name for difference in document.differences if difference.status == status]
        if names and len(document.differences) > 1:
            lines.append(f"{status[:1].upper()}{status[1:]}: {', '.join(names)}.")
    if document.threshold:
        lines.append(f"Figures that changed by less than {100 * document.threshold:,g} % are not listed.")
    return lines


def format_diff_heading(document: DiffDocument, difference: PlanDiffPart) -> str:
    """What a plan's part begins with: its name and what became of it; of two single plans, what they are of."""
    title = f" ({difference.title})" if difference.title else ""
    return (
        difference.title
        if len(document.differences) == 1 and difference.name == "plan"
        else f"{difference.name}: {difference.status}{title}"
    )


def format_diff_sentences(difference: PlanDiffPart) -> list[str]:
    """Why the step changed, and which requirements that touches."""
    lines = [format_cause_sentence(difference)] if difference.why is not None else []
    lines += [f"No longer met: {text}" for text in difference.no_longer_met]
    lines += [f"Now met: {text}" for text in difference.now_met]
    return lines + [f"Not met: {part.requirement}: {part.told}" for part in difference.requirements if not part.met]


def format_cause_sentence(difference: PlanDiffPart) -> str:
    """`Step 9.04 s → 10.1 s (+12 %): +0.8 s of +1.1 s is pipeline bubble, with pp 4 → 8.`"""
    cause = difference.why
    assert cause is not None
    step = next((change for change in difference.figures if change.name == "step_time_s"), None)
    opening = "Step as long as before" if step is None else f"Step {_format_before_after(step)}"
    cause_text = _format_causes(difference, cause)
    term = format_term_name(cause.term)
    share = cause.change_s / cause.step_change_s if cause.step_change_s else 0.0
    if step is not None and 0 < share <= 1:
        return (
            f"{opening}: {format_signed_seconds(cause.change_s)} of "
            f"{format_signed_seconds(cause.step_change_s)} is {term}{cause_text}."
        )
    return (
        f"{opening}: {term} changed most, {format_signed_seconds(cause.change_s)}{cause_text}"
        "; other terms went the other way."
    )


def _format_causes(difference: PlanDiffPart, cause: StepChangeCausePart) -> str:
    changes = {change.name: change for change in (*difference.strategy, *difference.inputs)}
    cause_texts = [
        f"{_format_setting_name(name)} {_format_before_after(changes[name], with_percent=False)}"
        for name in cause.because[:_MAX_CAUSES]
    ]
    if not cause_texts:
        return "" if changes else ", with the same inputs and the same split"
    return f", with {', '.join(cause_texts)}"


def _format_setting_name(name: str) -> str:
    return name.removeprefix("strategy.").removeprefix("settings.").replace("_", " ")


def _format_before_after(change: FigureChangePart, *, with_percent: bool = True) -> str:
    """`9.04 s → 10.1 s (+12 %)`."""
    base, head = _format_change_value(change.name, change.base), _format_change_value(change.name, change.head)
    if change.base is None or change.head is None:
        return head if change.base is None else base
    return f"{base} → {head}" + (
        f" ({_format_percent(change.relative)})" if with_percent and change.relative is not None else ""
    )


def format_headline_figure(difference: PlanDiffPart, name: str) -> str:
    """One figure of a plan's own line; empty where it did not change."""
    matching_changes = [change for change in difference.figures if change.name == name]
    return _format_before_after(matching_changes[0]) if matching_changes else ""


def build_change_rows(changes: Sequence[FigureChangePart]) -> list[DiffRow]:
    """A row a change."""
    return [
        (
            change.name,
            _format_change_value(change.name, change.base),
            _format_change_value(change.name, change.head),
            _format_relative_change(change),
        )
        for change in changes
    ]


def build_term_rows(terms: Sequence[TermChangePart], suffix: str = "") -> list[DiffRow]:
    """A row a term that is there, the one that changed most first."""
    return [
        (
            f"{format_term_name(term.term)}{suffix}",
            format_seconds(term.base_s),
            format_seconds(term.head_s),
            format_signed_seconds(term.change_s) if term.change_s else "",
        )
        for term in terms
        if term.base_s or term.head_s
    ]


def format_signed_seconds(seconds: float) -> str:
    """`+0.81 s`, `-12.0 ms`."""
    return f"{'-' if seconds < 0 else '+'}{format_seconds(abs(seconds))}"


def _format_change_value(name: str, value: float | str | bool | None) -> str:
    figure = PLAN_FIGURES.get(name)
    return "" if value is None else format_figure_value(value, figure.unit if figure is not None else "count")


def _format_relative_change(change: FigureChangePart) -> str:
    if change.name.startswith(("strategy.", "settings.")):
        return ""
    if change.relative is not None:
        return _format_percent(change.relative)
    if change.base is None or change.head is None:
        return "new" if change.base is None else "gone"
    return ""


def _format_percent(share: float | None) -> str:
    """`+12.0 %`, `-0.12 %`; of a plan that takes many times as long, `x 12`."""
    if share is None:
        return ""
    if share >= 10:
        return f"x {share + 1:,.0f}"
    digits = 1 if abs(share) >= 0.01 else 2
    return f"{100 * share:+.{digits}f} %"
