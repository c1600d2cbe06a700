"""GitHub's Markdown: facts as a list, tables with pipes. No name can end its cell or be read as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.report.report import Column, Report

_MARKUP_PATTERN = re.compile(r"[\\`*\[\]~|$!#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Signs with a meaning; an underscore within a word has none."""


def render_markdown(report: Report) -> str:
    """The whole report."""
    facts = [f"- **{escape_markdown(name)}**: {escape_markdown(text)}\n" for name, text in report.facts]
    blocks = [f"# {escape_markdown(report.title)}\n", *(["".join(facts)] if facts else [])]
    for table in report.tables:
        blocks += [f"## {escape_markdown(table.title)}\n"] if table.title else []
        blocks.append(render_markdown_table(table.columns))
    blocks += [f"{_render_sentence(sentence)}\n" for sentence in report.sentences]
    return "\n".join(blocks)


def render_markdown_table(columns: Sequence[Column]) -> str:
    """One table; columns of text are set to the left, the others to the right."""
    rule = ["---" if column.is_text else "---:" for column in columns]
    head, *rows = (
        [escape_markdown(cell) for cell in row]
        for row in zip(*([column.heading, *column.cells] for column in columns), strict=True)
    )
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *rows))


def escape_markdown(text: str) -> str:
    """Text that stands for itself, on one line: no markup, no HTML, no link, no control character."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    plain = _MARKUP_PATTERN.sub(lambda match: f"\\{match[0]}", plain)
    for character_to_escape, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(character_to_escape, entity)
    # addresses become links by themselves unless they are broken
    return re.sub(r"(?i)\b(www)\.", r"\1\\.", plain.replace("://", ":\\//"))


def _render_sentence(text: str) -> str:
    """A paragraph: its first sign makes no list and no heading of it."""
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", r"\1&#8203;\2", escape_markdown(text))
