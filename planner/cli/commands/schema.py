"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Annotated, cast

import typer


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


DOCUMENT_MODULES = {
    DocumentType.PLAN: "planner.documents.plan",
    DocumentType.WHAT_IF: "planner.documents.what_if",
    DocumentType.VALIDATE: "planner.evidence.validation_document",
    DocumentType.TOPOLOGY: "planner.documents.topology",
    DocumentType.HARDWARE: "planner.documents.hardware",
    DocumentType.HETEROGENEOUS: "planner.documents.heterogeneous",
    DocumentType.SIZE: "planner.documents.size",
    DocumentType.COMPARE: "planner.documents.compare",
    DocumentType.EXPLAIN: "planner.documents.explain",
    DocumentType.CHECK: "planner.documents.check",
    DocumentType.DIFF: "planner.documents.diff",
    DocumentType.LIST: "planner.documents.listing",
}
"""The module of each document's `build_json_schema`."""


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

    build = cast(Callable[[], dict[str, object]], import_module(DOCUMENT_MODULES[document]).build_json_schema)
    write_stdout(render_json(_clean_descriptions(build())), is_machine_readable=True)


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
