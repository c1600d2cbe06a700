"""The answer of `planner validate` in the form that is printed as JSON. Field order is output order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from planner.documents.schema import Part, closed_schema
from planner.evidence.predict import Prediction
from planner.evidence.runs import Skipped
from planner.evidence.statistics import Errors, errors

SCHEMA_VERSION: Literal["1.1"] = "1.1"


class RowPart(Part, frozen=True, kw_only=True):
    """One measured run beside its prediction, in the source's own metric."""

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
    filled: list[str]
    """What the source left open, with what was taken."""
    met: bool | None = None
    """Whether the error is no larger than was asked for; null where nothing was."""


class SkippedPart(Part, frozen=True, kw_only=True):
    """A row that could not be read or bound, and why."""

    id: str
    line: int
    reason: str


class SummaryPart(Part, frozen=True, kw_only=True):
    """Errors of the measured figure, and of peak memory where the rows have it."""

    figure: Errors | None
    memory: Errors | None


class CrossPart(Part, frozen=True, kw_only=True):
    """Errors on runs that the fit has not seen, overall and by what was left out."""

    overall: Errors
    by_fold: dict[str, Errors]


class ValidationDocument(Part, frozen=True, kw_only=True):
    """How far the model is from a table of measured runs."""

    schema_version: Literal["1.1"]
    rows: list[RowPart]
    overall: SummaryPart
    by_source: dict[str, SummaryPart]
    skipped: list[SkippedPart]
    leave_one_source_out: CrossPart | None = None
    leave_one_model_out: CrossPart | None = None
    max_error_pct: float | None = None
    """What the error of no run may be above, either way; null where nothing was asked for."""


def json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the validation document."""
    return closed_schema(ValidationDocument, f"planner validation document {SCHEMA_VERSION}")


def validation_document(
    predictions: Sequence[Prediction],
    skipped: Sequence[Skipped],
    cross: dict[str, CrossPart] | None = None,
    max_error_pct: float | None = None,
) -> ValidationDocument:
    """Rows in the table's order, their errors overall and by source; `max_error_pct` is held against each row's."""
    sources = dict.fromkeys(one.run.source for one in predictions)
    found = cross or {}
    return ValidationDocument(
        schema_version=SCHEMA_VERSION,
        rows=[_row(one, max_error_pct) for one in predictions],
        # sources measure different things: over all of them the step's seconds are compared
        overall=_summary(predictions, lambda one: one.step_times_s),
        by_source={
            source: _summary([one for one in predictions if one.run.source == source], lambda one: one.figures)
            for source in sources
        },
        skipped=[SkippedPart(id=one.id, line=one.line, reason=one.reason) for one in skipped],
        leave_one_source_out=found.get("source"),
        leave_one_model_out=found.get("model"),
        max_error_pct=max_error_pct,
    )


def _row(one: Prediction, max_error_pct: float | None) -> RowPart:
    return RowPart(
        id=one.run.id,
        source=one.run.source,
        model=one.run.model,
        accelerator=one.run.accelerator,
        metric=one.run.metric,
        measured=one.run.value,
        predicted=one.predicted,
        error_pct=one.error_pct,
        memory_measured_gib=one.run.peak_memory_gib,
        memory_predicted_gib=one.memory_predicted_gib,
        filled=list(one.filled),
        met=None if max_error_pct is None else abs(one.error_pct) <= max_error_pct,
    )


def _summary(predictions: Sequence[Prediction], ranked: Callable[[Prediction], tuple[float, float]]) -> SummaryPart:
    figure = errors([one.run.value for one in predictions], [one.predicted for one in predictions])
    if figure is not None:
        pairs = [ranked(one) for one in predictions]
        ranks = errors([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        figure = msgspec.structs.replace(figure, rank_correlation=ranks.rank_correlation if ranks else None)
    held = [(one.run.peak_memory_gib, one.memory_predicted_gib) for one in predictions]
    known = [(measured, told) for measured, told in held if measured is not None]
    return SummaryPart(figure=figure, memory=errors([m for m, _ in known], [told for _, told in known]))
