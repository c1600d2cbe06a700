"""The listing document: presets of models and clusters, supported model types. Field order is output order."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from planner.documents.schema import Document, DocumentPart, PositiveInt

SchemaVersion = Literal["1.0"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


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


class ListingDocument(Document, frozen=True, kw_only=True):
    """All entries, sorted by name."""

    NAME: ClassVar[str] = "listing"

    schema_version: SchemaVersion
    listed: Literal["models", "families", "clusters"]
    entries: list[ModelEntry | FamilyEntry | ClusterEntry]
