"""The validation document as a report: one record a measured run, predicted over measured as scatters."""

from __future__ import annotations

from collections.abc import Iterator

from planner.evidence.statistics import PredictionErrors
from planner.evidence.validation_document import MeasuredRunPart, SkippedRunPart, ValidationDocument
from planner.report.report import (
    Bar,
    Bars,
    Case,
    Piece,
    Point,
    Report,
    Scatter,
    Table,
    Value,
)
from planner.report.views.validation_text import (
    FOLD_HEADINGS,
    SUMMARY_HEADINGS,
    fault,
    fold_rows,
    folds,
    row_cells,
    row_headings,
    summaries,
)

_GIB = 2**30


def validation_report(document: ValidationDocument) -> Report:
    """The whole answer of `validate`."""
    rows, overall = document.rows, document.overall.figure
    title = f"Predictions beside {len(rows)} measured runs"
    runs = Table("Runs", row_headings(document), [row_cells(row) for row in rows], frozenset({0, 1}))
    return Report(
        command="validate",
        title=title,
        facts=list(_facts(document)),
        records=[*(_record(row) for row in rows), *(_left_out(one) for one in document.skipped)],
        tables=[*error_tables(document), runs] if rows else error_tables(document),
        charts=[*_scatters(rows), *([_errors(document)] if overall is not None else [])],
        cases=[Case(row.source, row.id, failure=fault(row, document)) for row in rows]
        + [Case("skipped", one.id, skipped=one.reason) for one in document.skipped],
    )


def _facts(document: ValidationDocument) -> Iterator[tuple[str, str]]:
    """The errors over all runs, and how many are above what was asked for."""
    if document.overall.figure is not None:
        yield "Error", _errors_told(document.overall.figure)
    if document.max_error_pct is not None:
        above = f"{sum(row.met is False for row in document.rows)} of {len(document.rows)} runs above it"
        yield "Wanted", f"at most {document.max_error_pct:g} %: {above}"


def _errors_told(found: PredictionErrors) -> str:
    return f"mean {found.mean_pct:.1f} %, median {found.median_pct:.1f} %, worst {found.worst_pct:.1f} %"


def error_tables(document: ValidationDocument) -> list[Table]:
    """Errors by source and overall, what was skipped, and the errors of fits that left something out."""
    tables = [Table("Errors by source", SUMMARY_HEADINGS, list(summaries(document)))]
    if document.skipped:
        skipped = [(one.id, one.reason) for one in document.skipped]
        tables.append(Table("Skipped", ("skipped", "why"), skipped, frozenset({0, 1})))
    for title, part in folds(document):
        tables.append(Table(title.capitalize(), (title, *FOLD_HEADINGS), list(fold_rows(part))))
    return tables


def _record(row: MeasuredRunPart) -> dict[str, Value]:
    """One run, flat: `measured` and `predicted` in the unit of its `metric`; bytes of memory as far as told."""
    held = row.memory_measured_gib
    record: dict[str, Value] = {
        name: getattr(row, name) for name in ("id", "source", "model", "accelerator", "metric")
    }
    record |= {"measured": row.measured, "predicted": row.predicted, "error_pct": row.error_pct}
    record |= {"memory_measured_bytes": None if held is None else held * _GIB}
    return record | {
        "memory_predicted_bytes": row.memory_predicted_gib * _GIB,
        "filled": row.filled,
        "met": row.met,
        "skipped": "",
    }


def _left_out(one: SkippedRunPart) -> dict[str, Value]:
    """A row of the table that is no run, with the reason."""
    keys = ("source", "model", "accelerator", "metric", "measured", "predicted", "error_pct")
    record: dict[str, Value] = {"id": one.id, **dict.fromkeys(keys)}
    return record | {
        "memory_measured_bytes": None,
        "memory_predicted_bytes": None,
        "filled": [],
        "met": None,
        "skipped": one.reason,
    }


def _scatters(rows: list[MeasuredRunPart]) -> list[Scatter]:
    """Predicted over measured, a scatter for each metric: they have different units."""
    drawn = []
    for metric in dict.fromkeys(row.metric for row in rows):
        chosen = [row for row in rows if row.metric == metric and row.measured > 0 and row.predicted > 0]
        if not chosen:
            continue
        measured, predicted = [row.measured for row in chosen], [row.predicted for row in chosen]
        x_told, y_told = ((f"{min(one):.4g}", f"{max(one):.4g}") for one in (measured, predicted))
        points = [
            Point(row.measured, row.predicted, f"{row.id}: {row.predicted:.5g}, {row.error_pct:+.1f}%")
            for row in chosen
        ]
        name = metric.replace("_", " ")
        drawn.append(Scatter(name, "measured", "predicted", x_told, y_told, points, logarithmic=True, diagonal=True))
    return drawn


def _errors(document: ValidationDocument) -> Bars:
    """The mean absolute error of each source, and of all."""
    drawn = []
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is not None:
            mean, runs = part.figure.mean_pct, part.figure.rows
            said = f"{mean:.1f} %"
            drawn.append(Bar(source, said, [Piece("mean error", mean, f"{source}: {said} of {runs} runs")]))
    return Bars("Mean error by source", drawn)
