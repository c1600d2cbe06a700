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

_DELAY_S, _INTERVAL_S = 1.0, 0.2
_BAR_CELLS = 24
_PULSE_CELLS = 5
"""Cells of the piece that moves where nobody knows how much is left."""
_DEFAULT_WIDTH = 80
_CLEAR_LINE = "\r\x1b[K"


class _ProgressBar:
    """What is known of the progress, and whether it stands on the terminal; one for the process."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.started_s = monotonic()
        self.description, self.done_steps, self.total_steps = "working", 0, 0
        self.is_drawn = False

    def update(self, description: str, done_steps: int, total_steps: int) -> None:
        """A loop's word on its steps."""
        self.description, self.done_steps, self.total_steps = description, done_steps, total_steps

    def draw(self, signal_number: int = 0, frame: FrameType | None = None) -> None:
        """Draw it anew, where the process has the terminal: past Python's buffers, which may be in use just now."""
        try:
            if os.tcgetpgrp(self.terminal) == os.getpgrp():
                width = os.get_terminal_size(self.terminal).columns or _DEFAULT_WIDTH
                line = format_bar(self.description, self.done_steps, self.total_steps, monotonic() - self.started_s)
                self.is_drawn = True  # before it is: Ctrl-C may come in between
                os.write(self.terminal, f"{_CLEAR_LINE}{line[: width - 1]}".encode())
        except OSError:
            stop_bar()

    def clear(self) -> None:
        """Take it off the terminal."""
        if self.is_drawn:
            os.write(self.terminal, _CLEAR_LINE.encode())
            self.is_drawn = False


_ACTIVE_BARS: list[_ProgressBar] = []
"""The bar, while there may be one."""


def format_bar(description: str, done_steps: int, total_steps: int, elapsed_s: float) -> str:
    """The bar as text: of one step or none a piece that moves."""
    if total_steps > 1:
        full_cells = done_steps * _BAR_CELLS // total_steps
        cells, count_text = "=" * full_cells + " " * (_BAR_CELLS - full_cells), f" {done_steps:,} of {total_steps:,}"
    else:
        pulse_start = int(elapsed_s / _INTERVAL_S) % (_BAR_CELLS - _PULSE_CELLS + 1)
        cells, count_text = (
            " " * pulse_start + "=" * _PULSE_CELLS + " " * (_BAR_CELLS - _PULSE_CELLS - pulse_start),
            "",
        )
    minutes, rest = divmod(int(elapsed_s), 60)
    return f"{description} [{cells}]{count_text} {minutes}:{rest:02}"


@contextmanager
def show_progress_bar() -> Iterator[None]:
    """Show how far what is within is, once it has taken a second, where stderr is a terminal."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if not is_terminal or not hasattr(signal, "setitimer"):
        yield
        return
    bar = _ProgressBar(sys.stderr.fileno())
    _ACTIVE_BARS.append(bar)
    signal.signal(signal.SIGALRM, bar.draw)
    signal.setitimer(signal.ITIMER_REAL, _DELAY_S, _INTERVAL_S)
    try:
        with watch_progress(bar.update):
            yield
    finally:
        stop_bar()


def clear_bar() -> None:
    """Take the bar off the terminal: something is going to be written there. It comes back."""
    for bar in _ACTIVE_BARS:
        bar.clear()


def stop_bar() -> None:
    """No bar from here on."""
    if _ACTIVE_BARS:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        clear_bar()
        _ACTIVE_BARS.clear()
