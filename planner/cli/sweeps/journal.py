"""The answers of a sweep so far, and the digest that identifies the sweep.

The answers are in a file beside the output, a line for each point, which survives a killed process. The first line
identifies the sweep. Every line begins with the CRC-32 of its rest: an incomplete or damaged line is left out, and
its point is answered again. Only the main process writes here.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from planner import __version__
from planner.cli.lazy import import_lazily
from planner.cli.sweeps.grid import Sweep
from planner.errors import InputError

with import_lazily():
    from planner.documents import plan
    from planner.hardware import database
    from planner.workload import presets

_SYNC_INTERVAL_S = 1.0
"""Seconds of answers that a power cut may lose; a killed process loses no written line."""
_HEAD_NAME = b"sweep"
_ANSWER_FORMAT = "1"
"""Version of a point's answer in the journal."""


class SweepJournal:
    """The answered points of a sweep. `answers`: JSON by the point's number.

    Raises InputError for the journal of another sweep, a journal in use by another process, or an invalid path.
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
        """Write the answer to a point. Raises InputError where the disk is full."""
        self._write_line(_format_line(b"%d" % number, answer))
        self.answers[number] = answer
        if time.monotonic() - self._last_sync_s >= _SYNC_INTERVAL_S:
            self.sync_to_disk()

    def sync_to_disk(self) -> None:
        """Flush written answers to the disk."""
        os.fsync(self._file.fileno())
        self._last_sync_s = time.monotonic()

    def __enter__(self) -> SweepJournal:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal; it is removed if it has no answers."""
        if self._file.closed:
            return
        if not self.answers:
            self.remove_file()
            return
        self.sync_to_disk()
        self._file.close()

    def remove_file(self) -> None:
        """Close and remove the journal, since its answers are in the table."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _read_answers(self) -> None:
        """Read the existing answers, cut off damaged lines, or begin a new journal."""
        content = self._file.read()
        head = _format_line(_HEAD_NAME, self._head)
        if content[: len(head)] != head[: len(content)]:
            raise InputError(
                "is the journal of another sweep, or of another version of planner",
                origin=str(self.path),
                expected="the sweep that wrote it, or --restart to discard it",
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
            problem = f"cannot be written: {error.strerror}; the answers so far are kept"
            raise InputError(problem, origin=str(self.path), expected="a disk with free space") from None


def _format_line(name: bytes, content: bytes) -> bytes:
    rest = name + b" " + content
    return b"%08x %s\n" % (zlib.crc32(rest), rest)


def _parse_line(line: bytes) -> tuple[bytes, bytes] | None:
    """The number and the answer of a line; None for a damaged line."""
    crc, _, rest = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(rest):
        return None
    name, _, content = rest.partition(b" ")
    return name, content


def _open_file(path: Path) -> BinaryIO:
    """Open the file for reading from its beginning and unbuffered writing at its end."""
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        expected = "a writable path"
        raise InputError(f"cannot be written: {error.strerror}", origin=str(path), expected=expected) from None
    file.seek(0)
    return file


def _lock_file(file: BinaryIO, path: Path) -> None:
    """Lock the file until this process ends in any manner."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        expected = "one process at a time"
        raise InputError("another process runs this sweep", origin=str(path), expected=expected) from None
    except OSError:
        return  # some file systems have no locks


def compute_fingerprint(sweep: Sweep) -> str:
    """The digest of a sweep: equal for the same points in the same order, the same version and the same files."""
    parts = [
        _ANSWER_FORMAT,
        __version__,
        plan.SCHEMA_VERSION,
        sweep.keys,
        sweep.points,
        compute_file_digests(sweep.list_files()),
        compute_data_digest(),
    ]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def compute_data_digest() -> str:
    """The digest of hardware_db and the model presets, since an edited figure changes answers of the same version."""
    digest = hashlib.sha256()
    for folder in (database.find_database_path(), presets.get_presets_path()):
        for path in sorted(folder.rglob("*.toml")):
            digest.update(f"{path.relative_to(folder).as_posix()} {_compute_file_digest(path)}\n".encode())
    return digest.hexdigest()


def compute_file_digests(names: Sequence[str]) -> dict[str, str]:
    """The digest of each file, and of the config.json of a folder; empty for unreadable files."""
    return {name: _compute_file_digest(Path(name)) for name in names}


def _compute_file_digest(path: Path) -> str:
    try:
        return hashlib.sha256((path / "config.json" if path.is_dir() else path).read_bytes()).hexdigest()
    except OSError:
        return ""
