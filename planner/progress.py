"""Progress of long computations: loops count their steps and report them to a watcher, if there is one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

ProgressWatcher = Callable[[str, int, int], None]
"""Called with a description of the work, the number of steps done, and the number of all steps."""

_CURRENT_WATCHER: ContextVar[ProgressWatcher | None] = ContextVar("watcher", default=None)


def track_steps(description: str, values: Collection[T]) -> Iterator[T]:
    """Yield the values in order; each counts as done when the next value is requested.

    Loops inside a loop of several steps are not reported: only the outermost loop shows how much is left.
    """
    watcher = _CURRENT_WATCHER.get()
    if watcher is None:
        yield from values
        return
    reset_token = _CURRENT_WATCHER.set(None) if len(values) > 1 else None
    try:
        for done_steps, value in enumerate(values):
            watcher(description, done_steps, len(values))
            yield value
        watcher(description, len(values), len(values))
    finally:
        if reset_token is not None:
            _CURRENT_WATCHER.reset(reset_token)


@contextmanager
def watch_progress(watcher: ProgressWatcher) -> Iterator[None]:
    """Report all steps inside the `with` block to `watcher`."""
    reset_token = _CURRENT_WATCHER.set(watcher)
    try:
        yield
    finally:
        _CURRENT_WATCHER.reset(reset_token)
