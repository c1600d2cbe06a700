"""The validation document as a report: one record a measured run, predicted over measured as scatters."""

from __future__ import annotations

from collections.abc import Iterator

from planner.evidence.runs import SkippedRunPart
from planner.evidence.statistics import PredictionErrors
from planner.evidence.validation_document import (
    CrossValidationPart,
    MeasuredRunPart,
    ValidationDocument,
)
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
    build_columns,
)

_GIB_BYTES = 2**30
_METRIC_UNITS = {"step_time_s": "s", "tokens_per_s_per_device": "tokens/s/device", "tflops_per_device": "TFLOP/s"}
_ROW_HEADINGS = ("id", "filled", "measured", "predicted", "error", "GiB", "predicted GiB", "error GiB")
_FOLD_HEADINGS = ("rows", "mean", "median", "90th pct", "worst")
_SUMMARY_HEADINGS = ("runs of", *_FOLD_HEADINGS, "rank corr", "with memory", "mean", "worst")


def build_validation_report(document: ValidationDocument) -> Report:
    """The whole answer of `validate`."""
    rows, overall = document.rows, document.overall.figure
    title = f"Predictions beside {len(rows)} measured runs"
    runs = ReportTable(
        "Runs",
        build_columns(_build_run_headings(document), (0, 1), ("filled",)),
        [_format_run_cells(row) for row in rows],
    )
    return Report(
        command="validate",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[
            *(_build_run_record(row) for row in rows),
            *(_build_skipped_record(skipped_run) for skipped_run in document.skipped),
        ],
        tables=[*([runs] if rows else []), *build_error_tables(document)],
        charts=[*_build_prediction_scatters(rows), *([_build_error_bars(document)] if overall is not None else [])],
        cases=[ReportCase(row.source, row.id, failure=format_excess_error(row, document)) for row in rows]
        + [ReportCase("skipped", skipped_run.id, skip_reason=skipped_run.reason) for skipped_run in document.skipped],
    )


def _enumerate_facts(document: ValidationDocument) -> Iterator[tuple[str, str]]:
    """The errors over all runs, and how many are above what was asked for."""
    if document.overall.figure is not None:
        yield "Error", _format_error_statistics(document.overall.figure)
    if document.max_error_pct is not None:
        above_text = f"{sum(row.met is False for row in document.rows)} of {len(document.rows)} runs above it"
        yield "Wanted", f"at most {document.max_error_pct:g} %: {above_text}"


def _format_error_statistics(statistics: PredictionErrors) -> str:
    return (
        f"mean {statistics.mean_pct:.1f} %, median {statistics.median_pct:.1f} %, worst {statistics.worst_pct:.1f} %"
    )


def build_error_tables(document: ValidationDocument) -> list[ReportTable]:
    """Errors by source and overall, what was skipped, and the errors of fits that left something out."""
    tables = [
        ReportTable("Errors by source", build_columns(_SUMMARY_HEADINGS), list(_enumerate_error_summaries(document)))
    ]
    if document.skipped:
        skipped = [(skipped_run.id, skipped_run.reason) for skipped_run in document.skipped]
        tables.append(ReportTable("Skipped", build_columns(("skipped", "why"), (0, 1)), skipped))
    for title, part in _collect_validation_folds(document):
        tables.append(
            ReportTable(title.capitalize(), build_columns((title, *_FOLD_HEADINGS)), list(_enumerate_fold_rows(part)))
        )
    return tables


def _build_run_record(row: MeasuredRunPart) -> dict[str, RecordValue]:
    """One run, flat: `measured` and `predicted` in the unit of its `metric`; bytes of memory as far as told."""
    measured_gib = row.memory_measured_gib
    record: dict[str, RecordValue] = {
        name: getattr(row, name) for name in ("id", "source", "model", "accelerator", "metric")
    }
    record |= {"measured": row.measured, "predicted": row.predicted, "error_pct": row.error_pct}
    record |= {"memory_measured_bytes": None if measured_gib is None else measured_gib * _GIB_BYTES}
    return record | {
        "memory_predicted_bytes": row.memory_predicted_gib * _GIB_BYTES,
        "filled": row.filled,
        "met": row.met,
        "skipped": "",
    }


def _build_skipped_record(skipped_run: SkippedRunPart) -> dict[str, RecordValue]:
    """A row of the table that is no run, with the reason."""
    keys = ("source", "model", "accelerator", "metric", "measured", "predicted", "error_pct")
    record: dict[str, RecordValue] = {"id": skipped_run.id, **dict.fromkeys(keys)}
    return record | {
        "memory_measured_bytes": None,
        "memory_predicted_bytes": None,
        "filled": [],
        "met": None,
        "skipped": skipped_run.reason,
    }


def _build_prediction_scatters(rows: list[MeasuredRunPart]) -> list[PointChart]:
    """Predicted over measured, a scatter for each metric: they have different units."""
    scatters = []
    for metric in dict.fromkeys(row.metric for row in rows):
        metric_rows = [row for row in rows if row.metric == metric and row.measured > 0 and row.predicted > 0]
        if not metric_rows:
            continue
        points = [
            ChartPoint(row.measured, row.predicted, f"{row.id}: {row.predicted:.5g}, {row.error_pct:+.1f}%")
            for row in metric_rows
        ]
        name, unit = metric.replace("_", " "), _METRIC_UNITS[metric]
        axes = ChartAxis("measured", unit), ChartAxis("predicted", unit)
        scatters.append(PointChart(name, *axes, [PointSeries("", points)], has_diagonal=True))
    return scatters


def _build_error_bars(document: ValidationDocument) -> BarChart:
    """The mean absolute error of each source, and of all."""
    bars = []
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is not None:
            mean_pct, runs = part.figure.mean_pct, part.figure.rows
            display = f"{mean_pct:.1f} %"
            bars.append(
                StackedBar(
                    source, display, [BarSegment("mean error", mean_pct, f"{source}: {display} of {runs} runs")]
                )
            )
    return BarChart("Mean error by source", ChartAxis("mean error", "%"), bars, bar_title="source")


def _build_run_headings(document: ValidationDocument) -> tuple[str, ...]:
    """Of the runs; the last one is whether the error is as small as was asked for, if anything was."""
    if document.max_error_pct is None:
        return _ROW_HEADINGS
    return (*_ROW_HEADINGS, f"at most {document.max_error_pct:g}%")


def _format_run_cells(row: MeasuredRunPart) -> tuple[str, ...]:
    """One run under `_build_run_headings`."""
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


def _enumerate_error_summaries(document: ValidationDocument) -> Iterator[tuple[str, ...]]:
    """The errors of each source and of all, under `_SUMMARY_HEADINGS`."""
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


def _collect_validation_folds(document: ValidationDocument) -> list[tuple[str, CrossValidationPart]]:
    """The errors on runs that a fit has not seen, by what was left out of it; none where nobody asked."""
    parts = (
        ("fitted without the source", document.leave_one_source_out),
        ("fitted without the model", document.leave_one_model_out),
    )
    return [(title, part) for title, part in parts if part is not None]


def _enumerate_fold_rows(part: CrossValidationPart) -> Iterator[tuple[str, ...]]:
    """What was left out with the errors on it, under a title and `_FOLD_HEADINGS`; all of them last."""
    for fold, statistics in part.by_fold.items():
        yield (fold, *_format_error_cells(statistics))
    yield ("all", *_format_error_cells(part.overall))
