"""Data-parallel replicas in two pools: layout, and micro-batch, recompute mode and number of micro-batches per pool.

The space: tp, pp, cp, ep, etp, vpp, sequence parallelism and ZeRO stage are the same for all replicas; every replica
lies within one pool, so that tp pp cp divides the devices of both pools. Each pool has its own micro-batch (those of
the ordinary search and all up to 8, or the pinned ones), recompute mode and number of micro-batches (at least one; a
multiple of pp for vpp > 1). The pools' sequences add up to the batch. ZeRO 2 and 3 communicate at every micro-batch,
so that all replicas have equally many. The search is exact: see `integer_balance` and `compute_replica_bounds_s`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.step import compute_pipeline_bound_s
from planner.search.heterogeneous.best_first import REL_TOL, HeteroPlan, search_best_first
from planner.search.heterogeneous.bounds import compute_replica_bounds_s
from planner.search.heterogeneous.candidates import PoolShareRows, ShareTable
from planner.search.heterogeneous.integer_balance import balance_equal_shares, balance_shares

_LAYOUTS_PER_CHUNK = 64
"""Layouts whose shares are balanced at once, in order of their bound."""
_EVEN_ROWS_PER_CHUNK = 512


@dataclass(frozen=True)
class HeteroReplicaPlan(HeteroPlan):
    """The best plan (`dp` of its strategies counts all replicas): micro-batches and replicas of each pool."""

    micro_batches: tuple[int, ...]
    replicas: tuple[int, ...]


def find_best_shares(table: ShareTable | None) -> HeteroReplicaPlan | None:
    """The best plan of the declared space, exactly; None where none fits."""
    if table is None:
        return None

    def find_best_in_chunk(layouts: Ints, best: HeteroReplicaPlan | None) -> HeteroReplicaPlan | None:
        return _find_best_in_layouts(table, layouts)

    return search_best_first(compute_replica_bounds_s(table), _LAYOUTS_PER_CHUNK, find_best_in_chunk)


def find_even_shares(table: ShareTable | None) -> HeteroReplicaPlan | None:
    """The best plan in which all replicas have the same work, as if all devices were alike; None where none fits."""
    if table is None:
        return None
    first_pool, second_pool = table.pools
    global_batch = first_pool.scenario.global_batch
    sequences_per_round = (first_pool.replicas + second_pool.replicas) * first_pool.strategies.micro_batch
    sequences_per_unit = sequences_per_round * first_pool.unit_micro_batches
    rows = np.flatnonzero((global_batch % sequences_per_unit == 0) & first_pool.fits_single_unit.any(axis=(1, 2)))
    micro_batches = global_batch // sequences_per_round[rows]
    bounds_s = [
        compute_pipeline_bound_s(p.scenario, p.strategies.take(rows), p.plan_tables.take(rows), micro_batches)
        for p in table.pools
    ]

    def find_best_in_chunk(chunk: Ints, best: HeteroReplicaPlan | None) -> HeteroReplicaPlan | None:
        block = rows[chunk]
        positions = np.argwhere(first_pool.fits_single_unit[block] & second_pool.fits_single_unit[block])
        positions[:, 0] = block[positions[:, 0]]
        units = global_batch // sequences_per_unit[positions[:, 0]]
        first_fits, second_fits = (pool.count_fitting_units(positions, units) >= units for pool in table.pools)
        keep = first_fits & second_fits
        return _select_fastest(table, (positions[keep], positions[keep]), (units[keep], units[keep]))

    return search_best_first(np.maximum(*bounds_s), _EVEN_ROWS_PER_CHUNK, find_best_in_chunk)


@dataclass(frozen=True)
class _PoolOptions:
    """The options of one pool in some layouts, `positions` as of `PoolShareRows`: `layout_key` of layout and ZeRO
    stage; `max_units`: the most units that fit; the time of x units is intercept + slope x. Shape [options] each.
    """

    positions: Ints
    layout_key: Ints
    max_units: Ints
    slope_s: Floats
    intercept_s: Floats


def _find_best_in_layouts(table: ShareTable, layout_indices: Ints) -> HeteroReplicaPlan | None:
    """The best plan of some layouts."""
    first_pool, second_pool = table.pools
    rows = np.flatnonzero(np.isin(first_pool.layout_index, layout_indices))
    first, second = (_build_pool_options(pool, rows) for pool in table.pools)
    left, right = _match_equal_keys(first.layout_key, second.layout_key)
    if not len(left):
        return None
    first_positions, second_positions = first.positions[left], second.positions[right]
    problem = (
        (
            first_pool.compute_unit_sequences(first_positions[:, 0]),
            second_pool.compute_unit_sequences(second_positions[:, 0]),
        ),
        (first.max_units[left], second.max_units[right]),
        (first.slope_s[left], second.slope_s[right]),
        (first.intercept_s[left], second.intercept_s[right]),
        np.full(len(left), first_pool.scenario.global_batch),
    )
    first_units, second_units, time_s = balance_shares(*problem)
    is_equal_share = first_pool.zero_stages[first_positions[:, 1]] >= 2
    if is_equal_share.any():
        equal_units, _, equal_time_s = balance_equal_shares(*problem)
        first_units = np.where(is_equal_share, equal_units, first_units)
        second_units = np.where(is_equal_share, equal_units, second_units)
        time_s = np.where(is_equal_share, equal_time_s, time_s)
    least_time_s = time_s.min()
    if not np.isfinite(least_time_s):
        return None
    near = np.flatnonzero(time_s <= least_time_s * (1 + REL_TOL))
    return _select_fastest(
        table, (first_positions[near], second_positions[near]), (first_units[near], second_units[near])
    )


def _build_pool_options(pool: PoolShareRows, rows: Ints) -> _PoolOptions:
    """All options of one pool in some rows, except those with more recomputation than necessary.

    More recomputation never makes a plan faster: it lengthens the backward pass by some time d, and reduces exposed
    gradient communication by at most the overlapped part of d. So a mode is dropped where a mode with less
    recomputation fits as many micro-batches.
    """
    positions = np.argwhere(pool.fits_single_unit[rows])
    row_index = positions[:, 0].copy()
    positions[:, 0] = rows[row_index]
    unit_sequences = pool.compute_unit_sequences(positions[:, 0])
    max_units = pool.count_fitting_units(positions, (pool.scenario.global_batch - 1) // unit_sequences)
    units_by_mode = np.zeros((len(rows), *pool.fits_single_unit.shape[1:]), dtype=np.int64)
    units_by_mode[row_index, positions[:, 1], positions[:, 2]] = max_units
    units_in_lesser_modes = np.maximum.accumulate(units_by_mode, axis=2)[:, :, :-1]
    units_in_lesser_modes = np.pad(units_in_lesser_modes, ((0, 0), (0, 0), (1, 0)))
    keep = max_units > units_in_lesser_modes[row_index, positions[:, 1], positions[:, 2]]
    positions, max_units = positions[keep], max_units[keep]
    if not len(positions):
        empty = np.zeros(0)
        return _PoolOptions(positions, max_units, max_units, empty, empty)
    single_unit_s, double_unit_s = (
        pool.compute_times_s(positions, np.full(len(positions), units)) for units in (1, 2)
    )
    layout_key = pool.layout_index[positions[:, 0]] * len(pool.zero_stages) + positions[:, 1]
    return _PoolOptions(
        positions, layout_key, max_units, double_unit_s - single_unit_s, 2 * single_unit_s - double_unit_s
    )


def _match_equal_keys(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Positions (left, right) of all pairs of equal keys."""
    by_key = np.argsort(right, kind="stable")
    begin, end = (np.searchsorted(right[by_key], left, side=side) for side in ("left", "right"))
    count = end - begin
    left_positions = np.repeat(np.arange(len(left)), count)
    position_in_match = np.arange(len(left_positions)) - np.repeat(np.cumsum(count) - count, count)
    return left_positions, by_key[np.repeat(begin, count) + position_in_match]


def _select_fastest(
    table: ShareTable, positions: tuple[Ints, Ints], units: tuple[Ints, Ints]
) -> HeteroReplicaPlan | None:
    """The fastest of some plans by their full step times, from options and units by pool; ties go to the first."""
    if not len(units[0]):
        return None
    shares = list(zip(table.pools, positions, units, strict=True))
    step_time_s = np.maximum(*(pool.compute_times_s(options, count) for pool, options, count in shares))
    best_index = int(step_time_s.argmin())
    best = [(pool, options[best_index : best_index + 1], int(count[best_index])) for pool, options, count in shares]
    return HeteroReplicaPlan(
        strategies=tuple(pool.take_strategies(option) for pool, option, _ in best),
        step_time_s=float(step_time_s[best_index]),
        micro_batches=tuple(count * int(pool.unit_micro_batches[option[0, 0]]) for pool, option, count in best),
        replicas=tuple(int(pool.replicas[option[0, 0]]) for pool, option, _ in best),
    )
