"""`planner schema`: the JSON Schema of the documents."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """Documents that have a schema."""

    PLAN = "plan"
    WHAT_IF = "what-if"
    VALIDATE = "validate"
    HARDWARE = "hardware"
    MIXED = "mixed"


def schema(
    document: Annotated[
        Document,
        typer.Argument(
            help="Whose: plan (and estimate), what-if, validate, hardware, mixed (plan of two kinds of nodes)."
        ),
    ] = Document.PLAN,
) -> None:
    """Print the JSON Schema of what `--format json` prints."""
    from planner.cli.output import write
    from planner.report.machine import to_json

    if document is Document.WHAT_IF:
        from planner.search.whatif_document import json_schema
    elif document is Document.VALIDATE:
        from planner.validation.document import json_schema
    elif document is Document.MIXED:
        from planner.search.mixed_document import json_schema
    elif document is Document.HARDWARE:
        from planner.report.hardware_document import json_schema
    else:
        from planner.search.document import json_schema
    write(to_json(json_schema()))
