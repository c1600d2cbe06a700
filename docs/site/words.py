"""Markdown: text that stands for itself, tables, and a page of a heading and blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\*\[\]<>|$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BAR, _ESCAPED = re.compile(r"(?<!\\)\|"), r"\\|"
_CODE = re.compile(r"(`[^`]+`)")


def said(text: str) -> str:
    """A sentence of the code: on one line, what stands in backticks as code, nothing else as markup."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(one if _CODE.fullmatch(one) else _MARKUP.sub(lambda found: f"\\{found[0]}", one) for one in parts)


def code(text: str) -> str:
    """Text as code, nothing where there is none."""
    return f"`{text}`" if text else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells in Markdown; a bar within code would end its cell."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(_BAR.sub(_ESCAPED, cell) for cell in line)} |\n" for line in lines)


def listing(lines: Iterable[str]) -> str:
    """A list."""
    return "".join(f"- {one}\n" for one in lines)


def block(kind: str, lines: Iterable[str]) -> str:
    """A block of code."""
    return "\n".join([f"```{kind}", *lines, "```\n"])


def page(title: str, *blocks: str) -> str:
    """A page; empty blocks are left out."""
    return "\n".join([f"# {title}\n", *(one if one.endswith("\n") else f"{one}\n" for one in blocks if one)])


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-")
