"""Entry points of both programs; signals are handled before other modules are imported."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable

from planner.cli.signals import ProcessInterrupted, catch_signals

_COMPLETION_SHELLS = ("bash", "zsh", "fish")


def plan() -> None:
    """The program `plan`."""
    _run_interruptible(_run_plan)


def planner() -> None:
    """The program `planner`."""
    _run_interruptible(_run_planner)


def _run_plan() -> None:
    from planner.cli.app import run_plan_program

    run_plan_program()


def _run_planner() -> None:
    from planner.cli.app import run_planner_program

    run_planner_program()


def _run_interruptible(program: Callable[[], None]) -> None:
    """Run a program; a signal ends it with a line of text and the exit code 128 plus the signal's number."""
    catch_signals()
    # the process ends after the answer: garbage collection would cost more time than it saves
    gc.disable()
    atexit.register(gc.freeze)
    try:
        if os.environ.get("_PLANNER_COMPLETE") in _COMPLETION_SHELLS:
            from planner.cli.completion.complete import print_completions

            print_completions(sys.argv)
        elif sys.stderr is not None and sys.stderr.isatty():
            from planner.cli.io.progress import show_progress_bar

            with show_progress_bar():
                program()
        else:
            program()
    except ProcessInterrupted as interruption:
        from planner.cli.io.output import discard_stdout

        # a reader that has stopped reading is not waited for
        discard_stdout()
        with contextlib.suppress(OSError):  # the terminal may be closed
            sys.stderr.write("interrupted\n")
        sys.exit(128 + interruption.signal_number)
