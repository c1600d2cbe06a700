"""From scenarios to the plan document: the common path of `plan` and `estimate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from planner.cluster.build.reliability import Reliability
from planner.cluster.model.cluster import Cluster
from planner.cost.input_pipeline import compute_input_demand, compute_input_s, find_sample_demand
from planner.cost.operators.roofline import is_16bit_or_wider
from planner.cost.scenario import Scenario
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import Strategies
from planner.documents.plan import (
    SCHEMA_VERSION,
    InputPart,
    PlacementPart,
    PlanDocument,
    PlanPart,
    RunTotalsPart,
    SearchPart,
    SlowHostRemovalPart,
    TechniquePart,
)
from planner.documents.site import AssumptionPart, CarbonPart, PowerPart, ReliabilityPart
from planner.errors import InputError
from planner.search.orders import search_rank_orders
from planner.search.search import SearchResult, SearchTarget
from planner.search.space import Space
from planner.studies.plan_parts import build_cluster_part, build_model_part, build_plan_parts, build_scenario_part
from planner.units import DAY_S, J_PER_KWH
from planner.workload.techniques import DEFAULT_TECHNIQUES

if TYPE_CHECKING:
    from planner.hardware.grids import PowerGrid


def find_best_plans(
    scenarios: Sequence[Scenario],
    cluster: Cluster,
    space: Space,
    target: SearchTarget,
    *,
    tokens: int | None,
    samples: int | None = None,
    rank_orders: Sequence[str] = RANK_ORDERS,
    reliability: Reliability | None = None,
    grid: PowerGrid | None = None,
    with_bottlenecks: bool = True,
    with_alternatives: bool = False,
) -> PlanDocument:
    """Search the space over all scenarios and build the document of the best plans.

    `samples`: also estimate the uncertainty of the first plan, with this many samples. `rank_orders`: rank orders
    that the placement on a wired cluster may choose from. `with_bottlenecks`: with the sentence on each plan's limit.
    `with_alternatives`: with the usual layout and the best plan with all memory.
    Raises InputError where the pinned values leave no candidate, NothingFits where no plan fits in memory.
    """
    result = search_cluster_plans(scenarios, cluster, space, target, rank_orders)
    if not result.stats.feasible:
        from planner.search.diagnosis.infeasible import explain_empty_search

        raise explain_empty_search(cluster, space, result)
    document = build_plan_document(
        cluster, result, target, tokens, reliability, grid, with_bottlenecks=with_bottlenecks
    )
    if document.placement is not None:
        slow_host_removal = _search_without_slow_hosts(cluster, result, space, target)
        document = replace(document, placement=replace(document.placement, without_slow=slow_host_removal))
    if with_alternatives:
        from planner.studies.alternatives import build_usual_layout_part, find_best_with_full_memory

        document = replace(
            document,
            full_memory=find_best_with_full_memory(result, cluster, space, target),
            usual=build_usual_layout_part(result, cluster, space, document.plans),
        )
    if samples is None:
        return document
    from planner.studies.uncertainty import estimate_first_plan_uncertainty

    part = estimate_first_plan_uncertainty(result.scenarios, space, target.objectives[0], samples, target.margin)
    return replace(document, uncertainty=part)


def score_pinned_plan(
    scenario: Scenario,
    cluster: Cluster,
    space: Space,
    *,
    tokens: int | None,
    rank_orders: Sequence[str] = RANK_ORDERS,
    reliability: Reliability | None = None,
    grid: PowerGrid | None = None,
) -> PlanDocument:
    """The document of a single plan, to which all dimensions of `space` are pinned.

    Raises InputError where the plan breaks a rule, NothingFits where it does not fit in memory.
    """
    target = SearchTarget(top=1)
    result = search_cluster_plans([scenario], cluster, space, target, rank_orders)
    if not result.stats.feasible:
        from planner.search.diagnosis.infeasible import explain_empty_search

        raise explain_empty_search(cluster, space, result, is_single_plan=True)
    return build_plan_document(cluster, result, target, tokens, reliability, grid)


def search_cluster_plans(
    scenarios: Sequence[Scenario],
    cluster: Cluster,
    space: Space,
    target: SearchTarget,
    rank_orders: Sequence[str] = RANK_ORDERS,
) -> SearchResult:
    """Search with one of the rank orders `rank_orders`; on a wired cluster, with the ranks placed on hosts."""
    if not cluster.listed_hosts:
        return search_rank_orders(scenarios, space, target, rank_orders)
    from planner.search.placement import search_placed_plans

    return search_placed_plans(scenarios, space, target, rank_orders)


def build_plan_document(
    cluster: Cluster,
    result: SearchResult,
    target: SearchTarget,
    tokens: int | None,
    reliability: Reliability | None = None,
    grid: PowerGrid | None = None,
    *,
    with_bottlenecks: bool = True,
) -> PlanDocument:
    """The document of all plans of `result`.

    With `tokens` also the whole run; with `reliability` the goodput and with `grid` the emissions of the first plan.
    `with_bottlenecks`: with the sentence on each plan's limit.
    """
    scenario = result.scenarios[int(result.scenario_index[0])]
    workload, stats = scenario.workload, result.stats
    parts = build_plan_parts(result, cluster, with_bottlenecks=with_bottlenecks)
    tokens_per_step = scenario.global_batch * workload.seq_length
    failures = None if reliability is None else _compute_reliability_part(scenario, cluster, parts[0], reliability)
    run = _build_run_part(parts[0], tokens, tokens_per_step, failures) if tokens else None
    return PlanDocument(
        schema_version=SCHEMA_VERSION,
        model=build_model_part(workload),
        cluster=build_cluster_part(cluster),
        scenario=build_scenario_part(scenario),
        search=SearchPart(
            objectives=[objective.name for objective in target.objectives],
            critical_batch_tokens=target.objectives[0].critical_batch_tokens or None,
            combinations=len(result.scenarios),
            candidates=stats.candidates,
            feasible=stats.feasible,
            cut_by=dict(stats.rejected_by),
            exact=True,
            within=target.margin,
            excess=_compute_excess(result) if target.margin else 0.0,
        ),
        plans=parts,
        run=run,
        placement=_build_placement_part(cluster, result),
        reliability=failures,
        techniques=_build_technique_parts(scenario),
        power=_build_power_part(scenario, parts[0], run),
        carbon=_build_carbon_part(grid, parts[0], run),
        uncertainty=None,
        full_memory=None,
        usual=None,
        input_pipeline=_build_input_part(scenario, result.best.take(np.array([0])), parts[0]),
    )


def _build_input_part(scenario: Scenario, strategies: Strategies, plan: PlanPart) -> InputPart | None:
    """What the first plan reads and prepares, at its own pace; None for samples of a kind that is not known."""
    demand = compute_input_demand(
        scenario.workload, scenario.global_batch, scenario.devices_per_host, scenario.rank_order, strategies
    )
    sample = find_sample_demand(scenario.workload)
    if demand is None or sample is None:
        return None
    supply, step_time_s = scenario.input_supply, plan.step_time_s
    return InputPart(
        sample_bytes=sample.size_bytes,
        node_samples_per_s=float(demand.node_samples[0]) / step_time_s,
        node_bytes_per_s=float(demand.node_bytes[0]) / step_time_s,
        storage_bytes_per_s=float(demand.storage_bytes[0]) / step_time_s,
        node_cores=float(demand.node_core_s[0]) / step_time_s,
        host_cores=supply.host_cores,
        node_read_bytes_per_s=supply.node_bytes_per_s,
        storage_read_bytes_per_s=supply.storage_bytes_per_s,
        input_s=float(compute_input_s(demand, supply)[0]),
        starves=plan.terms["input"] > 0.0,
    )


def _compute_excess(result: SearchResult) -> float:
    """The fraction by which the first plan's figure is above the least."""
    return max(0.0, float(result.figures[0, 0]) / result.least_figure - 1.0)


def _build_placement_part(cluster: Cluster, result: SearchResult) -> PlacementPart | None:
    if not cluster.listed_hosts:
        return None
    from planner.search.placement import compute_rank_placement

    placed = compute_rank_placement(result)
    if placed is None:
        return None
    hosts = [cluster.listed_hosts[host] for host in placed.hosts.tolist()]
    return PlacementPart(hosts=hosts, as_listed_step_time_s=placed.listed_step_time_s, without_slow=None)


def _search_without_slow_hosts(
    cluster: Cluster, result: SearchResult, space: Space, target: SearchTarget
) -> SlowHostRemovalPart | None:
    """The best plan without the hosts that have less uplink bandwidth than the others."""
    from planner.cluster.build.wired_cluster import remove_slow_hosts
    from planner.search.placement import compute_first_step_time_s, search_placed_plans
    from planner.studies.changes import rebind_scenario

    removal = remove_slow_hosts(cluster)
    if removal is None:
        return None
    remaining_cluster, removed_hosts = removal
    remaining_space = dataclasses.replace(space, devices=remaining_cluster.devices)
    scenarios = [rebind_scenario(scenario, remaining_cluster) for scenario in result.scenarios]
    best_result = search_placed_plans(
        scenarios, remaining_space, dataclasses.replace(target, top=1), [result.scenarios[0].rank_order]
    )
    step_time_s = compute_first_step_time_s(best_result) if best_result.stats.feasible else None
    return SlowHostRemovalPart(hosts=list(removed_hosts), step_time_s=step_time_s)


def _build_technique_parts(scenario: Scenario) -> list[TechniquePart]:
    """The techniques of the scenario that train for less, low precisions among them."""
    if scenario.techniques == DEFAULT_TECHNIQUES and is_16bit_or_wider(scenario, full_precision=False):
        return []
    from planner.cost.techniques import describe_techniques

    return [
        TechniquePart(name=technique.name, changes=list(technique.changes), accuracy="unknown")
        for technique in describe_techniques(scenario)
    ]


def _compute_reliability_part(
    scenario: Scenario, cluster: Cluster, plan: PlanPart, reliability: Reliability
) -> ReliabilityPart:
    from planner.studies.goodput import build_reliability_part

    return build_reliability_part(scenario, cluster, plan, reliability)


def _build_run_part(
    plan: PlanPart, tokens: int, tokens_per_step: int, failures: ReliabilityPart | None
) -> RunTotalsPart:
    steps = -(-tokens // tokens_per_step)
    days, days_p10, days_p90 = (
        steps * step_time_s / DAY_S for step_time_s in (plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s)
    )
    goodput_share = 0.0 if failures is None else failures.goodput_share
    return RunTotalsPart(
        tokens=tokens,
        steps=steps,
        days=days,
        days_p10=days_p10,
        days_p90=days_p90,
        days_with_failures=days / goodput_share if goodput_share else None,
        days_with_failures_p10=days_p10 / goodput_share if goodput_share else None,
        days_with_failures_p90=days_p90 / goodput_share if goodput_share else None,
    )


def _build_power_part(scenario: Scenario, plan: PlanPart, run: RunTotalsPart | None) -> PowerPart | None:
    """Mean power, energy of a day and of the run; None where the accelerator's power is not known."""
    energy_j_per_step, power = plan.energy_j_per_step, scenario.power
    if not energy_j_per_step or power is None:
        return None
    mean_power_w = energy_j_per_step / plan.step_time_s
    return PowerPart(
        mean_w=mean_power_w,
        day_j=mean_power_w * DAY_S,
        run_j=None if run is None else energy_j_per_step * run.steps,
        pue=power.pue,
        assumed=[
            AssumptionPart(name=assumption.name, value=assumption.value, source=assumption.source)
            for assumption in power.assumptions
        ],
    )


def _build_carbon_part(grid: PowerGrid | None, plan: PlanPart, run: RunTotalsPart | None) -> CarbonPart | None:
    """CO2-equivalent of a step and of the run. Raises InputError where the accelerator's power is not known."""
    if grid is None:
        return None
    if plan.energy_j_per_step is None:
        raise InputError(
            "the power of this accelerator is not known",
            key="--grid",
            value=grid.name,
            expected="an accelerator file that has power.tdp",
        )
    kg_per_step = plan.energy_j_per_step / J_PER_KWH * grid.intensity_g_per_kwh / 1000
    return CarbonPart(
        grid=grid.name,
        title=grid.title,
        intensity_g_per_kwh=grid.intensity_g_per_kwh,
        date=grid.date,
        source=grid.source,
        kg_per_step=kg_per_step,
        kg_of_run=None if run is None else kg_per_step * run.steps,
    )
