"""Run many inputs of a reader and measure time and memory; an input that is neither read nor refused is stored."""

from __future__ import annotations

import io
import random
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from planner.errors import PlannerError
from tests.fuzz.readers import READERS, Read

LONGEST_LOOPS = 100.0
"""Processor time of an input, in runs of the loop of `measure_loop_s`: a slow or busy machine allows more seconds."""
MOST_BYTES = 500_000_000
_STOPPED_S = 20.0


@cache
def measure_loop_s() -> float:
    """Processor time of a loop of a million sums in this process, in seconds: what others are measured by."""
    start = time.process_time()
    sum(number & 3 for number in range(1_000_000))
    return time.process_time() - start


class TooSlow(BaseException):
    """Raised while an input is read for too long."""


@dataclass
class Outcome:
    """The result of an input: `accepted`, `refused`, or the failure's name; and its time and memory."""

    verdict: str
    message: str = ""
    cpu_s: float = 0.0
    bytes: int = 0


@dataclass
class Tally:
    """The results of many inputs. `failures`: by name, the numbers of their inputs with the messages."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    failures: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count an input."""
        self.counts[outcome.verdict if outcome.verdict in ("accepted", "refused") else "failed"] += 1
        self.slowest = max(self.slowest, (outcome.cpu_s, number))
        self.largest = max(self.largest, (outcome.bytes, number))
        if outcome.verdict not in ("accepted", "refused"):
            self.failures.setdefault(outcome.verdict, []).append((number, outcome.message))

    def list_first_failures(self) -> list[tuple[str, int]]:
        """Each failure with the number of the first input that has it."""
        return [(verdict, examples[0][0]) for verdict, examples in self.failures.items()]


def make_input(reader: str, seed: int, number: int) -> tuple[str, bytes]:
    """The input with a number: its file's name and bytes. It depends on the arguments alone."""
    return READERS[reader].make(random.Random(f"{reader}:{seed}:{number}"))


def read_input(read: Read, path: Path) -> Outcome:
    """Read one file."""
    start, before = time.process_time(), _peak_bytes()
    verdict, message = "accepted", ""
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, _STOPPED_S)
    try:
        read(path)
    except PlannerError as error:
        verdict = "refused" if error.exit_code in (2, 3, 4) and _is_printable(str(error)) else "unfit message"
        message = str(error)
    except TooSlow:
        verdict = "too slow"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        verdict, message = _where(error), traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    taken, grown = time.process_time() - start, max(0, _peak_bytes() - before)
    if taken > LONGEST_LOOPS * measure_loop_s() and verdict in ("accepted", "refused"):
        verdict, message = "too slow", f"{taken:.1f} s"
    if grown > MOST_BYTES and verdict in ("accepted", "refused"):
        verdict, message = "too large", f"{grown / 1e6:.0f} MB"
    return Outcome(verdict, message, taken, grown)


def _is_printable(text: str) -> bool:
    return bool(text) and text.replace("\n", "").isprintable() and len(text) < 20_000


def _where(error: BaseException) -> str:
    """The error's type and the last line of planner that it went through: equal ones count as a single failure."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/planner/" in frame.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__} at {place}"


def _peak_bytes() -> int:
    """The most memory that the process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _restart_peak() -> None:
    """Reset the peak, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _stop(signum: int, frame: object) -> None:
    raise TooSlow


@contextmanager
def limit_memory(more_bytes: int | None) -> Iterator[None]:
    """With `more_bytes` the process may grow by no more."""

    before = resource.getrlimit(resource.RLIMIT_AS)
    if more_bytes is not None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + more_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(reader: str, seed: int, numbers: range) -> Tally:
    """Read the inputs with these numbers, one after the other."""
    tally, read = Tally(), READERS[reader].read
    # inputs cause as many warnings
    with (
        redirect_stderr(io.StringIO()),
        tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder,
    ):
        for number in numbers:
            name, raw = make_input(reader, seed, number)
            path = Path(folder) / name
            path.write_bytes(raw)
            _restart_peak()
            outcome = read_input(read, path)
            tally.add(number, outcome)
    return tally


def shrink_input(reader: str, name: str, raw: bytes, verdict: str) -> bytes:
    """A part of the input that fails in the same way, as small as cutting makes it."""
    read = READERS[reader].read
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        piece = max(1, len(raw) // 2)
        until = time.monotonic() + 30
        while piece and time.monotonic() < until:
            at, cut_any = 0, False
            while at < len(raw) and time.monotonic() < until:
                shorter = raw[:at] + raw[at + piece :]
                path.write_bytes(shorter)
                if read_input(read, path).verdict == verdict:
                    raw, cut_any = shorter, True
                else:
                    at += piece
            piece = piece if cut_any and piece > 1 else piece // 2
    return raw
