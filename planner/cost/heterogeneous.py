"""A step on a heterogeneous cluster of two pools: replicas of either pool side by side, or pipelines across both.

Each pool is one `Scenario`, bound to a network in which all devices are of that pool (`planner.cluster.build.pools`);
a collective across both pools takes as long as in the slower of these networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.cluster.build.pools import HeteroCluster
from planner.cluster.model.cluster import Cluster
from planner.cluster.network.network import Network
from planner.cost.arrays import (
    Bools,
    Floats,
    Ints,
    find_last_axis_max,
    sum_in_order,
    sum_products,
    take_columns,
)
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.operators.roofline import get_peak_16bit_flops_per_s
from planner.cost.pipeline.stages import PlanTables, StageTables, join_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import (
    LAYER_TERMS,
    POST_PIPELINE_TERMS,
    StageTerms,
    compute_pipeline_send_s,
    compute_post_pipeline_terms,
    compute_slowest_stage_terms,
    compute_stall_s,
    compute_step_terms,
)
from planner.cost.strategies import Strategies
from planner.errors import InputError
from planner.trainers.registry import find_common_trainer
from planner.workload.operators import Workload

TermTimes = dict[str, Floats]


@dataclass(frozen=True)
class BoundPool:
    """One pool of devices: `shared_scenario` is bound to all devices as if they were of this pool, `own_scenario` to
    the pool alone.
    """

    name: str
    devices: int
    shared_scenario: Scenario
    own_scenario: Scenario


BoundPools = tuple[BoundPool, BoundPool]


def bind_pools(
    workload: Workload, pools: HeteroCluster, *, precision: str | None = None, **options: object
) -> BoundPools:
    """Both pools bound to a model with the options of `build_scenario`.

    One trainer runs on both. Raises InputError where an accelerator has no peak for the precision.
    """
    accelerators = [pool.own_cluster.accelerator for pool in pools.pools]
    shared_precisions = set(accelerators[0].peak_flops) & set(accelerators[1].peak_flops)
    used_precision = precision or ("bf16" if "bf16" in shared_precisions else "fp16")
    options["framework"] = options.get("framework") or find_common_trainer(accelerators, workload)
    options["precision"] = used_precision
    for accelerator in accelerators:
        if used_precision not in accelerator.peak_flops:
            raise InputError(
                f"{accelerator.name} states no dense peak for this precision",
                key="--precision",
                value=used_precision,
                expected=f"one of {', '.join(sorted(shared_precisions))}",
            )

    def bind_scenario(cluster: Cluster) -> Scenario:
        return build_scenario(workload, cluster, **options)  # type: ignore[arg-type]

    first_pool, second_pool = (
        BoundPool(pool.name, pool.devices, bind_scenario(pool.uniform_cluster), bind_scenario(pool.own_cluster))
        for pool in pools.pools
    )
    return first_pool, second_pool


def get_other_networks(device_pools: BoundPools, pool_index: int) -> tuple[Network, ...]:
    """Networks of the other pool that a collective of all replicas crosses beside that of pool `pool_index`."""
    return (device_pools[1 - pool_index].shared_scenario.network,)


def compute_replica_terms(
    device_pools: BoundPools, pool_index: int, s: Strategies, plan_tables: PlanTables, micro_batches: Ints
) -> tuple[TermTimes, TermTimes]:
    """Terms and overlapped seconds of replicas of pool `pool_index` that do `micro_batches` micro-batches each, shape
    [plans].

    `s.dp` counts the replicas of both pools: all of them share the gradients' collectives. The step ends with the
    slower pool.
    """
    scenario, networks = device_pools[pool_index].shared_scenario, get_other_networks(device_pools, pool_index)
    return compute_step_terms(scenario, s, plan_tables, micro_batches, networks)


@dataclass(frozen=True)
class PipelineSegment:
    """The stages of every pipeline that one pool has: its plans (`strategies.pp` counts all stages), prepared for
    them.
    """

    scenario: Scenario
    strategies: Strategies
    plan_tables: PlanTables


def build_segment(
    scenario: Scenario,
    s: Strategies,
    layer_counts: Floats,
    stage_positions: Ints,
    tables: tuple[LayerTables, Ints] | None = None,
) -> PipelineSegment:
    """One pool's stages: `layer_counts` layers of each type (embedding and head last) on each of them, shape
    [plans, stages, layer types]; `stage_positions` of each in the pipeline, shape [plans, stages]; `layer_tables` as
    of `build_layer_tables`.
    """
    stages = build_single_chunk_stages(layer_counts, stage_positions), np.arange(len(s))
    tables = tables or build_layer_tables(scenario, s)
    return PipelineSegment(scenario, s, join_plan_tables(scenario, s, tables, stages))


def build_single_chunk_stages(layer_counts: Floats, stage_positions: Ints) -> StageTables:
    """Stages as given, one chunk each; arrays as of `build_segment`, with splits for plans."""
    row_count, stage_count = stage_positions.shape
    return StageTables(
        layer_counts=layer_counts,
        stage_index=stage_positions,
        virtual_stages=layer_counts[:, None],
        interleave_rounds=np.ones((row_count, 1)),
        round_sizes=np.tile([1, stage_count], (row_count, 1)),
        warmup_layers=layer_counts.sum(axis=1),
        warmup_shares=np.ones(row_count),
        virtual_stage_layers=(None,) * row_count,
    )


@dataclass(frozen=True)
class JoinedPipelines:
    """Pipelines across both pools: terms and overlapped seconds, [plans] each."""

    terms: TermTimes
    overlapped: TermTimes
    stage_work_s: Floats
    """Work of each pool's slowest stage in a step, [pools, plans]."""
    post_pipeline_s: Floats
    """What it does after that, [pools, plans]."""


def compute_pipeline_terms(segments: tuple[PipelineSegment, ...], micro_batches: Ints) -> JoinedPipelines:
    """A step of pipelines whose stages are of two pools, `micro_batches` micro-batches each (1F1B, vpp = 1).

        step = n max t_i + (Σ t_i - max t_i) + sends + max over pools of (data parallel + optimizer + offload)

    with every stage's own t_i (arXiv 2104.04473 has equal ones). Every hop is paid like the slowest: the slower
    pool's link to the next stage. The gradients of a stage are reduced among devices of one pool.
    """
    first, second = (_compute_segment_terms(segment, micro_batches) for segment in segments)
    micro_batch_s = [sum_in_order(pool.stage.terms[name] for name in LAYER_TERMS) for pool in (first, second)]
    post_pipeline_s = [
        sum_in_order(pool.post_pipeline[name] for name in POST_PIPELINE_TERMS) for pool in (first, second)
    ]
    is_second_slower, is_second_later = micro_batch_s[1] > micro_batch_s[0], post_pipeline_s[1] > post_pipeline_s[0]

    def select_terms(use_second: Bools, first_terms: TermTimes, second_terms: TermTimes) -> TermTimes:
        """The terms of the first or of the second pool."""
        return {name: np.where(use_second, second_terms[name], first_terms[name]) for name in first_terms}

    (first_send_s, first_overlapped_s), (second_send_s, second_overlapped_s) = (
        compute_pipeline_send_s(segment.scenario, segment.strategies, micro_batches) for segment in segments
    )
    fill_drain_s = first.stall_s + second.stall_s - np.maximum(first.longest_stall_s, second.longest_stall_s)
    stage_terms = select_terms(is_second_slower, first.stage.terms, second.stage.terms)
    stage_overlapped = select_terms(is_second_slower, first.stage.overlapped, second.stage.overlapped)
    terms = {
        **{name: micro_batches * stage_terms[name] for name in LAYER_TERMS},
        "pipeline_send": np.maximum(first_send_s, second_send_s),
        "pipeline_bubble": np.maximum(fill_drain_s, 0.0),
        **select_terms(is_second_later, first.post_pipeline, second.post_pipeline),
    }
    overlapped = {
        **{name: micro_batches * time_s for name, time_s in stage_overlapped.items()},
        "pipeline_send": np.maximum(first_overlapped_s, second_overlapped_s),
        **select_terms(is_second_later, first.overlapped, second.overlapped),
    }
    stage_work_s = np.stack([micro_batches * pool_s for pool_s in micro_batch_s])
    return JoinedPipelines(terms, overlapped, stage_work_s, np.stack(post_pipeline_s))


@dataclass(frozen=True)
class _SegmentTerms:
    """One pool's slowest stage in one micro-batch, terms after the pipeline and what of them is overlapped, what
    other stages wait for all its stages and for the longest of them while filling; shape [plans] each.
    """

    stage: StageTerms
    post_pipeline: TermTimes
    overlapped: TermTimes
    stall_s: Floats
    longest_stall_s: Floats


def _compute_segment_terms(segment: PipelineSegment, micro_batches: Ints) -> _SegmentTerms:
    scenario, s, plan_tables = segment.scenario, segment.strategies, segment.plan_tables
    stage = compute_slowest_stage_terms(scenario, plan_tables, s)
    post_pipeline, overlapped = compute_post_pipeline_terms(scenario, s, plan_tables, micro_batches, stage)
    layer_stall_s = compute_stall_s(scenario, s, plan_tables, stage.per_layer_s)
    first_chunks = take_columns(plan_tables.stages.virtual_stages[:, 0], plan_tables.stage_rows)
    stage_stall_s = sum_products(first_chunks, layer_stall_s[:, None, :])
    return _SegmentTerms(
        stage, post_pipeline, overlapped, sum_in_order(stage_stall_s.T), find_last_axis_max(stage_stall_s)
    )


def compute_hetero_mfu(
    device_pools: BoundPools,
    flops: float,
    step_s: float,
    pools_used: tuple[bool, bool] = (True, True),
    *,
    of_16bit_peak: bool = False,
) -> float:
    """Share of the peaks of all used devices that the model's FLOPs of a step take; `of_16bit_peak`: of their 16-bit
    peaks, whatever the precision.
    """
    peak_flops_per_s = math.fsum(
        pool.devices
        * (
            get_peak_16bit_flops_per_s(pool.own_scenario)
            if of_16bit_peak
            else pool.own_scenario.accelerator.get_peak_flops(pool.own_scenario.precision)
        )
        for pool, is_used in zip(device_pools, pools_used, strict=True)
        if is_used
    )
    return flops / (peak_flops_per_s * step_s)
