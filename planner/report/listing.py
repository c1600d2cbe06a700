"""A plain listing in columns; one record after the other where the columns do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.report.console import console, first_that_fits, plain_table, printable, text_of

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 10_000


def listing(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> str:
    """Rows under headings, as text for this terminal; columns from `numbers_from` on are set to the right.

    Where not all fit, the second column is left out, if it is text: it describes the first. A pipe gets whole lines.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    out = console(_WIDEST)
    brief = [(*row[:1], *row[2:]) for row in (headings, *rows)] if numbers_from > 1 else []
    forms = [lambda: _table(headings, rows, numbers_from)]
    if brief:
        forms.append(lambda: _table(brief[0], brief[1:], numbers_from - 1))
    table = first_that_fits(out, forms)
    if table is not None:
        out.print(table)
    else:
        out.print("\n".join(_record(headings, row) for row in rows), markup=False)
    return text_of(out)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> Table:
    table = plain_table()
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number >= numbers_from else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _record(headings: Sequence[str], row: Sequence[str]) -> str:
    """The first column, and the others below it by their headings."""
    lines = [f"  {heading}: {value}" for heading, value in zip(headings[1:], row[1:], strict=True)]
    return "\n".join([row[0], *lines])
