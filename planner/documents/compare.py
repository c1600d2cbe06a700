"""The compare document: the same training run on several clusters. Field order is output order."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import ModelPart
from planner.documents.schema import DocumentPart, PositiveFloat, build_closed_schema
from planner.documents.sizing import RunSizePart, TrainingRunPart

SCHEMA_VERSION: Literal["1.0"] = "1.0"

RankingFigure = Literal["time", "cost", "energy", "carbon", "devices", "tokens-per-usd", "tokens-per-joule"]


class ClusterOfferPart(DocumentPart, frozen=True, kw_only=True):
    """One cluster of a comparison. Where it is ruled out, `size` is null and `ruled_out` has the reason."""

    name: str
    title: str
    accelerator: str
    frameworks: list[str]
    clouds: list[str]
    size: RunSizePart | None
    on_front: bool
    """True where no other cluster is at least as good in time, cost and energy and better in one of them."""
    ruled_out: str
    calibrated: bool
    """True where the model's efficiencies were fitted to measured runs of this accelerator generation."""


class CompareDocument(DocumentPart, frozen=True, kw_only=True):
    """The same training run on several clusters: the best first, clusters that are ruled out last."""

    schema_version: Literal["1.0"]
    model: ModelPart
    run: TrainingRunPart
    deadline_days: PositiveFloat | None
    budget_usd: PositiveFloat | None
    ranked_by: RankingFigure
    offers: Annotated[list[ClusterOfferPart], msgspec.Meta(min_length=1)]
    notes: list[str]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the document."""
    return build_closed_schema(CompareDocument, f"planner compare document {SCHEMA_VERSION}")
