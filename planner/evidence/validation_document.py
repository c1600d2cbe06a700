"""The validation document: what `planner validate` prints as JSON. Field order is output order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal, get_args

import msgspec
import numpy as np

from planner.documents.schema import Document, DocumentPart
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


class MeasuredRunPart(DocumentPart, frozen=True, kw_only=True):
    """One measured run and its prediction, in the metric of the source."""

    id: str
    source: str
    model: str
    accelerator: str
    metric: str
    measured: float
    predicted: float
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


class CrossValidationPart(DocumentPart, frozen=True, kw_only=True):
    """Errors on runs that were left out of the fit, overall and per fold."""

    overall: PredictionErrors
    by_fold: dict[str, PredictionErrors]


class ValidationDocument(Document, frozen=True, kw_only=True):
    """Errors of the cost model on a table of measured runs."""

    NAME: ClassVar[str] = "validation"

    schema_version: SchemaVersion
    rows: list[MeasuredRunPart]
    overall: ErrorSummaryPart
    by_source: dict[str, ErrorSummaryPart]
    memory: list[MemoryErrorsPart]
    """By what the sources measured, each kind first of all its runs, then by trainer."""
    skipped: list[SkippedRunPart]
    notes: list[str]
    """Columns that are not read."""
    leave_one_source_out: CrossValidationPart | None = None
    leave_one_model_out: CrossValidationPart | None = None
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
        memory=list(_enumerate_memory_parts(predictions)),
        skipped=list(skipped),
        notes=list(notes),
        leave_one_source_out=cross_parts.get("source"),
        leave_one_model_out=cross_parts.get("model"),
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
