"""The same function over several values, on as many cores as there are; results in the order of the values."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from planner.progress import steps

T = TypeVar("T")
R = TypeVar("R")

_FEW = 3
"""So many values are not worth a process."""


def in_order(what: str, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
    """The results in the order of the values; on one core, or where processes cannot be forked, one after another.

    What is returned does not depend on the number of cores. An exception of any value is raised. `what` is told to
    those who watch the progress.
    """
    cores = min(os.cpu_count() or 1, len(values))
    if cores < 2 or len(values) <= _FEW or "fork" not in multiprocessing.get_all_start_methods():
        return [function(value) for value in steps(what, values)]
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        results = pool.imap(function, values)
        return [next(results) for _ in steps(what, values)]
