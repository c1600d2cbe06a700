"""`planner validate`: the errors of predictions against measured runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.cli.io.output import DocumentOutput, write_stderr
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import DOCUMENT_OPTIONS, declare_switch
from planner.errors import InputError, RequirementNotMet
from planner.request.files import read_text_file
from planner.request.options import Completion, Option
from planner.request.values import OptionValue
from planner.units import parse_quantity

with import_lazily():
    from planner.evidence import calibrate, cross_validation, predict, validation_document
    from planner.evidence import runs as measured_runs
    from planner.report import console
    from planner.report.views import validation_report

_MAX_REASONS = 20
"""Rows of which the reason is printed where no row can be predicted."""


def _parse_percent(value: OptionValue, key: str) -> float:
    """The percentage, `10%` or `10`. Raises InputError."""
    text = str(value)
    try:
        return 100 * parse_quantity(text if text.rstrip().endswith("%") else f"{text}%", "ratio", key=key)
    except InputError:
        raise InputError("not a percentage", key=key, value=text, expected="such as 10%") from None


def _build_all_skipped_error(skipped: Sequence[measured_runs.SkippedRunPart], origin: str) -> InputError:
    """The error for a table of which no row can be predicted; the reasons go before it, to stderr."""
    for row in skipped[:_MAX_REASONS]:
        reason = row.reason.removeprefix(f"{origin}: ")
        write_stderr(f"line {row.line}: {console.strip_nonprintable(row.id)}: {console.strip_nonprintable(reason)}\n")
    if len(skipped) > _MAX_REASONS:
        write_stderr(f"and {len(skipped) - _MAX_REASONS} more rows\n")
    return InputError(
        "no row can be predicted", origin=origin, value=f"{len(skipped)} rows", expected="a row that can"
    )


@declare_command(
    Option(
        "file", "Arguments", "A CSV table of measured runs. Default: the published ones.", metavar="[FILE]",
        is_argument=True, is_path=True, completion=Completion(endings=(".csv",)),
    ),
    Option(
        "runs", "Runs", "The same table as an option.", metavar="FILE", is_path=True,
        completion=Completion(endings=(".csv",)),
    ),
    declare_switch(
        "cross", "Runs",
        "Also fit without each source, model, trainer and generation, and report the errors on what was left out.",
    ),
    Option(
        "max_error", "Runs", "Largest error of a run, else the exit code is 4: 10%.", _parse_percent,
        metavar="PERCENT",
    ),
    *DOCUMENT_OPTIONS,
)  # fmt: skip
def validate(
    file: Path | None, runs: Path | None, cross: bool, max_error: float | None, output: DocumentOutput
) -> None:
    """Predict measured runs and print the errors.

    They are printed for each run, by source, trainer, generation, ..., and overall, with the share of runs in their
    intervals.

    \b
    Examples:
      planner validate
      planner validate mine.csv --max-error 15% -o errors.html -o errors.xml
    """
    if file is not None and runs is not None:
        raise InputError("the table is given twice", key="--runs", value=str(runs), expected="one of FILE and --runs")
    runs_path = file or runs or measured_runs.find_published_runs()
    table = measured_runs.parse_run_table(
        read_text_file(runs_path, (".csv",), "a CSV table of measured runs"), str(runs_path)
    )
    predictions, unbound_runs = predict.predict_runs(table.runs)
    skipped = [*table.skipped, *unbound_runs]
    if not predictions:
        raise _build_all_skipped_error(skipped, str(runs_path))
    cross_validation_parts = None
    if cross:
        cross_validation_parts = cross_validation.build_cross_validation_parts(
            calibrate.build_calibration_cases(table.runs), lambda line: write_stderr(f"{line}\n")
        )
    document = validation_document.build_validation_document(
        predictions, skipped, cross_validation_parts, max_error, table.notes
    )
    output.write(document)
    excess_errors = [
        f"{console.strip_nonprintable(row.id)}: requirement not met: "
        f"{validation_report.format_excess_error(row, document)}"
        for row in document.rows
        if row.met is False
    ]
    if excess_errors:
        raise RequirementNotMet("\n".join(excess_errors))
