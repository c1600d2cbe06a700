"""The answer to a request: a plan document, for the commands, files of plans, sweeps and Python alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from planner.cluster.build.pools import HeteroCluster
from planner.cost.scenario import DEFAULT_MEMORY_LIMIT, check_scenario
from planner.cost.settings import SETTINGS
from planner.documents.plan import DefaultsPart, PlanDocument, StrategyPart
from planner.errors import InputError, NothingFits
from planner.request.inputs import check_precision, read_model, read_pools
from planner.request.notices import warn
from planner.request.options import HOMOGENEOUS_OPTIONS
from planner.request.plan_request import PlanRequest
from planner.request.pool_rules import choose_pools_trainer, find_common_programs, replace_pool_fields
from planner.request.resolve import (
    ResolvedRequest,
    add_default_settings,
    check_attention_kernel,
    count_batches,
    read_scenario_fields,
    resolve_request,
)
from planner.search.diagnosis.option_conflicts import list_unusable_values
from planner.search.settings import check_allowed_settings
from planner.search.space import Space
from planner.studies.plan import find_best_plans, score_pinned_plan
from planner.trainers.run_defaults import find_run_defaults

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeterogeneousDocument

_MANY_SCENARIOS = 300
"""Scenarios whose search takes minutes: from this number on a warning says so."""


def compute_answer(request: PlanRequest) -> PlanDocument | HeterogeneousDocument:
    """The answer to `plan` or `estimate`. Raises InputError and NothingFits; warns of options without effect."""
    if request.command == "estimate":
        return estimate_plan(request)
    pools = read_request_pools(request)
    if pools is not None:
        return compute_pools_document(request, pools)
    resolved = resolve_request(request)
    if len(resolved.scenarios) >= _MANY_SCENARIOS:
        warn(f"{len(resolved.scenarios):,} combinations of settings and batch to search: this takes minutes")
    for note in resolved.notes:
        warn(note)
    document = compute_document(request, resolved)
    _warn_ineffective_settings(document, request.settings)
    for sentence in list_unusable_values(resolved.batch_scenarios[0], resolved.space, request.listed_values):
        warn(sentence)
    return document


def compute_document(request: PlanRequest, resolved: ResolvedRequest, *, explained: bool = True) -> PlanDocument:
    """The best plans on a homogeneous cluster; `explained`: with the bottleneck of each, and
    with what they are compared with.

    Raises InputError where the options leave no candidate, NothingFits where none fits.
    """
    return find_best_plans(
        resolved.scenarios,
        resolved.cluster,
        resolved.space,
        resolved.search_target,
        tokens=request.tokens,
        samples=request.uncertainty,
        rank_orders=resolved.rank_orders,
        reliability=resolved.reliability,
        grid=resolved.grid,
        with_bottlenecks=explained,
        with_alternatives=explained,
    )


def estimate_plan(request: PlanRequest) -> PlanDocument:
    """The plan of an `estimate`. Raises InputError, and NothingFits where it does not fit."""
    resolved = resolve_request(request)
    try:
        document = score_pinned_plan(
            resolved.scenarios[0],
            resolved.cluster,
            resolved.space,
            tokens=request.tokens,
            rank_orders=resolved.rank_orders,
            reliability=resolved.reliability,
            grid=resolved.grid,
        )
    except NothingFits as error:
        from planner.request.remedies import add_remedies

        raise add_remedies(error, request, resolved) from None
    _warn_ineffective_settings(document, request.settings)
    _warn_of_full_memory(document)
    return replace(document, defaults=_build_defaults_part(request, resolved, document.best_plan.strategy))


def _build_defaults_part(request: PlanRequest, resolved: ResolvedRequest, strategy: StrategyPart) -> DefaultsPart:
    """What the trainer decided of the estimate: degrees have no default but 1."""
    values = {}
    if "zero" not in request.dimensions and strategy.dp * strategy.cp > 1:
        values["zero"] = str(strategy.zero_stage)
    if "recompute" not in request.dimensions:
        values["recompute"] = strategy.recompute
    if "sequence_parallel" not in request.dimensions and strategy.tp > 1:
        values["sequence_parallel"] = "yes" if strategy.sequence_parallel else "no"
    scenario = resolved.scenarios[0]
    settings = add_default_settings(request, scenario, resolved.space)
    values |= {name: texts[0] for name, texts in settings.items() if name not in request.settings}
    return DefaultsPart(source=find_run_defaults(scenario.trainer, scenario.programs).source, values=values)


def _warn_of_full_memory(document: PlanDocument) -> None:
    """Warn of a given plan that a search would leave out, unless its limit is given."""
    memory = document.best_plan.memory
    share = memory.total_bytes / memory.capacity_bytes
    if document.scenario.memory_limit_bytes is None and memory.total_bytes > DEFAULT_MEMORY_LIMIT.apply(
        memory.capacity_bytes
    ):
        warn(f"the plan takes {share:.1%} of the memory; plans are searched within {DEFAULT_MEMORY_LIMIT} of it")


def _warn_ineffective_settings(document: PlanDocument, allowed: Mapping[str, tuple[str, ...]]) -> None:
    """Warn of each setting that is pinned to an unusual value and affects none of the plans."""
    strategies = [plan.strategy for plan in document.plans]
    for name, values in allowed.items():
        setting = SETTINGS[name]
        is_pinned = len(values) == 1 and values[0] != setting.values[0]
        if is_pinned and setting.affects is not None and not any(map(setting.affects, strategies)):
            subject = "the plan has" if len(strategies) == 1 else "all reported plans have"
            warn(f"--{name.replace('_', '-')} {values[0]} makes no difference: {subject} {setting.otherwise}")


def read_request_pools(request: PlanRequest, ignored: Collection[str] = ()) -> HeteroCluster | None:
    """The pools of a heterogeneous cluster; None for a homogeneous one.

    `ignored`: options that the caller has set itself. Raises InputError, also for options that a heterogeneous
    cluster does not support.
    """
    pools = read_pools(request.cluster)
    if pools is None:
        return None
    for key, value in (("--nodes", request.nodes), ("--devices", request.devices)):
        if value is not None:
            raise InputError("each pool has its own number", key=key, value=value, expected=f"no {key}")
    values = {**vars(request), **request.scenario_values}
    for option in HOMOGENEOUS_OPTIONS:
        value = values.get(option.name)
        if value not in (None, False, (), option.default, ("step-time",)) and option.name not in ignored:
            refuse_for_pools(option.key)
    return pools


def refuse_for_pools(key: str) -> NoReturn:
    """Raise InputError for an option that a heterogeneous cluster does not support."""
    more = " (--objective step-time is supported)" if key == "--objective" else ""
    raise InputError(f"not supported on a heterogeneous cluster{more}", key=key, expected="a cluster of equal nodes")


def compute_pools_document(request: PlanRequest, pools: HeteroCluster) -> HeterogeneousDocument:
    """The plans for a heterogeneous cluster, the best first. Raises InputError, and NothingFits where none fits."""
    from planner.cost.heterogeneous import bind_pools
    from planner.studies.heterogeneous_plan import search_hetero_plans

    workload = read_model(request.model, request.seq_length, request.mtp_layers)
    check_attention_kernel(request, workload)
    batches = count_batches(request, workload, sum(pool.own_cluster.devices for pool in pools.pools))
    if len(batches) > 1:
        problem, value = "a heterogeneous cluster is balanced for a single batch", request.global_batch.text
        raise InputError(problem, key="--global-batch", value=value, expected="a single batch")
    for pool in pools.pools:
        check_precision(request.precision, pool.own_cluster.accelerator)
    choice = choose_pools_trainer(request, pools, workload)
    pool_scenarios = bind_pools(
        workload,
        pools,
        precision=None if request.precision is None else request.precision.casefold(),
        global_batch=batches[0],
        attention=request.attention,
        flops_convention=request.flops_convention,
        framework=choice.trainer,
        trainer_version=choice.version,
        launch=request.launch,
    )
    pool_scenarios = replace_pool_fields(pool_scenarios, read_scenario_fields(request))
    for pool_scenario in pool_scenarios:
        check_scenario(pool_scenario.own_scenario)
        check_allowed_settings(pool_scenario.shared_scenario, request.settings, request.allowed_values)
    space = Space(pools.devices, batches[0], request.allowed_values)
    is_named = request.trainer is not None
    programs = find_common_programs(pool_scenarios, choice.programs, space, request.settings, is_named=is_named)
    ruled_scenarios = replace_pool_fields(pool_scenarios, {"programs": programs})
    return search_hetero_plans(pools, ruled_scenarios, space, request.settings, tokens=request.tokens)
