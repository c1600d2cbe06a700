"""Local worker processes: each answers points one by one; one that dies is replaced, and nothing is lost.

A worker is sent a few points at once and sends each answer as soon as it has it. The parent knows which point a dead
worker was at: the points that it had left go to another one, and a point that has ended three workers is told as
failed. A worker whose parent is gone ends by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from planner.cli.sweeps.point import Asker, failed
from planner.errors import InputError, PlannerError

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import Point

_AT_ONCE = 16
"""Points that a worker is sent together: neighbours, which share their model and cluster."""
_LIVES = 3
"""Workers that a point may end before it is given up."""

Numbered = tuple[int, "Point"]
Done = Callable[[int, bytes], None]
Make = Callable[[], Callable[["Point"], bytes]]


def usual_workers() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def answer_here(points: Sequence[Numbered], workers: int, done: Done, make: Make | None = None) -> None:
    """Answer the points with so many processes; `done` is told each one's number and answer, in any order.

    `make` is called in each process and makes what answers a point there: an `Asker`, where nothing is said.
    Raises InputError where the system has no room for so many, PlannerError where no worker can start.
    """
    pool = _Pool(points, max(1, min(workers, len(points))), done, make or _asker)
    try:
        pool.run()
    finally:
        pool.stop()


class _Worker:
    """A process, the pipe to it, and the points that it has still to answer, the first of them at work."""

    def __init__(self, make: Make) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make), daemon=True)
        self.left: deque[Numbered] = deque()
        self.is_ready = False
        with _undisturbed():
            self.process.start()
        theirs.close()

    def send(self, points: list[Numbered]) -> None:
        """More points to answer. A worker that has died is told of when it is listened to."""
        self.left.extend(points)
        try:
            self.connection.send(points)
        except OSError:
            return

    def stop(self) -> int | None:
        """End the process; its exit code."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class _Pool:
    def __init__(self, points: Sequence[Numbered], workers: int, done: Done, make: Make) -> None:
        self.waiting, self.done, self.unanswered, self.make = deque(points), done, len(points), make
        self.deaths: Counter[int] = Counter()
        self.stillborn = 0
        self.workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self.workers.append(_Worker(make))
        except OSError as error:
            self.stop()
            problem, expected = f"worker processes cannot start: {error.strerror}", "as many as `ulimit -a` allows"
            raise InputError(problem, key="--workers", value=str(workers), expected=expected) from None

    def run(self) -> None:
        """Until every point is answered."""
        while self.unanswered:
            by_connection = {worker.connection: worker for worker in self.workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]  # type: ignore[index]
                try:
                    self._listen(worker, worker.connection.recv_bytes())
                except (EOFError, OSError):
                    self._replace(worker)

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()

    def _listen(self, worker: _Worker, message: bytes) -> None:
        """An answer, or the word that the worker is there; where it has nothing left, more to do."""
        if worker.is_ready:
            number, _ = worker.left.popleft()
            self.unanswered -= 1
            self.done(number, message)
        worker.is_ready, self.stillborn = True, 0
        if not worker.left and self.waiting:
            # at the end few at once, so that no worker is left with much while others have nothing
            share = max(1, min(_AT_ONCE, len(self.waiting) // (2 * len(self.workers))))
            worker.send([self.waiting.popleft() for _ in range(min(share, len(self.waiting)))])

    def _replace(self, worker: _Worker) -> None:
        """Another worker for one that has died; what it had left is to be done again."""
        code = worker.stop()
        if not worker.is_ready:
            self.stillborn += 1
            if self.stillborn >= _LIVES:
                raise PlannerError(f"worker processes end as they start, the last with exit code {code}")
        if worker.left:
            number, _ = worker.left[0]
            self.deaths[number] += 1
            if self.deaths[number] >= _LIVES:
                worker.left.popleft()
                self.unanswered -= 1
                self.done(number, _given_up(code))
        self.waiting.extendleft(reversed(worker.left))
        self.workers[self.workers.index(worker)] = _Worker(self.make)


def _given_up(code: int | None) -> bytes:
    import msgspec

    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return msgspec.json.encode(failed(f"the process that answered it ended with {how}, {_LIVES} times"))


def _asker() -> Callable[[Point], bytes]:
    return Asker().answered


def _work(connection: Connection, make: Make) -> None:
    """A worker's whole life: answer what comes, until the parent is gone or has no more."""
    answered = make()
    try:
        connection.send_bytes(b"ready")
        while True:
            for _, point in connection.recv():
                connection.send_bytes(answered(point))
    except (EOFError, OSError):
        return


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach, and whose array library starts no threads of its own."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(threads, "1"))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for name, value in threads.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
