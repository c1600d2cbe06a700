"""One reader, many inputs: counted, timed, weighed; what is no answer and no message is kept as a file."""

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
from pathlib import Path

from planner.errors import PlannerError
from tests.fuzz.readers import READERS, Read

LONGEST_S = 2.0
"""Of processor time: the machine may have other things to do."""
MOST_BYTES = 500_000_000
_STOPPED_S = 20.0


class TooSlow(BaseException):
    """Raised in the midst of an input that goes on and on."""


@dataclass
class Outcome:
    """What one input came to: `accepted`, `refused`, or the fault's name; and what it took."""

    kind: str
    told: str = ""
    cpu_s: float = 0.0
    bytes: int = 0


@dataclass
class Tally:
    """What many inputs came to. `faults`: the first few of each kind, by the numbers of their inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    faults: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count an input."""
        self.counts[outcome.kind if outcome.kind in ("accepted", "refused") else "fault"] += 1
        self.slowest = max(self.slowest, (outcome.cpu_s, number))
        self.largest = max(self.largest, (outcome.bytes, number))
        if outcome.kind not in ("accepted", "refused"):
            self.faults.setdefault(outcome.kind, []).append((number, outcome.told))

    def first_faults(self) -> list[tuple[str, int]]:
        """Each kind of fault with the number of the first input that has it."""
        return [(kind, found[0][0]) for kind, found in self.faults.items()]


def made(reader: str, seed: int, number: int) -> tuple[str, bytes]:
    """The input with a number: its file's name and bytes. It depends on nothing else."""
    return READERS[reader].make(random.Random(f"{reader}:{seed}:{number}"))


def outcome_of(read: Read, path: Path) -> Outcome:
    """Read one file."""
    start, before = time.process_time(), _peak_bytes()
    kind, told = "accepted", ""
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, _STOPPED_S)
    try:
        read(path)
    except PlannerError as error:
        kind = "refused" if error.exit_code in (2, 3, 4) and _printable(str(error)) else "unfit message"
        told = str(error)
    except TooSlow:
        kind = "too slow"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind, told = _where(error), traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    taken, grown = time.process_time() - start, max(0, _peak_bytes() - before)
    if taken > LONGEST_S and kind in ("accepted", "refused"):
        kind, told = "too slow", f"{taken:.1f} s"
    if grown > MOST_BYTES and kind in ("accepted", "refused"):
        kind, told = "too large", f"{grown / 1e6:.0f} MB"
    return Outcome(kind, told, taken, grown)


def _printable(text: str) -> bool:
    return bool(text) and text.replace("\n", "").isprintable() and len(text) < 20_000


def _where(error: BaseException) -> str:
    """The error's type and the last place of ours that it went through: equal ones are one fault."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/planner/" in frame.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__} at {place}"


def _peak_bytes() -> int:
    """The most memory that the process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _restart_peak() -> None:
    """Count the peak anew, where the system lets one."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _stop(signum: int, frame: object) -> None:
    raise TooSlow


@contextmanager
def limits(more_bytes: int | None) -> Iterator[None]:
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
    # warnings are as many as inputs
    with (
        redirect_stderr(io.StringIO()),
        tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder,
    ):
        for number in numbers:
            name, raw = made(reader, seed, number)
            path = Path(folder) / name
            path.write_bytes(raw)
            _restart_peak()
            outcome = outcome_of(read, path)
            tally.add(number, outcome)
    return tally


def shrunk(reader: str, name: str, raw: bytes, kind: str) -> bytes:
    """A part of the input, as small as is found by cutting, that has the same fault."""
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
                if outcome_of(read, path).kind == kind:
                    raw, cut_any = shorter, True
                else:
                    at += piece
            piece = piece if cut_any and piece > 1 else piece // 2
    return raw
