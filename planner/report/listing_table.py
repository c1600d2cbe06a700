"""A plain listing in columns; one record after the other where the columns do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.report.console import (
    build_console,
    build_plain_table,
    find_fitting_table,
    get_console_text,
    strip_nonprintable,
)

if TYPE_CHECKING:
    from rich.table import Table

_MAX_WIDTH = 10_000


@dataclass(frozen=True)
class _ListingVariant:
    """Rows under headings; the columns from `first_number_column` on are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    first_number_column: int


def render_listing(headings: Sequence[str], rows: Sequence[Sequence[str]], *, first_number_column: int) -> str:
    """Rows under headings, as text for this terminal; columns from `first_number_column` on are set to the right.

    Where not all fit, the second column is left out, if it is text: it describes the first. A pipe gets whole lines.
    """
    rows = [[strip_nonprintable(cell) for cell in row] for row in rows]
    out = build_console(_MAX_WIDTH)
    variants = [_ListingVariant(headings, rows, first_number_column)]
    if first_number_column > 1:
        brief_rows = [(*row[:1], *row[2:]) for row in (headings, *rows)]
        variants.append(_ListingVariant(brief_rows[0], brief_rows[1:], first_number_column - 1))
    table = find_fitting_table(out, _build_listing_table, variants)
    if table is not None:
        out.print(table)
    else:
        out.print("\n".join(_format_listing_record(headings, row) for row in rows), markup=False)
    return get_console_text(out)


def _build_listing_table(variant: _ListingVariant) -> Table:
    table = build_plain_table()
    for number, heading in enumerate(variant.headings):
        table.add_column(heading, justify="right" if number >= variant.first_number_column else "left", no_wrap=True)
    for row in variant.rows:
        table.add_row(*row)
    return table


def _format_listing_record(headings: Sequence[str], row: Sequence[str]) -> str:
    """The first column, and the others below it by their headings."""
    lines = [f"  {heading}: {value}" for heading, value in zip(headings[1:], row[1:], strict=True)]
    return "\n".join([row[0], *lines])
