"""Replicas of two kinds side by side: the layout, each kind's micro-batch and recompute mode, and how many each does.

The declared space: tp, pp, cp, ep, etp, vpp, sequence parallelism and ZeRO stage are the same for all replicas;
every replica lies within one kind, so that tp pp cp divides both kinds' devices; each kind has its own micro-batch
(those of the ordinary search and all up to 8, or those that are pinned), recompute mode and number of micro-batches,
at least one, with vpp > 1 in whole rounds of pp. All sequences of the batch are dealt out. ZeRO 2 and 3 exchange at
every micro-batch: with them all replicas do equally many. The search is exact: see `integer_shares` and the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, added
from planner.cost.heterogeneous import replica_terms
from planner.cost.memory import memory_of
from planner.cost.pipeline.partition import ROUNDS
from planner.cost.step import pipeline_bound
from planner.cost.strategies import Strategies
from planner.search.heterogeneous.candidates import Side, Table
from planner.search.heterogeneous.integer_balance import alike, balanced

_CHUNK = 64
"""Layouts whose shares are balanced at once, in order of their bound."""
_NEAR = 1e-9
"""Shares are compared by slope and start, which add up the same terms in another order than a plan's score."""


@dataclass(frozen=True)
class Shares:
    """The best plan found: for each kind its plan (of length one; `dp` counts all replicas) and its micro-batches."""

    plans: tuple[Strategies, Strategies]
    micro_batches: tuple[int, int]
    replicas: tuple[int, int]
    step_time_s: float


def best_shares(table: Table | None) -> Shares | None:
    """The best plan of the declared space, exactly; None where none fits."""
    if table is None:
        return None
    bound = _bounds(table)
    best: Shares | None = None
    order = np.argsort(bound, kind="stable")
    order = order[np.isfinite(bound[order])]
    for first in range(0, len(order), _CHUNK):
        chunk = order[first : first + _CHUNK]
        if best is not None:
            chunk = chunk[bound[chunk] <= best.step_time_s * (1 + _NEAR)]
        if not len(chunk):
            break
        found = _best_of(table, chunk)
        if found is not None and (best is None or found.step_time_s < best.step_time_s):
            best = found
    return best


def even_shares(table: Table | None) -> Shares | None:
    """The best plan in which both kinds do the same, as if all devices were alike; None where none fits."""
    if table is None:
        return None
    first, second = table.sides
    total = first.training.global_batch
    width = (first.replicas + second.replicas) * first.s.micro_batch
    rows = np.flatnonzero((total % (width * first.unit) == 0) & first.least.any(axis=(1, 2)))
    best: Shares | None = None
    n = total // width[rows]
    bound = np.maximum(
        *(pipeline_bound(side.training, side.s.take(rows), side.p.take(rows), n) for side in table.sides)
    )
    rows = rows[np.argsort(bound, kind="stable")]
    bound = np.sort(bound, kind="stable")
    for start in range(0, len(rows), 512):
        if best is not None and bound[start] > best.step_time_s * (1 + _NEAR):
            break
        some = rows[start : start + 512]
        chosen = np.argwhere(first.least[some] & second.least[some])
        chosen[:, 0] = some[chosen[:, 0]]
        units = total // (width * first.unit)[chosen[:, 0]]
        fits = [_units_that_fit(side, table, chosen, units) >= units for side in table.sides]
        keep = fits[0] & fits[1]
        found = _exact(table, chosen[keep], chosen[keep], units[keep], units[keep])
        if found is not None and (best is None or found.step_time_s < best.step_time_s):
            best = found
    return best


def _bounds(table: Table) -> Floats:
    """A lower bound of the step of each layout, infinite where nothing fits, shape [layouts].

    With q_k sequences on each of the w_k replicas of kind k, its time is at least beta_k + sigma_k q_k, beta_k and
    sigma_k the least start and time of a sequence over its micro-batches that fit, with the least recomputation that
    fits, without exchange of gradients and optimizer (`pipeline_bound`). Of all real q_k with sum w_k q_k = batch the
    slower is fastest where both take equally long: T = (batch + sum w_k beta_k / sigma_k) / sum (w_k / sigma_k).
    """
    batch = table.sides[0].training.global_batch
    above, below = np.full(table.layouts, float(batch)), np.zeros(table.layouts)
    for side in table.sides:
        once, twice = (_least_seconds(side, table, count) for count in (1, 2))
        fits = side.least.any(axis=(1, 2))
        slope = np.where(fits, (twice - once) / (side.unit * side.s.micro_batch), np.inf)
        start = np.where(fits, 2 * once - twice, np.inf)
        sigma, beta = np.full(table.layouts, np.inf), np.full(table.layouts, np.inf)
        np.minimum.at(sigma, table.layout, slope)
        np.minimum.at(beta, table.layout, start)
        replicas = np.zeros(table.layouts)
        replicas[table.layout] = side.replicas
        some = np.isfinite(sigma)
        each = replicas / np.where(some, sigma, 1.0)
        above += np.where(some, each * np.where(some, beta, 0.0), np.inf)
        below += np.where(some, each, 1.0)
    return np.where(np.isfinite(above), above / below, np.inf) * (1 - _NEAR)


def _least_seconds(side: Side, table: Table, units: int) -> Floats:
    """`pipeline_bound` of every row under the least recompute mode in which one unit fits, shape [rows]."""
    seconds = np.zeros(len(side.s))
    chosen = side.least.any(axis=1).argmax(axis=1)
    for at, mode in enumerate(table.modes.tolist()):
        rows = np.flatnonzero(chosen == at)
        if len(rows):
            s, p = side.s.take(rows), side.p.take(rows)
            seconds[rows] = pipeline_bound(side.training, s, p, units * side.unit[rows], mode)
    return seconds


@dataclass(frozen=True)
class _Options:
    """What one kind may do in some layouts: positions (row, ZeRO stage, mode) of shape [options, 3], the key of its
    layout and ZeRO stage, the most units, and the time of x units, start + slope x.
    """

    chosen: Ints
    key: Ints
    most: Ints
    slope: Floats
    start: Floats


def _best_of(table: Table, chunk: Ints) -> Shares | None:
    """The best plan of some layouts."""
    rows = np.flatnonzero(np.isin(table.layout, chunk))
    first, second = (_options(side, table, rows) for side in table.sides)
    left, right = _pairs(first.key, second.key)
    if not len(left):
        return None
    sides = table.sides
    weight = sides[0].weight(first.chosen[left, 0]), sides[1].weight(second.chosen[right, 0])
    most = first.most[left], second.most[right]
    slope, start = (first.slope[left], second.slope[right]), (first.start[left], second.start[right])
    total = np.full(len(left), sides[0].training.global_batch)
    x, y, value = balanced(weight, most, slope, start, total)
    in_step = table.zeros[first.chosen[left, 1]] >= 2
    if in_step.any():
        x_alike, y_alike, alike_value = alike(weight, most, slope, start, total)
        x, y = np.where(in_step, x_alike, x), np.where(in_step, y_alike, y)
        value = np.where(in_step, alike_value, value)
    least = value.min()
    if not np.isfinite(least):
        return None
    near = np.flatnonzero(value <= least * (1 + _NEAR))
    return _exact(table, first.chosen[left[near]], second.chosen[right[near]], x[near], y[near])


def _options(side: Side, table: Table, rows: Ints) -> _Options:
    """All options of one kind in some rows but those with more recomputation than is needed.

    More recomputation never makes a plan faster: it lengthens the backward pass by some time d, and shortens at most
    the overlapping share of d of what the gradients' exchange shows. So a mode is left out where a lesser one may do
    as many micro-batches.
    """
    chosen = np.argwhere(side.least[rows])
    chosen[:, 0] = rows[chosen[:, 0]]
    weight = side.weight(chosen[:, 0])
    most = _units_that_fit(side, table, chosen, (side.training.global_batch - 1) // weight)
    reach = np.zeros((len(rows), *side.least.shape[1:]), dtype=np.int64)
    place = np.searchsorted(rows, chosen[:, 0])
    reach[place, chosen[:, 1], chosen[:, 2]] = most
    lesser = np.concatenate([np.zeros_like(reach[:, :, :1]), np.maximum.accumulate(reach, axis=2)[:, :, :-1]], axis=2)
    keep = most > lesser[place, chosen[:, 1], chosen[:, 2]]
    chosen, most = chosen[keep], most[keep]
    if not len(chosen):
        nothing = np.zeros(0)
        return _Options(chosen, most, most, nothing, nothing)
    once, twice = (_seconds(side, table, chosen, np.full(len(chosen), count)) for count in (1, 2))
    key = table.layout[chosen[:, 0]] * len(table.zeros) + chosen[:, 1]
    return _Options(chosen, key, most, twice - once, 2 * once - twice)


def _plans(side: Side, table: Table, chosen: Ints) -> Strategies:
    """The plans at some positions."""
    plans = side.s.take(chosen[:, 0])
    return replace(plans, zero_stage=table.zeros[chosen[:, 1]], recompute=table.modes[chosen[:, 2]])


def _seconds(side: Side, table: Table, chosen: Ints, units: Ints) -> Floats:
    """Time of each option with so many units: linear in them."""
    rows = chosen[:, 0]
    n = units * side.unit[rows]
    terms, _ = replica_terms(side.kinds, side.at, _plans(side, table, chosen), side.p.take(rows), n)
    return added(terms.values())


def _units_that_fit(side: Side, table: Table, chosen: Ints, most: Ints) -> Ints:
    """The most units, at most `most`, whose activations fit: all where full pipelines do, else by bisection, as more
    micro-batches never hold less.
    """
    found = most.copy()
    tight = np.flatnonzero(~side.full[tuple(chosen.T)] & (most > 1))
    if not len(tight):
        return found
    rows = chosen[tight, 0]
    plans, p, unit = _plans(side, table, chosen[tight]), side.p.take(rows), side.unit[rows]
    # with more than full pipelines nothing is added
    low, high = np.ones_like(tight), np.minimum(most[tight] + 1, ROUNDS * plans.pp // unit + 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        held = added(memory_of(side.training, plans, p, middle * unit).values())
        fits = held <= side.training.accelerator.memory_bytes
        low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle, low + 1))
    found[tight] = low
    return found


def _pairs(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Positions of all pairs of equal keys."""
    by_key = np.argsort(right, kind="stable")
    begin, end = (np.searchsorted(right[by_key], left, side=side) for side in ("left", "right"))
    count = end - begin
    first = np.repeat(np.arange(len(left)), count)
    within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return first, by_key[np.repeat(begin, count) + within]


def _exact(table: Table, first: Ints, second: Ints, x: Ints, y: Ints) -> Shares | None:
    """The best of some plans by their full scores; of equals the first."""
    if not len(first):
        return None
    choices, units = (first, second), (x, y)
    times = [_seconds(*each) for each in zip(table.sides, (table, table), choices, units, strict=True)]
    step = np.maximum(*times)
    at = int(np.flatnonzero(step == step.min())[0])
    plans, counts, replicas = [], [], []
    for side, chosen, count in zip(table.sides, choices, units, strict=True):
        plans.append(_plans(side, table, chosen[at : at + 1]))
        counts.append(int(count[at] * side.unit[chosen[at, 0]]))
        replicas.append(int(side.replicas[chosen[at, 0]]))
    return Shares((plans[0], plans[1]), (counts[0], counts[1]), (replicas[0], replicas[1]), float(step[at]))
