"""Which test runs which lines, and how long it takes: a mutant runs against the tests that could notice it."""

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

from tests.mutation.swap import clear_caches, list_caches


@dataclass
class Record:
    """The seconds of every test, infinite of one that fails, and the lines it runs, kept in a folder.

    `lines`: coverage.py's data, a context for each test. `sources`: the files whose lines they are; when any of them
    has changed, the record is empty; tests of a changed file are left out.
    """

    folder: Path
    sources: Sequence[Path]
    seconds: dict[str, float] = field(default_factory=dict)
    _by_file: dict[Path, dict[int, list[str]]] = field(default_factory=dict)

    @property
    def lines(self) -> Path:
        """The file of the lines."""
        return self.folder / "lines.coverage"

    def read(self) -> None:
        """Read the record of an earlier run, if there is any."""
        path = self.folder / "seconds.json"
        if path.exists() and self.lines.exists():
            stored = json.loads(path.read_text())
            if stored["sources"] == _digest(*self.sources):
                same = {file for file, digest in stored["tests"].items() if digest == _digest_tests(file)}
                self.seconds = {
                    test: test_seconds for test, test_seconds in stored["seconds"].items() if _get_file(test) in same
                }

    def write(self) -> None:
        """Store the seconds for the next run."""
        tests = {file: _digest_tests(file) for file in set(map(_get_file, self.seconds))}
        stored = {"sources": _digest(*self.sources), "tests": tests, "seconds": self.seconds}
        (self.folder / "seconds.json").write_text(json.dumps(stored))

    def list_tests(self, path: Path, lines: Iterable[int] | None = None) -> list[str]:
        """The tests that run any of these lines of a file, or any at all, quick tests first."""
        if path not in self._by_file:
            self._by_file[path] = self._data.contexts_by_lineno(str(path))
        by_line = self._by_file[path]
        names = {test for line in (by_line if lines is None else lines) for test in by_line.get(line, ())}
        return sorted((test for test in names if math.isfinite(self.seconds.get(test, math.inf))), key=self._rank)

    def _rank(self, test: str) -> tuple[float, str]:
        return self.seconds[test], test

    @functools.cached_property
    def _data(self) -> CoverageData:
        data = CoverageData(str(self.lines))
        data.read()
        return data


def _get_file(test: str) -> str:
    return test.partition("::")[0]


def _digest_tests(file: str) -> str:
    path = Path(file)
    return _digest(path) if path.exists() else ""


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def run_test(item: pytest.Item) -> bool:
    """Run a test; whether it passes."""
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def record_tests(items: Sequence[pytest.Item], known: Record) -> None:
    """Run tests one after the other, add the lines that they run and their seconds to the record."""
    known.folder.mkdir(parents=True, exist_ok=True)
    if not known.seconds:
        known.lines.unlink(missing_ok=True)
    cover = Coverage(data_file=str(known.lines), include=[str(path) for path in known.sources], config_file=False)
    cover.load()
    cached = list_caches()
    cover.start()
    for item in items:
        clear_caches(cached)  # lines behind a filled cache would not be recorded
        cover.switch_context(item.nodeid)
        start = time.process_time()
        passed = run_test(item)
        known.seconds[item.nodeid] = time.process_time() - start if passed else math.inf
    cover.stop()
    cover.save()
    known.write()
