"""Local worker processes, each of which answers points in turn; a worker that dies is replaced.

A worker receives a few points at once and sends each answer as soon as it is ready. The parent knows the point of a
dead worker: its other points go to another worker, and a point that has ended three workers is reported as failed.
A worker whose parent has ended ends by itself.
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

from planner.cli.sweeps.points import PointAnswerer, build_failed_record
from planner.errors import InputError, PlannerError

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import SweepPoint

_POINTS_PER_MESSAGE = 16
"""Points that are sent to a worker together: neighbours, which share model and cluster."""
_MAX_DEATHS = 3
"""Workers that a point may end before it counts as failed."""

NumberedPoint = tuple[int, "SweepPoint"]
AddAnswer = Callable[[int, bytes], None]
MakeAnswerer = Callable[[], Callable[["SweepPoint"], bytes]]


def count_default_workers() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def answer_on_this_machine(
    points: Sequence[NumberedPoint], workers: int, add_answer: AddAnswer, make_answerer: MakeAnswerer | None = None
) -> None:
    """Answer the points in worker processes; `add_answer` takes the number and answer of each, in any order.

    `make_answerer` is called in each process and returns the function that answers a point; default: a
    `PointAnswerer`. Raises InputError where the system cannot start all, PlannerError where it can start none.
    """
    pool = _WorkerPool(points, max(1, min(workers, len(points))), add_answer, make_answerer or _build_point_encoder)
    try:
        pool.answer_all()
    finally:
        pool.stop_workers()


class _SweepWorker:
    """A process, the pipe to it, and the points that it has yet to answer; it works on the first."""

    def __init__(self, make_answerer: MakeAnswerer) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child_connection = context.Pipe()
        self.process = context.Process(target=_run_worker, args=(child_connection, make_answerer), daemon=True)
        self.unanswered_points: deque[NumberedPoint] = deque()
        self.is_ready = False
        with _shield_from_signals():
            self.process.start()
        child_connection.close()

    def send_points(self, points: list[NumberedPoint]) -> None:
        """Send more points. The death of a worker is noticed when its answers are read."""
        self.unanswered_points.extend(points)
        try:
            self.connection.send(points)
        except OSError:
            return

    def stop_process(self) -> int | None:
        """End the process; its exit code."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class _WorkerPool:
    def __init__(
        self, points: Sequence[NumberedPoint], worker_count: int, add_answer: AddAnswer, make_answerer: MakeAnswerer
    ) -> None:
        self.unsent_points, self.add_answer, self.unanswered_count, self.make_answerer = (
            deque(points),
            add_answer,
            len(points),
            make_answerer,
        )
        self.deaths_by_point: Counter[int] = Counter()
        self.failed_starts = 0
        self.workers: list[_SweepWorker] = []
        try:
            for _ in range(worker_count):
                self.workers.append(_SweepWorker(make_answerer))
        except OSError as error:
            self.stop_workers()
            problem, expected = f"worker processes cannot start: {error.strerror}", "as many as `ulimit -a` allows"
            raise InputError(problem, key="--workers", value=str(worker_count), expected=expected) from None

    def answer_all(self) -> None:
        """Run until every point is answered."""
        while self.unanswered_count:
            by_connection = {worker.connection: worker for worker in self.workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]  # type: ignore[index]
                try:
                    self._handle_message(worker, worker.connection.recv_bytes())
                except (EOFError, OSError):
                    self._replace_worker(worker)

    def stop_workers(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop_process()

    def _handle_message(self, worker: _SweepWorker, message: bytes) -> None:
        """Receive an answer, or the message that the worker has started; send more points to an idle worker."""
        if worker.is_ready:
            number, _ = worker.unanswered_points.popleft()
            self.unanswered_count -= 1
            self.add_answer(number, message)
        worker.is_ready, self.failed_starts = True, 0
        if not worker.unanswered_points and self.unsent_points:
            # few at once near the end, so that the workers finish at the same time
            share = max(1, min(_POINTS_PER_MESSAGE, len(self.unsent_points) // (2 * len(self.workers))))
            worker.send_points([self.unsent_points.popleft() for _ in range(min(share, len(self.unsent_points)))])

    def _replace_worker(self, worker: _SweepWorker) -> None:
        """Replace a worker that has died; its points are queued again."""
        code = worker.stop_process()
        if not worker.is_ready:
            self.failed_starts += 1
            if self.failed_starts >= _MAX_DEATHS:
                raise PlannerError(f"worker processes end as they start, the last with exit code {code}")
        if worker.unanswered_points:
            number, _ = worker.unanswered_points[0]
            self.deaths_by_point[number] += 1
            if self.deaths_by_point[number] >= _MAX_DEATHS:
                worker.unanswered_points.popleft()
                self.unanswered_count -= 1
                self.add_answer(number, _build_abandoned_answer(code))
        self.unsent_points.extendleft(reversed(worker.unanswered_points))
        self.workers[self.workers.index(worker)] = _SweepWorker(self.make_answerer)


def _build_abandoned_answer(code: int | None) -> bytes:
    import msgspec

    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return msgspec.json.encode(
        build_failed_record(f"the process that answered it ended with {how}, {_MAX_DEATHS} times")
    )


def _build_point_encoder() -> Callable[[SweepPoint], bytes]:
    return PointAnswerer().encode_answer


def _run_worker(connection: Connection, make_answerer: MakeAnswerer) -> None:
    """The main loop of a worker: answer points until the parent has none left or has ended."""
    encode_answer = make_answerer()
    try:
        connection.send_bytes(b"ready")
        while True:
            for _, point in connection.recv():
                connection.send_bytes(encode_answer(point))
    except (EOFError, OSError):
        return


@contextmanager
def _shield_from_signals() -> Iterator[None]:
    """Start a process that ignores Ctrl-C and whose array library starts no threads."""
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
