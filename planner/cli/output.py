"""Stdout, written at once: a reader who has left is no fault, a full disk is one message."""

from __future__ import annotations

import errno
import os
import sys

import typer

from planner.errors import PlannerError


def write(text: str) -> None:
    """Write all of `text` to stdout.

    Ends the process with 0 where the reader has left (`plan … | head`). Raises PlannerError where the text
    cannot be written.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "stdout is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        raise unwritten(error) from None


def unwritten(error: OSError) -> PlannerError:
    """The error for output that cannot be written; nothing is tried again when the interpreter ends."""
    drop_stdout()
    return PlannerError(f"the output cannot be written: {error.strerror}")


def warn(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"warning: {text}\n")


def drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not try again when it ends."""
    if sys.stdout is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
