"""Signals that end the programs, as an exception."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""The signals that the system supports."""


class ProcessInterrupted(BaseException):
    """A signal ends the process. A BaseException, so that handlers of errors do not catch it but clean up."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number


def catch_signals() -> None:
    """Raise ProcessInterrupted on Ctrl-C and requests to end; ignored signals stay ignored (nohup)."""
    owner_pid = os.getpid()

    def raise_interrupted(signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner_pid:
            os._exit(128 + signal_number)  # a worker prints nothing
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up is not interrupted
        if "multiprocessing" in sys.modules:
            import multiprocessing

            for child in multiprocessing.active_children():
                child.terminate()
        raise ProcessInterrupted(signal_number)

    for signal_code in (getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)):
        if signal.getsignal(signal_code) is not signal.SIG_IGN:
            signal.signal(signal_code, raise_interrupted)
