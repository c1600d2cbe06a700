"""A bar on the terminal while something takes longer than a second.

An interval timer of the process draws it: no thread, so that worker processes can be forked at any time; and nothing
is drawn, and hardly anything spent, before the first second is over. Where there is no such timer there is no bar.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from planner.progress import watch_progress

_FIRST_S, _EVERY_S = 1.0, 0.2
_CELLS = 24
_MOVING = 5
"""Cells of the piece that moves where nobody knows how much is left."""
_USUAL_WIDTH = 80
_CLEAR = "\r\x1b[K"


class _Bar:
    """What is known of the progress, and whether it stands on the terminal; one for the process."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.started_s = monotonic()
        self.what, self.done, self.of = "working", 0, 0
        self.drawn = False

    def told(self, what: str, done: int, of: int) -> None:
        """A loop's word on its steps."""
        self.what, self.done, self.of = what, done, of

    def draw(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Draw it anew, where the process has the terminal: past Python's buffers, which may be in use just now."""
        try:
            if os.tcgetpgrp(self.terminal) == os.getpgrp():
                width = os.get_terminal_size(self.terminal).columns or _USUAL_WIDTH
                line = bar_line(self.what, self.done, self.of, monotonic() - self.started_s)
                self.drawn = True  # before it is: Ctrl-C may come in between
                os.write(self.terminal, f"{_CLEAR}{line[: width - 1]}".encode())
        except OSError:
            stop()

    def clear(self) -> None:
        """Take it off the terminal."""
        if self.drawn:
            os.write(self.terminal, _CLEAR.encode())
            self.drawn = False


_SHOWN: list[_Bar] = []
"""The bar, while there may be one."""


def bar_line(what: str, done: int, of: int, seconds: float) -> str:
    """The bar as text: of one step or none a piece that moves."""
    if of > 1:
        full = done * _CELLS // of
        cells, count = "=" * full + " " * (_CELLS - full), f" {done:,} of {of:,}"
    else:
        at = int(seconds / _EVERY_S) % (_CELLS - _MOVING + 1)
        cells, count = " " * at + "=" * _MOVING + " " * (_CELLS - _MOVING - at), ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{what} [{cells}]{count} {minutes}:{rest:02}"


@contextmanager
def shown() -> Iterator[None]:
    """Show how far what is within is, once it has taken a second, where stderr is a terminal."""
    wanted = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if not wanted or not hasattr(signal, "setitimer"):
        yield
        return
    bar = _Bar(sys.stderr.fileno())
    _SHOWN.append(bar)
    signal.signal(signal.SIGALRM, bar.draw)
    signal.setitimer(signal.ITIMER_REAL, _FIRST_S, _EVERY_S)
    try:
        with watch_progress(bar.told):
            yield
    finally:
        stop()


def clear() -> None:
    """Take the bar off the terminal: something is going to be written there. It comes back."""
    for bar in _SHOWN:
        bar.clear()


def stop() -> None:
    """No bar from here on."""
    if _SHOWN:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        clear()
        _SHOWN.clear()
