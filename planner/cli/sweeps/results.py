"""The table of a sweep, a row per point: built from its answers, written as Parquet, CSV or JSON Lines, and read.

The same rows give the same bytes: columns and rows have a fixed order, and the files contain no date or author.
"""

from __future__ import annotations

import csv
import importlib
import io
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec

from planner.cli.lazy import import_lazily
from planner.cli.sweeps.grid import Sweep, SweepPoint
from planner.cli.sweeps.points import REASON_COLUMN, STATUS_COLUMN
from planner.errors import InputError
from planner.request.files import read_file_bytes, read_text_file
from planner.request.values import format_option_value

with import_lazily():
    from planner.report import console, report
    from planner.report.charts import plot_of_table
    from planner.report.formats import csv_jsonl

RESULT_SUFFIXES = (".parquet", ".csv", ".jsonl")
_FILE_DESCRIPTION = "the results of a sweep"
_SHARED_COLUMNS = ("parameters", "seq_length", "nodes", "devices", "precision")
"""Figures of a plan that are also options: if the option is given, they share a column."""
_ROW_GROUP_ROWS = 65_536
_MAX_ROWS = 1e300
"""Largest absolute number in a cell that can be drawn."""
_MAX_FILE_BYTES = 4_000_000_000

_EXPECTED_CONDITION = 'COLUMN == VALUE, with ==, !=, <, <=, > or >=; several joined by "and"'
_CLAUSE_PATTERN = re.compile(r"""\s*(\w+)\s*(==|!=|<=|>=|<|>|=)\s*("[^"]*"|'[^']*'|[^\s"'<>=!]+)\s*""")
_AND_PATTERN = re.compile(r"and\b", re.IGNORECASE)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_BOOLEAN_WORDS = {"yes": True, "true": True, "no": False, "false": False}

TableCell = str | int | float | bool | None


@dataclass(frozen=True)
class ResultsTable:
    """Columns of equal length, whose cells have a single type or are None."""

    columns: Mapping[str, Sequence[TableCell]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def select_rows(self, mask: Sequence[bool]) -> ResultsTable:
        """The table of the selected rows."""
        return ResultsTable(
            {
                name: [cell for cell, keep in zip(cells, mask, strict=True) if keep]
                for name, cells in self.columns.items()
            }
        )


def build_results(sweep: Sweep, answers: Mapping[int, bytes]) -> ResultsTable:
    """A row for each point in the order of the sweep: its keys, then its status, then its plan.

    A figure of a plan with the name of one of the sweep's keys is renamed `plan_NAME`.
    """
    records = [msgspec.json.decode(answers[number]) for number in range(len(sweep.points))]
    names = dict.fromkeys(name for record in records for name in record if name not in (STATUS_COLUMN, REASON_COLUMN))
    columns = {key: [_format_requested_value(point, key) for point in sweep.points] for key in sweep.keys}
    columns |= {
        name: [_convert_to_cell(record[name]) for record in records] for name in (STATUS_COLUMN, REASON_COLUMN)
    }
    for name in names:
        cells = [_convert_to_cell(record.get(name)) for record in records]
        if name in _SHARED_COLUMNS and name in columns:
            option_cells = columns[name]
            columns[name] = [
                present if item is None else item for item, present in zip(option_cells, cells, strict=True)
            ]
        else:
            columns[name if name not in sweep.keys else f"plan_{name}"] = cells
    return ResultsTable({name: _unify_types(cells) for name, cells in columns.items()})


def _format_requested_value(point: SweepPoint, key: str) -> TableCell:
    entry = point.get(key)
    return format_option_value(entry) if isinstance(entry, list) else entry


def _convert_to_cell(value: object) -> TableCell:
    """A figure as a cell: a list is joined as in options of `plan`."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    assert isinstance(value, list)
    return "+".join(map(str, value)) or "none"


def _unify_types(cells: Sequence[TableCell]) -> list[TableCell]:
    """The cells as numbers or booleans where all are, else as texts."""
    types = {type(cell) for cell in cells if cell is not None}
    if types == {int, float}:
        return [None if cell is None else float(cell) for cell in cells]
    if len(types) > 1:
        return [None if cell is None else format_option_value(cell) for cell in cells]
    return list(cells)


def check_results_file(path: Path) -> None:
    """Raise InputError for a folder, or a missing package."""
    if path.is_dir():
        raise InputError("is a folder", key="--output", value=str(path), expected="a file")
    if path.suffix.casefold() == ".parquet":
        _import_pyarrow(path)


def _import_pyarrow(path: Path, module: str = "pyarrow") -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        expected = "pip install 'planner[sweep]', or a file ending in .csv or .jsonl"
        raise InputError("Parquet needs pyarrow", origin=str(path), expected=expected) from None


def render_results(results: ResultsTable, path: Path, metadata: Mapping[str, str]) -> str | bytes:
    """The file's content in the format of its ending. `metadata`: for Parquet's metadata."""
    ending = path.suffix.casefold()
    if ending == ".parquet":
        return _render_parquet(results, path, metadata)
    names = list(results.columns)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*results.columns.values(), strict=True)]
    sweep_report = report.Report("sweep", "", (), rows)
    return (csv_jsonl.render_csv if ending == ".csv" else csv_jsonl.render_jsonl)(sweep_report)


def _render_parquet(results: ResultsTable, path: Path, metadata: Mapping[str, str]) -> bytes:
    arrow, parquet = _import_pyarrow(path), _import_pyarrow(path, "pyarrow.parquet")
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    arrays, fields = [], []
    for name, cells in results.columns.items():
        schema_metadata = next((type(cell) for cell in cells if cell is not None), float)
        plain = [console.strip_nonprintable(cell) if isinstance(cell, str) else cell for cell in cells]
        arrays.append(arrow.array(plain, types[schema_metadata]))
        fields.append(arrow.field(name, types[schema_metadata]))
    table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=dict(metadata)))
    out = io.BytesIO()
    parquet.write_table(table, out, row_group_size=_ROW_GROUP_ROWS, compression="zstd")
    return out.getvalue()


def read_results(path: Path) -> ResultsTable:
    """The table of a file that `planner sweep` wrote, or of another file in these formats. Raises InputError."""
    suffix = path.suffix.casefold()
    if suffix == ".parquet":
        results = _read_parquet(read_file_bytes(path, RESULT_SUFFIXES, _FILE_DESCRIPTION, _MAX_FILE_BYTES), path)
    else:
        text = read_text_file(path, RESULT_SUFFIXES, _FILE_DESCRIPTION, _MAX_FILE_BYTES)
        results = _read_csv(text, path) if suffix == ".csv" else _read_jsonl(text, path)
    if not len(results):
        raise InputError("has no rows", origin=str(path), expected=_FILE_DESCRIPTION)
    return ResultsTable({name: _unify_types(cells) for name, cells in results.columns.items()})


def _read_parquet(content: bytes, path: Path) -> ResultsTable:
    parquet = _import_pyarrow(path, "pyarrow.parquet")
    try:
        table = parquet.read_table(io.BytesIO(content))
        columns = {str(name): table[name].to_pylist() for name in table.column_names}
    except (
        OSError,
        ValueError,
        NotImplementedError,
        LookupError,
        MemoryError,
    ) as error:  # pyarrow's errors are ValueErrors and OSErrors
        reason = str(error).partition("\n")[0]
        raise InputError(f"not valid Parquet: {reason}", origin=str(path), expected=_FILE_DESCRIPTION) from None
    return ResultsTable({name: [_parse_json_cell(column) for column in cells] for name, cells in columns.items()})


def _read_jsonl(text: str, path: Path) -> ResultsTable:
    rows: list[dict[str, object]] = []
    for number, line in enumerate(text.split("\n"), 1):  # texts may contain other line separators
        if not line.strip():
            continue
        try:
            rows.append(msgspec.json.decode(line, type=dict[str, object]))
        except (msgspec.MsgspecError, RecursionError) as error:
            origin = f"{path}: line {number}"
            raise InputError(f"not a JSON object: {error}", origin=origin, expected=_FILE_DESCRIPTION) from None
    names = dict.fromkeys(name for row in rows for name in row)
    return ResultsTable({name: [_parse_json_cell(row.get(name)) for row in rows] for name in names})


def _read_csv(text: str, path: Path) -> ResultsTable:
    try:
        lines = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise InputError(f"not valid CSV: {error}", origin=str(path), expected=_FILE_DESCRIPTION) from None
    names = lines[0] if lines else []
    for number, line in enumerate(lines, 1):
        if len(line) != len(names):
            expected = f"{len(names)}, as in the first line"
            raise InputError(f"{len(line)} fields", origin=f"{path}: line {number}", expected=expected)
    columns = zip(*lines[1:], strict=True) if len(lines) > 1 else ((),) * len(names)
    return ResultsTable({name: _parse_cells(cells) for name, cells in zip(names, columns, strict=True)})


def _parse_cells(texts: Sequence[str]) -> list[TableCell]:
    """Fields as numbers where all that are not empty are numbers; else as texts, without the quote that protects
    spreadsheets from formulas.
    """
    for number in (int, float):
        try:
            parsed = [number(text) if text else None for text in texts]
        except ValueError:
            continue
        if all(cell is None or abs(cell) < _MAX_ROWS for cell in parsed):
            return [*parsed]
    return [None if not text else text[1:] if text[:2] in ("'=", "'+", "'-", "'@") else text for text in texts]


def _parse_json_cell(value: object) -> TableCell:
    """The value, or its text where it is neither a text nor a number that can be drawn."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) < _MAX_ROWS:
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def select_rows_where(condition: str, columns: Mapping[str, Sequence[TableCell]]) -> list[bool]:
    """The rows that meet a condition; an empty cell meets only `!=`. Raises InputError for an invalid condition, an
    unknown column, and where no row is left.
    """
    mask = [True] * len(next(iter(columns.values())))
    at = 0
    while True:
        clause = _CLAUSE_PATTERN.match(condition, at)
        if clause is None:
            raise InputError("not a condition", key="--where", value=condition, expected=_EXPECTED_CONDITION)
        name, sign, value = clause.groups()
        if name not in columns:
            raise plot_of_table.build_unknown_column_error(name, columns, "--where")
        clause_mask = _evaluate_clause(columns[name], sign, value)
        mask = [first and second for first, second in zip(mask, clause_mask, strict=True)]
        at = clause.end()
        if at == len(condition):
            break
        joined = _AND_PATTERN.match(condition, at)
        if joined is None:
            raise InputError("not a condition", key="--where", value=condition, expected=_EXPECTED_CONDITION)
        at = joined.end()
    if not any(mask):
        raise InputError(
            "no row meets the condition",
            key="--where",
            value=condition,
            expected=_format_known_values(columns[name]),
        )
    return mask


def _evaluate_clause(cells: Sequence[TableCell], sign: str, value: str) -> list[bool]:
    """Whether each cell meets the comparison with the value; a number equals its text."""
    text = value[1:-1] if value[0] in "\"'" else value
    if sign in ("==", "=", "!="):
        equal = [_is_equal(cell, text) for cell in cells]
        return equal if sign != "!=" else [not item for item in equal]
    number = _parse_number(text)
    if number is None:
        raise InputError("not a number", key="--where", value=text, expected=f"a number after {sign}")
    compared = _COMPARISONS[sign]
    return [_is_numeric(cell) and compared(float(cell or 0), number) for cell in cells]


def _is_equal(cell: TableCell, text: str) -> bool:
    if cell is None:
        return False
    if isinstance(cell, bool):
        return _BOOLEAN_WORDS.get(text.casefold()) is cell
    if isinstance(cell, int | float):
        return _parse_number(text) == cell
    return cell.casefold() == text.casefold()


def _is_numeric(cell: TableCell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _format_known_values(cells: Sequence[TableCell]) -> str:
    """Some of the column's values, for a message."""
    values = [str(cell) for cell in dict.fromkeys(cells) if cell is not None]
    return f"values in the table: {', '.join(values[:12])}{', ...' if len(values) > 12 else ''}"
