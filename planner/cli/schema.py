"""`planner schema`: the JSON Schema of the plan document."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of what `--format json` prints."""
    from planner.report.machine import to_json
    from planner.search.document import json_schema

    typer.echo(to_json(json_schema()), nl=False)
