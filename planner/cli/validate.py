"""`planner validate`: how far the predictions are from measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.question import Files, Form, Output


def validate(
    runs: Annotated[
        Path | None, typer.Option("--runs", help="A CSV table of measured runs; else the published ones.")
    ] = None,
    form: Form = Output.TABLE,
    files: Files = None,
    cross: Annotated[
        bool, typer.Option("--cross", help="Also fit without each source and each model, and judge by those.")
    ] = False,
) -> None:
    """Predict measured runs and tell the errors, row by row, by source, and overall.

    \b
    Examples:
      planner validate
      planner validate --runs mine.csv -o errors.html -o errors.xml
    """
    from planner.cli.files import read_text
    from planner.cli.output import check_files, complain, tell
    from planner.validation.document import validation_document
    from planner.validation.predict import predict_all
    from planner.validation.runs import parse_runs
    from planner.validation.table import published_runs

    wanted, path = check_files(files), runs or published_runs()
    rows, unread = parse_runs(read_text(path, (".csv",), "a CSV table of measured runs"), str(path))
    predictions, unbound = predict_all(rows)
    found = None
    if cross:
        from planner.validation.calibrate import cases
        from planner.validation.cross import cross_parts

        found = cross_parts(cases(rows), lambda word: complain(f"{word}\n"))
    document = validation_document(predictions, [*unread, *unbound], found)

    def text() -> str:
        from planner.report.validation import to_text

        return to_text(document)

    tell(document, form.value, wanted, text)
