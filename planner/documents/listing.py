"""The listing document: presets of models and clusters, supported model types. Field order is output order."""

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
    """Parameters that one token (or other item of a batch) uses."""
    layers: PositiveInt
    sample: str
    """What a batch consists of: sequence, image, ..."""
    seq_length: PositiveInt | None
    """Tokens per sample; null for models without tokens."""


class FamilyEntry(DocumentPart, frozen=True, kw_only=True, tag="family"):
    """A `model_type` of config.json that can be read."""

    name: str


class ClusterEntry(DocumentPart, frozen=True, kw_only=True, tag="cluster"):
    """A cluster preset."""

    name: str
    title: str
    accelerator: str
    devices_per_node: PositiveInt
    nodes: PositiveInt
    """Number of nodes unless `--nodes` is given."""


class ListingDocument(DocumentPart, frozen=True, kw_only=True):
    """All entries, sorted by name."""

    schema_version: Literal["1.0"]
    listed: Literal["models", "families", "clusters"]
    entries: list[ModelEntry | FamilyEntry | ClusterEntry]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the document."""
    return build_closed_schema(ListingDocument, f"planner listing document {SCHEMA_VERSION}")
