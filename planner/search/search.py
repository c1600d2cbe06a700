"""The exact search: every candidate that fits competes, the best are returned.

Nothing is sampled. A candidate is dropped by a rule of the space, because it does not fit in memory, or by a
bound that proves it worse than plans already at hand. Equal figures are ordered by memory, then by the
candidate's place in the enumeration, which is the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, added
from planner.cost.memory import host_memory_totals, memory_of, memory_totals
from planner.cost.operations.energy import energy_j
from planner.cost.plan_tables import Prepared, prepare
from planner.cost.scenario import Training
from planner.cost.step import pipeline_bound, score
from planner.cost.strategies import FIELDS, Strategies, join
from planner.progress import track_steps
from planner.search.objective import Objective
from planner.search.pareto import on_the_front
from planner.search.space import Space, Tally, layouts, zero_fits

_CHUNK = 2_000
"""Layouts whose candidates are scored at once, in order of their bound."""


@dataclass(frozen=True)
class Ranked:
    """Plans with what they are ordered by: figures of merit, memory, place in the enumeration; arrays of [plans].

    `figures` has shape [plans, objectives], `question` says which of the search's trainings a plan belongs to.
    """

    plans: Strategies
    question: Ints
    figures: Floats
    total_bytes: Floats
    place: Ints

    def __len__(self) -> int:
        return len(self.place)

    def take(self, index: Ints | Bools) -> Ranked:
        """The plans at `index`."""
        return Ranked(
            self.plans.take(index),
            self.question[index],
            self.figures[index],
            self.total_bytes[index],
            self.place[index],
        )

    def in_order(self) -> Ranked:
        """By the first figure, then memory, then place."""
        return self.take(np.lexsort((self.place, self.total_bytes, self.figures[:, 0])))

    def once(self) -> Ranked:
        """Without plans that a setting makes no difference to: the same split with the same figures as one before."""
        if len(self) < 2:
            return self
        rows = [*(getattr(self.plans, name) for name in FIELDS), *self.figures.T, self.total_bytes]
        return self.take(np.sort(_first_of_each(np.stack(rows, axis=1))))

    def with_more(self, more: Ranked) -> Ranked:
        """Both together, unordered."""
        return Ranked(
            join([self.plans, more.plans]),
            np.concatenate([self.question, more.question]),
            np.concatenate([self.figures, more.figures]),
            np.concatenate([self.total_bytes, more.total_bytes]),
            np.concatenate([self.place, more.place]),
        )


@dataclass(frozen=True)
class Found:
    """The best plans in order, the counts, and the plan that needs least memory where none fits.

    `questions`: the trainings that were searched; `question` which of them each best plan belongs to.
    """

    questions: tuple[Training, ...]
    best: Strategies
    question: Ints
    figures: Floats
    tally: Tally
    closest: Strategies
    closest_question: Training


@dataclass(frozen=True)
class Wanted:
    """How many of the best by which figure (None: all), or (several objectives) so many of the Pareto front.

    `diverse`: of plans with the same degrees only the best is kept.
    """

    objectives: tuple[Objective, ...] = (Objective(),)
    top: int | None = 5
    diverse: bool = False

    @property
    def front(self) -> bool:
        """Whether the Pareto front is asked for."""
        return len(self.objectives) > 1

    def keep(self, plans: Ranked) -> Ranked:
        """Those that can still be among the answer, in order."""
        plans = plans.in_order()
        if self.front:
            return plans.take(on_the_front(plans.figures))
        plans = plans.once()
        if self.diverse:
            plans = plans.take(np.sort(_first_of_each(_degrees(plans))))
        return plans.take(np.arange(len(plans))[: self.top])

    def told(self, best: Ranked) -> Ranked:
        """What is told of the best: of a larger front `top` plans from end to end."""
        if not self.front or self.top is None or len(best) <= self.top:
            return best
        return best.take(np.unique(np.linspace(0, len(best) - 1, self.top).round().astype(np.int64)))

    def threshold(self, best: Ranked) -> float:
        """A first figure above which nothing can enter the answer any more."""
        return float(best.figures[-1, 0]) if not self.front and len(best) == self.top else np.inf


_DEGREES = ("tp", "pp", "cp", "dp", "ep")


def _degrees(plans: Ranked) -> Ints:
    return np.stack([getattr(plans.plans, name) for name in _DEGREES], axis=1)


def _first_of_each(rows: Ints | Floats) -> Ints:
    """The first position of each distinct row."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return first


def no_plans() -> Strategies:
    """An empty set of plans."""
    return Strategies(**{name: np.zeros(0, dtype=np.int64) for name in FIELDS})


def search(questions: Training | Sequence[Training], space: Space, wanted: Wanted | None = None) -> Found:
    """The best plans of the whole space under all questions together, exactly.

    `questions`: trainings that differ in settings or batch; each has its own space, `space` with its batch.
    """
    asked = (questions,) if isinstance(questions, Training) else tuple(questions)
    _keep_freed_memory()
    wanted = wanted or Wanted()
    tally = Tally()
    none = np.zeros(0, dtype=np.int64)
    best = Ranked(no_plans(), none, np.zeros((0, len(wanted.objectives))), np.zeros(0), none)
    closest = _Closest(no_plans(), asked[0], np.inf)
    place = 0
    for number, training in enumerate(track_steps("searching", asked)):
        for block in _blocks(training, space.under(training), tally):
            if block.fits.any():
                best = _improved(block, best, wanted, number, place)
            elif not tally.feasible and block.total.min() < closest.total_bytes:
                closest = block.closest()
            place += block.total.size
    best = wanted.told(best)
    return Found(asked, best.plans, best.question, best.figures, tally, closest.plans, closest.training)


def _keep_freed_memory() -> None:
    """The C library hands memory above a size back at once, and each array is then paged in anew. It raises that
    size to what it sees freed (glibc, mallopt(3), M_MMAP_THRESHOLD): a block that is never touched, at its maximum.
    """
    np.empty(_KEPT_BYTES, dtype=np.uint8)


_KEPT_BYTES = 32_000_000


@dataclass(frozen=True)
class _Closest:
    """The candidate that needs least memory."""

    plans: Strategies
    training: Training
    total_bytes: float


@dataclass(frozen=True)
class _Block:
    """Layouts with the memory of their candidates, shape [layouts, zero stages, recompute modes]."""

    training: Training
    layouts: Strategies
    prepared: Prepared
    total: Floats
    fits: Bools
    bound: Floats
    zeros: Ints
    modes: Ints

    def candidates(self, chosen: Ints) -> Strategies:
        """Candidates from (layout, ZeRO stage, recompute mode) positions, shape [plans, 3]."""
        plans = self.layouts.take(chosen[:, 0])
        return replace(plans, zero_stage=self.zeros[chosen[:, 1]], recompute=self.modes[chosen[:, 2]])

    def least_bytes(self) -> Floats:
        """The least memory of each layout's candidates that fit, shape [layouts]."""
        least: Floats = np.where(self.fits, self.total, np.inf).min(axis=(1, 2))
        return least

    def closest(self) -> _Closest:
        """The candidate that needs least memory."""
        least = self.total.min()
        return _Closest(self.candidates(np.argwhere(self.total == least)[:1]), self.training, float(least))


def _blocks(training: Training, space: Space, tally: Tally) -> Iterator[_Block]:
    """Blocks of layouts that the rules allow, with what of them fits; counts into `tally`."""
    values = space.values(training.workload)
    zeros, modes = values["zero_stage"], values["recompute"]
    pairs = zeros.tolist(), modes.tolist()
    for layout in layouts(space, training.workload, tally):
        prepared = prepare(training, layout)
        total = memory_totals(training, layout, prepared, *pairs)
        allowed = zero_fits(layout, zeros)
        if space.shard_group is not None:
            before, allowed = allowed, zero_fits(layout, zeros, space.shard_group)
            tally.cut_by["shard-group-divides"] += int((before & ~allowed).sum()) * len(modes)
        total = np.where(allowed[:, :, None], total, np.inf)
        fits = total <= training.usable_memory_bytes
        feasible = int(fits.sum())
        tally.cut_by["memory"] += int(np.isfinite(total).sum()) - feasible
        if training.host is not None and training.offload.any:
            on_host = host_memory_totals(training, layout, prepared, *pairs)
            fits &= on_host <= training.host.memory_bytes
            tally.cut_by["host-memory"] += feasible - int(fits.sum())
            feasible = int(fits.sum())
        tally.feasible += feasible
        bound = pipeline_bound(training, layout, prepared) if feasible else np.zeros(len(layout))
        yield _Block(training, layout, prepared, total, fits, bound, zeros, modes)


def _improved(block: _Block, best: Ranked, wanted: Wanted, question: int, place: int) -> Ranked:
    """The best plans after a block: its layouts are opened in the order of their lower bounds.

    Once the answer is full, a layout whose bound is above its last plan cannot hold a better one, nor can any
    after it. A bound equal to it is opened, so that ties are told apart as without a bound.
    """
    inside = np.flatnonzero(block.fits.any(axis=(1, 2)))
    bound = wanted.objectives[0].bound(block.training, block.bound, block.least_bytes)
    order = inside[np.argsort(bound[inside], kind="stable")]
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        # the bound adds up the same terms in another order: a relative 1e-9 covers the rounding
        threshold = wanted.threshold(best)
        chunk = chunk[bound[chunk] <= threshold + 1e-9 * abs(threshold)]
        if not len(chunk):
            break
        chosen = np.argwhere(block.fits[chunk])
        chosen[:, 0] = chunk[chosen[:, 0]]
        best = wanted.keep(best.with_more(_ranked(block, chosen, wanted, question, place)))
    return best


def _ranked(block: _Block, chosen: Ints, wanted: Wanted, question: int, place: int) -> Ranked:
    """Score candidates; those that cannot be in the answer by their figures alone are left out."""
    training, plans = block.training, block.candidates(chosen)
    prepared = block.prepared.take(chosen[:, 0])
    scores = score(training, plans, prepared)
    total = block.total[tuple(chosen.T)]

    def joules() -> Floats:
        return energy_j(training, plans, scores, prepared)

    values = [one.value(training, scores.step_time_s, joules, total) for one in wanted.objectives]
    figures = np.stack(values, axis=1)
    near = np.arange(len(plans))
    if wanted.top is not None and not wanted.front and not wanted.diverse and len(plans) > wanted.top:
        first = figures[:, 0]
        near = np.flatnonzero(first <= np.partition(first, wanted.top - 1)[wanted.top - 1])
    places = place + np.ravel_multi_index(tuple(chosen.T), block.total.shape)
    kept = plans.take(near)
    return Ranked(
        kept,
        np.full(len(near), question),
        figures[near],
        # to the last bit as one plan alone would have it; of a front only its own figure counts
        total[near] if wanted.front else added(memory_of(training, kept, prepared.take(near)).values()),
        places[near],
    )
