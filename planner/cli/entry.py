"""Where both programs begin: what ends them from outside is caught before anything else is loaded."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Of those that the system has."""
_SHELLS = ("bash", "zsh", "fish")


class Interrupted(BaseException):
    """The process was asked to end. No Exception: nothing on the way takes it for a fault, all clean up."""

    def __init__(self, number: int) -> None:
        self.number = number


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
            from planner.cli.complete import answer

            answer(sys.argv)
        elif sys.stderr is not None and sys.stderr.isatty():
            from planner.cli.progress import shown

            with shown():
                program()
        else:
            program()
    except Interrupted as asked:
        from planner.cli.output import drop_stdout

        # what a reader who has stopped reading did not take is not waited for
        drop_stdout()
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write("interrupted\n")
        sys.exit(128 + asked.number)


def catch_signals() -> None:
    """Let Ctrl-C and a request to end become Interrupted; a signal that was to be ignored stays ignored (nohup)."""
    owner = os.getpid()

    def ended(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)  # a worker: nobody waits for its words
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the cleaning is not interrupted
        if "multiprocessing" in sys.modules:
            import multiprocessing

            for child in multiprocessing.active_children():
                child.terminate()
        raise Interrupted(number)

    for one in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, ended)
