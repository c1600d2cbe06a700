"""A bar on the terminal while something takes longer than a second.

An interval timer of the process draws it. There is no thread, so that worker processes can be forked at any time, and
hardly any cost in the first second. A platform without such timers has no bar.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from planner.progress import watch_progress

_DELAY_S, _INTERVAL_S = 1.0, 0.2
_BAR_CELLS = 24
_PULSE_CELLS = 5
"""Cells of the moving part of a bar whose total is unknown."""
_DEFAULT_WIDTH = 80
_CLEAR_LINE = "\r\x1b[K"


class _ProgressBar:
    """The progress, and whether the bar is on the terminal; a single value for the process."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self.started_s = monotonic()
        self.description, self.done_steps, self.total_steps = "working", 0, 0
        self.is_drawn = False

    def update(self, description: str, done_steps: int, total_steps: int) -> None:
        """Receive the number of steps that a loop has done."""
        self.description, self.done_steps, self.total_steps = description, done_steps, total_steps

    def draw(self, signal_number: int = 0, frame: FrameType | None = None) -> None:
        """Draw the bar, where the process is in the foreground; unbuffered, since Python's buffers may be in use."""
        try:
            if os.tcgetpgrp(self.terminal) == os.getpgrp():
                width = os.get_terminal_size(self.terminal).columns or _DEFAULT_WIDTH
                line = format_bar(self.description, self.done_steps, self.total_steps, monotonic() - self.started_s)
                self.is_drawn = True  # set before drawing: Ctrl-C may come in between
                os.write(self.terminal, f"{_CLEAR_LINE}{line[: width - 1]}".encode())
        except OSError:
            stop_bar()

    def clear(self) -> None:
        """Clear the bar from the terminal."""
        if self.is_drawn:
            os.write(self.terminal, _CLEAR_LINE.encode())
            self.is_drawn = False


_ACTIVE_BARS: list[_ProgressBar] = []
"""The progress bar, if one is active."""


def format_bar(description: str, done_steps: int, total_steps: int, elapsed_s: float) -> str:
    """The bar as text: a moving part for fewer than two steps."""
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
    """Show the progress of the work in this context after its first second, where stderr is a terminal."""
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
    """Clear the bar before other output is written; it returns afterwards."""
    for bar in _ACTIVE_BARS:
        bar.clear()


def stop_bar() -> None:
    """Switch the bar off."""
    if _ACTIVE_BARS:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        clear_bar()
        _ACTIVE_BARS.clear()


@contextmanager
def show_sweep_progress(total: int, answered_count: int) -> Iterator[Callable[[], None]]:
    """Show points done, their rate and the time left on stderr, where it is a terminal.

    Yields the function to call after each point; `answered_count` of `total` points were answered before.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    stop_bar()  # rich's bar replaces planner's own

    class Rate(ProgressColumn):
        """A column with points per second."""

        def render(self, task: Task) -> Text:
            """The rate, once it is known."""
            return Text("" if task.speed is None else f"{task.speed:,.1f} points/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=answered_count)
        yield lambda: bar.advance(task)
