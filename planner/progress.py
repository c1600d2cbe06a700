"""How far a long computation is: its loops count their steps, and whoever watches is told. Mostly nobody does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

ProgressWatcher = Callable[[str, int, int], None]
"""Told what is done, how many steps of it are, and how many there are in all."""

_CURRENT_WATCHER: ContextVar[ProgressWatcher | None] = ContextVar("watcher", default=None)


def track_steps(description: str, values: Collection[T]) -> Iterator[T]:
    """The values one by one, each counted as done when the next one is asked for.

    Loops within a loop of several steps are not told: only the outermost tells how much is left.
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
    """Tell `watcher` of all steps within."""
    reset_token = _CURRENT_WATCHER.set(watcher)
    try:
        yield
    finally:
        _CURRENT_WATCHER.reset(reset_token)
