"""The validation document as a report: one record a measured run, predicted over measured as scatters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from planner.evidence.grids import GridPart
from planner.evidence.memory_kinds import COMPARED_AS, MEMORY_KINDS, MemoryKind
from planner.evidence.runs import SkippedRunPart
from planner.evidence.statistics import PredictionErrors
from planner.evidence.validation_document import (
    CrossValidationPart,
    ErrorGroupPart,
    GroupKey,
    MeasuredRunPart,
    MemoryErrorsPart,
    ValidationDocument,
)
from planner.report.report import (
    BarChart,
    ChartAxis,
    ChartPoint,
    PointChart,
    PointSeries,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    build_columns,
)
from planner.report.views import breakdown
from planner.units import format_with_interval

_GIB_BYTES = 2**30
_METRICS = {
    "step_time_s": ("Step time", "s"),
    "tokens_per_s_per_device": ("Tokens/s per device", "tokens/s/device"),
    "tflops_per_device": ("TFLOP/s per device", "TFLOP/s"),
}
"""Title and unit of what runs were measured in."""
_PREDICTED_KEYS = ("predicted", "predicted_p10", "predicted_p90")
_RUN_HEADINGS = ("id", "measured", "predicted (10-90 %)", "error", "GiB", "predicted GiB", "error GiB")
_FOLD_HEADINGS = ("rows", "mean", "median", "90th pct", "worst")
_SUMMARY_HEADINGS = ("runs of", *_FOLD_HEADINGS, "rank corr", "with memory", "mean", "worst")
_GROUP_WORDS: dict[GroupKey, str] = {
    "trainer": "trainer",
    "generation": "generation",
    "precision": "precision",
    "devices": "devices",
    "micro_batch": "micro-batch",
    "year": "year",
}
_GROUP_HEADINGS = ("runs", "step", "mean", "median", "90th pct", "worst", "in 10-90 %")
_GRID_HEADINGS = (
    "job", "accelerator", "devices", "batch", "splits", "regret", "Kendall's tau", "fastest", "chosen"
)  # fmt: skip
_MEMORY_HEADINGS = ("memory as measured", "trainer", "runs", "signed mean", "mean", "within 10%", "worst", "left out")


def build_validation_report(document: ValidationDocument) -> Report:
    """The report of `validate`."""
    rows, skipped, max_error = document.rows, document.skipped, document.max_error_pct
    headings = (
        *_RUN_HEADINGS,
        *([] if max_error is None else [f"at most {max_error:g}%"]),
        "filled in",
        "not modelled",
    )
    run_rows = [_format_run_cells(row) for row in rows]
    drop_order = ("not modelled", "filled in", *reversed(_RUN_HEADINGS[4:]))
    runs = ReportTable(
        "Runs", build_columns(headings, run_rows, (0, len(headings) - 2, len(headings) - 1), drop_order)
    )
    return Report(
        command="validate",
        title=f"Predictions against {len(rows)} measured runs",
        facts=list(_enumerate_facts(document)),
        records=[*(_build_run_record(row) for row in rows), *(_build_skipped_record(run) for run in skipped)],
        tables=[*([runs] if rows else []), *build_error_tables(document)],
        charts=[
            *_enumerate_scatters(rows),
            *_enumerate_memory_scatters(rows),
            *([_build_error_bars(document)] if document.overall.figure is not None else []),
        ],
        cases=[ReportCase(row.source, row.id, failure=format_excess_error(row, document)) for row in rows]
        + [ReportCase("skipped", run.id, skip_reason=run.reason) for run in skipped],
    )


def _enumerate_facts(document: ValidationDocument) -> Iterator[tuple[str, str]]:
    """The errors over all runs, and how many exceed the limit."""
    errors = document.overall.figure
    if errors is not None:
        yield (
            "Error",
            f"mean {errors.mean_pct:.1f} %, median {errors.median_pct:.1f} %, worst {errors.worst_pct:.1f} %",
        )
    if document.covered_pct is not None:
        yield "Interval", f"{document.covered_pct:.0f} % of the runs lie within 10-90 %, where 80 % are wanted"
    grids = document.grids
    if grids is not None:
        tau = "" if grids.mean_kendall_tau is None else f", Kendall's tau {grids.mean_kendall_tau:.2f}"
        yield (
            "Choice",
            f"regret of the split that is predicted fastest, over {len(grids.grids)} jobs: "
            f"mean {grids.mean_regret_pct:.1f} %, worst {grids.worst_regret_pct:.1f} %{tau}",
        )
    for note in document.notes:
        yield "Note", note
    if document.max_error_pct is not None:
        above = sum(row.met is False for row in document.rows)
        yield "Limit", f"{document.max_error_pct:g} %: {above} of {len(document.rows)} runs exceed it"


def build_error_tables(document: ValidationDocument) -> list[ReportTable]:
    """Errors by source and overall, of memory by what was measured, of fits that left something out; skipped runs."""
    tables = [ReportTable("Errors by source", build_columns(_SUMMARY_HEADINGS, list(_enumerate_summaries(document))))]
    for key in get_args(GroupKey):
        group_rows = [_format_group_cells(part) for part in document.groups if part.by == key]
        if group_rows:
            words = _GROUP_WORDS[key]
            headings = (words, *_GROUP_HEADINGS)
            tables.append(ReportTable(f"Errors by {words}", build_columns(headings, group_rows)))
    if document.grids is not None:
        grid_rows = [_format_grid_cells(grid) for grid in document.grids.grids]
        columns = build_columns(_GRID_HEADINGS, grid_rows, (0, 1, 7, 8), ("chosen", "fastest"))
        tables.append(ReportTable("Splits of one job", columns))
    if document.memory:
        memory_rows = [_format_memory_cells(part) for part in document.memory]
        columns = build_columns(_MEMORY_HEADINGS, memory_rows, (0, 1, 7), ("left out",))
        tables.append(ReportTable("Errors of memory by what was measured", columns))
    if document.skipped:
        skipped = [(run.id, run.reason) for run in document.skipped]
        tables.append(ReportTable("Skipped", build_columns(("skipped", "why"), skipped, (0, 1))))
    for title, part in (
        ("fitted without the source", document.leave_one_source_out),
        ("fitted without the model", document.leave_one_model_out),
        ("fitted without the trainer", document.leave_one_trainer_out),
        ("fitted without the generation", document.leave_one_generation_out),
    ):
        if part is not None:
            columns = build_columns((title, *_FOLD_HEADINGS), list(_enumerate_fold_rows(part)))
            covered = f"{part.covered_pct:.0f} % of the runs lie in their intervals"
            tables.append(ReportTable(f"{title.capitalize()}: {covered}", columns))
    return tables


def format_excess_error(row: MeasuredRunPart, document: ValidationDocument) -> str:
    """The error of a run that exceeds the limit; empty of any other."""
    if row.met is not False:
        return ""
    return f"error {row.error_pct:+.2f}%, at most {document.max_error_pct:g}% is wanted"


def _build_run_record(row: MeasuredRunPart) -> dict[str, RecordValue]:
    """One run, flat: `measured` and `predicted` in the unit of its `metric`; bytes of memory where measured."""
    measured_gib = row.memory_measured_gib
    keys = ("id", "source", "model", "accelerator", "metric", "measured", *_PREDICTED_KEYS, "error_pct")
    return {name: getattr(row, name) for name in keys} | {
        "memory_measured_bytes": None if measured_gib is None else measured_gib * _GIB_BYTES,
        "memory_predicted_bytes": row.memory_predicted_gib * _GIB_BYTES,
        "memory_kind": row.memory_kind,
        "filled": row.filled,
        "not_modelled": row.not_modelled,
        "trainer": row.trainer,
        "predicted_as": row.predicted_as,
        "quality": row.quality,
        "met": row.met,
        "skipped": "",
    }


def _build_skipped_record(run: SkippedRunPart) -> dict[str, RecordValue]:
    """A row of the table that is no run, with the reason."""
    keys = ("source", "model", "accelerator", "metric", "measured", *_PREDICTED_KEYS, "error_pct")
    memory_keys = ("memory_measured_bytes", "memory_predicted_bytes", "memory_kind")
    record: dict[str, RecordValue] = {"id": run.id, **dict.fromkeys((*keys, *memory_keys))}
    record |= {"filled": [], "not_modelled": [], **dict.fromkeys(("trainer", "predicted_as", "quality"))}
    return record | {"met": None, "skipped": run.reason}


def _enumerate_scatters(rows: list[MeasuredRunPart]) -> Iterator[PointChart]:
    """Predicted over measured, a scatter for each metric: they have different units."""
    for metric in dict.fromkeys(row.metric for row in rows):
        points = [
            ChartPoint(row.measured, row.predicted, f"{row.id}: {row.predicted:.5g}, {row.error_pct:+.1f}%")
            for row in rows
            if row.metric == metric and row.measured > 0 and row.predicted > 0
        ]
        title, unit = _METRICS[metric]
        axes = ChartAxis("measured", unit), ChartAxis("predicted", unit)
        if points:
            yield PointChart(title, *axes, [PointSeries("", points)], has_diagonal=True)


def _enumerate_memory_scatters(rows: list[MeasuredRunPart]) -> Iterator[PointChart]:
    """Predicted over measured memory, a series for each kind of figure, where any was measured."""
    series = []
    for kind in MEMORY_KINDS:
        points = []
        for row in rows:
            measured_gib, predicted_gib = row.memory_measured_gib, row.memory_predicted_gib
            if row.memory_kind == kind and measured_gib is not None and measured_gib > 0:
                text = f"{row.id}: {predicted_gib:.1f} GiB, {100 * (predicted_gib / measured_gib - 1):+.1f}%"
                points.append(ChartPoint(measured_gib * _GIB_BYTES, predicted_gib * _GIB_BYTES, text))
        if points:
            series.append(PointSeries(_format_memory_kind(kind), points))
    if series:
        axes = ChartAxis("measured", "B"), ChartAxis("predicted", "B")
        yield PointChart("Peak memory per device", *axes, series, has_diagonal=True)


def _build_error_bars(document: ValidationDocument) -> BarChart:
    """The mean absolute error of each source, and of all."""
    figures = [
        (source, part.figure.mean_pct, f"{part.figure.mean_pct:.1f} % of {part.figure.rows}")
        for source, part in {**document.by_source, "all": document.overall}.items()
        if part.figure is not None
    ]
    axis = ChartAxis("mean error of the runs", "%")
    return breakdown.build_figure_bars("Mean error by source", axis, figures, "source", "mean error")


def _format_run_cells(row: MeasuredRunPart) -> tuple[str, ...]:
    """One run under `_RUN_HEADINGS`, whether it is within the limit where there is one, what was filled in and
    what is not modelled.
    """
    measured_gib = row.memory_measured_gib
    memory = ("", "", "")
    if measured_gib is not None:
        error = 100 * (row.memory_predicted_gib / measured_gib - 1)
        memory = (f"{measured_gib:.1f}", f"{row.memory_predicted_gib:.1f}", f"{error:+.1f}%")
    verdict = () if row.met is None else ("met" if row.met else "not met",)
    predicted = format_with_interval(row.predicted, row.predicted_p10, row.predicted_p90, "{:.5g}".format)
    prediction = (f"{row.measured:.5g}", predicted, f"{row.error_pct:+.1f}%")
    return (row.id, *prediction, *memory, *verdict, ", ".join(row.filled), ", ".join(row.not_modelled))


def _enumerate_summaries(document: ValidationDocument) -> Iterator[tuple[str, ...]]:
    """The errors of each source and of all, under `_SUMMARY_HEADINGS`."""
    for source, part in {**document.by_source, "all": document.overall}.items():
        if part.figure is None:
            continue
        correlation, memory, memory_cells = part.figure.rank_correlation, part.memory, ("", "", "")
        if memory is not None:
            memory_cells = (str(memory.rows), f"{memory.mean_pct:.1f}%", f"{memory.worst_pct:.1f}%")
        rank = "" if correlation is None else f"{correlation:.3f}"
        yield (source, *_format_error_cells(part.figure), rank, *memory_cells)


def _format_group_cells(part: ErrorGroupPart) -> tuple[str, ...]:
    """The errors of a group of runs under its key and `_GROUP_HEADINGS`."""
    rows, *shares = _format_error_cells(part.errors)
    return (
        part.value or "not stated", rows, f"{part.mean_step_error_pct:+.1f}%", *shares, f"{part.covered_pct:.0f}%"
    )  # fmt: skip


def _format_grid_cells(grid: GridPart) -> tuple[str, ...]:
    """The splits of one job under `_GRID_HEADINGS`."""
    counts = (f"{grid.devices:,}", f"{grid.global_batch:,}", str(grid.splits), f"{grid.regret_pct:.1f}%")
    tau = "" if grid.kendall_tau is None else f"{grid.kendall_tau:.2f}"
    return (grid.model, grid.accelerator, *counts, tau, grid.fastest, grid.chosen)


def _format_memory_cells(part: MemoryErrorsPart) -> tuple[str, ...]:
    """The errors of one kind of memory, of all trainers or one, under `_MEMORY_HEADINGS`."""
    figures = (f"{part.mean_error_pct:+.1f}%", f"{part.errors.mean_pct:.1f}%", f"{part.within_10_pct:.0f}%")
    worst, omitted = f"{part.errors.worst_pct:.1f}%", ", ".join(part.omitted)
    kind = _format_memory_kind(part.memory_kind)
    return (kind, "all" if part.trainer is None else part.trainer, str(part.errors.rows), *figures, worst, omitted)


def _format_memory_kind(kind: MemoryKind) -> str:
    """What a figure of memory counts, and as what it is compared where that is not known."""
    other_kind = COMPARED_AS.get(kind)
    return kind if other_kind is None else f"{kind} (as {other_kind})"


def _enumerate_fold_rows(part: CrossValidationPart) -> Iterator[tuple[str, ...]]:
    """What was left out with the errors on it, under a title and `_FOLD_HEADINGS`; all of them last."""
    for fold, errors in {**part.by_fold, "all": part.overall}.items():
        yield (fold, *_format_error_cells(errors))


def _format_error_cells(errors: PredictionErrors) -> tuple[str, ...]:
    shares = (errors.mean_pct, errors.median_pct, errors.p90_pct, errors.worst_pct)
    return (str(errors.rows), *(f"{share:.1f}%" for share in shares))
