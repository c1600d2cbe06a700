"""How far a long computation is: its loops count their steps, and whoever watches is told. Mostly nobody does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Watcher = Callable[[str, int, int], None]
"""Told what is done, how many steps of it are, and how many there are in all."""

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def steps(what: str, values: Collection[T]) -> Iterator[T]:
    """The values one by one, each counted as done when the next one is asked for.

    Loops within a loop of several steps are not told: only the outermost tells how much is left.
    """
    watcher = _WATCHER.get()
    if watcher is None:
        yield from values
        return
    within = _WATCHER.set(None) if len(values) > 1 else None
    try:
        for done, value in enumerate(values):
            watcher(what, done, len(values))
            yield value
        watcher(what, len(values), len(values))
    finally:
        if within is not None:
            _WATCHER.reset(within)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of all steps within."""
    before = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(before)
