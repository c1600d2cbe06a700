"""What a sweep has answered so far, beside its output: a line for each point, kept whatever is killed.

The first line tells which sweep it is of. Every line begins with the CRC-32 of the rest of it: one that was torn, or
that the disk has lost, is left out, and its point is answered again. Only the process that was started writes here.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from planner.errors import InputError

_SYNC_INTERVAL_S = 1.0
"""What a power cut may cost; a killed process loses no line that was written."""
_HEAD_NAME = b"sweep"


class SweepJournal:
    """The answered points of one sweep. `answers`: what is known, by the point's number, as JSON.

    Raises InputError for the journal of another sweep, one that another process writes to, or a wrong place.
    """

    def __init__(self, path: Path, fingerprint: str, point_count: int, *, restart: bool = False) -> None:
        self.path, self.answers = path, dict[int, bytes]()
        self._head = msgspec.json.encode({"fingerprint": fingerprint, "points": point_count})
        self._point_count, self._last_sync_s = point_count, time.monotonic()
        self._file = _open_file(path)
        try:
            _lock_file(self._file, path)
            if restart:
                self._file.truncate(0)
            self._read_answers()
        except BaseException:
            self._file.close()
            raise

    def add_answer(self, number: int, answer: bytes) -> None:
        """Keep the answer to a point. Raises InputError where the disk takes no more."""
        self._write_line(_format_line(b"%d" % number, answer))
        self.answers[number] = answer
        if time.monotonic() - self._last_sync_s >= _SYNC_INTERVAL_S:
            self.sync_to_disk()

    def sync_to_disk(self) -> None:
        """Have all that was written on the disk."""
        os.fsync(self._file.fileno())
        self._last_sync_s = time.monotonic()

    def __enter__(self) -> SweepJournal:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. What it has stays; one that has nothing does not."""
        if self._file.closed:
            return
        if not self.answers:
            self.remove_file()
            return
        self.sync_to_disk()
        self._file.close()

    def remove_file(self) -> None:
        """Close it and remove it: its answers stand elsewhere."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _read_answers(self) -> None:
        """Take what is there, cut off what was torn, begin a new one where nothing is."""
        content = self._file.read()
        head = _format_line(_HEAD_NAME, self._head)
        if content[: len(head)] != head[: len(content)]:
            raise InputError(
                "is the journal of another sweep, or of another version of planner",
                origin=str(self.path),
                expected="the sweep that it was begun with; --restart begins anew",
            )
        valid_bytes = content.rfind(b"\n") + 1
        if valid_bytes < len(content):
            self._file.truncate(valid_bytes)
        if not valid_bytes:
            self._write_line(head)
        for name, answer in filter(None, map(_parse_line, content[len(head) : valid_bytes].split(b"\n"))):
            if name.isdigit() and int(name) < self._point_count:
                self.answers[int(name)] = answer

    def _write_line(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            problem = f"cannot be written: {error.strerror}; what was answered is kept"
            raise InputError(problem, origin=str(self.path), expected="a disk that has room") from None


def _format_line(name: bytes, content: bytes) -> bytes:
    rest = name + b" " + content
    return b"%08x %s\n" % (zlib.crc32(rest), rest)


def _parse_line(line: bytes) -> tuple[bytes, bytes] | None:
    """What a line is of and what it tells; None where it is not as it was written."""
    crc, _, rest = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(rest):
        return None
    name, _, content = rest.partition(b" ")
    return name, content


def _open_file(path: Path) -> BinaryIO:
    """The file, to be read from its beginning and written at its end, without a buffer."""
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        expected = "a writable place"
        raise InputError(f"cannot be written: {error.strerror}", origin=str(path), expected=expected) from None
    file.seek(0)
    return file


def _lock_file(file: BinaryIO, path: Path) -> None:
    """Hold the file until this process ends, however it does."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        expected = "one process at a time"
        raise InputError("another process answers this sweep", origin=str(path), expected=expected) from None
    except OSError:
        return  # some file systems have no locks
