"""Mutants one after the other, each in a fork of a process in which everything is imported and nothing has run."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.record import Record, passes
from tests.mutation.swap import NotFoundError, caches, forget, swap

_MOST_BYTES = 6_000_000_000


@dataclass(frozen=True)
class Result:
    """What became of a mutant. `by`: the test that noticed it, or why it cannot live; none: it survived."""

    mutant: Mutant
    by: str | None
    tried: int = 0
    left: int = 0


@dataclass
class Order:
    """The tests of a mutant: those that noticed another one of its function, of its file, then the quick ones."""

    root: Path
    record: Record
    budget_s: float
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, mutant: Mutant) -> tuple[list[str], int]:
        """Those for which there is time, and how many are left over."""
        path = self.root / mutant.file
        # of lines that only run in a process of a test's own nothing is known: those that run others of the file
        tests = self.record.tests_of(path, mutant.lines) or self.record.tests_of(path)
        seconds = self.record.seconds
        place = f"{mutant.file}:{mutant.function}"

        def rank(test: str) -> tuple[float, float, float]:
            kills, by_file = self.kills[place, test], self.kills[mutant.file, test]
            return -kills, -by_file / (0.05 + seconds[test]), seconds[test]

        ranked = sorted(tests, key=rank)
        chosen, spent = [], 0.0
        for test in ranked:
            if spent + seconds[test] <= self.budget_s or not chosen:
                chosen.append(test)
                spent += seconds[test]
        return chosen, len(tests) - len(chosen)

    def noticed(self, mutant: Mutant, test: str) -> None:
        """Remember who noticed it."""
        self.kills[f"{mutant.file}:{mutant.function}", test] += 1
        self.kills[mutant.file, test] += 1


@dataclass
class Runner:
    """Forks; holds as many at a time as it may."""

    items: dict[str, pytest.Item]
    order: Order
    jobs: int

    def run(self, mutants: Sequence[Mutant]) -> Iterator[Result]:
        """Each mutant's result, as they come."""
        remembered, waiting = caches(), list(reversed(mutants))
        running: dict[int, tuple[int, Mutant, int, int]] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                tests, left = self.order.of(mutant)
                pid, reading = _fork(lambda m=mutant, t=tests: self._outcome(m, t, remembered))
                running[pid] = (reading, mutant, len(tests), left)
            pid, status = os.wait()
            reading, mutant, tried, left = running.pop(pid)
            with os.fdopen(reading, "rb") as pipe:
                told = pipe.read()
            by = pickle.loads(told) if told else f"ended by signal {status & 127}"
            if by in self.items:
                self.order.noticed(mutant, by)
            yield Result(mutant, by, tried, left)

    def _outcome(self, mutant: Mutant, tests: Sequence[str], remembered: Sequence[object]) -> str | None:
        """In the fork."""
        forget(remembered)  # type: ignore[arg-type]
        try:
            swap(mutant)
        except SyntaxError:
            return "no Python"
        except NotFoundError:
            return "no function"
        limit = 10.0 + 3.0 * sum(self.order.record.seconds[test] for test in tests)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
        signal.setitimer(signal.ITIMER_PROF, limit)
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        return next((test for test in tests if not passes(self.items[test])), None)


def _fork(work: Callable[[], str | None]) -> tuple[int, int]:
    """A process that tells what `work` returns, and where that is read."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    tempfile.tempdir = tempfile.mkdtemp(prefix="mutant-")
    os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir
    try:
        told: object = work()
    except BaseException as error:  # a mutant that ends the test runner is noticed, too
        told = f"ended by {type(error).__name__}"
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(told))
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os._exit(0)


def elapsed(start: float) -> str:
    """Since `start` of the monotonic clock."""
    return f"{time.monotonic() - start:.0f} s"


def files_of(root: Path, folders: Sequence[str]) -> list[str]:
    """The files of Python below, or those named."""
    paths = [root / folder for folder in folders]
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    return [str(file.relative_to(root)) for file in found]
