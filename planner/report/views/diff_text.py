"""The diff document in words and rows, and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.documents.diff import ChangePart, DiffDocument, DifferencePart, TermPart, WhyPart
from planner.report.console import console, plain_table, print_lines, printable, text_of
from planner.report.views.plan_words import term_name
from planner.studies.conditions.display import format_figure_value
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.units import format_seconds

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, str, str, str]
"""A name, the value in the base, in the head, and the change."""
HEADINGS: Row = ("", "base", "head", "change")
HEADLINES = {
    "step_time_s": "step",
    "tokens_per_s": "tokens/s",
    "mfu": "MFU",
    "memory.headroom": "headroom",
    "cost_usd_per_step": "cost/step",
    "cost_usd": "cost",
}
"""The figures of a plan's own line, and what they are called there."""
_SHOWN_CAUSES = 4


def diff_text(document: DiffDocument) -> str:
    """The whole answer as text for stdout."""
    out = console()
    print_lines(out, [printable(f"{document.base} → {document.head}: {summary(document)}")])
    for one in told_apart(document):
        out.print()
        print_lines(out, map(printable, (heading(document, one), *sentences(one))))
        rows = all_rows(one)
        if rows:
            out.print(_table(rows))
    print_lines(out, map(printable, closing(document)))
    return text_of(out)


def _table(rows: Sequence[Row]) -> Table:
    table = plain_table()
    for number, name in enumerate(HEADINGS):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    return table


def summary(document: DiffDocument) -> str:
    """`1 plan changed, 1 added, 2 unchanged`."""
    counts: dict[str, int] = {}
    for one in document.differences:
        counts[one.status] = counts.get(one.status, 0) + 1
    order = ("changed", "added", "removed", "fits now", "fits no more", "fits in neither", "unchanged")
    told = [f"{counts[status]} {status}" for status in order if status in counts]
    first, _, rest = told[0].partition(" ")
    return ", ".join([f"{first} {'plan' if first == '1' else 'plans'} {rest}", *told[1:]])


def told_apart(document: DiffDocument) -> list[DifferencePart]:
    """The plans that are told one by one: all but those that are the same, or fit in neither."""
    return [one for one in document.differences if one.status not in ("unchanged", "fits in neither")]


def closing(document: DiffDocument) -> list[str]:
    """What is said at the end: what did not change, and what counts as that."""
    told = []
    for status in ("unchanged", "fits in neither"):
        names = [one.name for one in document.differences if one.status == status]
        if names and len(document.differences) > 1:
            told.append(f"{status[:1].upper()}{status[1:]}: {', '.join(names)}.")
    if document.threshold:
        told.append(f"Figures that changed by less than {100 * document.threshold:,g} % are not told.")
    return told


def heading(document: DiffDocument, one: DifferencePart) -> str:
    """What a plan's part begins with: its name and what became of it; of two single plans, what they are of."""
    title = f" ({one.title})" if one.title else ""
    return one.title if len(document.differences) == 1 and one.name == "plan" else f"{one.name}: {one.status}{title}"


def sentences(one: DifferencePart) -> list[str]:
    """Why the step changed, and which requirements that touches."""
    told = [why_sentence(one)] if one.why is not None else []
    told += [f"No longer met: {text}" for text in one.no_longer_met]
    told += [f"Now met: {text}" for text in one.now_met]
    return told + [f"Not met: {part.requirement}: {part.told}" for part in one.requirements if not part.met]


def why_sentence(one: DifferencePart) -> str:
    """`Step 9.04 s → 10.1 s (+12 %): +0.8 s of +1.1 s is pipeline bubble, with pp 4 → 8.`"""
    why = one.why
    assert why is not None
    step = next((change for change in one.figures if change.name == "step_time_s"), None)
    told = "Step as long as before" if step is None else f"Step {_from_to(step)}"
    because = _because(one, why)
    term = term_name(why.term)
    share = why.change_s / why.step_change_s if why.step_change_s else 0.0
    if step is not None and 0 < share <= 1:
        return f"{told}: {signed(why.change_s)} of {signed(why.step_change_s)} is {term}{because}."
    return f"{told}: {term} changed most, {signed(why.change_s)}{because}; other terms went the other way."


def _because(one: DifferencePart, why: WhyPart) -> str:
    changes = {change.name: change for change in (*one.strategy, *one.inputs)}
    told = [f"{_short(name)} {_from_to(changes[name], share=False)}" for name in why.because[:_SHOWN_CAUSES]]
    if not told:
        return "" if changes else ", with the same inputs and the same split"
    return f", with {', '.join(told)}"


def _short(name: str) -> str:
    return name.removeprefix("strategy.").removeprefix("settings.").replace("_", " ")


def _from_to(change: ChangePart, *, share: bool = True) -> str:
    """`9.04 s → 10.1 s (+12 %)`."""
    base, head = _told(change.name, change.base), _told(change.name, change.head)
    if change.base is None or change.head is None:
        return head if change.base is None else base
    return f"{base} → {head}" + (f" ({_percent(change.relative)})" if share and change.relative is not None else "")


def headline(one: DifferencePart, name: str) -> str:
    """One figure of a plan's own line; empty where it did not change."""
    found = [change for change in one.figures if change.name == name]
    return _from_to(found[0]) if found else ""


def rows_of(changes: Sequence[ChangePart]) -> list[Row]:
    """A row a change."""
    return [(one.name, _told(one.name, one.base), _told(one.name, one.head), _change(one)) for one in changes]


def term_rows(terms: Sequence[TermPart], suffix: str = "") -> list[Row]:
    """A row a term that is there, the one that changed most first."""
    return [
        (
            f"{term_name(one.term)}{suffix}",
            format_seconds(one.base_s),
            format_seconds(one.head_s),
            signed(one.change_s) if one.change_s else "",
        )
        for one in terms
        if one.base_s or one.head_s
    ]


def all_rows(one: DifferencePart) -> list[Row]:
    """Everything that is told of a plan: inputs, split, figures, terms, memory."""
    blocks = [
        rows_of([*one.inputs, *one.strategy]),
        rows_of(one.figures),
        term_rows(one.terms) + term_rows(one.hidden, ", hidden"),
        rows_of(one.memory),
    ]
    rows: list[Row] = []
    for block in blocks:
        rows += [("", "", "", "")] if rows and block else []
        rows += block
    return rows


def signed(seconds: float) -> str:
    """`+0.81 s`, `-12.0 ms`."""
    return f"{'-' if seconds < 0 else '+'}{format_seconds(abs(seconds))}"


def _told(name: str, value: float | str | bool | None) -> str:
    figure = PLAN_FIGURES.get(name)
    return "" if value is None else format_figure_value(value, figure.unit if figure is not None else "count")


def _change(one: ChangePart) -> str:
    if one.name.startswith(("strategy.", "settings.")):
        return ""
    if one.relative is not None:
        return _percent(one.relative)
    if one.base is None or one.head is None:
        return "new" if one.base is None else "gone"
    return ""


def _percent(share: float | None) -> str:
    """`+12.0 %`, `-0.12 %`; of a plan that takes many times as long, `x 12`."""
    if share is None:
        return ""
    if share >= 10:
        return f"x {share + 1:,.0f}"
    digits = 1 if abs(share) >= 0.01 else 2
    return f"{100 * share:+.{digits}f} %"
