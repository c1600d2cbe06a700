"""In which order the dimensions are laid on ranks: the search in the usual one, then in the one that suits its best
plan better, where there is one.

Every question has its own order, so that to search all of them takes as long as there are orders. The plan that is
best in the usual order is scored in the others; where one makes its step shorter, the whole space is searched in that
order too, and the better answer is told. `--order all` searches them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import Training
from planner.cost.step import score
from planner.cost.strategies import Strategies
from planner.search.search import Found, Wanted, search
from planner.search.space import Space

TP_INNERMOST = tuple(order for order in ORDERS if order.startswith("tp"))
GAIN = 1e-9
"""Below it two step times are the same but for rounding."""


def ordered_search(questions: Sequence[Training], space: Space, wanted: Wanted, layouts: Sequence[str]) -> Found:
    """The search in the questions' order, and in the one of `layouts` (tensor parallelism innermost) that is better
    for its best plan.
    """
    found = search(questions, space, wanted)
    if len(layouts) < 2 or not found.tally.feasible:
        return found
    training, plan = first_plan(found)
    order = _best_order(training, plan, layouts)
    if order == training.order:
        return found
    return better(found, search([replace(one, order=order) for one in questions], space, wanted))


def _best_order(training: Training, plan: Strategies, layouts: Sequence[str]) -> str:
    """The order in which the plan's step is shortest; the one that it has where none is shorter."""
    best, least = training.order, seconds(training, plan)
    degrees = {name for name in ("cp", "dp", "pp") if int(getattr(plan, name)[0]) > 1}
    seen = {_told(best, degrees)}
    for order in layouts:
        # dimensions of one rank are nowhere: orders that differ by them alone are the same
        if order in TP_INNERMOST and _told(order, degrees) not in seen:
            seen.add(_told(order, degrees))
            here = seconds(replace(training, order=order), plan)
            if here < least * (1 - GAIN):
                best, least = order, here
    return best


def _told(order: str, degrees: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order.split("-") if name in degrees)


def seconds(training: Training, plan: Strategies) -> float:
    """A plan's step time."""
    return float(score(training, plan).step_time_s[0])


def better(one: Found, other: Found) -> Found:
    """The one whose first plan is the better by the first objective; the first of equal ones."""
    return other if other.figures[0, 0] < one.figures[0, 0] else one


def first_plan(found: Found) -> tuple[Training, Strategies]:
    """The best plan and its question."""
    return found.questions[int(found.question[0])], found.best.take(np.zeros(1, dtype=np.int64))
