"""GitHub's Markdown: facts as a list, tables with pipes. No name can end its cell or be read as markup."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from planner.report.report import Report, Table

_MARKUP = re.compile(r"[\\`*\[\]~|$!#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Signs with a meaning; an underscore within a word has none."""


def to_markdown(report: Report) -> str:
    """The whole answer."""
    blocks = [f"# {escaped(report.title)}\n"]
    if report.facts:
        blocks.append("".join(f"- **{escaped(name)}**: {escaped(said)}\n" for name, said in report.facts))
    for one in report.tables:
        blocks += [f"## {escaped(one.title)}\n"] if one.title else []
        blocks.append(_told(one))
    blocks += [f"{_sentence(one)}\n" for one in report.sentences]
    return "\n".join(blocks)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int]) -> str:
    """One table; the columns in `words` are set to the left, the others to the right."""
    rule = ["---" if number in words else "---:" for number in range(len(headings))]
    told = [[escaped(cell) for cell in headings], rule, *([escaped(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in told)


def escaped(text: str) -> str:
    """Text that stands for itself, on one line: no markup, no HTML, no link, no control character."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    plain = _MARKUP.sub(lambda found: f"\\{found[0]}", plain)
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(sign, entity)
    # addresses become links by themselves unless they are broken
    return re.sub(r"(?i)\b(www)\.", r"\1\\.", plain.replace("://", ":\\//"))


def _told(one: Table) -> str:
    return table(one.headings, one.rows, one.words)


def _sentence(text: str) -> str:
    """A paragraph: its first sign makes no list and no heading of it."""
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", r"\1&#8203;\2", escaped(text))
