"""What the plans of a search are compared with: the usual layout of such a model on such hardware, and the best plan
with all of the memory.
"""

from __future__ import annotations

import math
from dataclasses import replace

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario
from planner.documents.plan import FullMemoryPart, PlanPart, UsualLayoutPart
from planner.hardware import database
from planner.hardware.figures import FigureSource
from planner.hardware.layouts import PublishedLayout, list_published_layouts
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.studies.plan_parts import build_plan_parts
from planner.units import format_bytes

_SIZE_RATIO = 1.25
"""Of two numbers of parameters: models of the same size have at most this ratio."""
_DEGREES = ("tp", "pp", "cp", "ep")


def find_best_with_full_memory(
    result: SearchResult, cluster: Cluster, space: Space, target: SearchTarget
) -> FullMemoryPart | None:
    """The best plan with all memory; None without a limit, for several objectives and for memory as the objective."""
    limited = result.scenarios[0]
    is_unlimited = limited.usable_memory_bytes >= limited.accelerator.memory_bytes
    if is_unlimited or target.is_pareto or target.objectives[0].name == "memory-headroom":
        return None
    scenarios = [replace(scenario, memory_limit=None) for scenario in result.scenarios]
    full_result = search_plans(scenarios, space, SearchTarget(target.objectives, top=1))
    plan = build_plan_parts(full_result, cluster, with_bottlenecks=False)[0]
    return FullMemoryPart(
        strategy=plan.strategy,
        settings=plan.settings,
        step_time_s=plan.step_time_s,
        step_time_p10_s=plan.step_time_p10_s,
        step_time_p90_s=plan.step_time_p90_s,
        total_bytes=plan.memory.total_bytes,
        gain=1.0 - full_result.least_figure / result.least_figure,
    )


def build_usual_layout_part(
    result: SearchResult, cluster: Cluster, space: Space, plans: list[PlanPart]
) -> UsualLayoutPart | None:
    """The usual layout beside the plans that the search found; None where none is known that the space has."""
    scenario = result.scenarios[int(result.scenario_index[0])]
    found = find_usual_layout(scenario, space)
    if found is None:
        return None
    layout, source = found
    pins = _pin_layout(layout, space)
    if pins is None:
        return None
    scenarios = [
        changed
        for other in result.scenarios
        if other.global_batch == scenario.global_batch
        for changed in _apply_layout_settings(other, layout)
    ]
    plan, obstacle = _search_pinned(scenarios, cluster, replace(space, allowed=space.allowed | pins))
    if plan is None and not obstacle:
        return None
    ranks = [number for number, other in enumerate(plans, 1) if plan and _has_degrees(other, plan)]
    return UsualLayoutPart(
        name=layout.name,
        title=layout.title,
        source=source.title,
        url=source.url,
        plan=plan,
        rank=ranks[0] if ranks else 0,
        excess=None if plan is None else plan.step_time_s / plans[0].step_time_s - 1.0,
        obstacle=obstacle,
    )


def find_usual_layout(scenario: Scenario, space: Space) -> tuple[PublishedLayout, FigureSource] | None:
    """The layout of a model of this size on this generation of accelerators, whose degrees divide the devices: of the
    same accelerator before others, then of the same precision, then of the nearest number of devices.
    """
    workload, accelerator = scenario.workload, scenario.accelerator
    if workload.sample_name != "sequence":
        return None

    def has_size(layout: PublishedLayout) -> bool:
        ratios = (layout.parameters / workload.parameters, layout.active_parameters / workload.active_parameters)
        return all(1 / _SIZE_RATIO <= ratio <= _SIZE_RATIO for ratio in ratios)

    def compute_distance(layout: PublishedLayout) -> tuple[bool, bool, float]:
        return (
            layout.accelerator != accelerator.name,
            layout.precision != scenario.precision,
            abs(math.log(layout.devices / space.devices)),
        )

    fitting = [
        (layout, source)
        for layout, source in list_published_layouts()
        if has_size(layout)
        and database.load_accelerator_spec(layout.accelerator).architecture == accelerator.architecture
        and space.devices % (layout.tp * layout.pp * layout.cp) == 0
    ]
    return min(fitting, key=lambda item: compute_distance(item[0]), default=None)


def _pin_layout(layout: PublishedLayout, space: Space) -> dict[str, tuple[int, ...]] | None:
    """The values of the dimensions that a layout states; None where the space leaves one of its degrees out."""
    degrees: dict[str, tuple[int, ...]] = {name: (int(getattr(layout, name)),) for name in _DEGREES}
    if any(value[0] not in space.allowed.get(name, value) for name, value in degrees.items()):
        return None
    return degrees


def _apply_layout_settings(scenario: Scenario, layout: PublishedLayout) -> list[Scenario]:
    """The scenario as it is, and with the settings of the layout where these differ."""
    values = {name: (value,) for name, value in layout.settings.items()}
    changed = list(enumerate_setting_scenarios(scenario, values)) if values else []
    return [scenario, *(other for other in changed if other != scenario)]


def _search_pinned(scenarios: list[Scenario], cluster: Cluster, space: Space) -> tuple[PlanPart | None, str]:
    """The best plan of a space of one layout, and what it has too little of; None where no rule allows it."""
    target = SearchTarget(top=1)
    result = search_plans(scenarios, space, target)
    if result.stats.feasible:
        return build_plan_parts(result, cluster)[0], ""
    unlimited = [replace(scenario, memory_limit=None) for scenario in scenarios]
    result = search_plans(unlimited, space, target)
    if result.stats.feasible:
        plan = build_plan_parts(result, cluster)[0]
        usable = format_bytes(scenarios[0].usable_memory_bytes)
        return plan, f"needs {format_bytes(plan.memory.total_bytes)}, more than the limit of {usable}"
    if result.stats.rejected_by["memory"]:
        return None, f"does not fit in {format_bytes(scenarios[0].accelerator.memory_bytes)}"
    return None, ""


def _has_degrees(plan: PlanPart, other: PlanPart) -> bool:
    return all(getattr(plan.strategy, name) == getattr(other.strategy, name) for name in _DEGREES)
