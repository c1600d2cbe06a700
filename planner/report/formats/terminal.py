"""A report in a terminal of any width, or as plain text where stdout is none.

No figure is cut. In a narrow terminal columns take short headings, then some stand below their rows, then the least
important are left out, then the widest text is wrapped; where even that does not fit, a table is printed one line a
figure. A pipe gets whole lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from planner.report.console import build_console, get_console_text, sample_evenly, strip_nonprintable
from planner.report.report import Column, Report, ReportTable

if TYPE_CHECKING:
    from rich.console import Console

_StyledLine = tuple[str, str]
"""A line and its style."""
_COLUMN_GAP, _TABLE_GAP = 2, 4
_BAR_WIDTHS, _MIN_WRAPPED_WIDTH = (30, 12), 16
_TERMINAL_SIGNS = str.maketrans("#-", "█░")
"""Of bars in a terminal; the signs of a pipe are ASCII."""


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
    _print_lines(out, [(report.title, "bold"), *((line, "") for line in _format_facts(report.facts, out))])
    for lines in _arrange_side_by_side([_format_table(table, out) for table in tables], out.width):
        _print_lines(out, [("", ""), *lines])
    _print_lines(out, [("", "")] if report.sentences else [])
    _print_lines(out, ((sentence, "") for sentence in report.sentences))


def _format_facts(facts: Sequence[tuple[str, str]], out: Console) -> Iterator[str]:
    """Names and texts in two columns; a terminal has long texts wrapped within theirs."""
    name_width = max((len(name) for name, _ in facts), default=0) + 2
    room = out.width - name_width if out.is_terminal else 0
    for name, text in facts:
        for number, line in enumerate(_wrap(text, room)):
            yield f"{name if number == 0 else '':{name_width}}{line}"


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
    count = len(table.rows)
    indices = sample_evenly(range(count), table.max_rows or count)
    columns = [
        replace(
            column,
            heading=strip_nonprintable(column.heading),
            cells=[strip_nonprintable(column.cells[index]) for index in indices],
        )
        for column in table.columns
    ]
    bars = [table.bars[index] for index in indices] if table.bars else []
    bold_row = None if table.bold_row is None else indices.index(table.bold_row)
    lines: list[_StyledLine] = [(table.title, ""), *([(table.bar_legend, "")] if table.bar_legend else [])]
    for variant, below in _enumerate_variants(columns, bars, out):
        grid = _format_grid(variant, bold_row, below)
        has_bars = len(variant) > len(columns)
        if max(_measure(line) for line, _ in grid) <= out.width or not (out.is_terminal or has_bars):
            lines += grid
            break
    else:
        lines += [(line, "") for number in range(len(indices)) for line in _format_record(columns, number)]
    if len(indices) < count:
        lines.append((f"{count - len(indices)} rows between these are in --format json.", ""))
    return lines


def _enumerate_variants(
    columns: list[Column], bars: Sequence[Sequence[tuple[float, str]]], out: Console
) -> Iterator[tuple[list[Column], list[str]]]:
    """The columns to print and what stands below each row, from the widest variant to the narrowest: with bars, short
    headings, some below, fewer, wrapped.
    """
    for width in _BAR_WIDTHS if bars else ():
        drawn = [_draw_bar(segments, width) for segments in bars]
        cells = [bar.translate(_TERMINAL_SIGNS) if out.is_terminal else bar for bar in drawn]
        yield [*columns, Column("", cells, is_text=True)], []
    yield columns, []
    columns = [replace(column, heading=column.short_heading or column.heading) for column in columns]
    yield columns, []
    below = _format_below([column for column in columns if column.moves_below], out.width)
    columns = [column for column in columns if not column.moves_below]
    if below:
        yield columns, below
    for limit in sorted({column.drop_rank for column in columns} - {0}, reverse=True):
        columns = [column for column in columns if column.drop_rank < limit]
        yield columns, below
    widths = [_measure_column(column) for column in columns]
    excess = sum(widths) + _COLUMN_GAP * (len(widths) - 1) - out.width
    texts = [number for number, column in enumerate(columns) if column.is_text]
    widest = max(texts, key=lambda number: widths[number], default=0)
    if texts and widths[widest] - excess >= _MIN_WRAPPED_WIDTH:
        cells = ["\n".join(_wrap(cell, widths[widest] - excess, at_hyphens=True)) for cell in columns[widest].cells]
        yield [*columns[:widest], replace(columns[widest], cells=cells), *columns[widest + 1 :]], below


def _format_below(columns: Sequence[Column], width: int) -> list[str]:
    """For each row the cells of columns that stand below it, indented and wrapped; of no columns, none."""
    indent = " " * _TABLE_GAP
    rows = zip(*(column.cells for column in columns), strict=True) if columns else ()
    return [
        "\n".join(indent + line for cell in row if cell for line in _wrap(cell, width - _TABLE_GAP)) for row in rows
    ]


def _format_grid(columns: Sequence[Column], bold_row: int | None, below: Sequence[str] = ()) -> list[_StyledLine]:
    """Headings, a rule, rows, with the texts `below` each; a cell of several lines makes a row of as many."""
    widths = [_measure_column(column) for column in columns]
    rows: list[_StyledLine] = []
    for number, row in enumerate(zip(*([column.heading, *column.cells] for column in columns), strict=True)):
        for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
            padded = (
                _pad(cell, width) if column.is_text else " " * (width - _measure(cell)) + cell
                for column, width, cell in zip(columns, widths, line, strict=True)
            )
            is_bold = number == 0 or number - 1 == bold_row
            rows.append(((" " * _COLUMN_GAP).join(padded).rstrip(), "bold" if is_bold else ""))
        if below and number > 0 and below[number - 1]:
            rows += [(line, "dim") for line in below[number - 1].split("\n")]
    return [rows[0], ("─" * (sum(widths) + _COLUMN_GAP * (len(widths) - 1)), ""), *rows[1:]]


def _format_record(columns: Sequence[Column], number: int) -> list[str]:
    """Row `number`: its first cell, and below it one line for each of the others that is not empty."""
    width = max((len(column.heading) for column in columns[1:]), default=0)
    first = columns[0].cells[number]
    pairs = [(column.heading, column.cells[number]) for column in columns[1:]]
    head = first if columns[0].is_text else f"{columns[0].heading} {first}"
    return [head, *(f"  {heading:{width}}  {cell}" for heading, cell in pairs if cell)]


def _draw_bar(segments: Sequence[tuple[float, str]], width: int) -> str:
    """A bar of (share of the width, sign) after each other; what is there is drawn, however short."""
    bar, end = "", 0.0
    for share, sign in segments:
        end += share * width
        bar += sign * (round(end) - len(bar))
    return bar if bar.strip() or not segments else bar[: width - 1] + segments[-1][1]


def _wrap(text: str, width: int, *, at_hyphens: bool = False) -> list[str]:
    """The lines of a text of at most `width` characters; of no width, one."""
    return (width > 0 and textwrap.wrap(text, width, break_on_hyphens=at_hyphens)) or [text]


def _measure_column(column: Column) -> int:
    return max(_measure(line) for cell in (column.heading, *column.cells) for line in cell.split("\n"))


def _measure(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _measure(text))
