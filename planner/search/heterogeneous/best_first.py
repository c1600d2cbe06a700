"""Evaluate candidates in the order of their lower bounds, until none can be faster: an exact search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.strategies import Strategies

REL_TOL = 1e-9
"""Bounds add the same terms in another order than a plan's step time: so much is rounding."""


@dataclass(frozen=True)
class HeteroPlan:
    """A plan on two pools: the strategy of each (of length one) and the seconds of a step."""

    strategies: tuple[Strategies, ...]
    step_time_s: float


Plan = TypeVar("Plan", bound=HeteroPlan)


def compute_limit_s(best: HeteroPlan | None) -> float:
    """The lower bound in seconds above which no candidate is faster than the best plan so far."""
    return np.inf if best is None else best.step_time_s * (1 + REL_TOL)


def search_best_first(
    bound_s: Floats,
    chunk_size: int,
    find_best_in: Callable[[Ints, Plan | None], Plan | None],
    best: Plan | None = None,
) -> Plan | None:
    """The fastest plan of all candidates, or `best` where none is faster; of equally fast ones the first.

    `bound_s`: a lower bound of each candidate, infinite where none fits, shape [candidates]. `find_best_in` gets a
    chunk of candidates and the best plan before it, and returns the fastest plan of the chunk.
    """
    order = np.argsort(bound_s, kind="stable")
    order = order[np.isfinite(bound_s[order])]
    for start in range(0, len(order), chunk_size):
        chunk = order[start : start + chunk_size]
        chunk = chunk[bound_s[chunk] <= compute_limit_s(best)]
        if not len(chunk):
            break
        plan = find_best_in(chunk, best)
        if plan is not None and (best is None or plan.step_time_s < best.step_time_s):
            best = plan
    return best
