"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """Documents that have a schema."""

    PLAN = "plan"
    WHAT_IF = "what-if"


def schema(
    document: Annotated[Document, typer.Argument(help="Of `plan` and `estimate`, or of `what-if`.")] = Document.PLAN,
) -> None:
    """Print the JSON Schema of what `--format json` prints."""
    from planner.cli.output import write
    from planner.report.machine import to_json
    from planner.search.document import json_schema as of_plans
    from planner.search.whatif_document import json_schema as of_what_if

    write(to_json(of_what_if() if document is Document.WHAT_IF else of_plans()))
