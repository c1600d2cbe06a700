"""`planner schema`: the JSON Schema of the plan document."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of what `--format json` prints."""
    from planner.cli.output import write
    from planner.report.machine import to_json
    from planner.search.document import json_schema

    write(to_json(json_schema()))
