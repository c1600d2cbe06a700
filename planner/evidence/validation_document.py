"""The validation document: what `planner validate` prints as JSON. Field order is output order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal, get_args

import msgspec
import numpy as np

from planner.documents.schema import Document, DocumentPart
from planner.evidence.grids import GridsPart, build_grids_part
from planner.evidence.memory_kinds import MEMORY_KINDS, MemoryKind, find_omitted_categories
from planner.evidence.predict import RunPrediction
from planner.evidence.runs import SkippedRunPart
from planner.evidence.statistics import (
    PredictionErrors,
    compute_prediction_errors,
    compute_rank_correlation,
)
from planner.trainers.names import TrainerName

SchemaVersion = Literal["1.2"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]

GroupKey = Literal["trainer", "generation", "precision", "devices", "micro_batch", "year"]
"""What runs are grouped by: trainer, generation of accelerators, precision, number of devices, micro-batch size (from
each power of two on), year of the measurement."""
_LAST_DEVICES = (8, 64, 512, math.inf)
_MAX_MICRO_BATCH = 8


class MeasuredRunPart(DocumentPart, frozen=True, kw_only=True):
    """One measured run and its prediction, in the metric of the source."""

    id: str
    source: str
    model: str
    accelerator: str
    metric: str
    measured: float
    predicted: float
    predicted_p10: float
    predicted_p90: float
    """80 % of such runs, not seen by the fit, are measured from p10 to p90."""
    error_pct: float
    memory_measured_gib: float | None
    memory_predicted_gib: float
    """What `memory_kind` counts of the prediction."""
    memory_kind: MemoryKind | None
    """What the measured memory counts; null where none was measured."""
    filled: list[str]
    """Columns that the source leaves open, with the assumed values."""
    not_modelled: list[str]
    """What the source states and the prediction does not use, as column=value."""
    trainer: str
    """The trainer, as the table calls it; empty where it does not say."""
    predicted_as: TrainerName
    """The trainer whose memory, communication and calibration the prediction takes."""
    quality: str
    """A, B or C, of how fully the run is known; empty where the table does not say."""
    met: bool | None = None
    """Whether the error is within `--max-error`; null without this option."""


class ErrorSummaryPart(DocumentPart, frozen=True, kw_only=True):
    """Errors of the measured figure, and of peak memory where it was measured."""

    figure: PredictionErrors | None
    memory: PredictionErrors | None


class MemoryErrorsPart(DocumentPart, frozen=True, kw_only=True):
    """Errors of peak memory of the runs whose memory counts the same, of all of them or of one trainer."""

    memory_kind: MemoryKind
    trainer: str | None
    """As the table calls it, else the one that it is predicted as; null: of all trainers."""
    omitted: list[str]
    """Categories of the predicted memory that are left out, since the measured figure does not hold them."""
    mean_error_pct: float
    """The mean of the signed errors: below zero where too little is predicted."""
    within_10_pct: float
    """Share of the runs whose error is at most 10 %, in percent."""
    errors: PredictionErrors


class ErrorGroupPart(DocumentPart, frozen=True, kw_only=True):
    """Errors of the runs that share one value of what they are grouped `by`, and how many lie in their intervals."""

    by: GroupKey
    value: str
    """Empty where the table does not say."""
    mean_step_error_pct: float
    """The mean of the signed errors of the step time: below zero where too fast a step is predicted."""
    covered_pct: float
    """Share of the runs that lie from p10 to p90, in percent; 80 are wanted."""
    errors: PredictionErrors


class CrossValidationPart(DocumentPart, frozen=True, kw_only=True):
    """Errors on runs that were left out of the fit, overall and per fold."""

    overall: PredictionErrors
    covered_pct: float
    """Share of the runs that lie in the intervals of fits without them, in percent; 80 are wanted."""
    by_fold: dict[str, PredictionErrors]


class ValidationDocument(Document, frozen=True, kw_only=True):
    """Errors of the cost model on a table of measured runs."""

    NAME: ClassVar[str] = "validation"

    schema_version: SchemaVersion
    rows: list[MeasuredRunPart]
    overall: ErrorSummaryPart
    by_source: dict[str, ErrorSummaryPart]
    covered_pct: float | None
    """Share of all runs that lie in their intervals, in percent; 80 are wanted. Null for no runs."""
    groups: list[ErrorGroupPart]
    """Of all runs, by each of `GroupKey` in turn."""
    grids: GridsPart | None
    """The choice among splits of one job; null where no job was measured in three splits."""
    memory: list[MemoryErrorsPart]
    """By what the sources measured, each kind first of all its runs, then by trainer."""
    skipped: list[SkippedRunPart]
    notes: list[str]
    """Columns that are not read."""
    leave_one_source_out: CrossValidationPart | None = None
    leave_one_model_out: CrossValidationPart | None = None
    leave_one_trainer_out: CrossValidationPart | None = None
    leave_one_generation_out: CrossValidationPart | None = None
    max_error_pct: float | None = None
    """Largest absolute error of a run that is allowed, in percent; null without `--max-error`."""


def build_validation_document(
    predictions: Sequence[RunPrediction],
    skipped: Sequence[SkippedRunPart],
    cross: dict[str, CrossValidationPart] | None = None,
    max_error_pct: float | None = None,
    notes: Sequence[str] = (),
) -> ValidationDocument:
    """The rows in the order of the table, with errors overall and by source.

    `max_error_pct`: limit of each row; `notes`: on the table itself.
    """
    by_source: dict[str, list[RunPrediction]] = {}
    for prediction in predictions:
        by_source.setdefault(prediction.run.source, []).append(prediction)
    cross_parts = cross or {}
    return ValidationDocument(
        schema_version=SCHEMA_VERSION,
        rows=[_build_run_part(item, max_error_pct) for item in predictions],
        # sources have different metrics: the overall errors compare step times
        overall=_build_summary_part(predictions, lambda item: item.step_times_s),
        by_source={
            source: _build_summary_part(items, lambda item: item.measured_and_predicted)
            for source, items in by_source.items()
        },
        covered_pct=_compute_covered_pct(predictions) if predictions else None,
        groups=list(_enumerate_group_parts(predictions)),
        grids=build_grids_part(predictions),
        memory=list(_enumerate_memory_parts(predictions)),
        skipped=list(skipped),
        notes=list(notes),
        leave_one_source_out=cross_parts.get("source"),
        leave_one_model_out=cross_parts.get("model"),
        leave_one_trainer_out=cross_parts.get("trainer"),
        leave_one_generation_out=cross_parts.get("generation"),
        max_error_pct=max_error_pct,
    )


def _build_run_part(prediction: RunPrediction, max_error_pct: float | None) -> MeasuredRunPart:
    return MeasuredRunPart(
        id=prediction.run.id,
        source=prediction.run.source,
        model=prediction.run.model,
        accelerator=prediction.run.accelerator,
        metric=prediction.run.metric,
        measured=prediction.run.value,
        predicted=prediction.predicted,
        predicted_p10=prediction.predicted_p10,
        predicted_p90=prediction.predicted_p90,
        error_pct=prediction.error_pct,
        memory_measured_gib=prediction.run.peak_memory_gib,
        memory_predicted_gib=prediction.memory_predicted_gib,
        memory_kind=prediction.run.memory_kind,
        filled=list(prediction.assumed_values),
        not_modelled=list(prediction.not_modelled),
        trainer=prediction.run.trainer_word,
        predicted_as=prediction.trainer,
        quality=prediction.run.get_text("quality"),
        met=None if max_error_pct is None else abs(prediction.error_pct) <= max_error_pct,
    )


def _enumerate_group_parts(predictions: Sequence[RunPrediction]) -> Iterator[ErrorGroupPart]:
    """Of each key its values: numbers in their order, words by the alphabet."""
    for key in get_args(GroupKey):
        by_value: dict[tuple[int, str], list[RunPrediction]] = {}
        for prediction in predictions:
            by_value.setdefault(_find_group(prediction, key), []).append(prediction)
        for (_, value), items in sorted(by_value.items(), key=lambda entry: entry[0]):
            yield _build_group_part(key, value, items)


def _find_group(prediction: RunPrediction, key: GroupKey) -> tuple[int, str]:
    """The value of a run by which runs are grouped, after the number that it is ordered by."""
    scenario, run = prediction.scenario, prediction.run
    match key:
        case "trainer":
            return 0, prediction.trainer
        case "generation":
            return 0, scenario.accelerator.architecture
        case "precision":
            return 0, scenario.precision
        case "devices":
            row = next(i for i, last in enumerate(_LAST_DEVICES) if scenario.devices <= last)
            first = 1 if row == 0 else int(_LAST_DEVICES[row - 1]) + 1
            return row, f"{first}+" if math.isinf(_LAST_DEVICES[row]) else f"{first}-{_LAST_DEVICES[row]:.0f}"
        case "micro_batch":
            size = min(int(prediction.plan.micro_batch[0]), _MAX_MICRO_BATCH)
            size = 1 << (size.bit_length() - 1)
            return size, f"{size}+" if size > 1 else "1"
        case "year":
            return 0, run.get_text("date")[:4]


def _build_group_part(key: GroupKey, value: str, predictions: Sequence[RunPrediction]) -> ErrorGroupPart:
    errors = compute_prediction_errors(
        [prediction.run.value for prediction in predictions], [prediction.predicted for prediction in predictions]
    )
    if errors is None:
        raise ValueError("a group without runs")
    measured_s, predicted_s = np.array([prediction.step_times_s for prediction in predictions]).T
    return ErrorGroupPart(
        by=key,
        value=value,
        mean_step_error_pct=float(100 * (predicted_s / measured_s - 1).mean()),
        covered_pct=_compute_covered_pct(predictions),
        errors=msgspec.structs.replace(errors, rank_correlation=None),  # of several metrics
    )


def _compute_covered_pct(predictions: Sequence[RunPrediction]) -> float:
    return 100 * sum(prediction.is_covered for prediction in predictions) / len(predictions)


def _enumerate_memory_parts(predictions: Sequence[RunPrediction]) -> Iterator[MemoryErrorsPart]:
    """By kind of memory in the order of `MEMORY_KINDS`, of all its runs and then of each of its trainers."""
    for kind in MEMORY_KINDS:
        measured = [prediction for prediction in predictions if prediction.run.memory_kind == kind]
        by_trainer: dict[str, list[RunPrediction]] = {}
        for prediction in measured:
            by_trainer.setdefault(prediction.run.trainer_word or prediction.trainer, []).append(prediction)
        if measured:
            yield _build_memory_part(kind, None, measured)
        for trainer, items in sorted(by_trainer.items()):
            yield _build_memory_part(kind, trainer, items)


def _build_memory_part(
    kind: MemoryKind, trainer: str | None, predictions: Sequence[RunPrediction]
) -> MemoryErrorsPart:
    measured_gib = [float(prediction.run.peak_memory_gib or 0.0) for prediction in predictions]
    predicted_gib = [prediction.memory_predicted_gib for prediction in predictions]
    errors = compute_prediction_errors(measured_gib, predicted_gib)
    if errors is None:
        raise ValueError("no run with memory")
    signed_pct = 100 * (np.array(predicted_gib) / np.array(measured_gib) - 1)
    return MemoryErrorsPart(
        memory_kind=kind,
        trainer=trainer,
        omitted=list(find_omitted_categories(kind)),
        mean_error_pct=float(signed_pct.mean()),
        within_10_pct=100 * float((np.abs(signed_pct) <= 10).mean()),
        errors=errors,
    )


def _build_summary_part(
    predictions: Sequence[RunPrediction], get_ranked_pair: Callable[[RunPrediction], tuple[float, float]]
) -> ErrorSummaryPart:
    figure_errors = compute_prediction_errors(
        [prediction.run.value for prediction in predictions], [prediction.predicted for prediction in predictions]
    )
    if figure_errors is not None:
        measured, predicted = np.array([get_ranked_pair(prediction) for prediction in predictions]).T
        rank_correlation = compute_rank_correlation(measured, predicted)
        figure_errors = msgspec.structs.replace(figure_errors, rank_correlation=rank_correlation)
    memory_pairs = [(prediction.run.peak_memory_gib, prediction.memory_predicted_gib) for prediction in predictions]
    known_pairs = [(measured, predicted) for measured, predicted in memory_pairs if measured is not None]
    return ErrorSummaryPart(
        figure=figure_errors,
        memory=compute_prediction_errors([m for m, _ in known_pairs], [predicted for _, predicted in known_pairs]),
    )
