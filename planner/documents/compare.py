"""The document of `compare`: the same run on several clusters. Field order is output order."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import ModelPart
from planner.documents.schema import Part, Positive, closed_schema
from planner.documents.sizing import RunPart, SizePart

SCHEMA_VERSION: Literal["1.0"] = "1.0"

RankedBy = Literal["time", "cost", "energy", "carbon", "devices", "tokens-per-usd", "tokens-per-joule"]


class OfferPart(Part, frozen=True, kw_only=True):
    """One cluster of a comparison. `size` is null where it is ruled out; `ruled_out` says why, else it is empty."""

    name: str
    title: str
    accelerator: str
    frameworks: list[str]
    clouds: list[str]
    size: SizePart | None
    on_front: bool
    """Whether no other is at least as good in time, money and energy together and better in one."""
    ruled_out: str
    calibrated: bool
    """Whether measured runs of this generation of accelerators are behind the model's numbers."""


class CompareDocument(Part, frozen=True, kw_only=True):
    """The same run on several clusters, the best first, those that are ruled out last."""

    schema_version: Literal["1.0"]
    model: ModelPart
    run: RunPart
    deadline_days: Positive | None
    budget_usd: Positive | None
    ranked_by: RankedBy
    offers: Annotated[list[OfferPart], msgspec.Meta(min_length=1)]
    notes: list[str]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the document."""
    return closed_schema(CompareDocument, f"planner compare document {SCHEMA_VERSION}")
