"""The answer of `planner validate` for people: a table in a terminal, or Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.report.listing import listing
from planner.report.markdown import table
from planner.validation.document import CrossPart, RowPart, ValidationDocument
from planner.validation.statistics import Errors

_ROWS = ("id", "filled", "measured", "predicted", "error", "GiB", "predicted GiB", "error GiB")
_SUMMARY = ("runs of", "rows", "mean", "median", "90th pct", "worst", "rank corr", "with memory", "mean", "worst")


def to_text(document: ValidationDocument) -> str:
    """Every row, then the errors by source and overall, then what was skipped and the folds."""
    parts = [
        listing(_ROWS, [_row(row) for row in document.rows], numbers_from=2),
        listing(_SUMMARY, list(_summaries(document)), numbers_from=1),
    ]
    if document.skipped:
        parts.append(listing(("skipped", "why"), [(one.id, one.reason) for one in document.skipped], numbers_from=2))
    for title, part in _folds(document):
        headings = (title, "rows", "mean", "median", "90th pct", "worst")
        parts.append(listing(headings, list(_fold_rows(part)), numbers_from=1))
    return "".join(parts)


def to_markdown(document: ValidationDocument, *, rows: bool = True) -> str:
    """The same as Markdown tables; without the single rows for a summary."""
    blocks = []
    if rows:
        blocks.append(_markdown(_ROWS, [_row(row) for row in document.rows], numbers_from=2))
    blocks.append(_markdown(_SUMMARY, list(_summaries(document)), numbers_from=1))
    if document.skipped:
        skipped = [(one.id, one.reason) for one in document.skipped]
        blocks.append(_markdown(("skipped", "why"), skipped, numbers_from=2))
    for title, part in _folds(document):
        headings = (title, "rows", "mean", "median", "90th pct", "worst")
        blocks.append(_markdown(headings, list(_fold_rows(part)), numbers_from=1))
    return "\n".join(blocks)


def _row(row: RowPart) -> tuple[str, ...]:
    held = row.memory_measured_gib
    memory = ("", "", "")
    if held is not None:
        error = 100 * (row.memory_predicted_gib / held - 1)
        memory = (f"{held:.1f}", f"{row.memory_predicted_gib:.1f}", f"{error:+.1f}%")
    filled = ", ".join(row.filled)
    return (row.id, filled, f"{row.measured:.5g}", f"{row.predicted:.5g}", f"{row.error_pct:+.1f}%", *memory)


def _summaries(document: ValidationDocument) -> Iterator[tuple[str, ...]]:
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is None:
            continue
        memory = part.memory
        held = ("", "", "")
        if memory is not None:
            held = (str(memory.rows), f"{memory.mean_pct:.1f}%", f"{memory.worst_pct:.1f}%")
        yield (source, *_numbers(part.figure), _correlation(part.figure), *held)


def _numbers(found: Errors) -> tuple[str, ...]:
    shares = (found.mean_pct, found.median_pct, found.p90_pct, found.worst_pct)
    return (str(found.rows), *(f"{share:.1f}%" for share in shares))


def _correlation(found: Errors) -> str:
    return "" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"


def _folds(document: ValidationDocument) -> list[tuple[str, CrossPart]]:
    parts = (
        ("fitted without the source", document.leave_one_source_out),
        ("fitted without the model", document.leave_one_model_out),
    )
    return [(title, part) for title, part in parts if part is not None]


def _fold_rows(part: CrossPart) -> Iterator[tuple[str, ...]]:
    for fold, found in part.by_fold.items():
        yield (fold, *_numbers(found))
    yield ("all", *_numbers(part.overall))


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> str:
    return table(headings, rows, range(numbers_from))
