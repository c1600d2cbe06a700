"""CSV and JSON Lines: one line for each record, the same keys in the same order in every one."""

from __future__ import annotations

import csv
from io import StringIO

import msgspec

from planner.report.console import strip_nonprintable
from planner.report.report import RecordValue, Report

_FORMULA_PREFIXES = ("=", "+", "-", "@")
"""What spreadsheets take for the beginning of a formula."""
_MAX_INTEGER_FLOAT = 1e15
"""Floats below this that are whole are written as whole numbers."""


def render_jsonl(report: Report) -> str:
    """One JSON object a line, flat; null where a figure is not known."""
    lines = [
        msgspec.json.encode({key: _strip_record_value(value) for key, value in record.items()})
        for record in report.records
    ]
    return "".join(f"{line.decode()}\n" for line in lines)


def render_csv(report: Report) -> str:
    """A line of keys, then one a record (RFC 4180, but for line feeds): an empty field where a figure is not known.

    Words that a spreadsheet would take for a formula get an apostrophe in front.
    """
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = list(report.records[0]) if report.records else list(report.keys)
    writer.writerow(keys)
    for record in report.records:
        writer.writerow([_format_csv_field(record[key]) for key in keys])
    return out.getvalue()


def _strip_record_value(value: RecordValue) -> RecordValue:
    """The value without control characters."""
    if isinstance(value, str):
        return strip_nonprintable(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return [strip_nonprintable(item) for item in value]


def _format_csv_field(value: RecordValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _MAX_INTEGER_FLOAT else repr(value)
    if isinstance(value, int):
        return str(value)
    text = strip_nonprintable(value if isinstance(value, str) else " ".join(value))
    return f"'{text}" if text.startswith(_FORMULA_PREFIXES) else text
