"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from planner.documents.schema import Document


class DocumentType(StrEnum):
    """The documents with a schema."""

    PLAN = "plan"
    WHAT_IF = "what-if"
    VALIDATE = "validate"
    TOPOLOGY = "topology"
    HARDWARE = "hardware"
    HETEROGENEOUS = "mixed"
    SIZE = "size"
    COMPARE = "compare"
    EXPLAIN = "explain"
    CHECK = "check"
    DIFF = "diff"
    LIST = "list"


DOCUMENT_TYPES = {
    DocumentType.PLAN: "planner.documents.plan:PlanDocument",
    DocumentType.WHAT_IF: "planner.documents.what_if:WhatIfDocument",
    DocumentType.VALIDATE: "planner.evidence.validation_document:ValidationDocument",
    DocumentType.TOPOLOGY: "planner.documents.topology:TopologyDocument",
    DocumentType.HARDWARE: "planner.documents.hardware:HardwareDocument",
    DocumentType.HETEROGENEOUS: "planner.documents.heterogeneous:HeterogeneousDocument",
    DocumentType.SIZE: "planner.documents.size:SizeDocument",
    DocumentType.COMPARE: "planner.documents.compare:CompareDocument",
    DocumentType.EXPLAIN: "planner.documents.explain:ExplainDocument",
    DocumentType.CHECK: "planner.documents.check:CheckDocument",
    DocumentType.DIFF: "planner.documents.diff:DiffDocument",
    DocumentType.LIST: "planner.documents.listing:ListingDocument",
}
"""Module and type of each document."""


def import_document_type(document: DocumentType) -> type[Document]:
    """The type of a document; its module is imported only when it is needed."""
    module, _, name = DOCUMENT_TYPES[document].partition(":")
    return cast("type[Document]", getattr(import_module(module), name))


def schema(
    document: Annotated[
        DocumentType,
        typer.Argument(help=f"Document: {', '.join(DocumentType)}."),
    ] = DocumentType.PLAN,
) -> None:
    """Print the JSON Schema of the output of `--format json`.

    \b
    Examples:
      planner schema
      planner schema what-if
    """
    from planner.cli.io.output import write_stdout
    from planner.report.formats.json_text import render_json

    json_schema = import_document_type(document).build_json_schema()
    write_stdout(render_json(_clean_descriptions(json_schema)), is_machine_readable=True)


def _clean_descriptions(schema: dict[str, object]) -> dict[str, object]:
    """The schema with its descriptions dedented, as Python 3.13 and later do with docstrings."""
    import inspect

    def clean_value(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: clean_value(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [clean_value(item) for item in value]
        return inspect.cleandoc(value) if isinstance(value, str) and key == "description" else value

    return {name: clean_value(item, name) for name, item in schema.items()}
