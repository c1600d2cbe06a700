"""Candidates on two pools before batch or layers are divided: replicas within the pools, pipelines across both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, find_distinct_values, sum_in_order
from planner.cost.heterogeneous import BoundPools, compute_replica_terms
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.memory.peak import compute_host_memory_bytes, compute_memory_totals_bytes, compute_peak_memory_bytes
from planner.cost.pipeline.partition import compute_layer_prefix
from planner.cost.pipeline.stages import IN_FLIGHT_ROUNDS, PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_layer_terms, compute_pipeline_send_s, count_micro_batches
from planner.cost.strategies import Strategies, join_strategies
from planner.search.heterogeneous.layer_partition import StageContents, enumerate_stage_contents
from planner.search.program_rules import build_plan_values, find_accepted_candidates, list_possible_programs
from planner.search.space import SearchStats, Space, compute_divisors, enumerate_parallel_layouts, is_valid_zero_stage
from planner.trainers.rules import PlanValues

_MAX_FREE_MICRO_BATCH = 8
"""All micro-batches up to this size, or the pinned ones, are candidates: a pool's share need not divide the batch."""


@dataclass(frozen=True)
class PoolShareRows:
    """The rows of one pool: each is a layout with a micro-batch. Arrays of shape [rows].

    `replicas`: replicas in this pool. Micro-batches are counted in units of `unit_micro_batches`, as interleaving
    needs multiples of pp. `fits_single_unit`, `fits_full_pipeline`: whether a row fits in memory with one unit, and
    with a full pipeline, shape [rows, ZeRO stages, recompute modes].

    An option is a row with a ZeRO stage and a recompute mode, given by its `positions` in these, shape [options, 3].
    """

    device_pools: BoundPools
    pool_index: int
    strategies: Strategies
    plan_tables: PlanTables
    layout_index: Ints
    replicas: Ints
    unit_micro_batches: Ints
    zero_stages: Ints
    recompute_modes: Ints
    fits_single_unit: Bools
    fits_full_pipeline: Bools

    @property
    def scenario(self) -> Scenario:
        """The scenario as if all devices were those of this pool."""
        return self.device_pools[self.pool_index].shared_scenario

    def compute_unit_sequences(self, rows: Ints) -> Ints:
        """Sequences of one unit on all replicas of this pool."""
        sequences: Ints = self.replicas[rows] * self.strategies.micro_batch[rows] * self.unit_micro_batches[rows]
        return sequences

    def take_strategies(self, positions: Ints) -> Strategies:
        """The strategies of options."""
        return replace(
            self.strategies.take(positions[:, 0]),
            zero_stage=self.zero_stages[positions[:, 1]],
            recompute=self.recompute_modes[positions[:, 2]],
        )

    def compute_times_s(self, positions: Ints, units: Ints) -> Floats:
        """Seconds of a step of each option with a number of units; linear in the units."""
        rows = positions[:, 0]
        micro_batches = units * self.unit_micro_batches[rows]
        strategies, plan_tables = self.take_strategies(positions), self.plan_tables.take(rows)
        terms, _ = compute_replica_terms(self.device_pools, self.pool_index, strategies, plan_tables, micro_batches)
        return sum_in_order(terms.values())

    def count_fitting_units(self, positions: Ints, max_units: Ints) -> Ints:
        """The most units, up to `max_units`, that fit in memory: all where a full pipeline fits, else by bisection,
        as more micro-batches never need less memory.
        """
        fitting_units = max_units.copy()
        uncertain = np.flatnonzero(~self.fits_full_pipeline[tuple(positions.T)] & (max_units > 1))
        if not len(uncertain):
            return fitting_units
        rows = positions[uncertain, 0]
        strategies, plan_tables = self.take_strategies(positions[uncertain]), self.plan_tables.take(rows)
        unit = self.unit_micro_batches[rows]
        low = np.ones_like(uncertain)
        # more micro-batches than a full pipeline need no additional memory
        high = np.minimum(max_units[uncertain] + 1, IN_FLIGHT_ROUNDS * strategies.pp // unit + 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            memory_parts = compute_peak_memory_bytes(self.scenario, strategies, plan_tables, middle * unit)
            fits = sum_in_order(memory_parts.values()) <= self.scenario.usable_memory_bytes
            low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle, low + 1))
        fitting_units[uncertain] = low
        return fitting_units


@dataclass(frozen=True)
class ShareTable:
    """The rows of both pools, which have the same layouts and micro-batches in the same order."""

    pools: tuple[PoolShareRows, ...]
    layout_count: int


def build_share_table(device_pools: BoundPools, space: Space) -> ShareTable | None:
    """All rows that fit in at least one pool; None where there are none."""
    values = space.enumerate_values(device_pools[0].shared_scenario.workload)
    zero_stages, recompute_modes = values["zero_stage"], values["recompute"]
    layouts = _enumerate_common_layouts(device_pools, space)
    if layouts is None or not len(zero_stages) or not len(recompute_modes):
        return None
    free_sizes = space.allowed.get("micro_batch", range(1, _MAX_FREE_MICRO_BATCH + 1))
    micro_batch_sizes = find_distinct_values(np.concatenate([values["micro_batch"], free_sizes]))
    blocks = list(_enumerate_fitting_rows(device_pools, layouts, micro_batch_sizes, zero_stages, recompute_modes))
    if not blocks:
        return None
    strategies = join_strategies([rows for rows, _, _ in blocks])
    layout_index = np.concatenate([layout_index for _, layout_index, _ in blocks])
    fits = np.concatenate([fits for _, _, fits in blocks], axis=2)
    pools = tuple(
        PoolShareRows(
            device_pools=device_pools,
            pool_index=pool_index,
            strategies=strategies,
            plan_tables=build_plan_tables(pool.shared_scenario, strategies),
            layout_index=layout_index,
            replicas=pool.devices // (strategies.tp * strategies.pp * strategies.cp),
            unit_micro_batches=_count_unit_micro_batches(strategies),
            zero_stages=zero_stages,
            recompute_modes=recompute_modes,
            fits_single_unit=fits[pool_index, 0],
            fits_full_pipeline=fits[pool_index, 1],
        )
        for pool_index, pool in enumerate(device_pools)
    )
    return ShareTable(pools, len(layouts))


def _count_unit_micro_batches(strategies: Strategies) -> Ints:
    unit: Ints = np.where(strategies.vpp > 1, strategies.pp, 1)
    return unit


def _enumerate_common_layouts(device_pools: BoundPools, space: Space) -> Strategies | None:
    """Layouts that are valid in both pools; `dp` counts the replicas of both."""
    common_devices = math.gcd(device_pools[0].devices, device_pools[1].devices)
    # layouts on the greatest common divisor have a whole number of replicas in both pools; the batch is divided
    # later, so the search takes a batch that all dp divide
    allowed = {name: values for name, values in space.allowed.items() if name not in ("dp", "micro_batch")}
    wide_space = replace(
        space,
        devices=common_devices,
        global_batch=common_devices * common_devices,
        allowed={**allowed, "micro_batch": (1,)},
    )
    blocks = list(enumerate_parallel_layouts(wide_space, device_pools[0].shared_scenario.workload, SearchStats()))
    if not blocks:
        return None
    layouts = join_strategies(blocks)
    devices = device_pools[0].devices + device_pools[1].devices
    layouts = replace(layouts, dp=devices // (layouts.tp * layouts.pp * layouts.cp))
    return layouts.take(np.isin(layouts.dp, space.allowed["dp"])) if "dp" in space.allowed else layouts


def _enumerate_fitting_rows(
    device_pools: BoundPools, layouts: Strategies, micro_batch_sizes: Ints, zero_stages: Ints, recompute_modes: Ints
) -> Iterator[tuple[Strategies, Ints, Bools]]:
    """Rows of each micro-batch size, ascending, with the index of their layouts, and whether each pool fits one unit
    and a full pipeline, shape [pools, 2, rows, ZeRO stages, recompute modes].
    """
    batch = device_pools[0].shared_scenario.global_batch
    smallest_replicas = min(pool.devices for pool in device_pools) // (layouts.tp * layouts.pp * layouts.cp)
    remaining = np.arange(len(layouts))
    for size in micro_batch_sizes.tolist():
        remaining = remaining[(smallest_replicas * _count_unit_micro_batches(layouts))[remaining] * size < batch]
        if not len(remaining):
            return
        rows = replace(layouts.take(remaining), micro_batch=np.full(len(remaining), size))
        fits = np.stack(
            [_compute_pool_fits(pool.shared_scenario, rows, zero_stages, recompute_modes) for pool in device_pools]
        )
        # a layout that does not fit with a smaller micro-batch does not fit with a larger one
        keep: Bools = np.any(fits[:, 0], axis=(0, 2, 3))
        remaining = remaining[keep]
        if len(remaining):
            yield rows.take(keep), remaining, fits[:, :, keep]


def _compute_pool_fits(scenario: Scenario, rows: Strategies, zero_stages: Ints, recompute_modes: Ints) -> Bools:
    """`fits_single_unit` and `fits_full_pipeline` of one pool, as in `PoolShareRows`, stacked."""
    tables = build_plan_tables(scenario, rows)
    values = zero_stages.tolist(), recompute_modes.tolist()
    allowed = is_valid_zero_stage(rows, zero_stages, scenario.shard_group)[:, :, None]
    single_unit_bytes, full_pipeline_bytes = (
        compute_memory_totals_bytes(scenario, rows, tables, *values, micro_batches)
        for micro_batches in (_count_unit_micro_batches(rows), IN_FLIGHT_ROUNDS * rows.pp)
    )
    allowed = allowed & _accept_by_programs(
        scenario, build_plan_values(scenario, rows, zero_stages, recompute_modes), 3
    )
    fits_single_unit = allowed & (single_unit_bytes <= scenario.usable_memory_bytes)
    if scenario.host is not None and scenario.offload.is_active:
        # the host must have room for what full pipelines offload
        full_batch = int((IN_FLIGHT_ROUNDS * rows.pp * rows.dp * rows.micro_batch).max())
        host_bytes = compute_host_memory_bytes(replace(scenario, global_batch=full_batch), rows, tables, *values)
        fits_single_unit &= host_bytes <= scenario.host.memory_bytes
    return np.stack([fits_single_unit, fits_single_unit & (full_pipeline_bytes <= scenario.usable_memory_bytes)])


def _accept_by_programs(scenario: Scenario, values: PlanValues, dimensions: int) -> Bools:
    """Whether a program of the scenario runs each candidate in its pool, an array of so many dimensions."""
    if not scenario.programs:
        return np.ones((1,) * dimensions, dtype=bool)
    return find_accepted_candidates(list_possible_programs(scenario), values, dimensions)


def _accept_by_common_program(device_pools: BoundPools, strategies: Sequence[Strategies]) -> Bools:
    """Whether one program runs the parts of both pools, `strategies` by pool, shape [plans]."""
    programs = device_pools[0].shared_scenario.programs
    accepted: Bools = np.full(len(strategies[0]), not programs)
    for name in programs:
        runs_both: Bools = np.ones(len(accepted), dtype=bool)
        for pool, pool_strategies in zip(device_pools, strategies, strict=True):
            scenario = replace(pool.shared_scenario, programs=(name,))
            runs_both &= _accept_by_programs(scenario, build_plan_values(scenario, pool_strategies), 1)
        accepted |= runs_both
    return accepted


@dataclass(frozen=True)
class PipelineRows:
    """Pipelines across both pools before their layers are partitioned. Arrays of shape [rows].

    `strategies` by pool differ only in the recompute mode; `stage_counts` by pool and `front_pool`, the pool with the
    first stages, are the same for all rows. `micro_batches`: of a step; `send_s`: seconds of a step between stages.
    `layer_times_s`: seconds of one micro-batch in one layer of each type, embedding and head last, by pool,
    [rows, layer types + 2]. `layer_tables`: by pool, as of `build_layer_tables`.
    """

    device_pools: BoundPools
    contents: StageContents
    stage_counts: tuple[int, ...]
    front_pool: int
    strategies: tuple[Strategies, ...]
    layer_times_s: tuple[Floats, ...]
    layer_tables: tuple[tuple[LayerTables, Ints], ...]
    micro_batches: Ints
    send_s: Floats

    @property
    def stage_pools(self) -> list[int]:
        """The pool of each stage."""
        front, back = self.front_pool, 1 - self.front_pool
        return [front] * self.stage_counts[front] + [back] * self.stage_counts[back]

    @property
    def scenarios(self) -> list[Scenario]:
        """By pool, the scenario as if all devices were those of this pool."""
        return [pool.shared_scenario for pool in self.device_pools]

    def take(self, index: Ints) -> PipelineRows:
        """The rows at `index`."""
        return replace(
            self,
            strategies=tuple(strategies.take(index) for strategies in self.strategies),
            layer_times_s=tuple(times_s[index] for times_s in self.layer_times_s),
            layer_tables=tuple((tables, table_row[index]) for tables, table_row in self.layer_tables),
            micro_batches=self.micro_batches[index],
            send_s=self.send_s[index],
        )


def enumerate_pipeline_rows(device_pools: BoundPools, space: Space, *, even: bool) -> Iterator[PipelineRows]:
    """All pipelines across both pools, by the devices of a stage and the pool in front; `even`: with the same
    recompute mode in both pools.
    """
    workload = device_pools[0].shared_scenario.workload
    contents = enumerate_stage_contents(compute_layer_prefix(workload))
    values = space.enumerate_values(workload)
    zero_stages = values["zero_stage"] if "zero_stage" in space.allowed else np.arange(2)
    if 1 not in space.allowed.get("vpp", (1,)):
        return
    for stage_devices in compute_divisors(math.gcd(*(pool.devices for pool in device_pools))).tolist():
        stage_counts = tuple(pool.devices // stage_devices for pool in device_pools)
        total_stages = sum(stage_counts)
        if total_stages > workload.layer_count or total_stages not in space.allowed.get("pp", (total_stages,)):
            continue
        stage_space = replace(space, devices=stage_devices, allowed={**space.allowed, "pp": (1,), "vpp": (1,)})
        blocks = list(enumerate_parallel_layouts(stage_space, workload, SearchStats()))
        if not blocks:
            continue
        layouts = replace(join_strategies(blocks), pp=np.full(sum(map(len, blocks)), total_stages))
        layout, zero_index, *modes = (
            column.ravel()
            for column in np.meshgrid(
                np.arange(len(layouts)),
                np.arange(len(zero_stages)),
                values["recompute"],
                values["recompute"],
                indexing="ij",
            )
        )
        shard_group = device_pools[0].shared_scenario.shard_group
        keep = is_valid_zero_stage(layouts, zero_stages, shard_group)[layout, zero_index]
        keep &= (modes[0] == modes[1]) | (not even)
        plans = replace(layouts.take(layout), zero_stage=zero_stages[zero_index])
        keep &= _accept_by_common_program(device_pools, [replace(plans, recompute=mode) for mode in modes])
        if keep.any():
            layout, zero_index, *modes = (column[keep] for column in (layout, zero_index, *modes))
            rows = _build_pipeline_rows(
                device_pools, contents, stage_counts, layouts, layout, zero_stages[zero_index], modes
            )
            yield from (replace(rows, front_pool=front_pool) for front_pool in (0, 1))


def _build_pipeline_rows(
    device_pools: BoundPools,
    contents: StageContents,
    stage_counts: tuple[int, ...],
    layouts: Strategies,
    layout: Ints,
    zero_stage: Ints,
    modes: list[Ints],
) -> PipelineRows:
    """Rows with these positions in `layouts`, ZeRO stages and recompute modes by pool, each of shape [rows]."""
    strategies = tuple(replace(layouts.take(layout), zero_stage=zero_stage, recompute=mode) for mode in modes)
    layer_times_s, layer_tables, send_s = [], [], []
    micro_batches = count_micro_batches(device_pools[0].shared_scenario, strategies[0])
    for pool, pool_strategies in zip(device_pools, strategies, strict=True):
        tables, table_row = build_layer_tables(pool.shared_scenario, layouts)
        terms = compute_layer_terms(pool.shared_scenario, pool_strategies, tables, table_row[layout])
        layer_times_s.append(sum_in_order(terms.values()))
        layer_tables.append((tables, table_row[layout]))
        send_s.append(compute_pipeline_send_s(pool.shared_scenario, pool_strategies, micro_batches)[0])
    return PipelineRows(
        device_pools=device_pools,
        contents=contents,
        stage_counts=stage_counts,
        front_pool=0,
        strategies=strategies,
        layer_times_s=tuple(layer_times_s),
        layer_tables=tuple(layer_tables),
        micro_batches=micro_batches,
        send_s=np.maximum(*send_s),
    )
