"""Build the plan parts of the heterogeneous document: the best plan of each layout of a two-pool cluster."""

from __future__ import annotations

import numpy as np

from planner.cluster.build.pools import HeteroCluster
from planner.cost.arrays import sum_in_order
from planner.cost.flops import compute_model_flops
from planner.cost.heterogeneous import (
    BoundPools,
    TermTimes,
    compute_hetero_mfu,
    compute_pipeline_terms,
    compute_replica_terms,
)
from planner.cost.memory.peak import compute_peak_memory
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS, count_micro_batches
from planner.cost.strategies import Strategies
from planner.cost.uncertainty import compute_class_bounds
from planner.documents.heterogeneous import HeteroPlanPart, HeteroPlanType, PoolPlanPart
from planner.search.heterogeneous.data_parallel import HeteroReplicaPlan
from planner.search.heterogeneous.pipeline import HeteroPipelinePlan, build_pipeline_segments
from planner.search.search import SearchResult
from planner.studies.plan_parts import (
    build_memory_part,
    build_plan_parts,
    build_settings_part,
    build_strategy_part,
    compute_rate_bounds,
    compute_rates,
)


def build_shares_plan_part(
    device_pools: BoundPools, replica_plan: HeteroReplicaPlan, plan_type: HeteroPlanType
) -> HeteroPlanPart:
    """Data-parallel replicas in both pools, with uneven or even shares of the batch."""
    terms_by_pool, memory_by_pool = [], []
    for pool_index, (pool, s) in enumerate(zip(device_pools, replica_plan.strategies, strict=True)):
        plan_tables = build_plan_tables(pool.shared_scenario, s)
        counts = np.array([replica_plan.micro_batches[pool_index]])
        terms_by_pool.append(compute_replica_terms(device_pools, pool_index, s, plan_tables, counts))
        memory_by_pool.append(compute_peak_memory(pool.shared_scenario, s, plan_tables, counts))
    times_s = [float(sum_in_order(terms.values())[0]) for terms, _ in terms_by_pool]
    slower_pool = int(times_s[1] > times_s[0])
    parts = []
    for pool_index, (pool, s) in enumerate(zip(device_pools, replica_plan.strategies, strict=True)):
        micro_batches, replicas = replica_plan.micro_batches[pool_index], replica_plan.replicas[pool_index]
        parts.append(
            PoolPlanPart(
                pool=pool.name,
                replicas=replicas,
                stages=int(s.pp[0]),
                layers=_list_stage_layers(pool.shared_scenario, s),
                micro_batches=micro_batches,
                sequences=replicas * micro_batches * int(s.micro_batch[0]),
                strategy=build_strategy_part(s, 0),
                wait_s=times_s[slower_pool] - times_s[pool_index],
                memory=build_memory_part(pool.shared_scenario, memory_by_pool[pool_index]),
            )
        )
    sizes = {part.strategy.micro_batch for part in parts}
    share_labels = [
        str(part.micro_batches) if len(sizes) == 1 else f"{part.micro_batches}x{part.strategy.micro_batch}"
        for part in parts
    ]
    sample = device_pools[0].shared_scenario.workload.sample_name
    share_unit = "micro-batches" if len(sizes) == 1 else f"micro-batches x {sample}s"
    split = f"dp {parts[0].replicas} + {parts[1].replicas}, shares {':'.join(share_labels)} {share_unit}"
    return _build_hetero_plan_part(
        device_pools, plan_type, split, terms_by_pool[slower_pool], times_s[slower_pool], parts
    )


def build_stages_plan_part(
    device_pools: BoundPools, pipeline_plan: HeteroPipelinePlan, plan_type: HeteroPlanType
) -> HeteroPlanPart:
    """Pipelines across both pools."""
    scenario = device_pools[0].shared_scenario
    n = count_micro_batches(scenario, pipeline_plan.strategies[0])
    segments = build_pipeline_segments(
        device_pools,
        pipeline_plan.strategies,
        pipeline_plan.stage_counts,
        pipeline_plan.front_pool,
        np.array([pipeline_plan.layer_bounds]),
    )
    joined = compute_pipeline_terms(segments, n)
    work_s, after_s = joined.stage_work_s, joined.post_pipeline_s
    waits_s = (work_s.max(axis=0) - work_s + after_s.max(axis=0) - after_s)[:, 0]
    layers = np.diff((0, *pipeline_plan.layer_bounds, scenario.workload.layer_count)).tolist()
    front_stages = pipeline_plan.stage_counts[pipeline_plan.front_pool]
    parts = []
    for pool_index in (pipeline_plan.front_pool, 1 - pipeline_plan.front_pool):
        segment, s = segments[pool_index], pipeline_plan.strategies[pool_index]
        memory = compute_peak_memory(segment.scenario, segment.strategies, segment.plan_tables, n)
        parts.append(
            PoolPlanPart(
                pool=device_pools[pool_index].name,
                replicas=int(s.dp[0]),
                stages=pipeline_plan.stage_counts[pool_index],
                layers=layers[:front_stages] if pool_index == pipeline_plan.front_pool else layers[front_stages:],
                micro_batches=int(n[0]),
                sequences=scenario.global_batch,
                strategy=build_strategy_part(s, 0),
                wait_s=float(waits_s[pool_index]),
                memory=build_memory_part(segment.scenario, memory),
            )
        )
    front, back = parts
    split = (
        f"stages {front.stages} {front.pool} + {back.stages} {back.pool}, "
        f"layers {sum(front.layers)} + {sum(back.layers)}"
    )
    step_time_s = float(sum_in_order(joined.terms.values())[0])
    return _build_hetero_plan_part(
        device_pools, plan_type, split, (joined.terms, joined.overlapped), step_time_s, parts
    )


def build_single_pool_plan_part(
    pools: HeteroCluster, device_pools: BoundPools, pool_index: int, result: SearchResult
) -> HeteroPlanPart:
    """One pool alone: the best plan of the ordinary search."""
    pool, scenario = pools.pools[pool_index], result.scenarios[int(result.scenario_index[0])]
    (plan,) = build_plan_parts(result, pool.own_cluster)
    s = result.best
    part = PoolPlanPart(
        pool=pool.name,
        replicas=plan.strategy.dp,
        stages=plan.strategy.pp,
        layers=_list_stage_layers(scenario, s),
        micro_batches=int(count_micro_batches(scenario, s)[0]),
        sequences=plan.global_batch,
        strategy=plan.strategy,
        wait_s=0.0,
        memory=plan.memory,
    )
    shared = {name: getattr(plan, name) for name in HeteroPlanPart.__struct_fields__ if hasattr(plan, name)}
    split = f"{format_pool_nodes(pools, pool_index)} alone"
    return HeteroPlanPart(layout="only", split=split, pools=[part], **shared)


def format_pool_nodes(pools: HeteroCluster, pool_index: int) -> str:
    """`4 dgx-h100 nodes`: nodes of a pool."""
    cluster = pools.pools[pool_index].own_cluster
    return f"{cluster.nodes:,} {cluster.name} node{'s' * (cluster.nodes > 1)}"


def _list_stage_layers(scenario: Scenario, s: Strategies) -> list[int]:
    """Layers of each stage with an even partition."""
    chunks = assign_layers(compute_layer_prefix(scenario.workload), int(s.pp[0]), int(s.vpp[0]))
    return [int(layers) for layers in chunks[:, :, :-2].sum(axis=(0, 2)).tolist()]


def _build_hetero_plan_part(
    device_pools: BoundPools,
    plan_type: HeteroPlanType,
    split: str,
    terms_and_overlapped: tuple[TermTimes, TermTimes],
    step_time_s: float,
    parts: list[PoolPlanPart],
) -> HeteroPlanPart:
    scenario = device_pools[0].shared_scenario
    flops = compute_model_flops(scenario.workload, scenario.global_batch, scenario.flops_convention)
    devices = sum(pool.devices for pool in device_pools)
    terms, overlapped = terms_and_overlapped
    bounds = compute_class_bounds(step_time_s, [pool.own_scenario for pool in device_pools])
    return HeteroPlanPart(
        layout=plan_type,
        split=split,
        settings=build_settings_part(scenario),
        step_time_s=step_time_s,
        step_time_p10_s=bounds.p10_s,
        step_time_p90_s=bounds.p90_s,
        # what pools read and prepare is not modelled
        terms={name: float(terms[name][0]) if name in terms else 0.0 for name in STEP_TERMS},
        overlapped={name: float(overlapped[name][0]) for name in OVERLAPPABLE_TERMS},
        **compute_rates(scenario, step_time_s, devices),
        **compute_rate_bounds(scenario, bounds.p10_s, bounds.p90_s, devices),
        mfu=compute_hetero_mfu(device_pools, flops, step_time_s),
        mfu_bf16=compute_hetero_mfu(device_pools, flops, step_time_s, of_16bit_peak=True),
        pools=parts,
        told_apart=False,
    )
