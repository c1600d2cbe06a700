"""`planner validate`: how far the predictions are from measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.question import Files, Form, Output
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.evidence.validation_document import ValidationDocument


def validate(
    runs: Annotated[
        Path | None, typer.Option("--runs", help="A CSV table of measured runs; else the published ones.")
    ] = None,
    form: Form = Output.TABLE,
    files: Files = None,
    cross: Annotated[
        bool, typer.Option("--cross", help="Also fit without each source and each model, and judge by those.")
    ] = False,
    max_error: Annotated[
        str | None,
        typer.Option(
            "--max-error", metavar="PERCENT", help="What no run's error may be above, else the exit code is 4: 10%."
        ),
    ] = None,
) -> None:
    """Predict measured runs and tell the errors.

    It tells them row by row, by source, and overall.

    \b
    Examples:
      planner validate
      planner validate --runs mine.csv --max-error 15% -o errors.html -o errors.xml
    """
    from planner.cli.io.files import read_text
    from planner.cli.io.output import check_files, complain, tell
    from planner.evidence.predict import predict_runs
    from planner.evidence.published import find_published_runs
    from planner.evidence.runs import parse_runs
    from planner.evidence.validation_document import build_validation_document

    wanted, path, most = (
        check_files(files, read=[("--runs", runs)]),
        runs or find_published_runs(),
        _percent(max_error),
    )
    rows, unread = parse_runs(read_text(path, (".csv",), "a CSV table of measured runs"), str(path))
    predictions, unbound = predict_runs(rows)
    found = None
    if cross:
        from planner.evidence.calibrate import build_calibration_cases
        from planner.evidence.cross_validation import build_cross_validation_parts

        found = build_cross_validation_parts(build_calibration_cases(rows), lambda word: complain(f"{word}\n"))
    document = build_validation_document(predictions, [*unread, *unbound], found, most)

    def text() -> str:
        from planner.report.views.validation_text import to_text

        return to_text(document)

    tell(document, form.value, wanted, text)
    _end(document)


def _percent(text: str | None) -> float | None:
    """`10%`, or `10`, which is the same. Raises InputError."""
    from planner.units import parse_quantity

    if text is None:
        return None
    try:
        return 100 * parse_quantity(text if text.rstrip().endswith("%") else f"{text}%", "ratio", key="--max-error")
    except InputError:
        raise InputError("not a percentage", key="--max-error", value=text, expected="such as 10%") from None


def _end(document: ValidationDocument) -> None:
    """Raises RequirementNotMet that names every run whose error is above what was asked for."""
    from planner.errors import RequirementNotMet
    from planner.report.console import printable
    from planner.report.views.validation_text import fault

    faults = [(row.id, fault(row, document)) for row in document.rows if row.met is False]
    if faults:
        raise RequirementNotMet("\n".join(f"{printable(name)}: requirement not met: {told}" for name, told in faults))
