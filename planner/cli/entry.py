"""Where both programs begin: what ends them from outside is caught before anything else is loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from planner.cli.signals import Interrupted, catch_signals

_SHELLS = ("bash", "zsh", "fish")


def plan() -> None:
    """The program `plan`."""
    _begin(_plan)


def planner() -> None:
    """The program `planner`."""
    _begin(_planner)


def _plan() -> None:
    from planner.cli.app import plan_entry

    plan_entry()


def _planner() -> None:
    from planner.cli.app import planner_entry

    planner_entry()


def _begin(program: Callable[[], None]) -> None:
    """Run a program; ended from outside it says one line, exits with 128 and the signal's number, as shells do."""
    catch_signals()
    try:
        if os.environ.get("_PLANNER_COMPLETE") in _SHELLS:
            from planner.cli.completion.complete import answer

            answer(sys.argv)
        elif sys.stderr is not None and sys.stderr.isatty():
            from planner.cli.io.progress import shown

            with shown():
                program()
        else:
            program()
    except Interrupted as asked:
        from planner.cli.io.output import drop_stdout

        # what a reader who has stopped reading did not take is not waited for
        drop_stdout()
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write("interrupted\n")
        sys.exit(128 + asked.number)
