"""A program on a terminal of its own, as a user sits before it: typed to, read from, waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

PATIENCE_S = 600.0
"""After it a program that says nothing is taken to be stuck. No test waits for it unless it fails."""


class Terminal:
    """The terminal's other side."""

    def __init__(self, process: int, side: int) -> None:
        self.process, self.side = process, side
        self.shown = ""

    def write(self, text: str) -> None:
        """Type a text."""
        os.write(self.side, text.encode())

    def until(self, text: str) -> str:
        """All that is shown up to and with `text`; it is told once."""
        return self._read(text)

    def rest(self) -> str:
        """All that is shown until the program ends."""
        return self._read(None)

    def _read(self, text: str | None) -> str:
        end = monotonic() + PATIENCE_S
        while text is None or text not in self.shown:
            ready, _, _ = select.select([self.side], [], [], max(end - monotonic(), 0.0))
            assert ready, f"{text!r} is not shown, but {self.shown!r}"
            try:
                some = os.read(self.side, 65_536)
            except OSError:  # the other side is closed
                some = b""
            if not some:
                assert text is None, f"{text!r} is not shown, but {self.shown!r}"
                break
            self.shown += some.decode(errors="replace")
        at = len(self.shown) if text is None else self.shown.index(text) + len(text)
        told, self.shown = self.shown[:at], self.shown[at:]
        return told

    def exit_code(self) -> int:
        """Wait for the end; below zero the signal that killed it."""
        process, self.process = self.process, 0
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@contextmanager
def terminal(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """Start a program of this environment, or any other, on a terminal of 110 columns."""
    process, side = pty.fork()
    if process == 0:
        try:
            os.chdir(cwd)
            here = str(Path(sys.executable).parent)
            usual = {**os.environ, "TERM": "xterm", "PATH": f"{here}:{os.environ['PATH']}"}
            os.execvpe(arguments[0], list(arguments), {**usual, **(environment or {})})
        finally:
            os._exit(127)
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 110, 0, 0))
    one = Terminal(process, side)
    try:
        yield one
    finally:
        if one.process:
            os.kill(one.process, 9)
            one.exit_code()
        os.close(side)
