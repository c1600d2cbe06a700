"""Pipelines across two pools: which stages are in which pool, and how many layers each stage has.

The space: tp, cp, dp, ep, etp, micro-batch, sequence parallelism and ZeRO stage are the same for all stages; tp cp dp
divides the devices of both pools, and each pool has as many stages as its devices allow, the first or the last ones;
vpp is 1; each pool has its own recompute mode; ZeRO is 0 or 1 unless pinned, as 2 and 3 communicate after every
micro-batch. Every stage has at least one layer. For every number of layers of the first pool, layers are partitioned
so that the slowest stage is fastest, exactly; of these plans the one with the shortest step is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order, sum_products
from planner.cost.heterogeneous import BoundPools, PipelineSegment, build_segment, compute_pipeline_terms
from planner.cost.layer_tables import build_layer_tables
from planner.cost.memory import compute_peak_memory_bytes
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix
from planner.cost.scenario import Scenario
from planner.cost.step import compute_layer_terms, compute_pipeline_sends_s, count_micro_batches
from planner.cost.strategies import Strategies, join_strategies
from planner.search.heterogeneous.bounds import StageLoad, compute_memory_load, compute_slowest_stage_bound_s
from planner.search.heterogeneous.layer_partition import (
    StageContents,
    compute_backward_split,
    compute_forward_split,
    compute_stage_fits,
    enumerate_stage_contents,
)
from planner.search.space import SearchStats, Space, compute_divisors, enumerate_parallel_layouts, is_valid_zero_stage

_PLANS_PER_BLOCK = 4096
"""Plans whose memory-aware bound is computed at once."""
_PLANS_PER_CHUNK, _EVEN_PLANS_PER_CHUNK = 48, 512
"""Plans whose layers are partitioned at once, in order of their bound."""
_SPLITS_PER_CHUNK = 128
"""Splits that are scored at once."""
_REL_TOL = 1e-9


@dataclass(frozen=True)
class HeteroPipelinePlan:
    """The best plan: strategies of both pools (of length one; `pp` counts all stages), number of stages of each pool,
    the pool with the first stages, and the layers at which stages begin.
    """

    strategies: tuple[Strategies, Strategies]
    stage_counts: tuple[int, int]
    front_pool: int
    layer_bounds: tuple[int, ...]
    step_time_s: float


@dataclass(frozen=True)
class _PipelineRows:
    """Plans before their layers are partitioned; the strategies of both pools differ only in the recompute mode.

    `stage_counts` of each pool and `front_pool`, the pool with the first stages, are the same for all rows.
    `layer_times_s`: seconds of one layer of each type, for each pool, [rows, layer types].
    """

    strategies: tuple[Strategies, Strategies]
    stage_counts: tuple[int, int]
    front_pool: int
    layer_times_s: tuple[Floats, Floats]
    bound_s: Floats

    def replace_bound(self, bound_s: Floats) -> _PipelineRows:
        """The same rows with another bound."""
        return replace(self, bound_s=bound_s)

    def take(self, index: Ints) -> _PipelineRows:
        """The rows at `index`."""
        return _PipelineRows(
            (self.strategies[0].take(index), self.strategies[1].take(index)),
            self.stage_counts,
            self.front_pool,
            (self.layer_times_s[0][index], self.layer_times_s[1][index]),
            self.bound_s[index],
        )


def find_best_stages(device_pools: BoundPools, space: Space, *, even: bool = False) -> HeteroPipelinePlan | None:
    """The best plan of the space; None where none fits. `even`: layers are partitioned as if all devices were alike,
    with the same recompute mode in both pools.
    """
    best: HeteroPipelinePlan | None = None
    contents = enumerate_stage_contents(compute_layer_prefix(device_pools[0].shared_scenario.workload))
    compute_bound_s, find_split, chunk_size = (
        (_compute_even_bound_s, _find_even_split, _EVEN_PLANS_PER_CHUNK)
        if even
        else (_compute_memory_aware_bound_s, _find_balanced_split, _PLANS_PER_CHUNK)
    )

    def compute_limit_s() -> float:
        return np.inf if best is None else best.step_time_s * (1 + _REL_TOL)

    for rows in sorted(
        _enumerate_pipeline_rows(device_pools, space, even), key=lambda rows: float(rows.bound_s.min())
    ):
        for block in _iterate_by_bound(rows, rows.bound_s, _PLANS_PER_BLOCK, compute_limit_s):
            bounded_rows = block.replace_bound(compute_bound_s(device_pools, block, contents))
            for chunk in _iterate_by_bound(bounded_rows, bounded_rows.bound_s, chunk_size, compute_limit_s):
                candidate = find_split(device_pools, chunk, contents, compute_limit_s())
                if candidate is not None and (best is None or candidate.step_time_s < best.step_time_s):
                    best = candidate
    return best


def _iterate_by_bound(
    rows: _PipelineRows, bound_s: Floats, chunk_size: int, compute_limit_s: Callable[[], float]
) -> Iterator[_PipelineRows]:
    """Chunks of rows in order of their bound, as long as it is within the limit, which may decrease meanwhile."""
    order = np.argsort(bound_s, kind="stable")
    order = order[np.isfinite(bound_s[order])]
    for start in range(0, len(order), chunk_size):
        chunk = order[start : start + chunk_size]
        chunk = chunk[bound_s[chunk] <= compute_limit_s()]
        if not len(chunk):
            return
        yield rows.take(chunk)


def _enumerate_pipeline_rows(device_pools: BoundPools, space: Space, even: bool) -> Iterator[_PipelineRows]:
    """All plans before their layers are partitioned, by the devices of a stage and the pool in front."""
    scenario = device_pools[0].shared_scenario
    workload, devices = scenario.workload, (device_pools[0].devices, device_pools[1].devices)
    modes = space.enumerate_values(workload)["recompute"]
    zero_stages = space.enumerate_values(workload)["zero_stage"] if "zero_stage" in space.allowed else np.arange(2)
    if 1 not in space.allowed.get("vpp", (1,)):
        return
    for stage_devices in compute_divisors(int(np.gcd(*devices))).tolist():
        stage_counts = devices[0] // stage_devices, devices[1] // stage_devices
        total_stages = sum(stage_counts)
        if total_stages > workload.layer_count or total_stages not in space.allowed.get("pp", (total_stages,)):
            continue
        stage_space = replace(space, devices=stage_devices, allowed={**space.allowed, "pp": (1,), "vpp": (1,)})
        blocks = list(enumerate_parallel_layouts(stage_space, workload, SearchStats()))
        if not blocks:
            continue
        candidates = replace(join_strategies(blocks), pp=np.full(sum(map(len, blocks)), total_stages))
        layout_index, zero_stage, mode, other_mode = (
            column.ravel()
            for column in np.meshgrid(
                np.arange(len(candidates)), np.arange(len(zero_stages)), modes, modes, indexing="ij"
            )
        )
        keep = is_valid_zero_stage(candidates, zero_stages, scenario.shard_group)[layout_index, zero_stage] & (
            (mode == other_mode) | (not even)
        )
        layout_index, zero_stage, mode, other_mode = (
            layout_index[keep],
            zero_stages[zero_stage[keep]],
            mode[keep],
            other_mode[keep],
        )
        if not len(layout_index):
            continue
        strategies = tuple(
            replace(candidates.take(layout_index), zero_stage=zero_stage, recompute=pool_mode)
            for pool_mode in (mode, other_mode)
        )
        layer_times_s = tuple(
            _compute_layer_times_s(pool.shared_scenario, candidates, layout_index, pool_mode)
            for pool, pool_mode in zip(device_pools, (mode, other_mode), strict=True)
        )
        for front_pool in (0, 1):
            strategy_pair, time_pair = (strategies[0], strategies[1]), (layer_times_s[0], layer_times_s[1])
            yield _PipelineRows(
                strategy_pair,
                stage_counts,
                front_pool,
                time_pair,
                _compute_step_bound_s(device_pools, strategy_pair, stage_counts, time_pair),
            )


def _compute_layer_times_s(scenario: Scenario, candidates: Strategies, layout_index: Ints, mode: Ints) -> Floats:
    """Seconds of one micro-batch in one layer of each type, [rows, layer types]."""
    tables, row = build_layer_tables(scenario, candidates)
    rows = replace(candidates.take(layout_index), recompute=mode)
    return sum_in_order(compute_layer_terms(scenario, rows, tables, row[layout_index]).values())


def _compute_step_bound_s(
    device_pools: BoundPools,
    strategies: tuple[Strategies, Strategies],
    stage_counts: tuple[int, int],
    layer_times_s: tuple[Floats, Floats],
) -> Floats:
    """A lower bound of the step, shape [rows].

    If layers could be divided freely, the slowest stage would take T with p_k T seconds for the layers of pool k, so
    T = sum_k y_k p_k T >= sum over layers of min_k y_k tau_k for all y_k >= 0 with sum y_k p_k = 1. y_k is taken
    inversely proportional to the mean layer time of pool k, which is exact where all layers are alike.
    """
    workload = device_pools[0].shared_scenario.workload
    layer_counts = compute_layer_prefix(workload)[-1]
    body_times_s = [table[:, :-2] for table in layer_times_s]
    mean_layer_s = [(table * layer_counts).sum(axis=1) / layer_counts.sum() for table in body_times_s]
    scale = sum(p / m for p, m in zip(stage_counts, mean_layer_s, strict=True))
    least = np.minimum(*(table / m[:, None] for table, m in zip(body_times_s, mean_layer_s, strict=True)))
    slowest_s = (least * layer_counts).sum(axis=1) / scale
    n = count_micro_batches(device_pools[0].shared_scenario, strategies[0])
    sends = np.maximum(
        *(
            compute_pipeline_sends_s(pool.shared_scenario, s, n)[0]
            for pool, s in zip(device_pools, strategies, strict=True)
        )
    )
    bound_s: Floats = (n * slowest_s + sends) * (1 - _REL_TOL)
    return bound_s


def _compute_memory_aware_bound_s(device_pools: BoundPools, rows: _PipelineRows, contents: StageContents) -> Floats:
    """A lower bound of the step with memory limits, infinite where the layers do not fit; shape [rows]."""
    n = count_micro_batches(device_pools[0].shared_scenario, rows.strategies[0])
    loads = [
        StageLoad(layer_times_s, *compute_memory_load(pool.shared_scenario, s))
        for pool, s, layer_times_s in zip(device_pools, rows.strategies, rows.layer_times_s, strict=True)
    ]
    memory_bytes = (
        device_pools[0].shared_scenario.accelerator.memory_bytes,
        device_pools[1].shared_scenario.accelerator.memory_bytes,
    )
    workload = device_pools[0].shared_scenario.workload
    slowest_s = compute_slowest_stage_bound_s(
        workload, (loads[0], loads[1]), memory_bytes, rows.stage_counts, rows.front_pool, n
    )
    return _add_fill_drain_bound(device_pools, rows, contents, slowest_s, n)


def _compute_even_bound_s(device_pools: BoundPools, rows: _PipelineRows, contents: StageContents) -> Floats:
    """The same for an even partition of the layers, without memory limits."""
    layer_counts = assign_layers(contents.prefix.astype(np.int64), sum(rows.stage_counts), 1)[0]
    front_stages = rows.stage_counts[rows.front_pool]
    front, back = rows.layer_times_s[rows.front_pool][:, None], rows.layer_times_s[1 - rows.front_pool][:, None]
    ahead, behind = sum_products(front, layer_counts[:front_stages]), sum_products(back, layer_counts[front_stages:])
    slowest_s = np.maximum(ahead.max(axis=1), behind.max(axis=1))
    return _add_fill_drain_bound(
        device_pools,
        rows,
        contents,
        slowest_s,
        count_micro_batches(device_pools[0].shared_scenario, rows.strategies[0]),
    )


def _add_fill_drain_bound(
    device_pools: BoundPools, rows: _PipelineRows, contents: StageContents, slowest_s: Floats, n: Ints
) -> Floats:
    """The bound of the step with this slowest stage, minimised over the number of layers in front, [rows]."""
    finite_slowest_s = np.where(np.isfinite(slowest_s), slowest_s, 0.0)[:, None]
    least_fill_drain_s = _compute_fill_drain_bound_s(
        device_pools, rows, contents, np.broadcast_to(finite_slowest_s, (len(finite_slowest_s), len(contents.prefix)))
    ).min(axis=1)
    bound_s: Floats = (n * slowest_s + least_fill_drain_s) * (1 - _REL_TOL)
    return bound_s


def _find_balanced_split(
    device_pools: BoundPools, rows: _PipelineRows, contents: StageContents, limit_s: float
) -> HeteroPipelinePlan | None:
    """The best plan, with partitioned layers, of some rows, among those of at most `limit_s` seconds."""
    n = count_micro_batches(device_pools[0].shared_scenario, rows.strategies[0])
    costs = _compute_stage_costs_s(device_pools, rows, contents, n)
    front_stages = rows.stage_counts[rows.front_pool]
    ahead, trace_ahead = compute_forward_split(costs[:front_stages])
    behind, trace_behind = compute_backward_split(costs[front_stages:])
    slowest_s = np.maximum(ahead, behind)
    lower_bound_s = n[:, None] * slowest_s + np.where(
        np.isfinite(slowest_s), _compute_fill_drain_bound_s(device_pools, rows, contents, slowest_s), 0.0
    )
    row, split = np.nonzero(np.isfinite(lower_bound_s) & (lower_bound_s <= limit_s * (1 + _REL_TOL)))
    order = np.argsort(lower_bound_s[row, split], kind="stable")
    row, split = row[order], split[order]
    best: HeteroPipelinePlan | None = None
    for start in range(0, len(row), _SPLITS_PER_CHUNK):
        row_chunk, cut = row[start : start + _SPLITS_PER_CHUNK], split[start : start + _SPLITS_PER_CHUNK]
        if lower_bound_s[row_chunk[0], cut[0]] > limit_s * (1 + _REL_TOL):
            break
        bounds = np.concatenate([trace_ahead(row_chunk, cut), cut[:, None], trace_behind(row_chunk, cut)], axis=1)
        candidate = _select_fastest_split(device_pools, rows.take(row_chunk), bounds)
        if candidate.step_time_s < limit_s:
            best, limit_s = candidate, candidate.step_time_s
    return best


def _compute_fill_drain_bound_s(
    device_pools: BoundPools, rows: _PipelineRows, contents: StageContents, slowest_s: Floats
) -> Floats:
    """A lower bound of fill, drain and send times by the number of layers in front, [rows, layers + 1]."""
    scenario = device_pools[0].shared_scenario
    strategies, n = rows.strategies, count_micro_batches(scenario, rows.strategies[0])
    sends = np.maximum(
        *(
            compute_pipeline_sends_s(pool.shared_scenario, s, n)[0]
            for pool, s in zip(device_pools, strategies, strict=True)
        )
    )
    if scenario.pipeline_schedule == "zero-bubble":
        return np.broadcast_to(sends[:, None], slowest_s.shape)
    front, back = rows.layer_times_s[rows.front_pool][:, None], rows.layer_times_s[1 - rows.front_pool][:, None]
    ahead = sum_products(front[..., :-2], contents.prefix) + front[..., -2]
    behind = sum_products(back[..., :-2], contents.prefix[-1] - contents.prefix) + back[..., -1]
    fill_drain_s: Floats = np.maximum((ahead + behind) * (1 - _REL_TOL) - slowest_s, 0.0) + sends[:, None]
    return fill_drain_s


def _compute_stage_costs_s(
    device_pools: BoundPools, rows: _PipelineRows, contents: StageContents, n: Ints
) -> list[Floats]:
    """For every stage, seconds of one micro-batch with the layers from a to b, infinite where they do not fit; each
    of shape [rows, layers + 1, layers + 1].
    """
    front_pool, total_stages = rows.front_pool, sum(rows.stage_counts)
    tables = [
        build_layer_tables(pool.shared_scenario, s) for pool, s in zip(device_pools, rows.strategies, strict=True)
    ]
    costs = []
    for position in range(total_stages):
        k = front_pool if position < rows.stage_counts[front_pool] else 1 - front_pool
        embedding_and_head = np.array([float(position == 0), float(position == total_stages - 1)])
        layer_times_s = rows.layer_times_s[k][:, None]
        stage_time_s = sum_products(layer_times_s[..., :-2], contents.counts) + sum_products(
            layer_times_s[..., -2:], embedding_and_head
        )
        fits = compute_stage_fits(
            device_pools[k].shared_scenario, rows.strategies[k], contents, embedding_and_head, position, n, tables[k]
        )
        costs.append(contents.expand_costs(np.where(fits, stage_time_s, np.inf)))
    return costs


def _find_even_split(
    device_pools: BoundPools, rows: _PipelineRows, contents: StageContents, limit_s: float
) -> HeteroPipelinePlan | None:
    """The best of some plans with an even partition of the layers."""
    layer_counts = assign_layers(contents.prefix.astype(np.int64), sum(rows.stage_counts), 1)[0]
    bounds = np.concatenate([[0], np.cumsum(layer_counts[:, :-2].sum(axis=1))]).astype(np.int64)[1:-1]
    n = count_micro_batches(device_pools[0].shared_scenario, rows.strategies[0])
    all_bounds = np.tile(bounds, (len(rows.bound_s), 1))
    fits = np.ones(len(all_bounds), dtype=bool)
    for segment in build_pipeline_segments(
        device_pools, rows.strategies, rows.stage_counts, rows.front_pool, all_bounds
    ):
        memory_bytes = sum_in_order(
            compute_peak_memory_bytes(segment.scenario, segment.strategies, segment.plan_tables, n).values()
        )
        fits &= memory_bytes <= segment.scenario.accelerator.memory_bytes
    if not fits.any():
        return None
    return _select_fastest_split(device_pools, rows.take(np.flatnonzero(fits)), all_bounds[fits])


def _select_fastest_split(device_pools: BoundPools, rows: _PipelineRows, layer_bounds: Ints) -> HeteroPipelinePlan:
    """The fastest of some plans with partitioned layers, by their full step times."""
    n = count_micro_batches(device_pools[0].shared_scenario, rows.strategies[0])
    joined = compute_pipeline_terms(
        build_pipeline_segments(device_pools, rows.strategies, rows.stage_counts, rows.front_pool, layer_bounds), n
    )
    step_time_s = sum_in_order(joined.terms.values())
    best_index = int(np.argmin(step_time_s))
    best_row = rows.take(np.array([best_index]))
    return HeteroPipelinePlan(
        best_row.strategies,
        rows.stage_counts,
        rows.front_pool,
        tuple(layer_bounds[best_index].tolist()),
        float(step_time_s[best_index]),
    )


def build_pipeline_segments(
    device_pools: BoundPools,
    strategies: tuple[Strategies, Strategies],
    stage_counts: tuple[int, int],
    front_pool: int,
    layer_bounds: Ints,
) -> tuple[PipelineSegment, PipelineSegment]:
    """The segments of both pools, of pipelines with stage boundaries `layer_bounds`, shape [plans, stages - 1]."""
    prefix = compute_layer_prefix(device_pools[0].shared_scenario.workload)
    total_stages = sum(stage_counts)
    edges = np.concatenate([np.zeros((len(layer_bounds), 1), dtype=np.int64), layer_bounds], axis=1)
    edges = np.concatenate([edges, np.full((len(layer_bounds), 1), len(prefix) - 1)], axis=1)
    counts = np.zeros((len(layer_bounds), total_stages, prefix.shape[1] + 2))
    counts[:, :, :-2] = prefix[edges[:, 1:]] - prefix[edges[:, :-1]]
    counts[:, 0, -2] = counts[:, -1, -1] = 1
    positions = np.tile(np.arange(total_stages), (len(layer_bounds), 1))
    stage_slices = {
        front_pool: slice(0, stage_counts[front_pool]),
        1 - front_pool: slice(stage_counts[front_pool], total_stages),
    }
    first_segment, second_segment = (
        build_segment(
            device_pools[k].shared_scenario, strategies[k], counts[:, stage_slices[k]], positions[:, stage_slices[k]]
        )
        for k in (0, 1)
    )
    return first_segment, second_segment
