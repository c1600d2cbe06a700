"""Build the parts of the plan document: model, cluster, scenario, and plans with time, memory and bottleneck."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import sum_in_order
from planner.cost.flops import compute_required_flops
from planner.cost.layer_tables import compute_all_to_all_ranks
from planner.cost.memory.moments import MEMORY_CATEGORIES, MEMORY_MOMENTS
from planner.cost.memory.peak import PeakMemory, compute_peak_memory
from planner.cost.operations.energy import ENERGY_PARTS, compute_energy_parts_j
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.setting_values import read_settings
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS, compute_step_costs
from planner.cost.strategies import RECOMPUTE_MODES, Strategies
from planner.cost.uncertainty import (
    StepBounds,
    StepUncertainty,
    compare_with_first,
    compute_step_uncertainty,
    find_residual_class,
    join_step_uncertainties,
)
from planner.documents.plan import (
    ClusterPart,
    EnergyPart,
    MemoryBreakdownPart,
    ModelPart,
    PlanPart,
    ScenarioPart,
    SettingsPart,
    StrategyPart,
)
from planner.search.search import SearchResult
from planner.studies.bottleneck import explain_bottlenecks
from planner.workload.operators import Workload


def build_model_part(workload: Workload) -> ModelPart:
    """The model part of a document; `layers` without those of multi-token prediction, wherever a layout puts them."""
    stated_layers = 0 if workload.spec is None else workload.spec.mtp_layers
    mtp_layers = stated_layers if workload.prediction is None else workload.prediction.count
    return ModelPart(
        name=workload.name,
        title=workload.title,
        parameters=workload.parameters,
        active_parameters=workload.active_parameters,
        layers=workload.layer_count - (mtp_layers if workload.prediction is None else 0),
        mtp_layers=mtp_layers,
        hidden_size=workload.hidden_size,
        heads=workload.heads,
        seq_length=workload.seq_length,
        sample=workload.sample_name,
        note=workload.note,
    )


def build_cluster_part(cluster: Cluster) -> ClusterPart:
    """The cluster part of a document."""
    return ClusterPart(
        name=cluster.name,
        title=cluster.title,
        accelerator=cluster.accelerator.name,
        nodes=cluster.nodes,
        devices_per_node=cluster.devices_per_node,
        devices=cluster.devices,
    )


def build_scenario_part(scenario: Scenario) -> ScenarioPart:
    """The scenario part of a document: what all plans share."""
    return ScenarioPart(
        global_batch=scenario.global_batch,
        tokens_per_step=scenario.global_batch * scenario.workload.seq_length,
        precision=scenario.precision,
        attention=scenario.attention_kernel,
        framework=scenario.trainer.name,
        trainer=scenario.trainer.version or msgspec.UNSET,
        launch=scenario.launch_mode,
        flops_convention=scenario.flops_convention,
        model_flops_per_step=compute_required_flops(scenario),
        memory_limit_bytes=None if scenario.memory_limit is None else scenario.usable_memory_bytes,
        calibration=find_residual_class(scenario.accelerator.architecture, scenario.trainer),
    )


def build_plan_parts(result: SearchResult, cluster: Cluster, *, with_bottlenecks: bool = True) -> list[PlanPart]:
    """The plans in order; plans of one scenario are scored together. `with_bottlenecks`: with the limiting term."""
    parts: list[PlanPart] = []
    uncertainties: list[StepUncertainty] = []
    order: list[int] = []
    for scenario_index in dict.fromkeys(result.scenario_index.tolist()):
        positions = np.flatnonzero(result.scenario_index == scenario_index)
        scenario_parts, uncertainty = _build_scenario_plan_parts(
            result.scenarios[scenario_index], cluster, result.best.take(positions), with_bottlenecks=with_bottlenecks
        )
        parts += scenario_parts
        uncertainties.append(uncertainty)
        order += positions.tolist()
    ranked = np.argsort(order)
    parts = [parts[i] for i in ranked.tolist()]
    if len(parts) == 1 or result.figures.shape[1] > 1 or not (result.figures > 0).all():
        return parts  # of a Pareto front no plan is the first; memory, the only figure below zero, is not fitted
    told_apart = compare_with_first(join_step_uncertainties(uncertainties).take(ranked), result.figures[:, 0])
    return [
        msgspec.structs.replace(part, told_apart=apart)
        for part, apart in zip(parts, told_apart.tolist(), strict=True)
    ]


def _build_scenario_plan_parts(
    scenario: Scenario, cluster: Cluster, strategies: Strategies, *, with_bottlenecks: bool
) -> tuple[list[PlanPart], StepUncertainty]:
    plan_tables = build_plan_tables(scenario, strategies)
    step_costs = compute_step_costs(scenario, strategies, plan_tables)
    uncertainty = compute_step_uncertainty(scenario, strategies, plan_tables, step_costs)
    memory = compute_peak_memory(scenario, strategies, plan_tables)
    sentences = (
        explain_bottlenecks(scenario, cluster, strategies, step_costs, plan_tables)
        if with_bottlenecks
        else [""] * len(strategies)
    )
    energy_parts_j = compute_energy_parts_j(scenario, strategies, step_costs, plan_tables)
    energy_j_per_step = sum_in_order(energy_parts_j.values())
    has_power = bool(scenario.accelerator.tdp_w)
    rent_usd_per_s = scenario.devices * scenario.usd_per_device_hour / 3600
    group_sizes = _list_context_group_sizes(scenario, strategies)
    parts = []
    for i in range(len(strategies)):
        step_time_s = float(step_costs.step_time_s[i])
        step_time_p10_s, step_time_p90_s = float(uncertainty.p10_s[i]), float(uncertainty.p90_s[i])
        parts.append(
            PlanPart(
                strategy=build_strategy_part(strategies, i),
                settings=build_settings_part(scenario),
                cp_group_sizes=group_sizes[i],
                global_batch=scenario.global_batch,
                step_time_s=step_time_s,
                step_time_p10_s=step_time_p10_s,
                step_time_p90_s=step_time_p90_s,
                terms={name: float(step_costs.terms[name][i]) for name in STEP_TERMS},
                overlapped={name: float(step_costs.overlapped[name][i]) for name in OVERLAPPABLE_TERMS},
                **compute_rates(scenario, step_time_s, scenario.devices),
                **compute_rate_bounds(scenario, step_time_p10_s, step_time_p90_s, scenario.devices),
                mfu=float(step_costs.mfu[i]),
                mfu_bf16=float(step_costs.mfu_bf16[i]),
                hfu=float(step_costs.hfu[i]),
                cost_usd_per_step=step_time_s * rent_usd_per_s if rent_usd_per_s else None,
                cost_usd_per_step_p10=step_time_p10_s * rent_usd_per_s if rent_usd_per_s else None,
                cost_usd_per_step_p90=step_time_p90_s * rent_usd_per_s if rent_usd_per_s else None,
                energy_j_per_step=float(energy_j_per_step[i]) if has_power else None,
                energy=EnergyPart(**{f"{name}_j": float(energy_parts_j[name][i]) for name in ENERGY_PARTS})
                if has_power
                else None,
                memory=build_memory_part(scenario, memory, i),
                bottleneck=sentences[i],
                told_apart=False,
            )
        )
    return parts, uncertainty


def _list_context_group_sizes(scenario: Scenario, s: Strategies) -> list[list[int] | msgspec.UnsetType]:
    """Of each plan the ranks of an all-to-all and of a ring of its context parallelism, where it has both."""
    if scenario.cp_comm_type != "hierarchical":
        return [msgspec.UNSET] * len(s)
    ranks = compute_all_to_all_ranks(scenario, s)
    return [
        [inner, cp // inner] if cp > 1 else msgspec.UNSET
        for inner, cp in zip(ranks.tolist(), s.cp.tolist(), strict=True)
    ]


def read_step_bounds(plan: PlanPart) -> StepBounds:
    """The step time of a plan with its interval."""
    return StepBounds(plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s)


def build_settings_part(scenario: Scenario) -> SettingsPart:
    """The settings part of a scenario's plans."""
    return SettingsPart(**read_settings(scenario))


def build_strategy_part(strategies: Strategies, index: int) -> StrategyPart:
    """The strategy part of plan `index`."""
    row: dict[str, Any] = strategies.get_row(index)
    row |= {"recompute": RECOMPUTE_MODES[row["recompute"]], "sequence_parallel": bool(row["sequence_parallel"])}
    return StrategyPart(**row)


def build_memory_part(scenario: Scenario, memory: PeakMemory, index: int = 0) -> MemoryBreakdownPart:
    """The memory part of plan `index`; `memory`: of each plan, [plans]."""
    bytes_by_category = {category: float(memory.category_bytes[category][index]) for category in MEMORY_CATEGORIES}
    return MemoryBreakdownPart(
        **{f"{category}_bytes": size_bytes for category, size_bytes in bytes_by_category.items()},
        total_bytes=math.fsum(bytes_by_category.values()),
        capacity_bytes=scenario.accelerator.memory_bytes,
        moment=MEMORY_MOMENTS[int(memory.moment[index])],
    )


def compute_rates(scenario: Scenario, step_time_s: float, devices: int) -> dict[str, float]:
    """The throughput fields of a plan on `devices` devices: tokens and samples per second, of all and per device."""
    samples_per_s = scenario.global_batch / step_time_s
    tokens_per_s = scenario.global_batch * scenario.workload.seq_length / step_time_s
    return {
        "tokens_per_s": tokens_per_s,
        "tokens_per_s_per_device": tokens_per_s / devices,
        "samples_per_s": samples_per_s,
        "samples_per_s_per_device": samples_per_s / devices,
    }


def compute_rate_bounds(
    scenario: Scenario, step_time_p10_s: float, step_time_p90_s: float, devices: int
) -> dict[str, float]:
    """The interval of the throughput of a plan on `devices` devices: a slow step is a low throughput."""
    slowest, fastest = (compute_rates(scenario, end_s, devices) for end_s in (step_time_p90_s, step_time_p10_s))
    lows = {f"{name}_p10": rate for name, rate in slowest.items()}
    return lows | {f"{name}_p90": rate for name, rate in fastest.items()}
