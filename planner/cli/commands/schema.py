"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

import inspect
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from planner.cli.io.output import write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.request.options import Option
from planner.request.values import parse_choice

with import_lazily():
    from planner.report.formats import json_text

if TYPE_CHECKING:
    from planner.documents.schema import Document

DOCUMENT_TYPES = {
    "plan": "planner.documents.plan:PlanDocument",
    "what-if": "planner.documents.what_if:WhatIfDocument",
    "validate": "planner.evidence.validation_document:ValidationDocument",
    "topology": "planner.documents.topology:TopologyDocument",
    "hardware": "planner.documents.hardware:HardwareDocument",
    "mixed": "planner.documents.heterogeneous:HeterogeneousDocument",
    "size": "planner.documents.size:SizeDocument",
    "compare": "planner.documents.compare:CompareDocument",
    "explain": "planner.documents.explain:ExplainDocument",
    "check": "planner.documents.check:CheckDocument",
    "diff": "planner.documents.diff:DiffDocument",
    "list": "planner.documents.listing:ListingDocument",
    "trainers": "planner.documents.trainers:TrainersDocument",
    "model": "planner.documents.model:ModelDocument",
}
"""Module and type of each document."""


def import_document_type(document: str) -> type[Document]:
    """The type of a document; its module is imported only when it is needed."""
    module, _, name = DOCUMENT_TYPES[document].partition(":")
    return cast("type[Document]", getattr(import_module(module), name))


@declare_command(
    Option(
        "document", "Arguments", f"Document: {', '.join(DOCUMENT_TYPES)}.",
        partial(parse_choice, names=tuple(DOCUMENT_TYPES)), metavar="DOCUMENT", choices=tuple(DOCUMENT_TYPES),
        default="plan", is_argument=True,
    )
)  # fmt: skip
def schema(document: str) -> None:
    """Print the JSON Schema of the output of `--format json`.

    \b
    Examples:
      planner schema
      planner schema what-if
    """
    json_schema = import_document_type(document).build_json_schema()
    write_stdout(json_text.render_json(_clean_descriptions(json_schema)), is_machine_readable=True)


def _clean_descriptions(schema: dict[str, object]) -> dict[str, object]:
    """The schema with its descriptions dedented, as Python 3.13 and later do with docstrings."""

    def clean_value(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: clean_value(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [clean_value(item) for item in value]
        return inspect.cleandoc(value) if isinstance(value, str) and key == "description" else value

    return {name: clean_value(item, name) for name, item in schema.items()}
