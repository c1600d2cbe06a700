"""The diff document as a report: one record a change, one case a requirement of the comparison."""

from __future__ import annotations

from collections import Counter

from planner.cost.step import STEP_TERMS
from planner.documents.diff import DiffDocument, FigureChangePart, PlanDiffPart, StepChangeCausePart, TermChangePart
from planner.documents.figures import flatten_part, format_figure_value
from planner.report.report import Report, ReportCase, ReportRecord, ReportTable, build_columns
from planner.report.views.breakdown import build_step_bars
from planner.report.views.plan_words import format_term_name
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.units import format_seconds

DiffRow = tuple[str, str, str, str]
"""A name, the value in the base, in the head, and the change."""
DIFF_HEADINGS: DiffRow = ("", "base", "head", "change")
HEADLINE_FIGURES = ("step_time_s", "tokens_per_s", "mfu", "memory.headroom", "cost_usd_per_step", "cost_usd")
"""The figures of a plan's row in a comment."""
_SUMMED_UP_STATUSES = ("unchanged", "fits in neither")
_MAX_CAUSES = 4


def build_diff_report(document: DiffDocument) -> Report:
    """The report of `diff`. Without requirements each plan that is compared is a case that passes."""
    tables, charts, sentences = [], [], []
    for difference in select_reported_differences(document):
        name = difference.name
        sentences += [f"{format_diff_heading(document, difference)}.", *format_diff_sentences(difference)]
        titled_rows = (
            ("what changed", build_change_rows(difference)),
            ("terms of the step", build_term_rows(difference)),
        )
        tables += [
            ReportTable(f"{name}: {title}", build_columns(DIFF_HEADINGS, rows)) for title, rows in titled_rows if rows
        ]
        if difference.terms:
            terms = {term.term: term for term in difference.terms}
            base, head = ({name: getattr(terms[name], side) for name in STEP_TERMS} for side in ("base_s", "head_s"))
            charts.append(build_step_bars(f"{name}: where the step goes", [("base", base), ("head", head)]))
    return Report(
        command="diff",
        title=f"{document.base} → {document.head}: {format_diff_summary(document)}",
        facts=[],
        records=[record for difference in document.differences for record in _build_records(difference)],
        tables=tables,
        charts=charts,
        sentences=[*sentences, *format_closing_sentences(document)],
        cases=[case for difference in document.differences for case in _build_cases(difference)],
    )


def _build_records(difference: PlanDiffPart) -> list[ReportRecord]:
    """A record a change, then one a term; a plan in which nothing changed has one record."""
    changes = [
        (category, change)
        for category, part in (
            ("input", difference.inputs),
            ("strategy", difference.strategy),
            ("figure", difference.figures),
            ("memory", difference.memory),
        )
        for change in part
    ]
    for category, prefix, terms in (("term", "terms", difference.terms), ("hidden", "hidden", difference.overlapped)):
        changes += [(category, _convert_term_to_change(prefix, term)) for term in terms if term.change_s]
    if not changes:
        changes = [("", FigureChangePart(name="", base=None, head=None, change=None, relative=None))]
    head = {"plan": difference.name, "status": difference.status}
    return [{**head, "kind": category, **flatten_part(change)} for category, change in changes]


def _convert_term_to_change(prefix: str, term: TermChangePart) -> FigureChangePart:
    share = term.change_s / term.base_s if term.base_s else None
    name = f"{prefix}.{term.term}"
    return FigureChangePart(name=name, base=term.base_s, head=term.head_s, change=term.change_s, relative=share)


def _build_cases(difference: PlanDiffPart) -> list[ReportCase]:
    if not difference.requirements:
        return [ReportCase(difference.name, difference.status)]
    return [
        ReportCase(difference.name, requirement.requirement, failure="" if requirement.met else requirement.reason)
        for requirement in difference.requirements
    ]


def format_diff_summary(document: DiffDocument) -> str:
    """`1 plan changed, 1 added, 2 unchanged`."""
    counts: Counter[str] = Counter(difference.status for difference in document.differences)
    order = ("changed", "added", "removed", "fits now", "fits no more", "fits in neither", "unchanged")
    status_counts = [f"{counts[status]} {status}" for status in order if status in counts]
    first, _, rest = status_counts[0].partition(" ")
    return ", ".join([f"{first} {'plan' if first == '1' else 'plans'} {rest}", *status_counts[1:]])


def select_reported_differences(document: DiffDocument) -> list[PlanDiffPart]:
    """The plans that are listed one by one: all but those that are the same, or fit in neither."""
    return [item for item in document.differences if item.status not in _SUMMED_UP_STATUSES]


def format_closing_sentences(document: DiffDocument) -> list[str]:
    """Which plans did not change, and what counts as that."""
    lines = []
    for status in _SUMMED_UP_STATUSES:
        names = [difference.name for difference in document.differences if difference.status == status]
        if names and len(document.differences) > 1:
            lines.append(f"{status[:1].upper()}{status[1:]}: {', '.join(names)}.")
    if document.threshold:
        lines.append(f"Figures that changed by less than {100 * document.threshold:,g} % are not listed.")
    return lines


def format_diff_heading(document: DiffDocument, difference: PlanDiffPart) -> str:
    """Name, status and title of a plan; of two single plans the title alone."""
    if len(document.differences) == 1 and difference.name == "plan":
        return difference.title
    title = f" ({difference.title})" if difference.title else ""
    return f"{difference.name}: {difference.status}{title}"


def format_diff_sentences(difference: PlanDiffPart) -> list[str]:
    """Why the step changed, and which requirements that touches."""
    lines = [format_cause_sentence(difference)] if difference.why is not None else []
    if difference.told_apart is False and any(change.name == "tokens_per_s" for change in difference.figures):
        lines.append("The two cannot be told apart: they differ by less than the error of such a comparison.")
    lines += [f"No longer met: {text}" for text in difference.no_longer_met]
    lines += [f"Now met: {text}" for text in difference.now_met]
    return lines + [f"Not met: {part.requirement}: {part.reason}" for part in difference.requirements if not part.met]


def format_cause_sentence(difference: PlanDiffPart) -> str:
    """`Step 9.04 s → 10.1 s (+12 %): +0.8 s of +1.1 s is pipeline bubble, with pp 4 → 8.`"""
    cause = difference.why
    assert cause is not None
    step = next((change for change in difference.figures if change.name == "step_time_s"), None)
    opening = "Step as long as before" if step is None else f"Step {_format_before_after(step)}"
    causes, term = _format_causes(difference, cause), format_term_name(cause.term)
    change, step_change = format_signed_seconds(cause.change_s), format_signed_seconds(cause.step_change_s)
    if step is not None and cause.step_change_s and 0 < cause.change_s / cause.step_change_s <= 1:
        return f"{opening}: {change} of {step_change} is {term}{causes}."
    return f"{opening}: {term} changed most, {change}{causes}; other terms went the other way."


def _format_causes(difference: PlanDiffPart, cause: StepChangeCausePart) -> str:
    changes = {change.name: change for change in (*difference.strategy, *difference.inputs)}
    texts = [
        f"{_format_setting_name(name)} {_format_before_after(changes[name], with_percent=False)}"
        for name in cause.because[:_MAX_CAUSES]
    ]
    if not texts:
        return "" if changes else ", with the same inputs and the same split"
    return f", with {', '.join(texts)}"


def _format_setting_name(name: str) -> str:
    return name.removeprefix("strategy.").removeprefix("settings.").replace("_", " ")


def _format_before_after(change: FigureChangePart, *, with_percent: bool = True) -> str:
    """`9.04 s → 10.1 s (+12 %)`."""
    base, head = _format_change_value(change.name, change.base), _format_change_value(change.name, change.head)
    if change.base is None or change.head is None:
        return head if change.base is None else base
    percent = f" ({_format_percent(change.relative)})" if with_percent and change.relative is not None else ""
    return f"{base} → {head}{percent}"


def format_headline_figure(difference: PlanDiffPart, name: str) -> str:
    """One figure of a plan before and after; empty where it did not change."""
    text = next((_format_before_after(change) for change in difference.figures if change.name == name), "")
    return f"{text}{_format_peaks(difference)}" if text and name == "mfu" else text


def _format_peaks(difference: PlanDiffPart) -> str:
    """The precision whose peak MFU is of: ` of bf16`, ` of bf16 → fp8`."""
    peaks = list(dict.fromkeys(difference.mfu_peaks))
    return f" of {' → '.join(peaks)}" if peaks else ""


def build_change_rows(difference: PlanDiffPart) -> list[DiffRow]:
    """A row for each input, degree, setting and figure that changed."""
    return [
        (
            f"{change.name}{_format_peaks(difference)}" if change.name in ("mfu", "hfu") else change.name,
            _format_change_value(change.name, change.base),
            _format_change_value(change.name, change.head),
            _format_relative_change(change),
        )
        for change in (*difference.inputs, *difference.strategy, *difference.figures, *difference.memory)
    ]


def build_term_rows(difference: PlanDiffPart) -> list[DiffRow]:
    """A row for each term that is not zero, exposed ones first, in the order of their change."""
    return [
        (
            f"{format_term_name(term.term)}{suffix}",
            format_seconds(term.base_s),
            format_seconds(term.head_s),
            format_signed_seconds(term.change_s) if term.change_s else "",
        )
        for suffix, terms in (("", difference.terms), (", overlapped", difference.overlapped))
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


def _format_percent(share: float) -> str:
    """`+12.0 %`, `-0.12 %`; of a plan that takes many times as long, `x 12`."""
    if share >= 10:
        return f"x {share + 1:,.0f}"
    digits = 1 if abs(share) >= 0.01 else 2
    return f"{100 * share:+.{digits}f} %"
