"""GitHub's Markdown: facts as a list, tables with pipes. No name can end its cell or be read as markup."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from planner.report.report import Report, ReportTable

_MARKUP_PATTERN = re.compile(r"[\\`*\[\]~|$!#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Signs with a meaning; an underscore within a word has none."""


def render_markdown(report: Report) -> str:
    """The whole answer."""
    blocks = [f"# {escape_markdown(report.title)}\n"]
    if report.facts:
        blocks.append(
            "".join(
                f"- **{escape_markdown(name)}**: {escape_markdown(fact_text)}\n" for name, fact_text in report.facts
            )
        )
    for item in report.tables:
        blocks += [f"## {escape_markdown(item.title)}\n"] if item.title else []
        blocks.append(_render_report_table(item))
    blocks += [f"{_render_sentence(item)}\n" for item in report.sentences]
    return "\n".join(blocks)


def render_markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Collection[int]
) -> str:
    """One table; the columns in `text_columns` are set to the left, the others to the right."""
    rule = ["---" if number in text_columns else "---:" for number in range(len(headings))]
    table_rows = [
        [escape_markdown(cell) for cell in headings],
        rule,
        *([escape_markdown(cell) for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in table_rows)


def escape_markdown(text: str) -> str:
    """Text that stands for itself, on one line: no markup, no HTML, no link, no control character."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    plain = _MARKUP_PATTERN.sub(lambda match: f"\\{match[0]}", plain)
    for character_to_escape, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(character_to_escape, entity)
    # addresses become links by themselves unless they are broken
    return re.sub(r"(?i)\b(www)\.", r"\1\\.", plain.replace("://", ":\\//"))


def _render_report_table(report_table: ReportTable) -> str:
    return render_markdown_table(report_table.headings, report_table.rows, report_table.text_columns)


def _render_sentence(text: str) -> str:
    """A paragraph: its first sign makes no list and no heading of it."""
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", r"\1&#8203;\2", escape_markdown(text))
