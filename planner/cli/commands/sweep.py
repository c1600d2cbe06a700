"""`planner sweep`: the best plan of every point of a grid, as a table; killed and begun again it loses nothing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError, NothingFits, PlannerError

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import Sweep
    from planner.cli.sweeps.journal import Journal
    from planner.cli.sweeps.results import Results

_INTERRUPTED = 130
_MOST_WORKERS = 4_096

SweepFile = Annotated[
    Path, typer.Argument(metavar="SWEEP.toml", help="Grids of models, clusters and options of `plan`.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The table: a file ending in .parquet, .csv or .jsonl.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=_MOST_WORKERS, help="Processes on this machine; else its cores.")
]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A Dask cluster instead: tcp://host:8786.")
]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what was answered before and begin anew.")]


def sweep(
    file: SweepFile,
    output: Output,
    workers: Workers = None,
    scheduler: Scheduler = None,
    restart: Restart = False,
) -> None:
    """Ask `plan` at every point of a grid and write a table.

    Answers are kept beside the output as they come: after Ctrl-C, a crash or a power cut the same command goes on.

    \b
    Examples:
      planner sweep sweep.toml -o results.parquet
      planner sweep sweep.toml -o results.csv --workers 8
      planner sweep sweep.toml -o results.parquet --scheduler tcp://head:8786
      planner plot results.parquet --x nodes --y mfu --by model
    """
    from planner.cli.io.output import kept_warnings, warn, write
    from planner.cli.signals import Interrupted
    from planner.cli.sweeps.check import check_sweep
    from planner.cli.sweeps.fingerprint import fingerprint_of
    from planner.cli.sweeps.grid import read_sweep
    from planner.cli.sweeps.journal import Journal
    from planner.cli.sweeps.results import check_output, results_of

    check_output(output)
    if scheduler is not None and workers is not None:
        raise InputError("a Dask cluster has its own", key="--workers, --scheduler", expected="one of the two")
    asked = read_sweep(file)
    with kept_warnings() as warnings:
        check_sweep(asked)
    for text in warnings:
        warn(text)
    fingerprint = fingerprint_of(asked)
    beside = output.with_name(f"{output.name}.journal")
    with Journal(beside, fingerprint, len(asked.points), restart=restart) as journal:
        try:
            _answer(asked, journal, workers, scheduler, fingerprint)
            results = results_of(asked, journal.answers)
            _write(output, results, fingerprint)
        except (KeyboardInterrupt, Interrupted):
            kept = f"{len(journal.answers):,} of {len(asked.points):,} points are kept"
            _say(f"stopped: {kept}; the same command goes on")
            raise typer.Exit(_INTERRUPTED) from None
        journal.remove()
    write(_summary(output, results))
    _end(results)


def _answer(asked: Sweep, journal: Journal, workers: int | None, scheduler: str | None, fingerprint: str) -> None:
    """Answer the points that are not yet, neighbours with the same model and cluster after each other."""
    from planner.cli.sweeps.progress import progress
    from planner.cli.sweeps.workers import answer_here, usual_workers

    total, known = len(asked.points), len(journal.answers)
    if known:
        _say(f"{journal.path}: {known:,} of {total:,} points are answered already")
    left = [(number, asked.points[number]) for number in asked.order() if number not in journal.answers]
    if not left:
        return
    with progress(total, known) as advance:

        def done(number: int, answer: bytes) -> None:
            journal.add(number, answer)
            advance()

        if scheduler is None:
            answer_here(left, workers or usual_workers(), done)
        else:
            from planner.cli.sweeps.dask import answer_on_dask

            answer_on_dask(left, scheduler, fingerprint, done)


def _write(output: Path, results: Results, fingerprint: str) -> None:
    """Write the table, and have it on the disk before the journal is let go."""
    from planner import __version__
    from planner.cli.io.files import write_file
    from planner.cli.sweeps.results import content_of

    write_file(output, content_of(results, output, {"planner": __version__, "sweep": fingerprint}))
    with output.open("rb") as file:
        os.fsync(file.fileno())


def _counts(results: Results) -> Counter[str]:
    from planner.cli.sweeps.point import STATUS

    return Counter(str(one) for one in results.columns[STATUS])


def _summary(output: Path, results: Results) -> str:
    """What became of the points, in one line."""
    from planner.cli.sweeps.point import FAILED, PLANNED, UNFIT, WRONG
    from planner.report.console import printable

    counts = _counts(results)
    told = ", ".join(f"{counts[one]:,} {one}" for one in (PLANNED, UNFIT, WRONG, FAILED) if counts[one])
    return f"{printable(str(output))}: {len(results):,} points: {told}\n"


def _end(results: Results) -> None:
    """The exit code of a sweep that went wrong as a whole, or by our fault. The table is written all the same."""
    from planner.cli.sweeps.point import FAILED, PLANNED, UNFIT

    counts = _counts(results)
    if counts[FAILED]:
        raise PlannerError(f"{counts[FAILED]:,} points failed: the column `reason` says how")
    if counts[PLANNED]:
        return
    if counts[UNFIT]:
        raise NothingFits("no plan fits at any point: the column `reason` says why")
    raise InputError("no point can be planned", expected="see the column `reason`")


def _say(text: str) -> None:
    from planner.cli.io.output import complain

    complain(f"{text}\n")
