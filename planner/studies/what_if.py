"""What-if: the best plans before and after changes, the old plan after the changes, and elasticities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats, round_significant
from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.pipeline.stages import PlanTables, build_plan_tables, replace_layer_tables
from planner.cost.scenario import Scenario, check_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies
from planner.cost.uncertainty import is_change_told_apart
from planner.documents.plan import PlanPart
from planner.documents.what_if import (
    SCHEMA_VERSION,
    ElasticityPart,
    HardwareFigureName,
    InputChangePart,
    KeptPlanPart,
    WhatIfDifferencePart,
    WhatIfDocument,
    WhatIfSidePart,
)
from planner.errors import NothingFits
from planner.search.diagnosis.infeasible import explain_empty_search
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import SEARCH_RULES, Space
from planner.studies.changes import HARDWARE_SCALES, InputChange, rebind_scenario
from planner.studies.plan import build_plan_document, search_cluster_plans
from planner.studies.plan_parts import build_plan_parts, read_step_bounds
from planner.units import format_bytes

_RELATIVE_STEP = 0.01
"""Relative step of the central differences."""
_OPEN_DIMENSIONS = ("dp",)
"""Dimensions of a kept plan that follow from the number of devices."""


@dataclass(frozen=True)
class WhatIfSide:
    """One side: its scenarios (one for each combination of settings), its cluster, its space."""

    scenarios: tuple[Scenario, ...]
    cluster: Cluster
    space: Space

    def rebind_cluster(self, cluster: Cluster) -> WhatIfSide:
        """The same side on another cluster of the same size. Raises InputError for a memory limit above it."""
        scenarios = tuple(rebind_scenario(scenario, cluster) for scenario in self.scenarios)
        check_scenario(scenarios[0])
        return replace(self, scenarios=scenarios, cluster=cluster)


def compute_what_if(before: WhatIfSide, after: WhatIfSide, changes: Sequence[InputChange]) -> WhatIfDocument:
    """Plan both sides and compare them. Both sides have the same settings in the same order.

    Raises InputError where the pinned values leave no candidate, NothingFits where no plan fits on one of the sides.
    """
    before_result, after_result = _search_side(before, "as it is"), _search_side(after, "with the changes")
    old_side, new_side = _build_side_part(before, before_result), _build_side_part(after, after_result)
    before_plan, after_plan = old_side.plan, new_side.plan
    return WhatIfDocument(
        schema_version=SCHEMA_VERSION,
        changes=[_build_change_part(change) for change in changes],
        before=old_side,
        after=new_side,
        same_plan=before_plan.strategy == after_plan.strategy and before_plan.settings == after_plan.settings,
        told_apart=is_change_told_apart(
            before_plan.tokens_per_s / after_plan.tokens_per_s,
            (read_step_bounds(before_plan), read_step_bounds(after_plan)),
            is_same_machine=(
                old_side.cluster.accelerator == new_side.cluster.accelerator
                and old_side.scenario.framework == new_side.scenario.framework
            ),
        ),
        difference=_build_difference_part(before_plan, after_plan),
        kept=_evaluate_kept_plan(after, before_result, before_plan, after_plan),
        elasticities=_build_elasticity_parts((before, before_result), (after, after_result)),
    )


def _search_side(side: WhatIfSide, side_title: str) -> SearchResult:
    rank_orders = tuple(dict.fromkeys(scenario.rank_order for scenario in side.scenarios))
    result = search_cluster_plans(side.scenarios, side.cluster, side.space, SearchTarget(top=1), rank_orders)
    if not result.stats.feasible:
        error = explain_empty_search(side.cluster, side.space, result)
        raise NothingFits(f"{side_title}, {error}") if isinstance(error, NothingFits) else error
    return result


def _build_side_part(side: WhatIfSide, result: SearchResult) -> WhatIfSidePart:
    document = build_plan_document(side.cluster, result, SearchTarget(top=1), None)
    return WhatIfSidePart(
        model=document.model,
        cluster=document.cluster,
        scenario=document.scenario,
        search=document.search,
        plan=document.plans[0],
    )


def _build_change_part(change: InputChange) -> InputChangePart:
    unit = change.dimension or ""
    return InputChangePart(key=change.key, given=change.given, unit=unit, before=change.before, after=change.after)


def _build_difference_part(first: PlanPart, second: PlanPart) -> WhatIfDifferencePart:
    """The figures that both parts have, and the memory by category, of the second plan minus those of the first."""
    names = [name for name in WhatIfDifferencePart.__struct_fields__ if name in PlanPart.__struct_fields__]
    return WhatIfDifferencePart(
        speedup=second.tokens_per_s / first.tokens_per_s,
        memory_bytes={
            category: getattr(second.memory, f"{category}_bytes") - getattr(first.memory, f"{category}_bytes")
            for category in MEMORY_CATEGORIES
        },
        **{name: _subtract_figures(getattr(second, name), getattr(first, name)) for name in names},
    )


def _subtract_figures(new: Any, old: Any) -> Any:
    """The difference of two numbers, or of each of two mappings; None where one is not known."""
    if isinstance(old, dict):
        return {name: new[name] - value for name, value in old.items()}
    return None if new is None or old is None else new - old


def _evaluate_kept_plan(
    after: WhatIfSide, before_result: SearchResult, before_plan: PlanPart, best_plan: PlanPart
) -> KeptPlanPart:
    """The old plan after the changes: a search of the space that contains only this plan."""
    scenario = after.scenarios[int(before_result.scenario_index[0])]
    pins: dict[str, tuple[int, ...]] = {
        name: (value,) for name, value in before_result.best.get_row(0).items() if name not in _OPEN_DIMENSIONS
    }
    result = search_plans(scenario, Space(after.space.devices, scenario.global_batch, pins), SearchTarget(top=1))
    if not result.stats.feasible:
        return KeptPlanPart(plan=None, regret=None, obstacle=_explain_obstacle(scenario, result))
    plan = build_plan_parts(result, after.cluster)[0]
    ratio = plan.step_time_s / best_plan.step_time_s
    bounds = read_step_bounds(best_plan), read_step_bounds(plan)
    return KeptPlanPart(
        plan=plan,
        speedup=plan.tokens_per_s / before_plan.tokens_per_s,
        regret=ratio - 1.0,
        best_told_apart=is_change_told_apart(ratio, bounds, is_same_machine=True),
        obstacle="",
    )


def _explain_obstacle(scenario: Scenario, result: SearchResult) -> str:
    if result.stats.rejected_by["memory"]:
        return f"it does not fit in {format_bytes(scenario.usable_memory_bytes)}"
    broken_rules = [rule for rule, count in result.stats.rejected_by.items() if count]
    return (
        f"it breaks a rule: {SEARCH_RULES[broken_rules[0]]}"
        if broken_rules
        else f"its degrees do not divide {scenario.devices:,} devices"
    )


def _build_elasticity_parts(
    before: tuple[WhatIfSide, SearchResult], after: tuple[WhatIfSide, SearchResult]
) -> list[ElasticityPart]:
    names: tuple[HardwareFigureName, ...] = (
        "peak",
        "memory_bandwidth",
        "link_bandwidth",
        "network_bandwidth",
        "link_latency",
        "network_latency",
    )
    if any(result.scenarios[int(result.scenario_index[0])].offload.is_active for _, result in (before, after)):
        names += ("host_link", "host_bandwidth")
    old_figures, new_figures = (
        _compute_first_plan_elasticities(side, result, names) for side, result in (before, after)
    )
    return [ElasticityPart(figure=name, before=old_figures[name], after=new_figures[name]) for name in names]


def _compute_first_plan_elasticities(
    side: WhatIfSide, result: SearchResult, names: tuple[HardwareFigureName, ...]
) -> dict[HardwareFigureName, float]:
    scenario, best = side.scenarios[int(result.scenario_index[0])], result.best
    plan_tables = build_plan_tables(scenario, best)
    return {name: float(compute_elasticity(scenario, side.cluster, best, name, plan_tables)[0]) for name in names}


def compute_elasticity(
    scenario: Scenario, cluster: Cluster, strategies: Strategies, name: str, plan_tables: PlanTables | None = None
) -> Floats:
    """d log(step time) / d log(figure) of each plan, nothing else changed; shape [plans]. `plan_tables`: of these
    plans, where they are known.
    """
    plan_tables = build_plan_tables(scenario, strategies) if plan_tables is None else plan_tables
    times_s = []
    for factor in (1.0 - _RELATIVE_STEP, 1.0 + _RELATIVE_STEP):
        changed_scenario = rebind_scenario(scenario, HARDWARE_SCALES[name](cluster, factor))
        changed_tables = replace_layer_tables(plan_tables, changed_scenario, strategies)
        times_s.append(compute_step_costs(changed_scenario, strategies, changed_tables).step_time_s)
    return round_significant(
        np.log(times_s[1] / times_s[0]) / np.log((1.0 + _RELATIVE_STEP) / (1.0 - _RELATIVE_STEP)), 32
    )
