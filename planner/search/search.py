"""The exact search: every candidate that fits competes, the best are returned.

Nothing is sampled. A candidate is dropped by a rule of the space, because it does not fit in memory, or by a
bound that proves it slower than plans already at hand. Equal times are ordered by memory, then by the
candidate's place in the enumeration, which is the same in every run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.cost.arrays import added
from planner.cost.step import memory_of, memory_totals, pipeline_bound, prepare, score
from planner.cost.strategies import FIELDS, Strategies, join
from planner.cost.training import Training
from planner.search.space import Space, Tally, layouts, zero_fits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK = 2_000
"""Layouts whose candidates are scored at once, in order of their bound."""


@dataclass(frozen=True)
class Ranked:
    """Plans with what they are ordered by: step time, memory, place in the enumeration. Arrays [plans]."""

    plans: Strategies
    step_time_s: Floats
    total_bytes: Floats
    place: Ints

    def best(self, top: int) -> Ranked:
        """The first `top` in order."""
        order = np.lexsort((self.place, self.total_bytes, self.step_time_s))[:top]
        return Ranked(self.plans.take(order), self.step_time_s[order], self.total_bytes[order], self.place[order])

    def with_more(self, more: Ranked) -> Ranked:
        """Both together, unordered."""
        return Ranked(
            join([self.plans, more.plans]),
            np.concatenate([self.step_time_s, more.step_time_s]),
            np.concatenate([self.total_bytes, more.total_bytes]),
            np.concatenate([self.place, more.place]),
        )


@dataclass(frozen=True)
class Found:
    """The best plans in order, the counts, and the plan that needs least memory where none fits."""

    best: Strategies
    tally: Tally
    closest: Strategies


def no_plans() -> Strategies:
    """An empty set of plans."""
    return Strategies(**{name: np.zeros(0, dtype=np.int64) for name in FIELDS})


def search(training: Training, space: Space, *, top: int = 5) -> Found:
    """The `top` fastest plans of the whole space, exactly."""
    tally = Tally()
    values = space.values(training.workload)
    zeros, modes = values["zero_stage"], values["recompute"]
    best = Ranked(no_plans(), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    closest, least, place = no_plans(), np.inf, 0
    for block in layouts(space, training.workload, tally):
        prepared = prepare(training, block)
        total = memory_totals(training, block, prepared, tuple(zeros.tolist()), tuple(modes.tolist()))
        total = np.where(zero_fits(block, zeros)[:, :, None], total, np.inf)
        fits = total <= training.accelerator.memory_bytes
        feasible = int(fits.sum())
        tally.feasible += feasible
        tally.cut_by["memory"] += int(np.isfinite(total).sum()) - feasible
        if feasible:
            bound = pipeline_bound(training, block, prepared)
            best = _improved(training, best, block, bound, fits, (zeros, modes), place, top)
        elif not tally.feasible and total.min() < least:
            least = total.min()
            closest = _variants(block, np.argwhere(total == least)[:1], zeros, modes)
        place += total.size
    return Found(best.plans, tally, closest)


def _variants(block: Strategies, chosen: Ints, zeros: Ints, modes: Ints) -> Strategies:
    """Candidates from (layout, ZeRO stage, recompute mode) positions, shape [plans, 3]."""
    plans = block.take(chosen[:, 0])
    return replace(plans, zero_stage=zeros[chosen[:, 1]], recompute=modes[chosen[:, 2]])


def _improved(
    training: Training,
    best: Ranked,
    block: Strategies,
    bound: Floats,
    fits: NDArray[np.bool_],
    values: tuple[Ints, Ints],
    place: int,
    top: int,
) -> Ranked:
    """The best plans after a block: its layouts are opened in the order of their lower bounds.

    Once `top` plans are known, a layout whose bound is above the slowest of them cannot hold a better one,
    nor can any after it. A bound equal to it is opened, so that ties are told apart as without a bound.
    """
    inside = np.flatnonzero(fits.any(axis=(1, 2)))
    order = inside[np.argsort(bound[inside], kind="stable")]
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        if len(best.plans) == top:
            # the bound adds up the same terms in another order: a relative 1e-9 covers the rounding
            chunk = chunk[bound[chunk] <= best.step_time_s[-1] * (1 + 1e-9)]
        if not len(chunk):
            break
        chosen = np.argwhere(fits[chunk])
        chosen[:, 0] = chunk[chosen[:, 0]]
        best = best.with_more(_ranked(training, _variants(block, chosen, *values), chosen, fits.shape, place, top))
        best = best.best(top)
    return best


def _ranked(
    training: Training, plans: Strategies, chosen: Ints, shape: tuple[int, ...], place: int, top: int
) -> Ranked:
    """Score plans; those that cannot be among the first `top` by time alone are left out."""
    step = score(training, plans).step_time_s
    if len(step) > top:
        near = np.flatnonzero(step <= np.partition(step, top - 1)[top - 1])
        plans, step, chosen = plans.take(near), step[near], chosen[near]
    total = added(memory_of(training, plans).values())
    return Ranked(plans, step, total, place + np.ravel_multi_index(tuple(chosen.T), shape))
