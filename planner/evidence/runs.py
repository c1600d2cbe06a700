"""Read tables of measured runs: their columns, their rows, and rows that cannot be read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from planner.cost.settings import AttentionKernel
from planner.documents.schema import DocumentPart
from planner.errors import InputError, escape_nonprintable
from planner.trainers.names import GradientDtype, LaunchMode, TrainerName
from planner.workload.spec import MAX_LAYERS

RUN_COLUMNS = (
    "id", "source", "locator", "model", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "experts",
    "topk", "accelerator", "devices", "inter_gbps_per_device", "precision", "tp", "pp", "vpp", "cp", "ep", "dp",
    "micro_batch", "global_batch", "recompute", "seq_parallel", "sharding", "framework", "launch", "attention",
    "gradients", "tp_overlap", "metric", "value", "peak_memory_gib", "flops_convention", "notes",
)  # fmt: skip
"""All columns, in the order of the published table; what they mean is in tests/published/README.md."""
REQUIRED_RUN_COLUMNS = (
    "id", "model", "layers", "hidden", "heads", "ffn", "vocab", "seq", "accelerator", "devices", "metric", "value",
)  # fmt: skip
RUN_METRICS = ("step_time_s", "tokens_per_s_per_device", "tflops_per_device")
_MAX_ROWS = 100_000
_MAX_BY_COLUMN = {"layers": MAX_LAYERS, "heads": 65_536, "kv_heads": 65_536, "experts": 65_536, "seq": 2**24}
"""The largest numbers of these columns, as in model files."""
_MAX_CELL_CHARS = 2_000
"""Characters of a cell; the rest of a longer cell is not read."""


Choice = TypeVar("Choice")


def find_published_runs() -> Path:
    """Path of the runs that the planner ships: in the installed package, or among the tests of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "published" / "measured_runs.csv"
    return installed if installed.is_file() else package.parent / "tests" / "published" / "measured_runs.csv"


class RowError(Exception):
    """The reason why a row is skipped."""


@dataclass(frozen=True)
class MeasuredRun:
    """One measured run: its columns, "" or None where the source does not state one."""

    id: str
    source: str
    model: str
    accelerator: str
    precision: str
    recompute: str
    sharding: str
    framework: TrainerName | None
    launch: LaunchMode | None
    attention: AttentionKernel | None
    gradients: GradientDtype | None
    tp_overlap: bool
    seq_parallel: bool | None
    metric: str
    value: float
    peak_memory_gib: float | None
    flops_convention: str
    inter_gbps_per_device: float | None
    numbers: dict[str, int | None]
    """The columns of whole numbers."""
    line: int
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


class SkippedRunPart(DocumentPart, frozen=True, kw_only=True):
    """A row that could not be read or bound to a scenario, and the reason."""

    id: str
    line: int
    reason: str


def parse_runs(text: str, origin: str) -> tuple[list[MeasuredRun], list[SkippedRunPart]]:
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
    skipped: list[SkippedRunPart] = []
    for line, row in enumerate(table, start=2):
        try:
            cells = {
                key: escape_nonprintable((value or "").strip()[:_MAX_CELL_CHARS])
                for key, value in row.items()
                if isinstance(key, str)
            }
            runs.append(_parse_run(cells, line))
        except RowError as error:
            name = escape_nonprintable(row.get("id") or f"line {line}")
            skipped.append(SkippedRunPart(id=name, line=line, reason=str(error)))
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
    return MeasuredRun(
        id=row["id"],
        source=row.get("source", ""),
        model=row["model"],
        accelerator=row["accelerator"],
        precision=row.get("precision", ""),
        recompute=row.get("recompute", ""),
        sharding=row.get("sharding", ""),
        framework=_parse_choice(row, "framework", get_args(TrainerName)),
        launch=_parse_choice(row, "launch", get_args(LaunchMode)),
        attention=_parse_choice(row, "attention", get_args(AttentionKernel)),
        gradients=_parse_choice(row, "gradients", get_args(GradientDtype)),
        tp_overlap=_parse_choice(row, "tp_overlap", ("yes", "no")) == "yes",
        seq_parallel={"yes": True, "no": False}.get(row.get("seq_parallel", "")),
        metric=row["metric"],
        value=value,
        peak_memory_gib=_parse_number(row, "peak_memory_gib"),
        flops_convention=row.get("flops_convention", ""),
        inter_gbps_per_device=_parse_number(row, "inter_gbps_per_device"),
        numbers={column: _parse_integer(row, column) for column in _INTEGER_COLUMNS},
        line=line,
    )


def _parse_choice(row: dict[str, str], column: str, choices: tuple[Choice, ...]) -> Choice | None:
    """The value of a column of fixed names; None where it is empty."""
    text = row.get(column, "")
    if text and text not in choices:
        raise RowError(f"{column} {text[:40]!r} is not one of {', '.join(map(str, choices))}")
    return choices[choices.index(text)] if text else None


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
