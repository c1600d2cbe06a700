"""Read tables of measured runs: their rows, the rows and cells that cannot be read, and columns that nobody knows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from planner.documents.schema import DocumentPart
from planner.errors import InputError, escape_nonprintable, find_nearest_name
from planner.evidence.columns import REQUIRED_RUN_COLUMNS, RUN_COLUMNS, CellError, CellValue
from planner.evidence.memory_kinds import MemoryKind

_MAX_ROWS = 100_000
_MAX_CELL_CHARS = 2_000
"""Characters of a cell; the rest of a longer cell is not read."""
_MAX_COLUMNS_NAMED = 20
"""Unknown columns that are named one by one."""


def find_published_runs() -> Path:
    """Path of the runs that the planner ships: in the installed package, or among the tests of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "published" / "runs.csv"
    return installed if installed.is_file() else package.parent / "tests" / "published" / "runs.csv"


class RowError(Exception):
    """The reason why a row is skipped."""


@dataclass(frozen=True)
class MeasuredRun:
    """One measured run: what its row states by column; an empty cell, and a column that is not there, state nothing.

    `line`: in the file.
    """

    cells: Mapping[str, CellValue]
    line: int

    @property
    def id(self) -> str:
        """The name of the row."""
        return self.get_text("id")

    @property
    def source(self) -> str:
        """Who published the run; empty where the table does not say."""
        return self.get_text("source")

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.get_text("model")

    @property
    def accelerator(self) -> str:
        """The accelerator, as the table calls it."""
        return self.get_text("accelerator")

    @property
    def metric(self) -> str:
        """What was measured, one of `RUN_METRICS`."""
        return self.get_text("metric")

    @property
    def value(self) -> float:
        """The figure that was measured, in the unit of the metric."""
        return cast(float, self.cells["value"])

    @property
    def peak_memory_gib(self) -> float | None:
        """Peak memory of a device in GiB, of the kind `memory_kind`."""
        return self.get_number("peak_memory_gib")

    @property
    def memory_kind(self) -> MemoryKind | None:
        """What the peak memory counts; None where none was measured."""
        if self.peak_memory_gib is None:
            return None
        return cast(MemoryKind, self.get_text("memory_kind") or "unknown")

    @property
    def flops_convention(self) -> str:
        """How FLOPs were counted."""
        return self.get_text("flops_convention")

    @property
    def trainer_word(self) -> str:
        """The trainer, as the table calls it, in lower case."""
        return (self.get_text("framework") or self.get_text("trainer")).lower()

    @property
    def is_for_fitting(self) -> bool:
        """Whether the run may be fitted on: quality C is for printing alone."""
        return self.get_text("quality") != "C"

    def get_text(self, column: str) -> str:
        """The text of a column; empty where nothing is stated."""
        return str(self.cells.get(column, ""))

    def get_number(self, column: str) -> float | None:
        """The number of a column."""
        return cast("float | None", self.cells.get(column))

    def get_count(self, column: str) -> int | None:
        """The whole number of a column."""
        return cast("int | None", self.cells.get(column))

    def get_flag(self, column: str) -> bool | None:
        """Whether a column of yes and no says yes."""
        return cast("bool | None", self.cells.get(column))

    def require_count(self, column: str) -> int:
        """The whole number of a column. Raises RowError where nothing is stated."""
        value = self.get_count(column)
        if value is None:
            raise RowError(f"{column} is empty")
        return value


class SkippedRunPart(DocumentPart, frozen=True, kw_only=True):
    """A row that could not be read or bound to a scenario, and the reason."""

    id: str
    line: int
    reason: str


@dataclass(frozen=True)
class RunTable:
    """The runs of a table, the rows that could not be read, and a sentence on each column that is unknown."""

    runs: list[MeasuredRun]
    skipped: list[SkippedRunPart]
    notes: list[str]


def parse_run_table(text: str, origin: str) -> RunTable:
    """The runs of a table. Raises InputError for a table without the required columns."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        table = list(reader)
        names = [name for name in reader.fieldnames or () if name]
    except csv.Error as error:
        raise InputError(f"not valid CSV: {error}", origin=origin) from None
    if not table:
        raise InputError("has no rows", origin=origin, expected=f"the columns {', '.join(RUN_COLUMNS)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError("a column is there twice", origin=origin, key=twice, expected="each column once")
    missing = [column for column in REQUIRED_RUN_COLUMNS if column not in names]
    if missing:
        raise InputError("a column is missing", origin=origin, key=missing[0], expected=", ".join(RUN_COLUMNS))
    if len(table) > _MAX_ROWS:
        raise InputError("too many rows", origin=origin, value=len(table), expected=f"at most {_MAX_ROWS}")
    runs: list[MeasuredRun] = []
    skipped: list[SkippedRunPart] = []
    for line, row in enumerate(table, start=2):
        try:
            runs.append(_parse_run(row, line))
        except RowError as error:
            name = escape_nonprintable(row.get("id") or f"line {line}")
            skipped.append(SkippedRunPart(id=name, line=line, reason=f"{origin}: {error}"))
    return RunTable(runs, skipped, _name_unknown_columns(names, origin))


def parse_runs(text: str, origin: str) -> tuple[list[MeasuredRun], list[SkippedRunPart]]:
    """The rows, and those that could not be read. Raises InputError for a table without the required columns."""
    table = parse_run_table(text, origin)
    return table.runs, table.skipped


def _name_unknown_columns(names: list[str], origin: str) -> list[str]:
    """A sentence for each column that is not read."""
    unknown = [name for name in dict.fromkeys(names) if name not in RUN_COLUMNS]
    notes = []
    for name in unknown[:_MAX_COLUMNS_NAMED]:
        nearest = find_nearest_name(name, RUN_COLUMNS)
        hint = f"; did you mean {nearest}?" if nearest else ""
        notes.append(f"{origin}: column {escape_nonprintable(name[:40])!r} is unknown and not read{hint}")
    if len(unknown) > _MAX_COLUMNS_NAMED:
        notes.append(f"{origin}: {len(unknown) - _MAX_COLUMNS_NAMED} more unknown columns are not read")
    return notes


def _parse_run(row: Mapping[str | None, object], line: int) -> MeasuredRun:
    """A row. Raises RowError, which names every cell that cannot be read."""
    if row.get(None):
        raise RowError("more cells than columns")
    cells: dict[str, CellValue] = {}
    problems = []
    for name, column in RUN_COLUMNS.items():
        text = escape_nonprintable(str(row.get(name) or "").strip()[:_MAX_CELL_CHARS])
        if not text:
            if column.is_required:
                problems.append(f"{name} is empty")
            continue
        try:
            cells[name] = column.parse(text)
        except CellError as error:
            problems.append(str(error))
    if problems:
        raise RowError("; ".join(problems))
    return MeasuredRun(cells, line)
