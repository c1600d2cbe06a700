"""Which programs run plans on a heterogeneous cluster: the rules of a trainer hold in both pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.cluster.build.pools import HeteroCluster
from planner.cost.heterogeneous import BoundPool, BoundPools
from planner.cost.scenario import Scenario
from planner.errors import InputError
from planner.request.notices import warn
from planner.request.plan_request import PlanRequest
from planner.request.resolve import choose_request_trainer, is_unfit_by_generation
from planner.search.program_rules import drop_unfit_programs
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.trainers.names import ProgramName
from planner.trainers.registry import TRAINERS_BY_NAME, TrainerChoice, find_common_trainer
from planner.workload.operators import Workload

SettingNames = Mapping[str, tuple[str, ...]]


def choose_pools_trainer(request: PlanRequest, pools: HeteroCluster, workload: Workload) -> TrainerChoice:
    """The one trainer of both pools: that of the request, else the default's."""
    accelerators = [pool.own_cluster.accelerator for pool in pools.pools]
    if request.trainer is not None:
        return choose_request_trainer(request, accelerators[0], workload)
    default = find_common_trainer(accelerators, workload, request.allowed_values.get("zero_stage", ()))
    return TrainerChoice(default, TRAINERS_BY_NAME[default].programs)


def find_common_programs(
    device_pools: BoundPools,
    programs: Sequence[ProgramName],
    space: Space,
    settings: SettingNames,
    *,
    is_named: bool,
) -> tuple[ProgramName, ...]:
    """Of the programs those that run some plan of the space in each pool.

    Without one: an InputError with the name of the pool where the trainer was named; else no rules hold, and a
    warning says why, but for models and kinds of accelerators that the default trainer never trains.
    """
    runnable_by_pool = [_list_runnable_programs(pool, programs, space, settings) for pool in device_pools]
    common = tuple(name for name in programs if all(name in runnable for runnable in runnable_by_pool))
    if common:
        return common
    empty_pools = [pool for pool, runnable in zip(device_pools, runnable_by_pool, strict=True) if not runnable]
    error = _build_pool_error(empty_pools, programs, space, settings)
    if is_named:
        raise error
    named_scenarios = [replace(pool.own_scenario, programs=tuple(programs)) for pool in empty_pools]
    if all(
        drop_unfit_programs(scenario).programs or is_unfit_by_generation(scenario) for scenario in named_scenarios
    ):
        warn(f"{error.key}: {error.problem} ({error.value}); expected {error.expected}")
    return ()


def replace_pool_fields(device_pools: BoundPools, fields: Mapping[str, object]) -> BoundPools:
    """Both pools with these fields of their scenarios replaced."""
    first, second = (
        replace(
            pool,
            shared_scenario=replace(pool.shared_scenario, **fields),  # type: ignore[arg-type]
            own_scenario=replace(pool.own_scenario, **fields),  # type: ignore[arg-type]
        )
        for pool in device_pools
    )
    return first, second


def _list_runnable_programs(
    pool: BoundPool, programs: Sequence[ProgramName], space: Space, settings: SettingNames
) -> list[ProgramName]:
    """The programs that run some plan of the space on the pool alone."""
    from planner.search.diagnosis.unsupported import has_runnable_candidates

    pool_space = replace(space, devices=pool.devices)
    scenarios = list(enumerate_setting_scenarios(pool.own_scenario, settings))
    return [
        name
        for name in programs
        if has_runnable_candidates([replace(scenario, programs=(name,)) for scenario in scenarios], pool_space)
    ]


def _build_pool_error(
    empty_pools: Sequence[BoundPool], programs: Sequence[ProgramName], space: Space, settings: SettingNames
) -> InputError:
    """The error for pools of which no program runs the first; none: each program runs another pool."""
    from planner.search.diagnosis.unsupported import build_unsupported_error

    if not empty_pools:
        names = ", ".join(programs)
        return InputError("no program runs plans on both pools", key="--trainer", value=names, expected="one pool")
    pool = empty_pools[0]
    scenario: Scenario = next(iter(enumerate_setting_scenarios(pool.own_scenario, settings)))
    error = build_unsupported_error(replace(scenario, programs=tuple(programs)), replace(space, devices=pool.devices))
    return InputError(f"{error.problem} on {pool.name}", key=error.key, value=error.value, expected=error.expected)
