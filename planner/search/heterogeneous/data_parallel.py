"""Data-parallel replicas in two pools: layout, and micro-batch, recompute mode and number of micro-batches per pool.

The space: tp, pp, cp, ep, etp, vpp, sequence parallelism and ZeRO stage are the same for all replicas; every replica
lies within one pool, so that tp pp cp divides the devices of both pools. Each pool has its own micro-batch (those of
the ordinary search and all up to 8, or the pinned ones), recompute mode and number of micro-batches (at least one; a
multiple of pp for vpp > 1). The pools' sequences add up to the batch. ZeRO 2 and 3 communicate at every micro-batch,
so that all replicas have equally many. The search is exact: see `integer_balance` and the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order
from planner.cost.heterogeneous import compute_replica_terms
from planner.cost.memory import compute_peak_memory_bytes
from planner.cost.pipeline.partition import IN_FLIGHT_ROUNDS
from planner.cost.step import compute_pipeline_bound_s
from planner.cost.strategies import Strategies
from planner.search.heterogeneous.candidates import PoolShareRows, ShareTable
from planner.search.heterogeneous.integer_balance import balance_equal_shares, balance_shares

_LAYOUTS_PER_CHUNK = 64
"""Layouts whose shares are balanced at once, in order of their bound."""
_REL_TOL = 1e-9
"""Shares are compared by slope and intercept, which add the same terms in another order than a plan's score."""


@dataclass(frozen=True)
class HeteroReplicaPlan:
    """The best plan: for each pool its strategy (of length one; `dp` counts all replicas) and its micro-batches."""

    strategies: tuple[Strategies, Strategies]
    micro_batches: tuple[int, int]
    replicas: tuple[int, int]
    step_time_s: float


def find_best_shares(table: ShareTable | None) -> HeteroReplicaPlan | None:
    """The best plan of the declared space, exactly; None where none fits."""
    if table is None:
        return None
    bound_s = _compute_layout_bounds_s(table)
    best: HeteroReplicaPlan | None = None
    order = np.argsort(bound_s, kind="stable")
    order = order[np.isfinite(bound_s[order])]
    for first in range(0, len(order), _LAYOUTS_PER_CHUNK):
        chunk = order[first : first + _LAYOUTS_PER_CHUNK]
        if best is not None:
            chunk = chunk[bound_s[chunk] <= best.step_time_s * (1 + _REL_TOL)]
        if not len(chunk):
            break
        candidate = _find_best_in_layouts(table, chunk)
        if candidate is not None and (best is None or candidate.step_time_s < best.step_time_s):
            best = candidate
    return best


def find_even_shares(table: ShareTable | None) -> HeteroReplicaPlan | None:
    """The best plan in which all replicas have the same work, as if all devices were alike; None where none fits."""
    if table is None:
        return None
    first_pool, second_pool = table.pools
    global_batch = first_pool.scenario.global_batch
    sequences_per_round = (first_pool.replicas + second_pool.replicas) * first_pool.strategies.micro_batch
    rows = np.flatnonzero(
        (global_batch % (sequences_per_round * first_pool.unit_micro_batches) == 0)
        & first_pool.fits_single_unit.any(axis=(1, 2))
    )
    best: HeteroReplicaPlan | None = None
    n = global_batch // sequences_per_round[rows]
    bound_s = np.maximum(
        *(
            compute_pipeline_bound_s(pool.scenario, pool.strategies.take(rows), pool.plan_tables.take(rows), n)
            for pool in table.pools
        )
    )
    rows = rows[np.argsort(bound_s, kind="stable")]
    bound_s = np.sort(bound_s, kind="stable")
    for start in range(0, len(rows), 512):
        if best is not None and bound_s[start] > best.step_time_s * (1 + _REL_TOL):
            break
        block = rows[start : start + 512]
        positions = np.argwhere(first_pool.fits_single_unit[block] & second_pool.fits_single_unit[block])
        positions[:, 0] = block[positions[:, 0]]
        units = global_batch // (sequences_per_round * first_pool.unit_micro_batches)[positions[:, 0]]
        fits = [_count_fitting_units(pool, table, positions, units) >= units for pool in table.pools]
        keep = fits[0] & fits[1]
        candidate = _select_best_by_score(table, positions[keep], positions[keep], units[keep], units[keep])
        if candidate is not None and (best is None or candidate.step_time_s < best.step_time_s):
            best = candidate
    return best


def _compute_layout_bounds_s(table: ShareTable) -> Floats:
    """A lower bound of the step of each layout, infinite where nothing fits, shape [layouts].

    With q_k sequences on each of the w_k replicas of pool k, its time is at least beta_k + sigma_k q_k, where beta_k
    and sigma_k are the least intercept and time per sequence over the micro-batches that fit, with the least
    recomputation that fits, without gradient communication and optimizer (`compute_pipeline_bound_s`). Over all real
    q_k with sum w_k q_k = batch, the slower pool is fastest where both take equally long: T = (batch + sum w_k beta_k
    / sigma_k) / sum (w_k / sigma_k).
    """
    batch = table.pools[0].scenario.global_batch
    numerator, denominator = np.full(table.layout_count, float(batch)), np.zeros(table.layout_count)
    for pool in table.pools:
        single_unit_s, double_unit_s = (_compute_least_times_s(pool, table, count) for count in (1, 2))
        fits = pool.fits_single_unit.any(axis=(1, 2))
        slope = np.where(
            fits, (double_unit_s - single_unit_s) / (pool.unit_micro_batches * pool.strategies.micro_batch), np.inf
        )
        intercept = np.where(fits, 2 * single_unit_s - double_unit_s, np.inf)
        sigma, beta = np.full(table.layout_count, np.inf), np.full(table.layout_count, np.inf)
        np.minimum.at(sigma, table.layout_index, slope)
        np.minimum.at(beta, table.layout_index, intercept)
        replicas = np.zeros(table.layout_count)
        replicas[table.layout_index] = pool.replicas
        is_feasible = np.isfinite(sigma)
        rate = replicas / np.where(is_feasible, sigma, 1.0)
        numerator += np.where(is_feasible, rate * np.where(is_feasible, beta, 0.0), np.inf)
        denominator += np.where(is_feasible, rate, 1.0)
    return np.where(np.isfinite(numerator), numerator / denominator, np.inf) * (1 - _REL_TOL)


def _compute_least_times_s(pool: PoolShareRows, table: ShareTable, units: int) -> Floats:
    """`compute_pipeline_bound_s` of every row under the least recompute mode in which one unit fits, shape [rows]."""
    times_s = np.zeros(len(pool.strategies))
    least_mode = pool.fits_single_unit.any(axis=1).argmax(axis=1)
    for mode_index, mode in enumerate(table.recompute_modes.tolist()):
        rows = np.flatnonzero(least_mode == mode_index)
        if len(rows):
            s, p = pool.strategies.take(rows), pool.plan_tables.take(rows)
            times_s[rows] = compute_pipeline_bound_s(pool.scenario, s, p, units * pool.unit_micro_batches[rows], mode)
    return times_s


@dataclass(frozen=True)
class _PoolOptions:
    """The options of one pool in some layouts: `positions` (row, ZeRO stage, recompute mode), shape [options, 3];
    `layout_key`: key of layout and ZeRO stage; `max_units`: the most units that fit; the time of x units is intercept
    + slope x.
    """

    positions: Ints
    layout_key: Ints
    max_units: Ints
    slope_s: Floats
    intercept_s: Floats


def _find_best_in_layouts(table: ShareTable, layout_indices: Ints) -> HeteroReplicaPlan | None:
    """The best plan of some layouts."""
    rows = np.flatnonzero(np.isin(table.layout_index, layout_indices))
    first_options, second_options = (_build_pool_options(pool, table, rows) for pool in table.pools)
    left, right = _match_equal_keys(first_options.layout_key, second_options.layout_key)
    if not len(left):
        return None
    pools = table.pools
    unit_sequences = (
        pools[0].compute_unit_sequences(first_options.positions[left, 0]),
        pools[1].compute_unit_sequences(second_options.positions[right, 0]),
    )
    max_units = first_options.max_units[left], second_options.max_units[right]
    slope_s, intercept_s = (
        (first_options.slope_s[left], second_options.slope_s[right]),
        (first_options.intercept_s[left], second_options.intercept_s[right]),
    )
    total = np.full(len(left), pools[0].scenario.global_batch)
    x, y, time_s = balance_shares(unit_sequences, max_units, slope_s, intercept_s, total)
    is_equal_share = table.zero_stages[first_options.positions[left, 1]] >= 2
    if is_equal_share.any():
        x_equal, y_equal, equal_time_s = balance_equal_shares(unit_sequences, max_units, slope_s, intercept_s, total)
        x, y = np.where(is_equal_share, x_equal, x), np.where(is_equal_share, y_equal, y)
        time_s = np.where(is_equal_share, equal_time_s, time_s)
    least_time_s = time_s.min()
    if not np.isfinite(least_time_s):
        return None
    near_best = np.flatnonzero(time_s <= least_time_s * (1 + _REL_TOL))
    return _select_best_by_score(
        table,
        first_options.positions[left[near_best]],
        second_options.positions[right[near_best]],
        x[near_best],
        y[near_best],
    )


def _build_pool_options(pool: PoolShareRows, table: ShareTable, rows: Ints) -> _PoolOptions:
    """All options of one pool in some rows, except those with more recomputation than necessary.

    More recomputation never makes a plan faster: it lengthens the backward pass by some time d, and reduces exposed
    gradient communication by at most the overlapped part of d. So a mode is dropped where a mode with less
    recomputation fits as many micro-batches.
    """
    positions = np.argwhere(pool.fits_single_unit[rows])
    positions[:, 0] = rows[positions[:, 0]]
    unit_sequences = pool.compute_unit_sequences(positions[:, 0])
    max_units = _count_fitting_units(pool, table, positions, (pool.scenario.global_batch - 1) // unit_sequences)
    max_units_by_mode = np.zeros((len(rows), *pool.fits_single_unit.shape[1:]), dtype=np.int64)
    row_index = np.searchsorted(rows, positions[:, 0])
    max_units_by_mode[row_index, positions[:, 1], positions[:, 2]] = max_units
    max_units_in_lesser_modes = np.concatenate(
        [np.zeros_like(max_units_by_mode[:, :, :1]), np.maximum.accumulate(max_units_by_mode, axis=2)[:, :, :-1]],
        axis=2,
    )
    keep = max_units > max_units_in_lesser_modes[row_index, positions[:, 1], positions[:, 2]]
    positions, max_units = positions[keep], max_units[keep]
    if not len(positions):
        empty = np.zeros(0)
        return _PoolOptions(positions, max_units, max_units, empty, empty)
    single_unit_s, double_unit_s = (
        _compute_option_times_s(pool, table, positions, np.full(len(positions), count)) for count in (1, 2)
    )
    layout_key = table.layout_index[positions[:, 0]] * len(table.zero_stages) + positions[:, 1]
    return _PoolOptions(
        positions, layout_key, max_units, double_unit_s - single_unit_s, 2 * single_unit_s - double_unit_s
    )


def _take_strategies(pool: PoolShareRows, table: ShareTable, positions: Ints) -> Strategies:
    """The strategies at some positions."""
    strategies = pool.strategies.take(positions[:, 0])
    return replace(
        strategies, zero_stage=table.zero_stages[positions[:, 1]], recompute=table.recompute_modes[positions[:, 2]]
    )


def _compute_option_times_s(pool: PoolShareRows, table: ShareTable, positions: Ints, units: Ints) -> Floats:
    """Seconds of each option with a number of units; linear in the units."""
    rows = positions[:, 0]
    n = units * pool.unit_micro_batches[rows]
    terms, _ = compute_replica_terms(
        pool.device_pools, pool.pool_index, _take_strategies(pool, table, positions), pool.plan_tables.take(rows), n
    )
    return sum_in_order(terms.values())


def _count_fitting_units(pool: PoolShareRows, table: ShareTable, positions: Ints, max_units: Ints) -> Ints:
    """The most units, up to `max_units`, that fit in memory: all where a full pipeline fits, else by bisection, as
    more micro-batches never need less memory.
    """
    fitting_units = max_units.copy()
    uncertain = np.flatnonzero(~pool.fits_full_pipeline[tuple(positions.T)] & (max_units > 1))
    if not len(uncertain):
        return fitting_units
    rows = positions[uncertain, 0]
    strategies, p, unit = (
        _take_strategies(pool, table, positions[uncertain]),
        pool.plan_tables.take(rows),
        pool.unit_micro_batches[rows],
    )
    # more micro-batches than a full pipeline need no additional memory
    low, high = (
        np.ones_like(uncertain),
        np.minimum(max_units[uncertain] + 1, IN_FLIGHT_ROUNDS * strategies.pp // unit + 1),
    )
    while (high - low > 1).any():
        middle = (low + high) // 2
        memory_bytes = sum_in_order(compute_peak_memory_bytes(pool.scenario, strategies, p, middle * unit).values())
        fits = memory_bytes <= pool.scenario.accelerator.memory_bytes
        low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle, low + 1))
    fitting_units[uncertain] = low
    return fitting_units


def _match_equal_keys(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Positions (left, right) of all pairs of equal keys."""
    by_key = np.argsort(right, kind="stable")
    begin, end = (np.searchsorted(right[by_key], left, side=side) for side in ("left", "right"))
    count = end - begin
    first = np.repeat(np.arange(len(left)), count)
    within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return first, by_key[np.repeat(begin, count) + within]


def _select_best_by_score(
    table: ShareTable, first_positions: Ints, second_positions: Ints, x: Ints, y: Ints
) -> HeteroReplicaPlan | None:
    """The best of some plans by their full step times; ties go to the first."""
    if not len(first_positions):
        return None
    positions_by_pool, units = (first_positions, second_positions), (x, y)
    times_s = [
        _compute_option_times_s(*arguments)
        for arguments in zip(table.pools, (table, table), positions_by_pool, units, strict=True)
    ]
    step_time_s = np.maximum(*times_s)
    best_index = int(np.flatnonzero(step_time_s == step_time_s.min())[0])
    strategies, micro_batches, replicas = [], [], []
    for pool, positions, count in zip(table.pools, positions_by_pool, units, strict=True):
        strategies.append(_take_strategies(pool, table, positions[best_index : best_index + 1]))
        micro_batches.append(int(count[best_index] * pool.unit_micro_batches[positions[best_index, 0]]))
        replicas.append(int(pool.replicas[positions[best_index, 0]]))
    return HeteroReplicaPlan(
        (strategies[0], strategies[1]),
        (micro_batches[0], micro_batches[1]),
        (replicas[0], replicas[1]),
        float(step_time_s[best_index]),
    )
