"""Messages for searches of which a trainer runs no candidate: pinned values that it does not run, or none of the open
ones that batch and devices leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.cost.scenario import Scenario
from planner.errors import InputError, NothingFits, PlannerError
from planner.search.diagnosis.option_conflicts import DIMENSION_OPTIONS
from planner.search.diagnosis.unsupported import (
    build_unsupported_error,
    find_obstacles,
    format_program,
    has_runnable_candidates,
    suggest_trainers,
)
from planner.search.search import SearchTarget, search_plans
from planner.search.space import SEARCH_RULES, SearchStats, Space

_FRUGAL_VALUES: dict[str, tuple[int, ...]] = {"micro_batch": (1,), "vpp": (1,), "recompute": (2,)}
"""Values of the least memory: where a plan fits, one of them does."""
_FACTORS = (2, 4, 8, 16, 32, 64, 128, 256)
_MAX_DIVISORS = 4
"""Numbers of devices that divide the batch are tried so often, from the largest on."""


_SETTING_RULES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "schedule": (
        ("zero-bubble-has-one-chunk", ("vpp",)),
        ("schedule-folds-stages", ("pp", "vpp")),
        ("schedule-needs-micro-batches", ("pp", "dp", "micro_batch")),
    ),
    "layout": (("layout-has-chunks", ("pp", "vpp")),),
    "cp_exchange": (("all-to-all-divides-heads", ("tp", "cp")),),
    "shard_group": (("shard-group-divides", ("dp", "cp")),),
}
"""By setting the rules of the search that leave it few candidates, with the dimensions that they are about."""


def explain_unsupported(scenario: Scenario, space: Space, stats: SearchStats) -> PlannerError:
    """The error where no program runs a candidate: NothingFits where the obstacles are degrees that nobody pinned, so
    that no option is wrong.
    """
    program, obstacles = find_obstacles(scenario, space)
    pinned = {name for name in space.allowed if name not in space.defaulted}
    if any(obstacle.setting in pinned or obstacle.setting not in DIMENSION_OPTIONS for obstacle in obstacles):
        return _add_search_rules(build_unsupported_error(scenario, space), pinned, stats)
    values = ", ".join(dict.fromkeys(f"{obstacle.setting} {obstacle.value}" for obstacle in obstacles))
    supported = "; ".join(dict.fromkeys(obstacle.format_supported() for obstacle in obstacles))
    changes = [*_suggest_sizes(scenario, space), suggest_trainers(scenario, space)]
    if pinned and has_runnable_candidates([scenario], _keep_defaults(space)):
        changes.append(f"leaving {', '.join(DIMENSION_OPTIONS[name] for name in sorted(pinned))} open")
    batch = f"{space.global_batch:,} {scenario.workload.sample_name}s"
    return NothingFits(
        f"no plan fits: {format_program(scenario, program)} runs none of {scenario.workload.title} on "
        f"{scenario.devices} x {scenario.accelerator.title} with {batch} a step\n"
        f"  nearest miss: {values}\n"
        f"  it runs {supported}\n"
        f"  what would make it fit: {', or '.join(filter(None, changes))}"
    )


def add_further_obstacles(error: InputError, scenario: Scenario, space: Space) -> InputError:
    """The error for options that conflict, with what no program of the scenario runs of the others: the options that
    it names are open then.
    """
    named = {name for name, option in DIMENSION_OPTIONS.items() if option in error.key.split(", ")}
    allowed = {name: values for name, values in space.allowed.items() if name not in named | {"vpp", "micro_batch"}}
    open_space = replace(space, allowed=allowed)
    if not scenario.programs or has_runnable_candidates([scenario], open_space):
        return error
    program, obstacles = find_obstacles(scenario, open_space)
    supported = "; ".join(dict.fromkeys(obstacle.format_supported() for obstacle in obstacles))
    return _expect_too(error, f"and {format_program(scenario, program)} runs {supported}")


def _add_search_rules(error: InputError, pinned: set[str], stats: SearchStats) -> InputError:
    """The error for settings that a program does not run, with the rules of the search that left them few plans of
    the pinned dimensions.
    """
    options = error.key.split(", ")
    rules = [
        SEARCH_RULES[rule]
        for name, named_rules in _SETTING_RULES.items()
        for rule, dimensions in named_rules
        if f"--{name.replace('_', '-')}" in options and stats.rejected_by[rule] and pinned.intersection(dimensions)
    ]
    return _expect_too(error, f"and of any trainer: {'; '.join(rules)}") if rules else error


def _expect_too(error: InputError, expected: str) -> InputError:
    """The error with more that has to change."""
    return InputError(error.problem, key=error.key, value=error.value, expected=f"{error.expected}; {expected}")


def _keep_defaults(space: Space) -> Space:
    """The space without what the user pinned."""
    return replace(space, allowed={name: v for name, v in space.allowed.items() if name in space.defaulted})


def _suggest_sizes(scenario: Scenario, space: Space) -> Iterator[str]:
    """The nearest batch, and the nearest smaller number of devices, with which a plan fits: of whole multiples of the
    devices and powers of two times the batch; of nodes whose devices divide the batch, and of halves, quarters, ...
    """
    frugal, batch, devices = (
        replace(space, allowed={**_FRUGAL_VALUES, **space.allowed}),
        space.global_batch,
        space.devices,
    )
    multiples = {batch // devices * devices, -(-batch // devices) * devices, *(factor * batch for factor in _FACTORS)}
    for size in sorted(multiples - {0, batch}, key=lambda size: (abs(size - batch), size)):
        if _has_plan(replace(scenario, global_batch=size), replace(frugal, global_batch=size)):
            yield f"--global-batch {size}"
            break
    step = scenario.devices_per_host
    divisors = [size for size in range(step, devices, step) if batch % size == 0]
    parts = [devices // factor for factor in _FACTORS if devices % factor == 0]
    for size in sorted({*divisors[-_MAX_DIVISORS:], *parts}, reverse=True):
        if _has_plan(replace(scenario, devices=size), replace(frugal, devices=size)):
            yield f"{size:,} devices"
            break


def _has_plan(scenario: Scenario, space: Space) -> bool:
    """Whether a plan fits; the network affects the time alone, and may stay that of other devices."""
    return bool(search_plans(scenario, space, SearchTarget(top=1)).stats.feasible)
