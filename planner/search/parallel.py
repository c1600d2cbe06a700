"""Apply a function to several values on all cores; results are in the order of the values."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from planner.errors import PlannerError
from planner.progress import track_steps

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

_MAX_SERIAL_VALUES = 3
"""Up to this many values are computed without starting processes."""


def map_in_parallel(label: str, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
    """Apply `function` to all values in parallel; serially on one core, or where processes cannot be forked.

    The results do not depend on the number of cores. If calls raise exceptions, that of the first such value is
    raised. `label` names the work in progress reports.
    """
    cores = min(os.cpu_count() or 1, len(values))
    if cores < 2 or len(values) <= _MAX_SERIAL_VALUES or "fork" not in multiprocessing.get_all_start_methods():
        return [function(value) for value in track_steps(label, values)]
    workers: list[_Worker[T, R]] = []
    try:
        for index in range(cores):
            workers.append(_Worker(function, values))
            workers[-1].submit(index)
        worker_results = _collect_worker_results(label, workers, values)
    finally:
        for worker in workers:
            worker.stop()
    results = []
    for index in range(len(values)):
        error, result = worker_results[index]
        if error is not None:
            raise error
        results.append(cast(R, result))
    return results


WorkerResult = tuple[Exception | None, R | None]


class _Worker(Generic[T, R]):
    """A forked process with its own pipe.

    The workers share no queue, unlike those of `multiprocessing.Pool`: a worker that is interrupted while it holds
    the lock of a shared queue would block all others.
    """

    def __init__(self, function: Callable[[T], R], values: Sequence[T]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, child_connection = context.Pipe()
        self.process = context.Process(
            target=_run_worker, args=(self.connection, child_connection, function, values), daemon=True
        )
        self.process.start()
        child_connection.close()

    def submit(self, index: int) -> None:
        """Send the index of the next value. A worker that has ended is noticed when its result is awaited."""
        try:
            self.connection.send(index)
        except OSError:
            return

    def stop(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _collect_worker_results(
    label: str, workers: Sequence[_Worker[T, R]], values: Sequence[T]
) -> dict[int, WorkerResult[R]]:
    """The result of each index; a worker that is done gets the next index. Raises PlannerError if a worker ends."""
    from multiprocessing.connection import wait

    by_connection = {worker.connection: worker for worker in workers}
    pending_indices = iter(range(len(workers), len(values)))
    worker_results: dict[int, WorkerResult[R]] = {}
    for _ in track_steps(label, values):
        worker = by_connection[wait(list(by_connection))[0]]  # type: ignore[index]
        try:
            index, worker_result = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise PlannerError(f"a worker process ended with exit code {worker.process.exitcode}") from None
        worker_results[index] = worker_result
        next_index = next(pending_indices, None)
        if next_index is not None:
            worker.submit(next_index)
    return worker_results


def _run_worker(
    parent_connection: Connection[object, object],
    connection: Connection[object, int],
    function: Callable[[T], R],
    values: Sequence[T],
) -> None:
    """The loop of a worker: compute the values of received indices until the parent closes the pipe."""
    parent_connection.close()
    try:
        while True:
            index = connection.recv()
            worker_result: WorkerResult[R]
            try:
                worker_result = None, function(values[index])
            except Exception as error:
                worker_result = error, None
            connection.send((index, worker_result))
    except (EOFError, OSError):
        return
