"""The document of `size`: how many nodes a run needs, and the curve around it. Field order is output order."""

from __future__ import annotations

from typing import Literal

from planner.documents.plan import ModelPart
from planner.documents.schema import Part, Positive, closed_schema
from planner.documents.sizing import OptimalPart, RunPart, SizePart

SCHEMA_VERSION: Literal["1.1"] = "1.1"


class SizeDocument(Part, frozen=True, kw_only=True):
    """How many nodes a run needs."""

    schema_version: Literal["1.1"]
    model: ModelPart
    cluster: str
    accelerator: str
    run: RunPart
    deadline_days: Positive | None
    budget_usd: Positive | None
    answer: SizePart
    curve: list[SizePart]
    """Sizes around the answer, ascending."""
    compute_optimal: OptimalPart | None
    """Null for what is no language model."""
    notes: list[str]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the document."""
    return closed_schema(SizeDocument, f"planner size document {SCHEMA_VERSION}")
