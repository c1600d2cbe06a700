"""A plain listing in columns; one record after the other where the columns do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.report.console import console, first_that_fits, plain_table, printable, text_of

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 10_000


@dataclass(frozen=True)
class _Form:
    """Rows under headings; the columns from `numbers_from` on are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int


def listing(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> str:
    """Rows under headings, as text for this terminal; columns from `numbers_from` on are set to the right.

    Where not all fit, the second column is left out, if it is text: it describes the first. A pipe gets whole lines.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    out = console(_WIDEST)
    forms = [_Form(headings, rows, numbers_from)]
    if numbers_from > 1:
        brief = [(*row[:1], *row[2:]) for row in (headings, *rows)]
        forms.append(_Form(brief[0], brief[1:], numbers_from - 1))
    table = first_that_fits(out, _table, forms)
    if table is not None:
        out.print(table)
    else:
        out.print("\n".join(_record(headings, row) for row in rows), markup=False)
    return text_of(out)


def _table(form: _Form) -> Table:
    table = plain_table()
    for number, heading in enumerate(form.headings):
        table.add_column(heading, justify="right" if number >= form.numbers_from else "left", no_wrap=True)
    for row in form.rows:
        table.add_row(*row)
    return table


def _record(headings: Sequence[str], row: Sequence[str]) -> str:
    """The first column, and the others below it by their headings."""
    lines = [f"  {heading}: {value}" for heading, value in zip(headings[1:], row[1:], strict=True)]
    return "\n".join([row[0], *lines])
