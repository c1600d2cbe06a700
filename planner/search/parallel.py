"""The same function over several values, on as many cores as there are; results in the order of the values."""

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

_FEW = 3
"""So many values are not worth a process."""


def in_order(what: str, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
    """The results in the order of the values; on one core, or where processes cannot be forked, one after another.

    What is returned does not depend on the number of cores. An exception of any value is raised, of several the
    first one's. `what` is told to those who watch the progress.
    """
    cores = min(os.cpu_count() or 1, len(values))
    if cores < 2 or len(values) <= _FEW or "fork" not in multiprocessing.get_all_start_methods():
        return [function(value) for value in track_steps(what, values)]
    workers: list[_Worker[T, R]] = []
    try:
        for number in range(cores):
            workers.append(_Worker(function, values))
            workers[-1].ask(number)
        answers = _answers(what, workers, values)
    finally:
        for worker in workers:
            worker.stop()
    results = []
    for number in range(len(values)):
        error, result = answers[number]
        if error is not None:
            raise error
        results.append(cast(R, result))
    return results


Answer = tuple[Exception | None, R | None]


class _Worker(Generic[T, R]):
    """A process forked from this one, and a pipe of its own to it.

    No queue is shared, as those of `multiprocessing.Pool` are: a worker that Ctrl-C ends while it has the lock of
    one leaves everybody waiting for it.
    """

    def __init__(self, function: Callable[[T], R], values: Sequence[T]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(self.connection, theirs, function, values), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, number: int) -> None:
        """Have the value of this number worked on. A worker that has ended is told of when it is listened to."""
        try:
            self.connection.send(number)
        except OSError:
            return

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _answers(what: str, workers: Sequence[_Worker[T, R]], values: Sequence[T]) -> dict[int, Answer[R]]:
    """The answer to each number; who has given one is asked the next. Raises PlannerError where a worker ends."""
    from multiprocessing.connection import wait

    by_connection = {worker.connection: worker for worker in workers}
    waiting = iter(range(len(workers), len(values)))
    answers: dict[int, Answer[R]] = {}
    for _ in track_steps(what, values):
        worker = by_connection[wait(list(by_connection))[0]]  # type: ignore[index]
        try:
            number, answer = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise PlannerError(f"a worker process ended with exit code {worker.process.exitcode}") from None
        answers[number] = answer
        after = next(waiting, None)
        if after is not None:
            worker.ask(after)
    return answers


def _work(
    parents: Connection[object, object],
    connection: Connection[object, int],
    function: Callable[[T], R],
    values: Sequence[T],
) -> None:
    """A worker's whole life: answer numbers until the parent is gone."""
    parents.close()
    try:
        while True:
            number = connection.recv()
            answer: Answer[R]
            try:
                answer = None, function(values[number])
            except Exception as error:
                answer = error, None
            connection.send((number, answer))
    except (EOFError, OSError):
        return
