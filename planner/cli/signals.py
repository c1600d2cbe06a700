"""Where both programs begin: what ends them from outside is caught before anything else is loaded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Of those that the system has."""


class Interrupted(BaseException):
    """The process was asked to end. No Exception: nothing on the way takes it for a fault, all clean up."""

    def __init__(self, number: int) -> None:
        self.number = number


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
