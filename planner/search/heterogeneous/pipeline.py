"""Pipelines across two pools: which stages are in which pool, and how many layers each stage has.

The space: tp, cp, dp, ep, etp, micro-batch, sequence parallelism and ZeRO stage are the same for all stages; tp cp dp
divides the devices of both pools, and each pool has as many stages as its devices allow, the first or the last ones;
vpp is 1; each pool has its own recompute mode; ZeRO is 0 or 1 unless pinned, as 2 and 3 communicate after every
micro-batch. Every stage has at least one layer. For every number of layers of the first pool, layers are partitioned
so that the slowest stage is fastest, exactly; of these plans the one with the shortest step is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order, sum_products
from planner.cost.heterogeneous import BoundPools, PipelineSegment, build_segment, compute_pipeline_terms
from planner.cost.layer_tables import LayerTables
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix
from planner.cost.strategies import Strategies
from planner.search.heterogeneous.best_first import REL_TOL, HeteroPlan, compute_limit_s, search_best_first
from planner.search.heterogeneous.bounds import (
    compute_even_bound_s,
    compute_fill_drain_bound_s,
    compute_free_bound_s,
    compute_memory_bound_s,
)
from planner.search.heterogeneous.candidates import PipelineRows, enumerate_pipeline_rows
from planner.search.heterogeneous.layer_partition import (
    compute_backward_split,
    compute_forward_split,
    compute_stage_fits,
)
from planner.search.space import Space

_PLANS_PER_BLOCK = 4096
"""Plans whose memory-aware bound is computed at once."""
_PLANS_PER_CHUNK, _EVEN_PLANS_PER_CHUNK = 48, 512
"""Plans whose layers are partitioned at once, in order of their bound."""
_SPLITS_PER_CHUNK = 128
"""Splits that are scored at once."""


@dataclass(frozen=True)
class HeteroPipelinePlan(HeteroPlan):
    """The best plan (`pp` of its strategies counts all stages): number of stages of each pool, the pool with the
    first stages, and the layers at which stages begin.
    """

    stage_counts: tuple[int, ...]
    front_pool: int
    layer_bounds: tuple[int, ...]


def find_best_stages(device_pools: BoundPools, space: Space, *, even: bool = False) -> HeteroPipelinePlan | None:
    """The best plan of the space; None where none fits. `even`: layers are partitioned as if all devices were alike,
    with the same recompute mode in both pools.
    """
    best: HeteroPipelinePlan | None = None
    bounded_rows = [
        (rows, compute_free_bound_s(rows)) for rows in enumerate_pipeline_rows(device_pools, space, even=even)
    ]
    find_best = _find_best_even_split if even else _find_best_split
    for rows, bound_s in sorted(bounded_rows, key=lambda pair: float(pair[1].min())):
        best = search_best_first(bound_s, _PLANS_PER_BLOCK, partial(find_best, rows), best)
    return best


def _find_best_split(rows: PipelineRows, block: Ints, best: HeteroPipelinePlan | None) -> HeteroPipelinePlan | None:
    """The fastest plan, with partitioned layers, of a block of rows; or `best`."""
    block_rows = rows.take(block)

    def find_best_in_chunk(chunk: Ints, best: HeteroPipelinePlan | None) -> HeteroPipelinePlan | None:
        return _find_balanced_split(block_rows.take(chunk), best)

    return search_best_first(compute_memory_bound_s(block_rows), _PLANS_PER_CHUNK, find_best_in_chunk, best)


def _find_best_even_split(
    rows: PipelineRows, block: Ints, best: HeteroPipelinePlan | None
) -> HeteroPipelinePlan | None:
    """The fastest plan of a block of rows with an even partition of the layers; or `best`."""
    block_rows = rows.take(block)

    def find_best_in_chunk(chunk: Ints, best: HeteroPipelinePlan | None) -> HeteroPipelinePlan | None:
        return _find_even_split(block_rows.take(chunk))

    return search_best_first(compute_even_bound_s(block_rows), _EVEN_PLANS_PER_CHUNK, find_best_in_chunk, best)


def _find_balanced_split(rows: PipelineRows, best: HeteroPipelinePlan | None) -> HeteroPipelinePlan | None:
    """The fastest plan, with partitioned layers, of some rows; or `best`."""
    costs = _compute_stage_costs_s(rows)
    front_stages = rows.stage_counts[rows.front_pool]
    ahead_s, trace_ahead = compute_forward_split(costs[:front_stages])
    behind_s, trace_behind = compute_backward_split(costs[front_stages:])
    slowest_s: Floats = np.maximum(ahead_s, behind_s)
    fill_drain_s = np.where(np.isfinite(slowest_s), compute_fill_drain_bound_s(rows, slowest_s), 0.0)
    bound_s = rows.micro_batches[:, None] * slowest_s + fill_drain_s
    row, cut = np.nonzero(np.isfinite(bound_s) & (bound_s <= compute_limit_s(best) * (1 + REL_TOL)))

    def find_best_in_chunk(chunk: Ints, best: HeteroPipelinePlan | None) -> HeteroPipelinePlan | None:
        chunk_row, chunk_cut = row[chunk], cut[chunk]
        layer_bounds = [trace_ahead(chunk_row, chunk_cut), chunk_cut[:, None], trace_behind(chunk_row, chunk_cut)]
        return _select_fastest_split(rows.take(chunk_row), np.concatenate(layer_bounds, axis=1))

    return search_best_first(bound_s[row, cut], _SPLITS_PER_CHUNK, find_best_in_chunk, best)


def _compute_stage_costs_s(rows: PipelineRows) -> list[Floats]:
    """For every stage, seconds of one micro-batch with the layers from a to b, infinite where they do not fit; each
    of shape [rows, layers + 1, layers + 1].
    """
    last_position, costs = len(rows.stage_pools) - 1, []
    for position, pool in enumerate(rows.stage_pools):
        embedding_and_head = np.array([float(position == 0), float(position == last_position)])
        layer_times_s = rows.layer_times_s[pool][:, None]
        stage_time_s = sum_products(layer_times_s[..., :-2], rows.contents.counts) + sum_products(
            layer_times_s[..., -2:], embedding_and_head
        )
        fits = compute_stage_fits(
            rows.scenarios[pool],
            rows.strategies[pool],
            rows.contents,
            embedding_and_head,
            position,
            rows.micro_batches,
            rows.layer_tables[pool],
        )
        costs.append(rows.contents.expand_costs(np.where(fits, stage_time_s, np.inf)))
    return costs


def _find_even_split(rows: PipelineRows) -> HeteroPipelinePlan | None:
    """The fastest plan of some rows with an even partition of the layers; None where none fits."""
    layer_counts = assign_layers(rows.contents.prefix.astype(np.int64), sum(rows.stage_counts), 1)[0]
    bounds = np.concatenate([[0], np.cumsum(layer_counts[:, :-2].sum(axis=1))]).astype(np.int64)[1:-1]
    layer_bounds = np.tile(bounds, (len(rows.micro_batches), 1))
    fits = np.ones(len(layer_bounds), dtype=bool)
    for segment in _build_segments(rows, layer_bounds):
        memory_parts = compute_peak_memory_bytes(
            segment.scenario, segment.strategies, segment.plan_tables, rows.micro_batches
        )
        fits &= sum_in_order(memory_parts.values()) <= segment.scenario.usable_memory_bytes
    return _select_fastest_split(rows.take(np.flatnonzero(fits)), layer_bounds[fits]) if fits.any() else None


def _select_fastest_split(rows: PipelineRows, layer_bounds: Ints) -> HeteroPipelinePlan:
    """The fastest of some plans with partitioned layers, by their full step times."""
    step_time_s = sum_in_order(
        compute_pipeline_terms(_build_segments(rows, layer_bounds), rows.micro_batches).terms.values()
    )
    best_index = int(np.argmin(step_time_s))
    return HeteroPipelinePlan(
        strategies=rows.take(np.array([best_index])).strategies,
        step_time_s=float(step_time_s[best_index]),
        stage_counts=rows.stage_counts,
        front_pool=rows.front_pool,
        layer_bounds=tuple(layer_bounds[best_index].tolist()),
    )


def _build_segments(rows: PipelineRows, layer_bounds: Ints) -> tuple[PipelineSegment, ...]:
    return build_pipeline_segments(
        rows.device_pools, rows.strategies, rows.stage_counts, rows.front_pool, layer_bounds, rows.layer_tables
    )


def build_pipeline_segments(
    device_pools: BoundPools,
    strategies: tuple[Strategies, ...],
    stage_counts: tuple[int, ...],
    front_pool: int,
    layer_bounds: Ints,
    layer_tables: tuple[tuple[LayerTables, Ints] | None, ...] = (None, None),
) -> tuple[PipelineSegment, ...]:
    """The segments of both pools, of pipelines with stage boundaries `layer_bounds`, shape [plans, stages - 1];
    `layer_tables`: by pool, as of `build_layer_tables`, where they are known.
    """
    prefix = compute_layer_prefix(device_pools[0].shared_scenario.workload)
    edges = np.pad(layer_bounds, ((0, 0), (1, 1)), constant_values=(0, len(prefix) - 1))
    counts = np.zeros((len(layer_bounds), sum(stage_counts), prefix.shape[1] + 2))
    counts[:, :, :-2] = prefix[edges[:, 1:]] - prefix[edges[:, :-1]]
    counts[:, 0, -2] = counts[:, -1, -1] = 1
    positions = np.tile(np.arange(sum(stage_counts)), (len(layer_bounds), 1))
    front, back = slice(None, stage_counts[front_pool]), slice(stage_counts[front_pool], None)
    return tuple(
        build_segment(pool.shared_scenario, pool_strategies, counts[:, stages], positions[:, stages], tables)
        for pool, pool_strategies, stages, tables in zip(
            device_pools, strategies, (front, back) if front_pool == 0 else (back, front), layer_tables, strict=True
        )
    )
