"""The progress of a sweep, on a terminal's last line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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

    from planner.cli.io.progress import stop_bar

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
