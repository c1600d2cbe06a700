"""The answer of `planner validate` for people: tables in a terminal, and the cells that all forms have."""

from __future__ import annotations

from collections.abc import Iterator

from planner.evidence.statistics import PredictionErrors
from planner.evidence.validation_document import CrossValidationPart, MeasuredRunPart, ValidationDocument
from planner.report.listing_table import listing

_ROW_HEADINGS = ("id", "filled", "measured", "predicted", "error", "GiB", "predicted GiB", "error GiB")
FOLD_HEADINGS = ("rows", "mean", "median", "90th pct", "worst")
SUMMARY_HEADINGS = ("runs of", *FOLD_HEADINGS, "rank corr", "with memory", "mean", "worst")


def to_text(document: ValidationDocument) -> str:
    """Every row, then the errors by source and overall, then what was skipped and the folds."""
    parts = [
        listing(row_headings(document), [row_cells(row) for row in document.rows], numbers_from=2),
        listing(SUMMARY_HEADINGS, list(summaries(document)), numbers_from=1),
    ]
    if document.skipped:
        parts.append(listing(("skipped", "why"), [(one.id, one.reason) for one in document.skipped], numbers_from=2))
    for title, part in folds(document):
        parts.append(listing((title, *FOLD_HEADINGS), list(fold_rows(part)), numbers_from=1))
    return "".join(parts)


def row_headings(document: ValidationDocument) -> tuple[str, ...]:
    """Of the runs; the last one is whether the error is as small as was asked for, if anything was."""
    if document.max_error_pct is None:
        return _ROW_HEADINGS
    return (*_ROW_HEADINGS, f"at most {document.max_error_pct:g}%")


def row_cells(row: MeasuredRunPart) -> tuple[str, ...]:
    """One run under `row_headings`."""
    held = row.memory_measured_gib
    memory = ("", "", "")
    if held is not None:
        error = 100 * (row.memory_predicted_gib / held - 1)
        memory = (f"{held:.1f}", f"{row.memory_predicted_gib:.1f}", f"{error:+.1f}%")
    filled = ", ".join(row.filled)
    verdict = () if row.met is None else ("met" if row.met else "not met",)
    told = (f"{row.measured:.5g}", f"{row.predicted:.5g}", f"{row.error_pct:+.1f}%")
    return (row.id, filled, *told, *memory, *verdict)


def fault(row: MeasuredRunPart, document: ValidationDocument) -> str:
    """What is said of a run whose error is above what was asked for; empty of any other."""
    if row.met is not False:
        return ""
    return f"error {row.error_pct:+.2f}%, at most {document.max_error_pct:g}% is wanted"


def summaries(document: ValidationDocument) -> Iterator[tuple[str, ...]]:
    """The errors of each source and of all, under `SUMMARY_HEADINGS`."""
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is None:
            continue
        memory = part.memory
        held = ("", "", "")
        if memory is not None:
            held = (str(memory.rows), f"{memory.mean_pct:.1f}%", f"{memory.worst_pct:.1f}%")
        yield (source, *_numbers(part.figure), _correlation(part.figure), *held)


def _numbers(found: PredictionErrors) -> tuple[str, ...]:
    shares = (found.mean_pct, found.median_pct, found.p90_pct, found.worst_pct)
    return (str(found.rows), *(f"{share:.1f}%" for share in shares))


def _correlation(found: PredictionErrors) -> str:
    return "" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"


def folds(document: ValidationDocument) -> list[tuple[str, CrossValidationPart]]:
    """The errors on runs that a fit has not seen, by what was left out of it; none where nobody asked."""
    parts = (
        ("fitted without the source", document.leave_one_source_out),
        ("fitted without the model", document.leave_one_model_out),
    )
    return [(title, part) for title, part in parts if part is not None]


def fold_rows(part: CrossValidationPart) -> Iterator[tuple[str, ...]]:
    """What was left out with the errors on it, under a title and `FOLD_HEADINGS`; all of them last."""
    for fold, found in part.by_fold.items():
        yield (fold, *_numbers(found))
    yield ("all", *_numbers(part.overall))
