"""The diff document as a comment on a pull request: a summary, a table, and the rest to be opened."""

from __future__ import annotations

from planner.documents.diff import DiffDocument, PlanDiffPart
from planner.report.formats.markdown import escape_markdown, render_markdown_table
from planner.report.report import build_columns
from planner.report.views.diff_report import (
    DIFF_HEADINGS,
    HEADLINE_FIGURES,
    DiffRow,
    build_change_rows,
    build_term_rows,
    format_closing_sentences,
    format_diff_heading,
    format_diff_sentences,
    format_diff_summary,
    format_headline_figure,
    select_reported_differences,
)
from planner.studies.conditions.figures import PLAN_FIGURES


def render_diff_markdown(document: DiffDocument) -> str:
    """The whole answer in GitHub's Markdown, which GitLab reads too."""
    reported = select_reported_differences(document)
    blocks = [f"## planner: {escape_markdown(format_diff_summary(document))}\n"]
    if reported:
        blocks.append(_render_overview(reported))
    for item in reported:
        blocks += _render_plan_section(document, item)
    blocks += [f"{escape_markdown(item)}\n" for item in format_closing_sentences(document)]
    return "\n".join([*blocks, f"<sub>{escape_markdown(document.base)} → {escape_markdown(document.head)}</sub>\n"])


def _render_overview(differences: list[PlanDiffPart]) -> str:
    """A row a plan, a column each figure that changed in any of them."""
    names = [name for name in HEADLINE_FIGURES if any(format_headline_figure(item, name) for item in differences)]
    if "cost_usd" in names and "cost_usd_per_step" in names:
        names.remove("cost_usd_per_step")
    rows = [
        (difference.name, difference.status, *(format_headline_figure(difference, name) or "=" for name in names))
        for difference in differences
    ]
    headings = ("plan", "", *(PLAN_FIGURES[name].label for name in names))
    return render_markdown_table(build_columns(headings, rows, (0, 1)))


def _render_plan_section(document: DiffDocument, difference: PlanDiffPart) -> list[str]:
    """Causes, requirements, and tables to be opened; nothing of a plan that is on one side only."""
    sentences = "".join(f"- {escape_markdown(sentence)}\n" for sentence in format_diff_sentences(difference))
    blocks = [sentences] if sentences else []
    if difference.terms:
        sections = (
            ("what changed", build_change_rows(difference)),
            ("all terms of the step", build_term_rows(difference)),
        )
        blocks += [_render_collapsible(f"{difference.name}: {name}", rows) for name, rows in sections if rows]
    return [f"**{escape_markdown(format_diff_heading(document, difference))}**\n", *blocks] if blocks else []


def _render_collapsible(title: str, rows: list[DiffRow]) -> str:
    """A table that is shown when its title is clicked; blank lines around it make it Markdown again."""
    table = render_markdown_table(build_columns(DIFF_HEADINGS, rows))
    return f"<details><summary>{escape_markdown(title)}</summary>\n\n{table}\n</details>\n"
