"""Warnings about a request: the command line prints them, Python raises its own, a sweep collects them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COLLECTED: ContextVar[dict[str, None] | None] = ContextVar("collected warnings", default=None)
_writers: list[Callable[[str], None]] = [lambda text: print(f"warning: {text}", file=sys.stderr)]
"""The last of these writes a warning that no context collects."""


def set_warning_writer(writer: Callable[[str], None]) -> None:
    """Make `writer` the function that writes warnings that are not collected; for the command line."""
    _writers[-1] = writer


def warn(text: str) -> None:
    """Issue a warning of one line."""
    collected = _COLLECTED.get()
    if collected is None:
        _writers[-1](text)
    else:
        collected[text] = None


@contextmanager
def collect_warnings() -> Iterator[dict[str, None]]:
    """Collect the warnings within this context, each text once; other threads are not affected."""
    collected: dict[str, None] = {}
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)
