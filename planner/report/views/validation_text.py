"""The answer of `planner validate` for people: tables in a terminal, and the cells that all forms have."""

from __future__ import annotations

from collections.abc import Iterator

from planner.evidence.statistics import PredictionErrors
from planner.evidence.validation_document import CrossValidationPart, MeasuredRunPart, ValidationDocument
from planner.report.listing_table import render_listing

_ROW_HEADINGS = ("id", "filled", "measured", "predicted", "error", "GiB", "predicted GiB", "error GiB")
FOLD_HEADINGS = ("rows", "mean", "median", "90th pct", "worst")
SUMMARY_HEADINGS = ("runs of", *FOLD_HEADINGS, "rank corr", "with memory", "mean", "worst")


def render_validation_text(document: ValidationDocument) -> str:
    """Every row, then the errors by source and overall, then what was skipped and the folds."""
    parts = [
        render_listing(
            build_run_headings(document), [format_run_cells(row) for row in document.rows], first_number_column=2
        ),
        render_listing(SUMMARY_HEADINGS, list(enumerate_error_summaries(document)), first_number_column=1),
    ]
    if document.skipped:
        parts.append(
            render_listing(
                ("skipped", "why"),
                [(skipped_run.id, skipped_run.reason) for skipped_run in document.skipped],
                first_number_column=2,
            )
        )
    for title, part in collect_validation_folds(document):
        parts.append(render_listing((title, *FOLD_HEADINGS), list(enumerate_fold_rows(part)), first_number_column=1))
    return "".join(parts)


def build_run_headings(document: ValidationDocument) -> tuple[str, ...]:
    """Of the runs; the last one is whether the error is as small as was asked for, if anything was."""
    if document.max_error_pct is None:
        return _ROW_HEADINGS
    return (*_ROW_HEADINGS, f"at most {document.max_error_pct:g}%")


def format_run_cells(row: MeasuredRunPart) -> tuple[str, ...]:
    """One run under `build_run_headings`."""
    measured_gib = row.memory_measured_gib
    memory = ("", "", "")
    if measured_gib is not None:
        error = 100 * (row.memory_predicted_gib / measured_gib - 1)
        memory = (f"{measured_gib:.1f}", f"{row.memory_predicted_gib:.1f}", f"{error:+.1f}%")
    filled = ", ".join(row.filled)
    verdict = () if row.met is None else ("met" if row.met else "not met",)
    prediction_cells = (f"{row.measured:.5g}", f"{row.predicted:.5g}", f"{row.error_pct:+.1f}%")
    return (row.id, filled, *prediction_cells, *memory, *verdict)


def format_excess_error(row: MeasuredRunPart, document: ValidationDocument) -> str:
    """What is said of a run whose error is above what was asked for; empty of any other."""
    if row.met is not False:
        return ""
    return f"error {row.error_pct:+.2f}%, at most {document.max_error_pct:g}% is wanted"


def enumerate_error_summaries(document: ValidationDocument) -> Iterator[tuple[str, ...]]:
    """The errors of each source and of all, under `SUMMARY_HEADINGS`."""
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is None:
            continue
        memory = part.memory
        memory_cells = ("", "", "")
        if memory is not None:
            memory_cells = (str(memory.rows), f"{memory.mean_pct:.1f}%", f"{memory.worst_pct:.1f}%")
        yield (source, *_format_error_cells(part.figure), _format_rank_correlation(part.figure), *memory_cells)


def _format_error_cells(statistics: PredictionErrors) -> tuple[str, ...]:
    shares = (statistics.mean_pct, statistics.median_pct, statistics.p90_pct, statistics.worst_pct)
    return (str(statistics.rows), *(f"{share:.1f}%" for share in shares))


def _format_rank_correlation(statistics: PredictionErrors) -> str:
    return "" if statistics.rank_correlation is None else f"{statistics.rank_correlation:.3f}"


def collect_validation_folds(document: ValidationDocument) -> list[tuple[str, CrossValidationPart]]:
    """The errors on runs that a fit has not seen, by what was left out of it; none where nobody asked."""
    parts = (
        ("fitted without the source", document.leave_one_source_out),
        ("fitted without the model", document.leave_one_model_out),
    )
    return [(title, part) for title, part in parts if part is not None]


def enumerate_fold_rows(part: CrossValidationPart) -> Iterator[tuple[str, ...]]:
    """What was left out with the errors on it, under a title and `FOLD_HEADINGS`; all of them last."""
    for fold, statistics in part.by_fold.items():
        yield (fold, *_format_error_cells(statistics))
    yield ("all", *_format_error_cells(part.overall))
