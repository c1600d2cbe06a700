"""The diff document as a comment on a pull request: a line that says it all, a table, and the rest to be opened."""

from __future__ import annotations

from planner.documents.diff import DiffDocument, DifferencePart
from planner.report.formats.markdown import escaped, table
from planner.report.views.diff_text import (
    HEADINGS,
    HEADLINES,
    Row,
    closing,
    heading,
    headline,
    rows_of,
    sentences,
    summary,
    term_rows,
    told_apart,
)


def diff_markdown(document: DiffDocument) -> str:
    """The whole answer in GitHub's Markdown, which GitLab reads too."""
    told = told_apart(document)
    blocks = [f"## planner: {escaped(summary(document))}\n"]
    if told:
        blocks.append(_overview(told))
    for one in told:
        blocks += _of_plan(document, one)
    blocks += [f"{escaped(one)}\n" for one in closing(document)]
    return "\n".join([*blocks, f"<sub>{escaped(document.base)} → {escaped(document.head)}</sub>\n"])


def _overview(told: list[DifferencePart]) -> str:
    """A row a plan, a column each figure that changed in any of them."""
    names = [name for name in HEADLINES if any(headline(one, name) for one in told)]
    if "cost_usd" in names and "cost_usd_per_step" in names:
        names.remove("cost_usd_per_step")
    rows = [(one.name, one.status, *(headline(one, name) or "=" for name in names)) for one in told]
    return table(("plan", "", *(HEADLINES[name] for name in names)), rows, {0, 1})


def _of_plan(document: DiffDocument, one: DifferencePart) -> list[str]:
    """What is told beside the overview; nothing of a plan that has one side only."""
    lines = ["".join(f"- {escaped(sentence)}\n" for sentence in sentences(one))] if sentences(one) else []
    sections = [
        ("what changed", rows_of([*one.inputs, *one.strategy, *one.figures, *one.memory])),
        ("all terms of the step", term_rows(one.terms) + term_rows(one.hidden, ", hidden")),
    ]
    if one.terms:
        lines += [_opened(f"{one.name}: {name}", rows) for name, rows in sections if rows]
    return [f"**{escaped(heading(document, one))}**\n", *lines] if lines else []


def _opened(title: str, rows: list[Row]) -> str:
    """A table that is shown when its title is clicked; blank lines around it make it Markdown again."""
    return f"<details><summary>{escaped(title)}</summary>\n\n{table(HEADINGS, rows, {0})}\n</details>\n"
