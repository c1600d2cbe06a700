"""Which test calls which functions, and how long it takes: a mutant meets the tests that could notice it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest
from _pytest.runner import runtestprotocol

Function = tuple[str, str]


@dataclass
class Record:
    """Of tests by name: the seconds, and the (file, function) that each calls; failed ones are not in it."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, list[Function]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record:
        """What an earlier run has written; nothing where there is none."""
        if not path.exists():
            return cls()
        told = json.loads(path.read_text())
        return cls(told["seconds"], {test: [(a, b) for a, b in calls] for test, calls in told["calls"].items()})

    def write(self, path: Path) -> None:
        """Keep it for the next run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": self.seconds, "calls": self.calls}))

    def tests_of(self) -> dict[Function, list[str]]:
        """The tests of each function, quick ones first."""
        found: dict[Function, list[str]] = {}
        for test in sorted(self.calls, key=lambda test: self.seconds[test]):
            for function in self.calls[test]:
                found.setdefault(function, []).append(test)
        return found


def passes(item: pytest.Item) -> bool:
    """Run one test."""
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def record(items: Sequence[pytest.Item], root: Path, files: set[str]) -> Record:
    """Run tests one after the other and note what they call of `files`."""
    found, prefix = Record(), f"{root}/"
    for item in items:
        called: set[Function] = set()

        def note(frame: FrameType, event: str, _: object, called: set[Function] = called) -> None:
            if event != "call":
                return
            file = frame.f_code.co_filename
            if file.startswith(prefix) and (name := file[len(prefix) :]) in files:
                called.add((name, frame.f_code.co_qualname.split(".<locals>")[0]))

        start = time.process_time()
        sys.setprofile(note)
        try:
            passed = passes(item)
        finally:
            sys.setprofile(None)
        found.seconds[item.nodeid] = time.process_time() - start
        found.calls[item.nodeid] = sorted(called) if passed else []
    return found
