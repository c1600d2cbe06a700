"""`planner sweep`: a table of the best plan of every point of a grid; an interrupted sweep can be continued."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError, NothingFits, PlannerError

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import Sweep
    from planner.cli.sweeps.journal import SweepJournal
    from planner.cli.sweeps.results import ResultsTable

_EXIT_INTERRUPTED = 130
_MAX_WORKERS = 4_096

SweepFileArgument = Annotated[
    Path, typer.Argument(metavar="SWEEP.toml", help="Grids of models, clusters and options of `plan`.")
]
SweepOutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The table: a file ending in .parquet, .csv or .jsonl.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=_MAX_WORKERS, help="Processes on this machine. Default: one per core."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Scheduler of a Dask cluster, instead of local processes: tcp://host:8786.",
    ),
]
RestartOption = Annotated[bool, typer.Option("--restart", help="Discard the answers so far and start again.")]


def sweep(
    file: SweepFileArgument,
    output: SweepOutputOption,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    restart: RestartOption = False,
) -> None:
    """Run `plan` at every point of a grid and write a table.

    Answers are kept in a file beside the output: after Ctrl-C, a crash or a power cut the same command continues.

    \b
    Examples:
      planner sweep sweep.toml -o results.parquet
      planner sweep sweep.toml -o results.csv --workers 8
      planner sweep sweep.toml -o results.parquet --scheduler tcp://head:8786
      planner plot results.parquet --x nodes --y mfu --by model
    """
    from planner.cli.io.output import write_stdout
    from planner.cli.signals import ProcessInterrupted
    from planner.cli.sweeps.check import check_sweep
    from planner.cli.sweeps.fingerprint import compute_fingerprint
    from planner.cli.sweeps.grid import read_sweep
    from planner.cli.sweeps.journal import SweepJournal
    from planner.cli.sweeps.results import build_results, check_results_file
    from planner.request.notices import collect_warnings, warn

    check_results_file(output)
    if scheduler is not None and workers is not None:
        raise InputError(
            "a Dask cluster has its own workers", key="--workers, --scheduler", expected="one of the two"
        )
    sweep_grid = read_sweep(file)
    with collect_warnings() as warnings:
        check_sweep(sweep_grid)
    for text in warnings:
        warn(text)
    fingerprint = compute_fingerprint(sweep_grid)
    journal_path = output.with_name(f"{output.name}.journal")
    with SweepJournal(journal_path, fingerprint, len(sweep_grid.points), restart=restart) as journal:
        try:
            _plan_points(sweep_grid, journal, workers, scheduler, fingerprint)
            results = build_results(sweep_grid, journal.answers)
            _write_results(output, results, fingerprint)
        except (KeyboardInterrupt, ProcessInterrupted):
            kept_text = f"{len(journal.answers):,} of {len(sweep_grid.points):,} points are kept"
            _write_notice(f"stopped: {kept_text}; the same command continues")
            raise typer.Exit(_EXIT_INTERRUPTED) from None
        journal.remove_file()
    write_stdout(_format_summary(output, results))
    _raise_sweep_failure(results)


def _plan_points(
    sweep_grid: Sweep, journal: SweepJournal, workers: int | None, scheduler: str | None, fingerprint: str
) -> None:
    """Answer the open points, those with the same model and cluster in sequence."""
    from planner.cli.sweeps.progress import show_sweep_progress
    from planner.cli.sweeps.workers import answer_on_this_machine, count_default_workers

    total, answered_count = len(sweep_grid.points), len(journal.answers)
    if answered_count:
        _write_notice(f"{journal.path}: {answered_count:,} of {total:,} points are answered already")
    open_points = [
        (number, sweep_grid.points[number]) for number in sweep_grid.order_points() if number not in journal.answers
    ]
    if not open_points:
        return
    with show_sweep_progress(total, answered_count) as advance:

        def record_answer(number: int, answer: bytes) -> None:
            journal.add_answer(number, answer)
            advance()

        if scheduler is None:
            answer_on_this_machine(open_points, workers or count_default_workers(), record_answer)
        else:
            from planner.cli.sweeps.dask import run_points_on_dask

            run_points_on_dask(open_points, scheduler, fingerprint, record_answer)


def _write_results(output: Path, results: ResultsTable, fingerprint: str) -> None:
    """Write the table and flush it to the disk before the journal is removed."""
    from planner import __version__
    from planner.cli.io.files import write_file_atomically
    from planner.cli.sweeps.results import render_results

    write_file_atomically(output, render_results(results, output, {"planner": __version__, "sweep": fingerprint}))
    with output.open("rb") as file:
        os.fsync(file.fileno())


def _count_by_status(results: ResultsTable) -> Counter[str]:
    from planner.cli.sweeps.point import STATUS_COLUMN

    return Counter(str(status) for status in results.columns[STATUS_COLUMN])


def _format_summary(output: Path, results: ResultsTable) -> str:
    """Write the counts of the points by status, in one line."""
    from planner.cli.sweeps.point import BAD_INPUT, INFEASIBLE, STATUS_FAILED, STATUS_PLANNED
    from planner.report.console import strip_nonprintable

    counts = _count_by_status(results)
    count_text = ", ".join(
        f"{counts[status]:,} {status}"
        for status in (STATUS_PLANNED, INFEASIBLE, BAD_INPUT, STATUS_FAILED)
        if counts[status]
    )
    return f"{strip_nonprintable(str(output))}: {len(results):,} points: {count_text}\n"


def _raise_sweep_failure(results: ResultsTable) -> None:
    """The exit code of a sweep that failed as a whole, or by a bug. The table is written in any case."""
    from planner.cli.sweeps.point import INFEASIBLE, STATUS_FAILED, STATUS_PLANNED

    counts = _count_by_status(results)
    if counts[STATUS_FAILED]:
        raise PlannerError(f"{counts[STATUS_FAILED]:,} points failed: the column `reason` has the reasons")
    if counts[STATUS_PLANNED]:
        return
    if counts[INFEASIBLE]:
        raise NothingFits("no plan fits at any point: the column `reason` has the reasons")
    raise InputError("every point has bad input", expected="see the column `reason`")


def _write_notice(text: str) -> None:
    from planner.cli.io.output import write_stderr

    write_stderr(f"{text}\n")
