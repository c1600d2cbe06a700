"""Where both programs begin: what ends them from outside is caught before anything else is loaded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Of those that the system has."""


class ProcessInterrupted(BaseException):
    """A signal ends the process. Not an Exception: no handler on the way takes it for an error, all clean up."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number


def catch_signals() -> None:
    """Let Ctrl-C and a request to end become Interrupted; a signal that was to be ignored stays ignored (nohup)."""
    owner_pid = os.getpid()

    def raise_interrupted(signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner_pid:
            os._exit(128 + signal_number)  # a worker: nobody waits for its words
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the cleaning is not interrupted
        if "multiprocessing" in sys.modules:
            import multiprocessing

            for child in multiprocessing.active_children():
                child.terminate()
        raise ProcessInterrupted(signal_number)

    for signal_code in (getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)):
        if signal.getsignal(signal_code) is not signal.SIG_IGN:
            signal.signal(signal_code, raise_interrupted)
