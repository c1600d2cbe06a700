"""A program on a terminal of its own, as a user runs it: type into it, read from it, wait for it."""

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
"""After this time without output a program counts as stuck. Only failing tests wait so long."""


class Terminal:
    """The terminal's other side."""

    def __init__(self, process: int, descriptor: int) -> None:
        self.process, self.descriptor = process, descriptor
        self.shown = ""

    def write(self, text: str) -> None:
        """Type a text."""
        os.write(self.descriptor, text.encode())

    def until(self, text: str) -> str:
        """All output up to and with `text`, each part returned once."""
        return self._read(text)

    def rest(self) -> str:
        """All output until the program ends."""
        return self._read(None)

    def _read(self, text: str | None) -> str:
        end = monotonic() + PATIENCE_S
        while text is None or text not in self.shown:
            ready, _, _ = select.select([self.descriptor], [], [], max(end - monotonic(), 0.0))
            assert ready, f"{text!r} is not shown, but {self.shown!r}"
            try:
                received = os.read(self.descriptor, 65_536)
            except OSError:  # the other side is closed
                received = b""
            if not received:
                assert text is None, f"{text!r} is not shown, but {self.shown!r}"
                break
            self.shown += received.decode(errors="replace")
        at = len(self.shown) if text is None else self.shown.index(text) + len(text)
        shown, self.shown = self.shown[:at], self.shown[at:]
        return shown

    def exit_code(self) -> int:
        """Wait for the end; the negative number of the signal that killed it."""
        process, self.process = self.process, 0
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@contextmanager
def terminal(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """Start a program of this environment, or any other, on a terminal of 110 columns."""
    process, descriptor = pty.fork()
    if process == 0:
        try:
            os.chdir(cwd)
            here = str(Path(sys.executable).parent)
            usual = {**os.environ, "TERM": "xterm", "PATH": f"{here}:{os.environ['PATH']}"}
            os.execvpe(arguments[0], list(arguments), {**usual, **(environment or {})})
        finally:
            os._exit(127)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 110, 0, 0))
    program = Terminal(process, descriptor)
    try:
        yield program
    finally:
        if program.process:
            os.kill(program.process, 9)
            program.exit_code()
        os.close(descriptor)
