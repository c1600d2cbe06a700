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


_SETTING_RULES = {
    "schedule": ("zero-bubble-has-one-chunk", "schedule-folds-stages", "schedule-needs-micro-batches"),
    "layout": ("layout-has-chunks",),
    "cp_exchange": ("all-to-all-divides-heads",),
    "shard_group": ("shard-group-divides",),
}
"""By setting the rules of the search that leave it few candidates."""


def explain_unsupported(scenario: Scenario, space: Space, stats: SearchStats) -> PlannerError:
    """The error where no program runs a candidate: NothingFits where the obstacles are degrees that nobody pinned, so
    that no option is wrong.
    """
    program, obstacles = find_obstacles(scenario, space)
    pinned = {name for name in space.allowed if name not in space.defaulted}
    if any(obstacle.setting in pinned or obstacle.setting not in DIMENSION_OPTIONS for obstacle in obstacles):
        return _add_search_rules(build_unsupported_error(scenario, space), stats)
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


def _add_search_rules(error: InputError, stats: SearchStats) -> InputError:
    """The error for settings that a program does not run, with the rules of the search that left them few plans."""
    options = error.key.split(", ")
    rules = [
        SEARCH_RULES[rule]
        for name, names in _SETTING_RULES.items()
        for rule in names
        if f"--{name.replace('_', '-')}" in options and stats.rejected_by[rule]
    ]
    return _expect_too(error, f"and of any trainer: {'; '.join(rules)}") if rules else error


def _expect_too(error: InputError, expected: str) -> InputError:
    """The error with more that has to change."""
    return InputError(error.problem, key=error.key, value=error.value, expected=f"{error.expected}; {expected}")


def _keep_defaults(space: Space) -> Space:
    """The space without what the user pinned."""
    return replace(space, allowed={name: v for name, v in space.allowed.items() if name in space.defaulted})


def _suggest_sizes(scenario: Scenario, space: Space) -> Iterator[str]:
    """The nearest larger batch, and the nearest smaller number of devices, with which a plan fits."""
    frugal = replace(space, allowed={**_FRUGAL_VALUES, **space.allowed})
    for factor in _FACTORS:
        batch = space.global_batch * factor
        if _has_plan(replace(scenario, global_batch=batch), replace(frugal, global_batch=batch)):
            yield f"--global-batch {batch}"
            break
    for factor in _FACTORS:
        devices = space.devices // factor
        if space.devices % factor == 0 and _has_plan(
            replace(scenario, devices=devices), replace(frugal, devices=devices)
        ):
            yield f"{devices} devices"
            break


def _has_plan(scenario: Scenario, space: Space) -> bool:
    """Whether a plan fits; the network affects the time alone, and may stay that of other devices."""
    return bool(search_plans(scenario, space, SearchTarget(top=1)).stats.feasible)
