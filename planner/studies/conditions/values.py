"""The figures of a plan document by name, in SI units: requirements and differences of plans use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from planner.cost.memory import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.documents.plan import MemoryBreakdownPart, PlanDocument, PlanPart, SettingsPart
from planner.studies.conditions.figures import (
    BASE_PREFIX,
    CHANGE_PREFIX,
    FIGURE_PREREQUISITES,
    HEAD_PREFIX,
    PLAN_FIGURES,
)
from planner.units import DAY_S

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeterogeneousDocument

FigureValue = float | str | bool | None
FigureValues = Mapping[str, FigureValue]


def compute_figure_values(document: PlanDocument | HeterogeneousDocument) -> dict[str, FigureValue]:
    """All figures of the best plan; for a heterogeneous cluster, those that are defined for both pools together."""
    return compute_plan_values(document) if isinstance(document, PlanDocument) else compute_hetero_values(document)


def compute_plan_values(document: PlanDocument) -> dict[str, FigureValue]:
    """The figures of the first plan, with all names of PLAN_FIGURES; None where a figure is not known."""
    plan, scenario, cluster = document.plans[0], document.training, document.cluster
    values: dict[str, FigureValue] = {
        name: getattr(plan, name)
        for name in (
            "step_time_s", "tokens_per_s", "tokens_per_s_per_device", "samples_per_s", "samples_per_s_per_device",
            "mfu", "hfu", "global_batch", "cost_usd_per_step", "energy_j_per_step",
        )
    }  # fmt: skip
    values |= {"tokens_per_step": scenario.tokens_per_step, "nodes": cluster.nodes, "devices": cluster.devices}
    values |= {"model": document.model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    values |= {"precision": scenario.precision, "framework": scenario.framework}
    return (
        values
        | _collect_run_values(document, plan)
        | _collect_operation_values(document)
        | _collect_strategy_values(plan)
        | _collect_step_values(plan)
    )


def _collect_run_values(document: PlanDocument, plan: PlanPart) -> dict[str, FigureValue]:
    run, power = document.run, document.power
    run_time_s = None if run is None else run.days * DAY_S
    run_time_with_failures_s = (
        None if run is None or run.days_with_failures is None else run.days_with_failures * DAY_S
    )
    cost_usd = None if run is None or plan.cost_usd_per_step is None else run.steps * plan.cost_usd_per_step
    return {
        "tokens": None if run is None else run.tokens,
        "steps": None if run is None else run.steps,
        "days": run_time_s,
        "days_with_failures": run_time_with_failures_s,
        "cost_usd": cost_usd,
        "cost_usd_with_failures": cost_usd * run_time_with_failures_s / run_time_s
        if cost_usd is not None and run_time_with_failures_s and run_time_s
        else None,
        "energy_j": None if power is None else power.run_j,
        "power_w": None if power is None else power.mean_w,
    }


def _collect_operation_values(document: PlanDocument) -> dict[str, FigureValue]:
    reliability, carbon, uncertainty = document.reliability, document.carbon, document.uncertainty
    return {
        "carbon_kg_per_step": None if carbon is None else carbon.kg_per_step,
        "carbon_kg": None if carbon is None else carbon.kg_of_run,
        "goodput": None if reliability is None else reliability.goodput_share,
        "goodput_tokens_per_s": None if reliability is None else reliability.goodput_tokens_per_s,
        "mtbf_s": None if reliability is None else reliability.mtbf_s,
        "spares": None if reliability is None else reliability.spares.nodes,
        "uncertainty.first_share": None if uncertainty is None else uncertainty.first_share,
        "uncertainty.step_time_p90_s": None if uncertainty is None else uncertainty.step_time_s.p90,
    }


def _collect_strategy_values(plan: PlanPart) -> dict[str, FigureValue]:
    values = {f"strategy.{name}": value for name, value in _collect_struct_fields(plan.strategy).items()}
    return values | collect_setting_values(plan.settings)


def collect_setting_values(settings: SettingsPart) -> dict[str, FigureValue]:
    """The settings as figures."""
    return {f"settings.{name}": setting.format_figure(getattr(settings, name)) for name, setting in SETTINGS.items()}


def _collect_step_values(plan: PlanPart) -> dict[str, FigureValue]:
    return _collect_term_values(plan.terms, plan.hidden) | _collect_memory_values(plan.memory)


def _collect_term_values(terms: Mapping[str, float], overlapped: Mapping[str, float]) -> dict[str, FigureValue]:
    values: dict[str, FigureValue] = {f"terms.{name}": seconds for name, seconds in terms.items()}
    return values | {f"hidden.{name}": seconds for name, seconds in overlapped.items()}


def _collect_memory_values(memory: MemoryBreakdownPart) -> dict[str, FigureValue]:
    values: dict[str, FigureValue] = {
        f"memory.{category}": getattr(memory, f"{category}_bytes") for category in MEMORY_CATEGORIES
    }
    total_bytes, capacity_bytes = memory.total_bytes, memory.capacity_bytes
    return values | {
        "memory.total": total_bytes,
        "memory.capacity": capacity_bytes,
        "memory.headroom": capacity_bytes - total_bytes,
    }


def _collect_struct_fields(part: msgspec.Struct) -> dict[str, FigureValue]:
    return {name: getattr(part, name) for name in part.__struct_fields__}


def compute_hetero_values(document: HeterogeneousDocument) -> dict[str, FigureValue]:
    """The figures of the fastest plan; memory is that of the pool with the least headroom."""
    plan, cluster, scenario, run = document.ways[0], document.cluster, document.training, document.run
    names = ("step_time_s", "tokens_per_s", "tokens_per_s_per_device", "mfu")
    values: dict[str, FigureValue] = {name: getattr(plan, name) for name in names}
    values |= {"global_batch": scenario.global_batch, "tokens_per_step": scenario.tokens_per_step}
    values |= {"nodes": sum(pool.nodes for pool in cluster.pools), "devices": cluster.devices}
    values |= {"model": document.model.name, "cluster": cluster.name}
    values |= {"accelerator": "+".join(pool.accelerator for pool in cluster.pools)}
    values |= {"precision": scenario.precision, "framework": scenario.framework}
    values |= {
        "tokens": None if run is None else run.tokens,
        "steps": None if run is None else run.steps,
        "days": None if run is None else run.days * DAY_S,
    }
    tightest_memory = min(
        (pool_plan.memory for pool_plan in plan.kinds), key=lambda memory: memory.capacity_bytes - memory.total_bytes
    )
    return values | _collect_term_values(plan.terms, plan.hidden) | _collect_memory_values(tightest_memory)


def compute_compared_values(base: FigureValues, head: FigureValues) -> dict[str, FigureValue]:
    """The figures of two plans by the names of `build_compared_figures`."""
    values: dict[str, FigureValue] = {f"{BASE_PREFIX}{name}": value for name, value in base.items()}
    values |= {f"{HEAD_PREFIX}{name}": value for name, value in head.items()}
    return values | {
        f"{CHANGE_PREFIX}{name}": compute_relative_change(base.get(name), head.get(name)) for name in {**base, **head}
    }


def compute_relative_change(before: FigureValue, after: FigureValue) -> float | None:
    """Relative change from `before` to `after`; None where a value is not a known number, or `before` is zero."""
    if isinstance(before, str | bool) or isinstance(after, str | bool) or before is None or after is None:
        return None
    if before == after:
        return 0.0
    return after / before - 1 if before else None


def explain_unknown_figure(name: str, values: FigureValues) -> str:
    """Why a figure is not known, and how to make it known, as the end of a sentence."""
    matched_prefix = next(
        (candidate for candidate in (BASE_PREFIX, HEAD_PREFIX, CHANGE_PREFIX) if name.startswith(candidate)), ""
    )
    plain = name.removeprefix(matched_prefix)
    prefix = matched_prefix
    if matched_prefix == CHANGE_PREFIX:
        prefix = next(
            (candidate for candidate in (BASE_PREFIX, HEAD_PREFIX) if values.get(f"{candidate}{plain}") is None),
            BASE_PREFIX,
        )
    if f"{prefix}{plain}" not in values:
        return "it is not defined for a heterogeneous cluster"
    for prerequisite in PLAN_FIGURES[plain].prerequisites:
        witness, explanation = FIGURE_PREREQUISITES[prerequisite]
        if values.get(f"{prefix}{witness}") is None:
            return explanation
    return "the document does not have it" if matched_prefix != CHANGE_PREFIX else "it was zero before"
