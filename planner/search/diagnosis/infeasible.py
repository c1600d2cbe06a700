"""Messages for a search without a feasible plan: the reason, and changes that would make a plan fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from planner.cluster.model.cluster import Cluster
from planner.cost.memory.peak import compute_host_memory_bytes, compute_peak_memory_bytes
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, compute_required_memory_bytes
from planner.cost.strategies import RECOMPUTE_MODES, Strategies
from planner.errors import NothingFits, PlannerError
from planner.search.diagnosis.no_runnable_plan import add_further_obstacles, explain_unsupported
from planner.search.diagnosis.option_conflicts import DIMENSION_OPTIONS, build_conflict_error
from planner.search.diagnosis.unsupported import build_unsupported_error
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.units import format_bytes

_LARGE_HEADROOM_GIB = 10.0
"""Headroom above which a suggested one has whole GiB; below it has tenths."""


def explain_empty_search(
    cluster: Cluster, space: Space, result: SearchResult, *, is_single_plan: bool = False
) -> PlannerError:
    """The error for a search without a feasible plan, or for a single given plan that is not: a rule that it breaks
    and the options that conflict, or too little memory. The error of a single plan has no advice on memory.
    """
    scenario = result.nearest_miss_scenario
    space = replace(space, global_batch=scenario.global_batch)
    if not (result.stats.rejected_by["memory"] or result.stats.rejected_by["host-memory"]):
        if result.stats.rejected_by["trainer"]:
            if is_single_plan:
                return build_unsupported_error(scenario, space)
            return explain_unsupported(scenario, space, result.stats)
        space = _open_dependent_defaults(space)
        return add_further_obstacles(build_conflict_error(scenario, cluster, space), scenario, space)
    miss = _compute_memory_miss(scenario, result.nearest_miss)
    if not is_single_plan:
        return NothingFits(_format_memory_miss(scenario, miss) + _suggest_fitting_changes(scenario, space, miss))
    return NothingFits(_format_memory_miss(scenario, miss))


def _open_dependent_defaults(space: Space) -> Space:
    """The space without the defaults that follow from the degrees, which other degrees would have otherwise."""
    dependent = {"sequence_parallel", "zero_stage"} & space.defaulted
    return replace(space, allowed={name: values for name, values in space.allowed.items() if name not in dependent})


@dataclass(frozen=True)
class _MemoryMiss:
    """The plan that needs the least memory, and whether the device or the host has too little."""

    split: str
    holder: Literal["device", "host"]
    needed_bytes: float
    capacity_bytes: float
    largest_categories: str


def _compute_memory_miss(scenario: Scenario, strategy: Strategies) -> _MemoryMiss:
    row = strategy.get_row(0)
    split = " ".join(f"{name} {row[name]}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp") if row[name] > 1)
    split += (
        f" micro-batch {row['micro_batch']}, ZeRO {row['zero_stage']}, recompute {RECOMPUTE_MODES[row['recompute']]}"
    )
    bytes_by_category = {
        category: float(value[0]) for category, value in compute_peak_memory_bytes(scenario, strategy).items()
    }
    total, capacity = math.fsum(bytes_by_category.values()), scenario.usable_memory_bytes
    if total <= capacity and scenario.host is not None:
        state = ((row["zero_stage"],), (row["recompute"],))
        host_bytes = compute_host_memory_bytes(scenario, strategy, build_plan_tables(scenario, strategy), *state)
        return _MemoryMiss(split.strip(), "host", float(host_bytes[0, 0, 0]), scenario.host.memory_bytes, "")
    largest = sorted(bytes_by_category, key=lambda category: -bytes_by_category[category])[:2]
    largest_categories = ", mostly " + " and ".join(
        f"{format_bytes(bytes_by_category[category])} of {category}" for category in largest
    )
    return _MemoryMiss(split.strip(), "device", total, capacity, largest_categories)


def _format_memory_miss(scenario: Scenario, miss: _MemoryMiss) -> str:
    excess_bytes = miss.needed_bytes - miss.capacity_bytes
    needs = "needs" if miss.holder == "device" else "offloads"
    has = f"the {miss.holder} has {format_bytes(miss.capacity_bytes)}"
    if scenario.memory_limit is not None and miss.holder == "device":
        memory = format_bytes(scenario.accelerator.memory_bytes)
        has = f"the memory limit allows {format_bytes(miss.capacity_bytes)} of {memory}"
    return (
        f"no plan fits: {scenario.workload.title} on {scenario.devices} x {scenario.accelerator.title}\n"
        f"  nearest miss: {miss.split}\n"
        f"  {needs} {format_bytes(miss.needed_bytes)}, {has}: "
        f"{format_bytes(excess_bytes)} too much{miss.largest_categories}"
    )


def _find_sharding_trainers(
    scenario: Scenario, space: Space, frugal_values: dict[str, tuple[int, ...]]
) -> list[TrainerName]:
    """The trainer that shards more than the scenario's, and a plan of which fits; at most one."""
    name = {"megatron": "megatron-fsdp", "megatron-classic": "megatron-fsdp", "ddp": "fsdp2"}.get(
        scenario.trainer.name
    )
    if name is None or not scenario.programs:
        return []
    trainer = TRAINERS_BY_NAME[name]  # type: ignore[index]
    other = replace(scenario, trainer=trainer, programs=trainer.programs)
    frugal_space = replace(space, allowed={**frugal_values, **space.allowed})
    return [trainer.name] if search_plans(other, frugal_space, SearchTarget(top=1)).stats.feasible else []


def _suggest_fitting_changes(scenario: Scenario, space: Space, miss: _MemoryMiss) -> str:
    """Find a multiple of the devices, a memory limit, or a memory size, with which a plan fits.

    For open dimensions only the values with the least memory are searched, which is enough to know that a plan fits.
    """
    changes: list[str] = []
    frugal_values: dict[str, tuple[int, ...]] = {
        "micro_batch": (1,),
        "vpp": (1,),
        "zero_stage": (0, 1, 3),
        "recompute": (2,),
    }
    for factor in (2, 4, 8, 16, 32, 64):
        larger_space = replace(space, devices=space.devices * factor, allowed={**frugal_values, **space.allowed})
        # the network affects only the time, not the memory, so it can stay
        if search_plans(
            replace(scenario, devices=larger_space.devices), larger_space, SearchTarget(top=1)
        ).stats.feasible:
            changes.append(f"{larger_space.devices} devices")
            break
    changes += [f"--trainer {name}" for name in _find_sharding_trainers(scenario, space, frugal_values)]
    changes += _suggest_memory(scenario, miss)
    user_pins = [DIMENSION_OPTIONS[name] for name in space.allowed if name not in space.defaulted]
    if user_pins:
        changes.append(f"leaving {', '.join(user_pins)} open")
    return f"\n  what would make it fit: {', or '.join(changes)}"


def _suggest_memory(scenario: Scenario, miss: _MemoryMiss) -> list[str]:
    """Another memory limit, and the memory of devices or hosts that is enough, rounded up to 0.01 GiB."""
    if miss.holder == "host":
        return [f"hosts of {format_bytes(_round_up_gib(miss.needed_bytes) * 2**30)}"]
    limit, used_bytes = scenario.memory_limit, miss.needed_bytes - scenario.runtime_reserve_bytes
    limit_option = _suggest_memory_limit(scenario, miss.needed_bytes)
    changes = [limit_option] if limit_option else []
    device_bytes = compute_required_memory_bytes(used_bytes, scenario.accelerator, limit)
    if math.isfinite(device_bytes):
        changes.append(f"devices of {format_bytes(_round_up_gib(device_bytes) * 2**30)}")
    elif not limit_option:
        device_bytes = compute_required_memory_bytes(used_bytes, scenario.accelerator)
        changes.append(f"devices of {format_bytes(_round_up_gib(device_bytes) * 2**30)} without --memory-limit")
    return changes


def suggest_memory_limit(scenario: Scenario, strategy: Strategies) -> str:
    """The option with the tightest memory limit with which one plan fits; empty where it is too large for the device,
    where there is no limit, and where it is the host that has too little.
    """
    miss = _compute_memory_miss(scenario, strategy)
    return _suggest_memory_limit(scenario, miss.needed_bytes) if miss.holder == "device" else ""


def _suggest_memory_limit(scenario: Scenario, needed_bytes: float) -> str:
    """The tightest limit with which a plan of so many bytes fits, in the form that the user chose; empty where it is
    too large for the device, or where there is no limit.
    """
    limit, memory_bytes = scenario.memory_limit, scenario.accelerator.memory_bytes
    if limit is None or needed_bytes > memory_bytes:
        return ""
    if limit.headroom_bytes is not None:
        headroom_gib = (memory_bytes - needed_bytes) / 2**30
        digits = 0 if headroom_gib >= _LARGE_HEADROOM_GIB else 1
        return f"--headroom {math.floor(headroom_gib * 10**digits) / 10**digits:.{digits}f}GiB"
    limit_gib = _round_up_gib(needed_bytes)
    if limit.limit_bytes is not None and limit_gib * 2**30 <= memory_bytes:
        return f"--memory-limit {limit_gib:.2f}GiB"
    return f"--memory-limit {math.ceil(1000 * needed_bytes / memory_bytes) / 10:.1f}%"


def _round_up_gib(size_bytes: float) -> float:
    """GiB rounded up to a hundredth, so that the printed size is enough."""
    return math.ceil(size_bytes / 2**30 * 100) / 100
