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
    Document.PLAN: "planner.search.document",
    Document.WHAT_IF: "planner.search.whatif_document",
    Document.VALIDATE: "planner.validation.document",
    Document.TOPOLOGY: "planner.report.topology_document",
    Document.HARDWARE: "planner.report.hardware_document",
    Document.MIXED: "planner.search.mixed_document",
    Document.SIZE: "planner.search.size_document",
    Document.COMPARE: "planner.search.compare_document",
    Document.EXPLAIN: "planner.search.explain_document",
    Document.CHECK: "planner.search.check_document",
    Document.DIFF: "planner.search.diff_document",
    Document.LIST: "planner.report.listing_document",
}
"""Where each document's `json_schema` is."""


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
    from planner.cli.output import write
    from planner.report.json_text import to_json

    json_schema = cast(Callable[[], dict[str, object]], import_module(MODULES[document]).json_schema)
    write(to_json(_even(json_schema())), for_machines=True)


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
