"""The terminal as it is: its width, whether it has colour; and what is printed on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from io import StringIO
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

_PLAIN_WIDTH = 110
_RENDER_FOR_FILE: ContextVar[bool] = ContextVar("for a file", default=False)


def strip_nonprintable(text: str) -> str:
    """Names come from files: no control character reaches the terminal."""
    return "".join(character for character in text if character.isprintable())


def render_for_file(render_text: Callable[[], str]) -> str:
    """The text of `render_text` as for a stdout that is no terminal."""
    reset_token = _RENDER_FOR_FILE.set(True)
    try:
        return render_text()
    finally:
        _RENDER_FOR_FILE.reset(reset_token)


def build_console(plain_width: int = _PLAIN_WIDTH) -> Console:
    """A console that keeps what is printed, for `get_console_text`: with the width and colours of the terminal where
    stdout is one, else without colour and `plain_width` characters wide.
    """
    from rich.console import Console

    if _RENDER_FOR_FILE.get() or sys.stdout is None or not sys.stdout.isatty():
        # stated, since FORCE_COLOR would make it a terminal, which wraps lines
        return Console(file=StringIO(), width=plain_width, color_system=None, highlight=False, force_terminal=False)
    terminal = Console()
    colours = None if "NO_COLOR" in os.environ else terminal.color_system
    return Console(
        file=StringIO(),
        width=terminal.width,
        color_system=colours,  # type: ignore[arg-type]
        highlight=False,
        force_terminal=True,
    )


def get_console_text(out: Console) -> str:
    """What was printed on a console of `build_console()`."""
    return out.file.getvalue() if isinstance(out.file, StringIO) else ""


def sample_evenly(values: Sequence[T], max_count: int) -> list[T]:
    """At most `max_count` of the values, evenly spaced from the first to the last."""
    if len(values) <= max_count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (max_count - 1))] for i in range(max_count)]
