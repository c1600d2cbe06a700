"""`planner validate`: how far the predictions are from measured runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def validate(
    runs: Annotated[
        Path | None, typer.Option("--runs", help="A CSV table of measured runs; else the published ones.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="Form of the output.")] = Form.TABLE,
    cross: Annotated[
        bool, typer.Option("--cross", help="Also fit without each source and each model, and judge by those.")
    ] = False,
) -> None:
    """Predict measured runs and tell the errors, row by row, by source, and overall.

    \b
    Examples:
      planner validate
      planner validate --runs mine.csv --format json
    """
    from planner.cli.files import read_text
    from planner.cli.output import complain, write
    from planner.validation.document import validation_document
    from planner.validation.predict import predict_all
    from planner.validation.runs import parse_runs
    from planner.validation.table import published_runs

    path = runs or published_runs()
    rows, unread = parse_runs(read_text(path, (".csv",), "a CSV table of measured runs"), str(path))
    predictions, unbound = predict_all(rows)
    found = None
    if cross:
        from planner.validation.calibrate import cases
        from planner.validation.cross import cross_parts

        found = cross_parts(cases(rows), lambda word: complain(f"{word}\n"))
    document = validation_document(predictions, [*unread, *unbound], found)
    if form is Form.JSON:
        from planner.report.machine import to_json

        write(to_json(document))
    elif form is Form.MARKDOWN:
        from planner.report.validation import to_markdown

        write(to_markdown(document))
    else:
        from planner.report.validation import to_text

        write(to_text(document))
