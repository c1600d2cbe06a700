"""Candidates for data-parallel replicas in two pools: layouts with micro-batches, and which fit in each pool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Bools, Ints
from planner.cost.heterogeneous import BoundPools
from planner.cost.memory import compute_host_memory_bytes, compute_memory_totals_bytes
from planner.cost.pipeline.partition import IN_FLIGHT_ROUNDS
from planner.cost.plan_tables import PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies, join_strategies
from planner.search.space import SearchStats, Space, enumerate_parallel_layouts, is_valid_zero_stage

_MAX_FREE_MICRO_BATCH = 8
"""All micro-batches up to this size, or the pinned ones, are candidates: a pool's share need not divide the batch."""


@dataclass(frozen=True)
class PoolShareRows:
    """The rows of one pool: each is a layout with a micro-batch. Arrays of shape [rows].

    `replicas`: replicas in this pool. Micro-batches are counted in units of `unit_micro_batches`. `fits_single_unit`,
    `fits_full_pipeline`: whether a row fits in memory with one unit, and with a full pipeline, shape [rows, ZeRO
    stages, recompute modes].
    """

    device_pools: BoundPools
    pool_index: int
    strategies: Strategies
    plan_tables: PlanTables
    replicas: Ints
    unit_micro_batches: Ints
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


@dataclass(frozen=True)
class ShareTable:
    """The rows of both pools, the layout of each row, and the values of ZeRO stage and recompute mode."""

    pools: tuple[PoolShareRows, PoolShareRows]
    layout_index: Ints
    layout_count: int
    zero_stages: Ints
    recompute_modes: Ints


def build_share_table(device_pools: BoundPools, space: Space) -> ShareTable | None:
    """All rows that fit in at least one pool; None where there are none."""
    scenario = device_pools[0].shared_scenario
    values = space.enumerate_values(scenario.workload)
    zero_stages, recompute_modes = values["zero_stage"], values["recompute"]
    micro_batch_sizes = np.union1d(
        values["micro_batch"], space.allowed.get("micro_batch", range(1, _MAX_FREE_MICRO_BATCH + 1))
    )
    candidates = _enumerate_common_layouts(device_pools, space)
    if candidates is None or not len(zero_stages) or not len(recompute_modes):
        return None
    blocks = list(_enumerate_fitting_rows(device_pools, candidates, micro_batch_sizes, zero_stages, recompute_modes))
    if not blocks:
        return None
    layout_index = np.concatenate([block.layout_index for block in blocks])
    rows = join_strategies([block.strategies for block in blocks])
    pools = []
    for pool_index, pool in enumerate(device_pools):
        fits_single_unit = np.concatenate([block.fits_single_unit[pool_index] for block in blocks])
        fits_full_pipeline = np.concatenate([block.fits_full_pipeline[pool_index] for block in blocks])
        replicas = pool.devices // (rows.tp * rows.pp * rows.cp)
        pools.append(
            PoolShareRows(
                device_pools,
                pool_index,
                rows,
                build_plan_tables(pool.shared_scenario, rows),
                replicas,
                _compute_unit_micro_batches(rows),
                fits_single_unit,
                fits_full_pipeline,
            )
        )
    return ShareTable((pools[0], pools[1]), layout_index, len(candidates), zero_stages, recompute_modes)


def _compute_unit_micro_batches(rows: Strategies) -> Ints:
    """Micro-batches per unit: interleaving needs multiples of pp micro-batches."""
    unit: Ints = np.where(rows.vpp > 1, rows.pp, 1)
    return unit


def _enumerate_common_layouts(device_pools: BoundPools, space: Space) -> Strategies | None:
    """Layouts that are valid in both pools; `dp` counts the replicas of both."""
    common_devices = int(np.gcd(device_pools[0].devices, device_pools[1].devices))
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
    candidates = join_strategies(blocks)
    candidates = replace(
        candidates,
        dp=(device_pools[0].devices + device_pools[1].devices) // (candidates.tp * candidates.pp * candidates.cp),
    )
    return candidates.take(np.isin(candidates.dp, space.allowed["dp"])) if "dp" in space.allowed else candidates


@dataclass(frozen=True)
class _FittingRows:
    """Rows with one micro-batch size: their layouts, and for both pools what `PoolShareRows` has of the same name."""

    strategies: Strategies
    layout_index: Ints
    fits_single_unit: tuple[Bools, Bools]
    fits_full_pipeline: tuple[Bools, Bools]


def _enumerate_fitting_rows(
    device_pools: BoundPools,
    candidates: Strategies,
    micro_batch_sizes: Ints,
    zero_stages: Ints,
    recompute_modes: Ints,
) -> Iterator[_FittingRows]:
    """By micro-batch, ascending: a layout that does not fit with a smaller one does not fit with a larger one."""
    batch = device_pools[0].shared_scenario.global_batch
    smallest_replicas = min(pool.devices for pool in device_pools) // (candidates.tp * candidates.pp * candidates.cp)
    alive = np.arange(len(candidates))
    for size in micro_batch_sizes.tolist():
        alive = alive[(smallest_replicas * _compute_unit_micro_batches(candidates))[alive] * size < batch]
        if not len(alive):
            return
        rows = replace(candidates.take(alive), micro_batch=np.full(len(alive), size))
        pairs = [
            _compute_pool_fits(pool.shared_scenario, rows, zero_stages, recompute_modes) for pool in device_pools
        ]
        keep: Bools = np.array(
            np.concatenate([fits_single_unit.any(axis=2) for fits_single_unit, _ in pairs], axis=1).any(axis=1)
        )
        alive = alive[keep]
        if len(alive):
            fits_single_unit, fits_full_pipeline = ([pair[item][keep] for pair in pairs] for item in (0, 1))
            yield _FittingRows(
                rows.take(keep),
                alive,
                (fits_single_unit[0], fits_single_unit[1]),
                (fits_full_pipeline[0], fits_full_pipeline[1]),
            )


def _compute_pool_fits(
    scenario: Scenario, rows: Strategies, zero_stages: Ints, recompute_modes: Ints
) -> tuple[Bools, Bools]:
    """`fits_single_unit` and `fits_full_pipeline` of one pool, as in `PoolShareRows`."""
    p = build_plan_tables(scenario, rows)
    values = zero_stages.tolist(), recompute_modes.tolist()
    allowed = is_valid_zero_stage(rows, zero_stages, scenario.shard_group)[:, :, None]
    memory_bytes = scenario.accelerator.memory_bytes
    fits_single_unit = allowed & (
        compute_memory_totals_bytes(scenario, rows, p, *values, _compute_unit_micro_batches(rows)) <= memory_bytes
    )
    if scenario.host is not None and scenario.offload.is_active:
        # the host must have room for what full pipelines offload
        full_pipelines = replace(
            scenario, global_batch=int((IN_FLIGHT_ROUNDS * rows.pp * rows.dp * rows.micro_batch).max())
        )
        fits_single_unit &= compute_host_memory_bytes(full_pipelines, rows, p, *values) <= scenario.host.memory_bytes
    return fits_single_unit, fits_single_unit & (
        compute_memory_totals_bytes(scenario, rows, p, *values, IN_FLIGHT_ROUNDS * rows.pp) <= memory_bytes
    )
