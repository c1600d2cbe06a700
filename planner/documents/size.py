"""The size document: how many nodes a run needs, and the sizes around it. Field order is output order."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.documents.plan import ModelPart
from planner.documents.schema import Document, PositiveFloat
from planner.documents.sizing import ComputeOptimalPart, RunSizePart, TrainingRunPart

SCHEMA_VERSION: Literal["1.1"] = "1.1"


class SizeDocument(Document, frozen=True, kw_only=True):
    """The number of nodes that a training run needs."""

    NAME: ClassVar[str] = "size"

    schema_version: Literal["1.1"]
    model: ModelPart
    cluster: str
    accelerator: str
    run: TrainingRunPart
    deadline_days: PositiveFloat | None
    budget_usd: PositiveFloat | None
    answer: RunSizePart
    curve: list[RunSizePart]
    """Sizes around the answer, in ascending order."""
    compute_optimal: ComputeOptimalPart | None
    """Null for models that are not language models."""
    notes: list[str]
