"""Markdown: escaped text, tables, lists, blocks of code, pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\*\[\]<>|$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BAR, _ESCAPED = re.compile(r"(?<!\\)\|"), r"\\|"
_CODE = re.compile(r"(`[^`]+`)")


def escape_text(text: str) -> str:
    """Text on one line: backticks stay code, all other markup is escaped."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        part if _CODE.fullmatch(part) else _MARKUP.sub(lambda match: f"\\{match[0]}", part) for part in parts
    )


def format_code(text: str) -> str:
    """Text as code; empty text stays empty."""
    return f"`{text}`" if text else ""


def format_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Bars are escaped: a bar within code would end its cell."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(_BAR.sub(_ESCAPED, cell) for cell in line)} |\n" for line in lines)


def format_list(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "".join(f"- {line}\n" for line in lines)


def format_block(kind: str, lines: Iterable[str]) -> str:
    """A block of code."""
    return "\n".join([f"```{kind}", *lines, "```\n"])


def format_page(title: str, *blocks: str) -> str:
    """A page of a heading and blocks; empty blocks are left out."""
    return "\n".join(
        [f"# {title}\n", *(block if block.endswith("\n") else f"{block}\n" for block in blocks if block)]
    )


def build_anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-")
