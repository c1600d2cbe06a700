"""A plain listing in columns."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.terminal import console


def print_listing(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> None:
    """Print rows under headings; columns from `numbers_from` on are set to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number >= numbers_from else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)
