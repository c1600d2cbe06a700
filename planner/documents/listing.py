"""What is known by name: models, the model types whose config.json is read, clusters. Field order is output order."""

from __future__ import annotations

from typing import Literal

from planner.documents.schema import DocumentPart, PositiveInt, build_closed_schema

SCHEMA_VERSION: Literal["1.0"] = "1.0"


class ModelEntry(DocumentPart, frozen=True, kw_only=True, tag="model"):
    """A model preset."""

    name: str
    title: str
    parameters: PositiveInt
    active_parameters: PositiveInt
    """Of a token, or of what else a batch counts."""
    layers: PositiveInt
    sample: str
    """What a batch counts."""
    seq_length: PositiveInt | None
    """Tokens of a sample; null where it has none."""


class FamilyEntry(DocumentPart, frozen=True, kw_only=True, tag="family"):
    """A `model_type` of a config.json."""

    name: str


class ClusterEntry(DocumentPart, frozen=True, kw_only=True, tag="cluster"):
    """A cluster preset."""

    name: str
    title: str
    accelerator: str
    devices_per_node: PositiveInt
    nodes: PositiveInt
    """Where no other number is asked for."""


class ListingDocument(DocumentPart, frozen=True, kw_only=True):
    """The whole list, by name."""

    schema_version: Literal["1.0"]
    listed: Literal["models", "families", "clusters"]
    entries: list[ModelEntry | FamilyEntry | ClusterEntry]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the document."""
    return build_closed_schema(ListingDocument, f"planner listing document {SCHEMA_VERSION}")
