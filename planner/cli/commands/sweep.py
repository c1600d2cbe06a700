"""`planner sweep`: a table of the best plan of every point of a grid; an interrupted sweep can be continued."""

from __future__ import annotations

import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from planner import __version__
from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import write_stderr, write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import declare_file_argument, declare_switch
from planner.cli.signals import ProcessInterrupted
from planner.errors import InputError, NothingFits, PlannerError
from planner.request.notices import collect_warnings, warn
from planner.request.options import Completion, Option
from planner.request.values import parse_number

with import_lazily():
    from planner.cli.io import progress
    from planner.cli.sweeps import dask, grid, journal, points, results
    from planner.cli.sweeps import workers as local_workers
    from planner.report import console

_EXIT_INTERRUPTED = 130
_MAX_WORKERS = 4_096


@declare_command(
    declare_file_argument(
        "file", "SWEEP.toml", "A TOML file with grids of models, clusters and options of `plan`.", ".toml"
    ),
    Option(
        "workers", "Workers", "Processes on this machine. Default: one per core.",
        partial(parse_number, maximum=_MAX_WORKERS), metavar="INTEGER",
    ),
    Option(
        "scheduler", "Workers", "Scheduler of a Dask cluster, instead of local processes: tcp://host:8786.",
        metavar="ADDRESS",
    ),
    Option(
        "output", "Output", "The table: a file ending in .parquet, .csv or .jsonl.", flags=("--output", "-o"),
        is_path=True, is_required=True, in_answer=False,
        completion=Completion(endings=(".parquet", ".csv", ".jsonl")),
    ),
    declare_switch("restart", "Output", "Discard the answers so far and start again."),
)  # fmt: skip
def sweep(file: Path, workers: int | None, scheduler: str | None, output: Path, restart: bool) -> None:
    """Run `plan` at every point of a grid and write a table.

    Answers are kept in a file beside the output: after Ctrl-C, a crash or a power cut the same command continues.

    \b
    Examples:
      planner sweep sweep.toml -o results.parquet
      planner sweep sweep.toml -o results.csv --workers 8
      planner sweep sweep.toml -o results.parquet --scheduler tcp://head:8786
      planner plot results.parquet --x nodes --y mfu --by model
    """
    results.check_results_file(output)
    if scheduler is not None and workers is not None:
        raise InputError(
            "a Dask cluster has its own workers", key="--workers, --scheduler", expected="one of the two"
        )
    sweep_grid = grid.read_sweep(file)
    with collect_warnings() as warnings:
        points.check_sweep(sweep_grid)
    for text in warnings:
        warn(text)
    fingerprint = journal.compute_fingerprint(sweep_grid)
    journal_path, point_count = output.with_name(f"{output.name}.journal"), len(sweep_grid.points)
    with journal.SweepJournal(journal_path, fingerprint, point_count, restart=restart) as sweep_journal:
        try:
            _answer_points(sweep_grid, sweep_journal, workers, scheduler, fingerprint)
            table = results.build_results(sweep_grid, sweep_journal.answers)
            metadata = {"planner": __version__, "sweep": fingerprint}
            write_file_atomically(output, results.render_results(table, output, metadata))
            with output.open("rb") as table_file:
                os.fsync(table_file.fileno())  # before the journal is removed
        except (KeyboardInterrupt, ProcessInterrupted):
            kept_text = f"{len(sweep_journal.answers):,} of {point_count:,} points are kept"
            write_stderr(f"stopped: {kept_text}; the same command continues\n")
            sys.exit(_EXIT_INTERRUPTED)
        sweep_journal.remove_file()
    counts = Counter(str(status) for status in table.columns[points.STATUS_COLUMN])
    count_text = ", ".join(f"{counts[status]:,} {status}" for status in points.STATUSES if counts[status])
    write_stdout(f"{console.strip_nonprintable(str(output))}: {len(table):,} points: {count_text}\n")
    _raise_sweep_failure(counts)


def _answer_points(
    sweep_grid: grid.Sweep,
    sweep_journal: journal.SweepJournal,
    worker_count: int | None,
    scheduler: str | None,
    fingerprint: str,
) -> None:
    """Answer the open points, those with the same model and cluster in sequence."""
    total, answered_count = len(sweep_grid.points), len(sweep_journal.answers)
    if answered_count:
        write_stderr(f"{sweep_journal.path}: {answered_count:,} of {total:,} points are answered already\n")
    open_points = [
        (number, sweep_grid.points[number])
        for number in sweep_grid.order_points()
        if number not in sweep_journal.answers
    ]
    if not open_points:
        return
    with progress.show_sweep_progress(total, answered_count) as advance:

        def record_answer(number: int, answer: bytes) -> None:
            sweep_journal.add_answer(number, answer)
            advance()

        if scheduler is None:
            local_workers.answer_on_this_machine(
                open_points, worker_count or local_workers.count_default_workers(), record_answer
            )
        else:
            dask.run_points_on_dask(open_points, scheduler, fingerprint, record_answer)


def _raise_sweep_failure(counts: Counter[str]) -> None:
    """The exit code of a sweep that failed as a whole, or by a bug. The table is written in any case."""
    if counts[points.STATUS_FAILED]:
        raise PlannerError(f"{counts[points.STATUS_FAILED]:,} points failed: the column `reason` has the reasons")
    if counts[points.STATUS_PLANNED]:
        return
    if counts[points.INFEASIBLE]:
        raise NothingFits("no plan fits at any point: the column `reason` has the reasons")
    raise InputError("every point has bad input", expected="see the column `reason`")
