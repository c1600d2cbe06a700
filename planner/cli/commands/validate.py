"""`planner validate`: the errors of predictions against measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.output import FilesOption, FormatOption, OutputFormat
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.evidence.validation_document import ValidationDocument


def validate(
    runs: Annotated[
        Path | None, typer.Option("--runs", help="A CSV table of measured runs. Default: the published ones.")
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
    cross: Annotated[
        bool,
        typer.Option(
            "--cross", help="Also fit without each source and each model, and report the errors on what was left out."
        ),
    ] = False,
    max_error: Annotated[
        str | None,
        typer.Option("--max-error", metavar="PERCENT", help="Largest error of a run, else the exit code is 4: 10%."),
    ] = None,
) -> None:
    """Predict measured runs and print the errors.

    They are printed for each run, by source, and overall.

    \b
    Examples:
      planner validate
      planner validate --runs mine.csv --max-error 15% -o errors.html -o errors.xml
    """
    from planner.cli.io.output import check_output_files, write_document, write_stderr
    from planner.evidence.predict import predict_runs
    from planner.evidence.runs import find_published_runs, parse_runs
    from planner.evidence.validation_document import build_validation_document
    from planner.request.files import read_text_file

    output_files, runs_path, max_error_percent = (
        check_output_files(files, input_files=[("--runs", runs)]),
        runs or find_published_runs(),
        _parse_percent(max_error),
    )
    rows, unread_runs = parse_runs(
        read_text_file(runs_path, (".csv",), "a CSV table of measured runs"), str(runs_path)
    )
    predictions, unbound_runs = predict_runs(rows)
    cross_validation = None
    if cross:
        from planner.evidence.calibrate import build_calibration_cases
        from planner.evidence.cross_validation import build_cross_validation_parts

        cross_validation = build_cross_validation_parts(
            build_calibration_cases(rows), lambda line: write_stderr(f"{line}\n")
        )
    document = build_validation_document(
        predictions, [*unread_runs, *unbound_runs], cross_validation, max_error_percent
    )

    write_document(document, form.value, output_files)
    _raise_excess_errors(document)


def _parse_percent(text: str | None) -> float | None:
    """The share of a percentage, `10%` or `10`. Raises InputError."""
    from planner.units import parse_quantity

    if text is None:
        return None
    try:
        return 100 * parse_quantity(text if text.rstrip().endswith("%") else f"{text}%", "ratio", key="--max-error")
    except InputError:
        raise InputError("not a percentage", key="--max-error", value=text, expected="such as 10%") from None


def _raise_excess_errors(document: ValidationDocument) -> None:
    """Raise RequirementNotMet that names every run whose error is above --max-error."""
    from planner.errors import RequirementNotMet
    from planner.report.console import strip_nonprintable
    from planner.report.views.validation_report import format_excess_error

    failed_runs = [(row.id, format_excess_error(row, document)) for row in document.rows if row.met is False]
    if failed_runs:
        raise RequirementNotMet(
            "\n".join(
                f"{strip_nonprintable(name)}: requirement not met: {sentence}" for name, sentence in failed_runs
            )
        )
