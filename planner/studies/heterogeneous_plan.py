"""Plan for a heterogeneous cluster of two pools: the best plan of each layout, and whether to keep each pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import msgspec

from planner.cluster.build.pools import HeteroCluster
from planner.cost.heterogeneous import BoundPool, BoundPools
from planner.cost.schedules.catalog import FOLDED_SCHEDULES
from planner.cost.settings import SETTINGS
from planner.cost.uncertainty import RESIDUAL_CLASSES, StepBounds, find_residual_class, is_change_told_apart
from planner.documents.heterogeneous import (
    SCHEMA_VERSION,
    HeteroAdvicePart,
    HeteroClusterPart,
    HeterogeneousDocument,
    HeteroPlanPart,
    HeteroPoolPart,
    HeteroRunPart,
    PoolRemovalPart,
)
from planner.errors import InputError, NothingFits, PlannerError
from planner.progress import track_steps
from planner.search.heterogeneous.candidates import build_share_table
from planner.search.heterogeneous.data_parallel import find_best_shares, find_even_shares
from planner.search.heterogeneous.pipeline import find_best_stages
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.studies.heterogeneous_parts import (
    build_shares_plan_part,
    build_single_pool_plan_part,
    build_stages_plan_part,
    format_pool_nodes,
)
from planner.studies.plan_parts import build_model_part, build_scenario_part
from planner.units import DAY_S, format_seconds, format_with_interval

_STEP_TIME = attrgetter("step_time_s")
HeteroPlansByName = dict[str, HeteroPlanPart]
"""Best plans by layout, only layouts in which a plan fits; a pool alone: "only" and the name of the pool."""


def search_hetero_plans(
    pools: HeteroCluster,
    device_pools: BoundPools,
    space: Space,
    settings: Mapping[str, tuple[str, ...]],
    *,
    tokens: int | None,
) -> HeterogeneousDocument:
    """Search all layouts with all combinations of settings, and build the document with advice.

    Raises InputError where the pinned values leave no candidate in any layout, NothingFits where no plan fits.
    """
    _refuse_folded_pipelines(settings)
    hetero_scenarios = list(_enumerate_hetero_scenarios(device_pools, settings))
    single_pool_searches = [_search_single_pool(hetero_scenarios, pool_index, space) for pool_index in (0, 1)]
    plans_by_name: HeteroPlansByName = {}
    for hetero_scenario in track_steps("searching", hetero_scenarios):
        for plan in _search_both_pools(hetero_scenario, space.narrow_to_scenario(hetero_scenario[0].shared_scenario)):
            plans_by_name[plan.layout] = min(plans_by_name.get(plan.layout, plan), plan, key=_STEP_TIME)
    for pool_index, (_, result) in enumerate(single_pool_searches):
        if result.stats.feasible:
            plans_by_name[_format_single_pool_name(pools, pool_index)] = build_single_pool_plan_part(
                pools, device_pools, pool_index, result
            )
    if not plans_by_name:
        raise _build_no_fit_error(pools, single_pool_searches)
    return _build_hetero_document(pools, device_pools, plans_by_name, tokens)


def _refuse_folded_pipelines(settings: Mapping[str, tuple[str, ...]]) -> None:
    """Raise InputError for what pipelines across both pools do not have: each pool has stages that follow one
    another, with as many layers as balance them.
    """
    for name, expected, refused in (
        ("schedule", "1f1b, zero-bubble or gpipe", FOLDED_SCHEDULES),
        ("layout", "no layout: each pool's stages get the layers that balance them", None),
    ):
        for value in settings.get(name, ()):
            if value != SETTINGS[name].values[0] and (refused is None or value in refused):
                raise InputError(
                    "not supported on a heterogeneous cluster", key=f"--{name}", value=value, expected=expected
                )


def _enumerate_hetero_scenarios(
    device_pools: BoundPools, settings: Mapping[str, tuple[str, ...]]
) -> Iterator[BoundPools]:
    """Both pools with every combination of settings."""
    bound_scenarios = [
        [
            list(enumerate_setting_scenarios(scenario, settings))
            for scenario in (pool.shared_scenario, pool.own_scenario)
        ]
        for pool in device_pools
    ]
    for index in range(len(bound_scenarios[0][0])):
        first_pool, second_pool = (
            BoundPool(pool.name, pool.devices, shared_scenarios[index], own_scenarios[index])
            for pool, (shared_scenarios, own_scenarios) in zip(device_pools, bound_scenarios, strict=True)
        )
        yield first_pool, second_pool


def _search_single_pool(
    hetero_scenarios: Sequence[BoundPools], pool_index: int, space: Space
) -> tuple[Space, SearchResult]:
    """The ordinary search of one pool."""
    pool_space = replace(space, devices=hetero_scenarios[0][pool_index].devices)
    return pool_space, search_plans(
        [hetero_scenario[pool_index].own_scenario for hetero_scenario in hetero_scenarios],
        pool_space,
        SearchTarget(top=1),
    )


def _search_both_pools(device_pools: BoundPools, space: Space) -> Iterator[HeteroPlanPart]:
    """The best plans on both pools together, for layouts in which a plan fits.

    "even" is what a launcher does that ignores the differences: the same work for every replica, or every stage.
    """
    table = build_share_table(device_pools, space)
    replica_plan, even_replica_plan = find_best_shares(table), find_even_shares(table)
    pipeline_plan, even_pipeline_plan = (
        find_best_stages(device_pools, space),
        find_best_stages(device_pools, space, even=True),
    )
    if replica_plan is not None:
        yield build_shares_plan_part(device_pools, replica_plan, "shares")
    if even_replica_plan is not None:
        yield build_shares_plan_part(device_pools, even_replica_plan, "even")
    if pipeline_plan is not None:
        yield build_stages_plan_part(device_pools, pipeline_plan, "stages")
    if even_pipeline_plan is not None:
        yield build_stages_plan_part(device_pools, even_pipeline_plan, "even")


def _format_single_pool_name(pools: HeteroCluster, pool_index: int) -> str:
    return f"only {pools.pools[pool_index].name}"


def _build_hetero_document(
    pools: HeteroCluster, device_pools: BoundPools, plans_by_name: HeteroPlansByName, tokens: int | None
) -> HeterogeneousDocument:
    scenario = device_pools[0].shared_scenario
    plans = sorted(plans_by_name.values(), key=_STEP_TIME)
    plan_names = ("shares", "stages", "even", *(_format_single_pool_name(pools, pool_index) for pool_index in (0, 1)))
    tokens_per_step = scenario.global_batch * scenario.workload.seq_length
    plans = [msgspec.structs.replace(plan, told_apart=_is_told_apart(plans[0], plan)) for plan in plans]
    classes = [
        find_residual_class(pool.own_scenario.accelerator.architecture, scenario.trainer) for pool in device_pools
    ]
    return HeterogeneousDocument(
        schema_version=SCHEMA_VERSION,
        model=build_model_part(scenario.workload),
        cluster=_build_hetero_cluster_part(pools),
        scenario=msgspec.structs.replace(
            build_scenario_part(scenario), calibration=max(classes, key=RESIDUAL_CLASSES.index)
        ),
        exact=True,
        plans=plans,
        left_out=[name for name in plan_names if name not in plans_by_name],
        answer=_build_advice_part(pools, device_pools, plans_by_name),
        run=_build_hetero_run_part(plans[0], tokens, tokens_per_step) if tokens else None,
    )


def _is_told_apart(first: HeteroPlanPart, other: HeteroPlanPart) -> bool:
    """Whether the faster of two plans is the faster one in 90 % of all cases; what is off of one is mostly off of the
    other too where both use the same pools.
    """
    first_bounds, other_bounds = (
        StepBounds(plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s) for plan in (first, other)
    )
    return is_change_told_apart(
        other.step_time_s / first.step_time_s,
        (first_bounds, other_bounds),
        is_same_machine={part.pool for part in first.pools} == {part.pool for part in other.pools},
    )


def _build_hetero_run_part(plan: HeteroPlanPart, tokens: int, tokens_per_step: int) -> HeteroRunPart:
    step_count = -(-tokens // tokens_per_step)
    days, days_p10, days_p90 = (
        step_count * step_time_s / DAY_S
        for step_time_s in (plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s)
    )
    return HeteroRunPart(tokens=tokens, steps=step_count, days=days, days_p10=days_p10, days_p90=days_p90)


def _build_hetero_cluster_part(pools: HeteroCluster) -> HeteroClusterPart:
    parts = [
        HeteroPoolPart(
            name=pool.name,
            accelerator=pool.own_cluster.accelerator.name,
            nodes=pool.own_cluster.nodes,
            devices_per_node=pool.own_cluster.devices_per_node,
            devices=pool.devices,
        )
        for pool in pools.pools
    ]
    return HeteroClusterPart(name=pools.name, title=pools.title, devices=pools.devices, pools=parts, note=pools.note)


def _build_advice_part(
    pools: HeteroCluster, device_pools: BoundPools, plans_by_name: HeteroPlansByName
) -> HeteroAdvicePart:
    both_pool_plans = [plans_by_name[name] for name in ("shares", "stages", "even") if name in plans_by_name]
    best = min(both_pool_plans, key=_STEP_TIME, default=None)
    even_plan = plans_by_name.get("even")
    single_pool_plans = [plans_by_name.get(_format_single_pool_name(pools, pool_index)) for pool_index in (0, 1)]
    fastest = min((plan for plan in (best, *single_pool_plans) if plan is not None), key=_STEP_TIME)
    parts = []
    for pool_index, pool in enumerate(pools.pools):
        other_pool_plan = single_pool_plans[1 - pool_index]
        keep = fastest is not other_pool_plan
        parts.append(
            PoolRemovalPart(
                pool=pool.name,
                nodes=pool.own_cluster.nodes,
                step_time_s=None if other_pool_plan is None else other_pool_plan.step_time_s,
                step_time_p10_s=None if other_pool_plan is None else other_pool_plan.step_time_p10_s,
                step_time_p90_s=None if other_pool_plan is None else other_pool_plan.step_time_p90_s,
                keep=keep,
                told_apart=best is None or other_pool_plan is None or _is_told_apart(best, other_pool_plan),
            )
        )
    if best is None:
        sentences = [f"No plan on both pools fits: the fastest is {fastest.split}."]
    else:
        slower_pool = _find_slower_pool(device_pools)
        pool_indices = [
            pool_index
            for pool_index in (slower_pool, 1 - slower_pool)
            if pool_index == slower_pool or not parts[pool_index].keep
        ]
        sentences = [
            *(_format_removal_effect(pools, pool_index, parts[pool_index], best) for pool_index in pool_indices),
            _format_balance_gain(best, even_plan),
        ]
    return HeteroAdvicePart(
        without=parts,
        balanced_step_time_s=None if best is None else best.step_time_s,
        even_step_time_s=None if even_plan is None else even_plan.step_time_s,
        sentences=sentences,
    )


def _find_slower_pool(device_pools: BoundPools) -> int:
    """The pool with the lower peak; for equal peaks, with the lower memory bandwidth."""
    pool_speeds = [
        (
            pool.own_scenario.accelerator.get_peak_flops(pool.own_scenario.precision),
            pool.own_scenario.accelerator.memory_bandwidth_bytes_per_s,
        )
        for pool in device_pools
    ]
    return int(pool_speeds[1] < pool_speeds[0])


def _format_removal_effect(pools: HeteroCluster, pool_index: int, part: PoolRemovalPart, best: HeteroPlanPart) -> str:
    """Advice on one pool: the step time without it, and whether to keep it."""
    nodes = format_pool_nodes(pools, pool_index)
    them = "them" if part.nodes > 1 else "it"
    if part.step_time_s is None or part.step_time_p10_s is None or part.step_time_p90_s is None:
        return f"Without the {nodes} nothing fits: keep {them}."
    without_s, with_s = part.step_time_s, best.step_time_s
    advice = f"keep {them}" if part.keep else f"leave {them} out"
    gain = (without_s / with_s if part.keep else with_s / without_s) - 1
    without = format_with_interval(without_s, part.step_time_p10_s, part.step_time_p90_s, format_seconds)
    times = f"{without} instead of {_format_step(best)}"
    doubt = "" if part.told_apart else ", which is less than the error of such a comparison"
    return f"Without the {nodes} the step takes {times}: {advice} (+{gain:.0%}{doubt})."


def _format_step(plan: HeteroPlanPart) -> str:
    return format_with_interval(plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s, format_seconds)


def _format_balance_gain(best: HeteroPlanPart, even_plan: HeteroPlanPart | None) -> str:
    """The gain of balancing the pools, and which pool waits."""
    waits = [
        f"{pool_plan.pool} waits {format_seconds(pool_plan.wait_s)}"
        for pool_plan in best.pools
        if pool_plan.wait_s > 0
    ]
    wait_summary = f"of each step {' and '.join(waits)}" if waits else "no pool waits for the other"
    if even_plan is None:
        return f"Split evenly, no plan fits; balanced, {wait_summary}."
    faster = even_plan.step_time_s / best.step_time_s
    return f"Split evenly the step takes {_format_step(even_plan)}, balanced {faster:.2f}x as fast: {wait_summary}."


def _build_no_fit_error(
    pools: HeteroCluster, single_pool_searches: Sequence[tuple[Space, SearchResult]]
) -> PlannerError:
    """The error where no plan fits: the message of the ordinary search for each pool alone."""
    from planner.search.diagnosis.infeasible import explain_empty_search

    errors = [
        explain_empty_search(pool.own_cluster, space, result)
        for pool, (space, result) in zip(pools.pools, single_pool_searches, strict=True)
    ]
    first = errors[0]
    if all(isinstance(error, InputError) for error in errors) and isinstance(first, InputError):
        # the number of a pool's nodes is fixed by the cluster
        expected = first.expected.partition("; or --nodes")[0]
        return InputError(
            first.problem,
            origin=first.origin,
            key=first.key,
            value=first.value,
            expected=expected,
            suggestion=first.suggestion,
        )
    lines = [f"\n{format_pool_nodes(pools, pool_index)} alone: {error}" for pool_index, error in enumerate(errors)]
    return NothingFits("no plan fits, neither on both pools together nor on one pool alone" + "".join(lines))
