"""Which test runs which lines, and how long it takes: a mutant meets the tests that could notice it."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from coverage import Coverage, CoverageData

from tests.mutation.swap import caches, forget


@dataclass
class Record:
    """The seconds of every test, infinite of one that fails, and what it runs, kept in a folder.

    `lines`: coverage.py's data, a context for each test. `sources`: the files whose lines they are; when one of them
    has changed, nothing is known, and of the tests of a file that has changed neither.
    """

    folder: Path
    sources: Sequence[Path]
    seconds: dict[str, float] = field(default_factory=dict)
    _by_file: dict[Path, dict[int, list[str]]] = field(default_factory=dict)

    @property
    def lines(self) -> Path:
        """Where the lines are."""
        return self.folder / "lines.coverage"

    def read(self) -> None:
        """What an earlier run has written; nothing where there is none."""
        path = self.folder / "seconds.json"
        if path.exists() and self.lines.exists():
            told = json.loads(path.read_text())
            if told["sources"] == _digest(*self.sources):
                same = {file for file, digest in told["tests"].items() if digest == _of_tests(file)}
                self.seconds = {test: one for test, one in told["seconds"].items() if _file(test) in same}

    def write(self) -> None:
        """Keep the seconds for the next run."""
        tests = {file: _of_tests(file) for file in set(map(_file, self.seconds))}
        told = {"sources": _digest(*self.sources), "tests": tests, "seconds": self.seconds}
        (self.folder / "seconds.json").write_text(json.dumps(told))

    def tests_of(self, path: Path, lines: Iterable[int] | None = None) -> list[str]:
        """The tests that run any of these lines of a file, or any at all, quick ones first."""
        if path not in self._by_file:
            self._by_file[path] = self._data.contexts_by_lineno(str(path))
        by_line = self._by_file[path]
        found = {test for line in (by_line if lines is None else lines) for test in by_line.get(line, ())}
        return sorted((test for test in found if math.isfinite(self.seconds.get(test, math.inf))), key=self._rank)

    def _rank(self, test: str) -> tuple[float, str]:
        return self.seconds[test], test

    @functools.cached_property
    def _data(self) -> CoverageData:
        data = CoverageData(str(self.lines))
        data.read()
        return data


def _file(test: str) -> str:
    return test.partition("::")[0]


def _of_tests(file: str) -> str:
    path = Path(file)
    return _digest(path) if path.exists() else ""


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def passes(item: pytest.Item) -> bool:
    """Run one test."""
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def record(items: Sequence[pytest.Item], known: Record) -> None:
    """Run tests one after the other, add the lines that they run and their seconds to what is known."""
    known.folder.mkdir(parents=True, exist_ok=True)
    if not known.seconds:
        known.lines.unlink(missing_ok=True)
    cover = Coverage(data_file=str(known.lines), include=[str(path) for path in known.sources], config_file=False)
    cover.load()
    remembered = caches()
    cover.start()
    for item in items:
        forget(remembered)  # what an earlier test has made would not be seen to be run
        cover.switch_context(item.nodeid)
        start = time.process_time()
        passed = passes(item)
        known.seconds[item.nodeid] = time.process_time() - start if passed else math.inf
    cover.stop()
    cover.save()
    known.write()
