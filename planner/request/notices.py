"""Warnings to whoever made a request: the command line prints them, Python raises its own, a sweep collects them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COLLECTED: ContextVar[dict[str, None] | None] = ContextVar("collected warnings", default=None)
_writers: list[Callable[[str], None]] = [lambda text: print(f"warning: {text}", file=sys.stderr)]
"""Who writes a warning that nobody collects: the last of these."""


def set_warning_writer(writer: Callable[[str], None]) -> None:
    """From now on `writer` writes warnings that are not collected; for the command line."""
    _writers[-1] = writer


def warn(text: str) -> None:
    """Warn of something in one line."""
    collected = _COLLECTED.get()
    if collected is None:
        _writers[-1](text)
    else:
        collected[text] = None


@contextmanager
def collect_warnings() -> Iterator[dict[str, None]]:
    """Warnings within this context, each text once; other threads go on as they are."""
    collected: dict[str, None] = {}
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)
