"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Annotated, cast

import typer


class Document(StrEnum):
    """Documents that have a schema."""

    PLAN = "plan"
    WHAT_IF = "what-if"
    VALIDATE = "validate"
    TOPOLOGY = "topology"
    HARDWARE = "hardware"
    MIXED = "mixed"
    SIZE = "size"
    COMPARE = "compare"
    EXPLAIN = "explain"
    CHECK = "check"
    DIFF = "diff"
    LIST = "list"


MODULES = {
    Document.PLAN: "planner.documents.plan",
    Document.WHAT_IF: "planner.documents.what_if",
    Document.VALIDATE: "planner.evidence.validation_document",
    Document.TOPOLOGY: "planner.documents.topology",
    Document.HARDWARE: "planner.documents.hardware",
    Document.MIXED: "planner.documents.heterogeneous",
    Document.SIZE: "planner.documents.size",
    Document.COMPARE: "planner.documents.compare",
    Document.EXPLAIN: "planner.documents.explain",
    Document.CHECK: "planner.documents.check",
    Document.DIFF: "planner.documents.diff",
    Document.LIST: "planner.documents.listing",
}
"""Where each document's `build_json_schema` is."""


def schema(
    document: Annotated[
        Document,
        typer.Argument(help=f"Whose: {', '.join(Document)}."),
    ] = Document.PLAN,
) -> None:
    """Print the JSON Schema of what `--format json` prints.

    \b
    Examples:
      planner schema
      planner schema what-if
    """
    from planner.cli.io.output import write
    from planner.report.formats.json_text import to_json

    build = cast(Callable[[], dict[str, object]], import_module(MODULES[document]).build_json_schema)
    write(to_json(_even(build())), for_machines=True)


def _even(schema: dict[str, object]) -> dict[str, object]:
    """The schema with descriptions that begin at the margin, as docstrings do from Python 3.13 on."""
    import inspect

    def even(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: even(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [even(one) for one in value]
        return inspect.cleandoc(value) if isinstance(value, str) and key == "description" else value

    return {name: even(one, name) for name, one in schema.items()}
