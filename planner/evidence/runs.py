"""Read tables of measured runs: their columns, their rows, and rows that cannot be read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from planner.errors import InputError, escape_nonprintable
from planner.workload.spec import MAX_LAYERS

RUN_COLUMNS = (
    "id", "source", "locator", "model", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "experts",
    "topk", "accelerator", "devices", "inter_gbps_per_device", "precision", "tp", "pp", "vpp", "cp", "ep", "dp",
    "micro_batch", "global_batch", "recompute", "seq_parallel", "sharding", "metric", "value", "peak_memory_gib",
    "flops_convention", "notes",
)  # fmt: skip
REQUIRED_RUN_COLUMNS = (
    "id",
    "model",
    "layers",
    "hidden",
    "heads",
    "ffn",
    "vocab",
    "seq",
    "accelerator",
    "devices",
    "metric",
    "value",
)
RUN_METRICS = ("step_time_s", "tokens_per_s_per_device", "tflops_per_device")
_MAX_ROWS = 100_000
_MAX_BY_COLUMN = {"layers": MAX_LAYERS, "heads": 65_536, "kv_heads": 65_536, "experts": 65_536, "seq": 2**24}
"""The largest numbers of these columns, as in model files."""
_MAX_CELL_CHARS = 2_000
"""Characters of a cell; the rest of a longer cell is not read."""


class RowError(Exception):
    """The reason why a row is skipped."""


@dataclass(frozen=True)
class MeasuredRun:
    """One measured run. A number is None where the source does not state it."""

    id: str
    source: str
    locator: str
    model: str
    accelerator: str
    precision: str
    recompute: str
    sharding: str
    metric: str
    value: float
    peak_memory_gib: float | None
    notes: str
    seq_parallel: bool | None
    flops_convention: str
    numbers: dict[str, int | None]
    inter_gbps_per_device: float | None
    line: int = 0
    """Line in the file."""

    def require_number(self, column: str) -> int:
        """The number in a required column. Raises RowError where it is empty."""
        value = self.numbers[column]
        if value is None:
            raise RowError(f"{column} is empty")
        return value


_INTEGER_COLUMNS = (
    "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "experts", "topk", "devices", "tp", "pp", "vpp",
    "cp", "ep", "dp", "micro_batch", "global_batch",
)  # fmt: skip


@dataclass(frozen=True)
class SkippedRun:
    """A row that was not predicted, and the reason."""

    id: str
    line: int
    reason: str


def parse_runs(text: str, origin: str) -> tuple[list[MeasuredRun], list[SkippedRun]]:
    """The rows, and those that could not be read. Raises InputError for a table without the required columns."""
    try:
        table = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"not valid CSV: {error}", origin=origin) from None
    if not table:
        raise InputError("has no rows", origin=origin, expected=f"the columns {', '.join(RUN_COLUMNS)}")
    missing = [column for column in REQUIRED_RUN_COLUMNS if column not in table[0]]
    if missing:
        raise InputError("a column is missing", origin=origin, key=missing[0], expected=", ".join(RUN_COLUMNS))
    if len(table) > _MAX_ROWS:
        raise InputError("too many rows", origin=origin, value=len(table), expected=f"at most {_MAX_ROWS}")
    runs: list[MeasuredRun] = []
    skipped: list[SkippedRun] = []
    for line, row in enumerate(table, start=2):
        try:
            cells = {
                key: escape_nonprintable((value or "").strip()[:_MAX_CELL_CHARS])
                for key, value in row.items()
                if isinstance(key, str)
            }
            runs.append(_parse_run(cells, line))
        except RowError as error:
            skipped.append(SkippedRun(escape_nonprintable(row.get("id") or f"line {line}"), line, str(error)))
    return runs, skipped


def _parse_run(row: dict[str, str], line: int) -> MeasuredRun:
    for column in REQUIRED_RUN_COLUMNS:
        if not row[column]:
            raise RowError(f"{column} is empty")
    if row["metric"] not in RUN_METRICS:
        raise RowError(f"metric {row['metric']!r} is not one of {', '.join(RUN_METRICS)}")
    value = _parse_number(row, "value")
    if value is None or not 0 < value < 1e15:
        raise RowError(f"value {row['value']!r} is not a positive number")
    parallel = {"yes": True, "no": False}.get(row.get("seq_parallel", ""))
    return MeasuredRun(
        id=row["id"],
        source=row.get("source", ""),
        locator=row.get("locator", ""),
        model=row["model"],
        accelerator=row["accelerator"],
        precision=row.get("precision", ""),
        recompute=row.get("recompute", ""),
        sharding=row.get("sharding", ""),
        metric=row["metric"],
        value=value,
        peak_memory_gib=_parse_number(row, "peak_memory_gib"),
        notes=row.get("notes", ""),
        seq_parallel=parallel,
        flops_convention=row.get("flops_convention", ""),
        numbers={column: _parse_integer(row, column) for column in _INTEGER_COLUMNS},
        inter_gbps_per_device=_parse_number(row, "inter_gbps_per_device"),
        line=line,
    )


def _parse_number(row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise RowError(f"{column} {text[:40]!r} is not a number") from None
    if not abs(value) < 1e18:
        raise RowError(f"{column} {text[:40]!r} is out of range")
    return value


def _parse_integer(row: dict[str, str], column: str) -> int | None:
    value = _parse_number(row, column)
    if value is None:
        return None
    maximum = _MAX_BY_COLUMN.get(column, 2**31)
    if value != int(value) or not 0 < value <= maximum:
        raise RowError(f"{column} {row[column]!r} is not a positive whole number of at most {maximum:,}")
    return int(value)
