"""The compare document: the same training run on several clusters. Field order is output order."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.documents.plan import ModelPart
from planner.documents.schema import Document, DocumentPart, PositiveFloat
from planner.documents.size import RunSizePart, TrainingRunPart

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]

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
    told_apart: bool
    """Whether the first cluster is better than this one in 90 % of all cases; false of the first itself, true of
    those that are ruled out."""


class CompareDocument(Document, frozen=True, kw_only=True):
    """The same training run on several clusters: the best first, clusters that are ruled out last.

    A cluster that is not calibrated stands below those that it cannot be told apart from.
    """

    NAME: ClassVar[str] = "compare"

    schema_version: SchemaVersion
    model: ModelPart
    run: TrainingRunPart
    deadline_days: PositiveFloat | None
    budget_usd: PositiveFloat | None
    ranked_by: RankingFigure
    offers: Annotated[list[ClusterOfferPart], msgspec.Meta(min_length=1)]
    notes: list[str]
