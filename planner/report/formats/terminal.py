"""An answer in a terminal of any width, or as plain text where stdout is none.

No figure is cut. In a narrow terminal columns take short headings, then the least important are left out; where even
that does not fit, a table is printed one line a figure. A pipe gets whole lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from planner.report.console import build_console, get_console_text, sample_evenly, strip_nonprintable
from planner.report.report import Column, Report, ReportTable

if TYPE_CHECKING:
    from rich.console import Console

_StyledLine = tuple[str, str]
"""A line and its style."""
_COLUMN_GAP, _TABLE_GAP = 2, 4
_BAR_WIDTHS = (30, 12)
_TERMINAL_SIGNS = str.maketrans("#-", "█░")
"""Of bars: a pipe may lead to where only ASCII is shown."""


def render_terminal(report: Report) -> str:
    """The whole answer as text for stdout."""
    out = build_console()
    print_report(report, out)
    return get_console_text(out)


def print_report(report: Report, out: Console) -> None:
    """Print the title, facts as aligned pairs, tables and sentences; of a report that is one table, the table."""
    tables = [table for table in report.tables if table.rows]
    if not report.facts and not report.sentences and [table.title for table in tables] == [report.title]:
        lines = _format_table(tables[0], out)[1:]
        _print_lines(out, lines if len(tables[0].columns) > 1 else lines[2:])
        return
    name_width = max((len(name) for name, _ in report.facts), default=0) + 2
    _print_lines(out, [(report.title, "bold"), *((f"{name:{name_width}}{fact}", "") for name, fact in report.facts)])
    for lines in _arrange_side_by_side([_format_table(table, out) for table in tables], out.width):
        _print_lines(out, [("", ""), *lines])
    _print_lines(out, [("", "")] if report.sentences else [])
    _print_lines(out, ((sentence, "") for sentence in report.sentences))


def _print_lines(out: Console, lines: Iterable[_StyledLine]) -> None:
    """Print lines: a pipe gets each whole, a terminal has it wrapped at words."""
    from rich.text import Text

    for line, style in lines:
        out.print(Text(strip_nonprintable(line).rstrip(), style), soft_wrap=not out.is_terminal)


def _arrange_side_by_side(blocks: Iterable[list[_StyledLine]], max_width: int) -> list[list[_StyledLine]]:
    """The blocks below each other, but beside the one before where both fit."""
    arranged: list[list[_StyledLine]] = []
    for block in blocks:
        width = max(_measure(line) for line, _ in arranged[-1]) + _TABLE_GAP if arranged else max_width
        if width + max(_measure(line) for line, _ in block) > max_width:
            arranged.append(block)
            continue
        left, height = arranged[-1], max(len(arranged[-1]), len(block))
        left, right = (side + [("", "")] * (height - len(side)) for side in (left, block))
        arranged[-1] = [
            (_pad(line, width) + right_line, style)
            for (line, style), (right_line, _) in zip(left, right, strict=True)
        ]
    return arranged


def _format_table(table: ReportTable, out: Console) -> list[_StyledLine]:
    """The title, then the first variant of the table that fits, else one line a figure."""
    indices = sample_evenly(range(len(table.rows)), table.max_rows or len(table.rows))
    rows = [[strip_nonprintable(cell) for cell in table.rows[index]] for index in indices]
    lines: list[_StyledLine] = [(table.title, "")]
    if table.bar_legend:
        lines.append((table.bar_legend, ""))
    for columns, bar_width in _enumerate_variants(table):
        cells = [[row[number] for number, _ in columns] for row in rows]
        if bar_width:
            bars = [_draw_bar(table.bars[index], bar_width) for index in indices]
            cells = [
                [*row, bar.translate(_TERMINAL_SIGNS) if out.is_terminal else bar]
                for row, bar in zip(cells, bars, strict=True)
            ]
            columns = [*columns, (len(columns), Column("", is_text=True))]
        grid = _format_grid([column for _, column in columns], cells)
        if max(map(_measure, grid)) <= out.width or not (out.is_terminal or bar_width):
            bold_line = None if table.bold_row is None else indices.index(table.bold_row) + 2
            lines += [(line, "bold" if number in (0, bold_line) else "") for number, line in enumerate(grid)]
            break
    else:
        lines += [(line, "") for row in rows for line in _format_record(table.columns, row)]
    if len(indices) < len(table.rows):
        lines.append((f"{len(table.rows) - len(indices)} rows between these are in --format json.", ""))
    return lines


def _enumerate_variants(table: ReportTable) -> Iterator[tuple[list[tuple[int, Column]], int]]:
    """The columns with their numbers, and the width of the bars: from all to the fewest that are printed."""
    full = list(enumerate(table.columns))
    for bar_width in (*(_BAR_WIDTHS if table.bars else ()), 0):
        yield full, bar_width
    short = [(n, Column(item.short_heading or item.heading, item.is_text, "", item.drop_rank)) for n, item in full]
    yield short, 0
    for limit in sorted({column.drop_rank for column in table.columns} - {0}, reverse=True):
        yield [(number, column) for number, column in short if column.drop_rank < limit], 0


def _format_grid(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Headings, a rule, rows."""
    headings = [strip_nonprintable(column.heading) for column in columns]
    widths = [max(map(_measure, cells)) for cells in zip(headings, *rows, strict=True)]
    lines = [
        (" " * _COLUMN_GAP)
        .join(
            _pad(cell, width) if column.is_text else " " * (width - _measure(cell)) + cell
            for column, width, cell in zip(columns, widths, cells, strict=True)
        )
        .rstrip()
        for cells in (headings, *rows)
    ]
    return [lines[0], "─" * (sum(widths) + _COLUMN_GAP * (len(widths) - 1)), *lines[1:]]


def _format_record(columns: Sequence[Column], row: Sequence[str]) -> list[str]:
    """The first column, and below it one line a figure that is known."""
    width = max(len(column.heading) for column in columns[1:]) if len(columns) > 1 else 0
    head = row[0] if columns[0].is_text else f"{columns[0].heading} {row[0]}"
    pairs = zip(columns[1:], row[1:], strict=True)
    return [head, *(f"  {strip_nonprintable(column.heading):{width}}  {cell}" for column, cell in pairs if cell)]


def _draw_bar(segments: Sequence[tuple[float, str]], width: int) -> str:
    """A bar of (share of the width, sign) after each other; what is there is drawn, however short."""
    bar, end = "", 0.0
    for share, sign in segments:
        end += share * width
        bar += sign * (round(end) - len(bar))
    return bar if bar.strip() or not segments else bar[: width - 1] + segments[-1][1]


def _measure(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _measure(text))
