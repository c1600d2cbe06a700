"""Run mutants, each in a fork of a process in which everything is imported and no test has run."""

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
from tests.mutation.record import Record, run_test
from tests.mutation.swap import NotFoundError, clear_caches, list_caches, swap_in

_MOST_BYTES = 6_000_000_000


@dataclass(frozen=True)
class Result:
    """The result of a mutant. `noticed_by`: the test that noticed it, or why it cannot run; None: it survived."""

    mutant: Mutant
    noticed_by: str | None
    tried: int = 0
    left: int = 0


@dataclass
class Order:
    """The tests of a mutant: first those that noticed others of its function, then of its file, then quick tests."""

    root: Path
    record: Record
    budget_s: float
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, mutant: Mutant) -> tuple[list[str], int]:
        """The tests for which there is time, and how many are left over."""
        path = self.root / mutant.file
        # lines that run only in a child process of a test are not recorded: take tests of other lines of the file
        tests = self.record.list_tests(path, mutant.lines) or self.record.list_tests(path)
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

    def remember_noticed(self, mutant: Mutant, test: str) -> None:
        """Count the test that noticed it."""
        self.kills[f"{mutant.file}:{mutant.function}", test] += 1
        self.kills[mutant.file, test] += 1


@dataclass
class Runner:
    """Runs mutants in forks, `jobs` at a time."""

    items: dict[str, pytest.Item]
    order: Order
    jobs: int

    def run(self, mutants: Sequence[Mutant]) -> Iterator[Result]:
        """Each mutant's result, as they come."""
        cached, pending = list_caches(), list(reversed(mutants))
        running: dict[int, tuple[int, Mutant, int, int]] = {}
        while pending or running:
            while pending and len(running) < self.jobs:
                mutant = pending.pop()
                tests, left = self.order.of(mutant)
                pid, reading = _fork(lambda m=mutant, t=tests: self._outcome(m, t, cached))
                running[pid] = (reading, mutant, len(tests), left)
            pid, status = os.wait()
            reading, mutant, tried, left = running.pop(pid)
            with os.fdopen(reading, "rb") as pipe:
                outcome = pipe.read()
            noticed_by = pickle.loads(outcome) if outcome else f"ended by signal {status & 127}"
            if noticed_by in self.items:
                self.order.remember_noticed(mutant, noticed_by)
            yield Result(mutant, noticed_by, tried, left)

    def _outcome(self, mutant: Mutant, tests: Sequence[str], cached: Sequence[object]) -> str | None:
        """In the fork."""
        clear_caches(cached)  # type: ignore[arg-type]
        try:
            swap_in(mutant)
        except SyntaxError:
            return "not valid Python"
        except NotFoundError:
            return "no such function"
        limit = 10.0 + 3.0 * sum(self.order.record.seconds[test] for test in tests)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
        signal.setitimer(signal.ITIMER_PROF, limit)
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        return next((test for test in tests if not run_test(self.items[test])), None)


def _fork(work: Callable[[], str | None]) -> tuple[int, int]:
    """Run `work` in a child process: its process number, and the pipe from which the pickled result is read."""
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
        outcome: object = work()
    except BaseException as error:  # a mutant that ends the test runner counts as noticed
        outcome = f"ended by {type(error).__name__}"
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(outcome))
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os._exit(0)


def format_elapsed(start: float) -> str:
    """Seconds since `start` of the monotonic clock."""
    return f"{time.monotonic() - start:.0f} s"


def list_files(root: Path, folders: Sequence[str]) -> list[str]:
    """The Python files below the folders, or those named."""
    paths = [root / folder for folder in folders]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    return [str(file.relative_to(root)) for file in files]
