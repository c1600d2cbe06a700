"""The figures of a plan document by their names, in SI: requirements are held against them, plans differ in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from planner.cost.memory import KINDS
from planner.documents.plan import Document, MemoryPart, PlanPart
from planner.studies.conditions.figures import BASE, CHANGE, FIGURES, HEAD, NEEDS
from planner.units import DAY_S

if TYPE_CHECKING:
    from planner.documents.heterogeneous import MixedDocument

Value = float | str | bool | None
Values = Mapping[str, Value]


def values_of(document: Document | MixedDocument) -> dict[str, Value]:
    """Every figure of the best plan; of two kinds of nodes, those that are told of both together."""
    return plan_values(document) if isinstance(document, Document) else mixed_values(document)


def plan_values(document: Document) -> dict[str, Value]:
    """The first plan's figures, all names of FIGURES; None where one is not known."""
    plan, training, cluster = document.plans[0], document.training, document.cluster
    values: dict[str, Value] = {
        name: getattr(plan, name)
        for name in (
            "step_time_s", "tokens_per_s", "tokens_per_s_per_device", "samples_per_s", "samples_per_s_per_device",
            "mfu", "hfu", "global_batch", "cost_usd_per_step", "energy_j_per_step",
        )
    }  # fmt: skip
    values |= {"tokens_per_step": training.tokens_per_step, "nodes": cluster.nodes, "devices": cluster.devices}
    values |= {"model": document.model.name, "cluster": cluster.name, "accelerator": cluster.accelerator}
    values |= {"precision": training.precision, "framework": training.framework}
    return values | _of_run(document, plan) | _of_site(document) | _of_split(plan) | _of_step(plan)


def _of_run(document: Document, plan: PlanPart) -> dict[str, Value]:
    run, power = document.run, document.power
    days = None if run is None else run.days * DAY_S
    longer = None if run is None or run.days_with_failures is None else run.days_with_failures * DAY_S
    cost = None if run is None or plan.cost_usd_per_step is None else run.steps * plan.cost_usd_per_step
    return {
        "tokens": None if run is None else run.tokens,
        "steps": None if run is None else run.steps,
        "days": days,
        "days_with_failures": longer,
        "cost_usd": cost,
        "cost_usd_with_failures": cost * longer / days if cost is not None and longer and days else None,
        "energy_j": None if power is None else power.run_j,
        "power_w": None if power is None else power.mean_w,
    }


def _of_site(document: Document) -> dict[str, Value]:
    left, carbon, sure = document.reliability, document.carbon, document.uncertainty
    return {
        "carbon_kg_per_step": None if carbon is None else carbon.kg_per_step,
        "carbon_kg": None if carbon is None else carbon.kg_of_run,
        "goodput": None if left is None else left.goodput_share,
        "goodput_tokens_per_s": None if left is None else left.goodput_tokens_per_s,
        "mtbf_s": None if left is None else left.mtbf_s,
        "spares": None if left is None else left.spares.nodes,
        "uncertainty.first_share": None if sure is None else sure.first_share,
        "uncertainty.step_time_p90_s": None if sure is None else sure.step_time_s.p90,
    }


def _of_split(plan: PlanPart) -> dict[str, Value]:
    values = {f"strategy.{name}": value for name, value in _fields(plan.strategy).items()}
    settings = _fields(plan.settings) | {
        "offload": "+".join(plan.settings.offload) or "none",
        "shard_group": str(plan.settings.shard_group or "all"),
        "recompute_layers": str(plan.settings.recompute_layers or "all"),
    }
    return values | {f"settings.{name}": value for name, value in settings.items()}


def _of_step(plan: PlanPart) -> dict[str, Value]:
    return _named_terms(plan.terms, plan.hidden) | _memory(plan.memory)


def _named_terms(terms: Mapping[str, float], hidden: Mapping[str, float]) -> dict[str, Value]:
    told: dict[str, Value] = {f"terms.{name}": seconds for name, seconds in terms.items()}
    return told | {f"hidden.{name}": seconds for name, seconds in hidden.items()}


def _memory(memory: MemoryPart) -> dict[str, Value]:
    values: dict[str, Value] = {f"memory.{kind}": getattr(memory, f"{kind}_bytes") for kind in KINDS}
    total, capacity = memory.total_bytes, memory.capacity_bytes
    return values | {"memory.total": total, "memory.capacity": capacity, "memory.headroom": capacity - total}


def _fields(part: msgspec.Struct) -> dict[str, Value]:
    return {name: getattr(part, name) for name in part.__struct_fields__}


def mixed_values(document: MixedDocument) -> dict[str, Value]:
    """The fastest way's figures: of memory those of the kind whose devices have least left."""
    way, cluster, training, run = document.ways[0], document.cluster, document.training, document.run
    names = ("step_time_s", "tokens_per_s", "tokens_per_s_per_device", "mfu")
    values: dict[str, Value] = {name: getattr(way, name) for name in names}
    values |= {"global_batch": training.global_batch, "tokens_per_step": training.tokens_per_step}
    values |= {"nodes": sum(pool.nodes for pool in cluster.pools), "devices": cluster.devices}
    values |= {"model": document.model.name, "cluster": cluster.name}
    values |= {"accelerator": "+".join(pool.accelerator for pool in cluster.pools)}
    values |= {"precision": training.precision, "framework": training.framework}
    values |= {
        "tokens": None if run is None else run.tokens,
        "steps": None if run is None else run.steps,
        "days": None if run is None else run.days * DAY_S,
    }
    fullest = min((kind.memory for kind in way.kinds), key=lambda one: one.capacity_bytes - one.total_bytes)
    return values | _named_terms(way.terms, way.hidden) | _memory(fullest)


def compared_values(base: Values, head: Values) -> dict[str, Value]:
    """The figures of two plans by the names of `compared_figures`."""
    values: dict[str, Value] = {f"{BASE}{name}": value for name, value in base.items()}
    values |= {f"{HEAD}{name}": value for name, value in head.items()}
    return values | {f"{CHANGE}{name}": relative(base.get(name), head.get(name)) for name in {**base, **head}}


def relative(before: Value, after: Value) -> float | None:
    """By what share the second number is more than the first; None where that is not known, or the first is zero."""
    if isinstance(before, str | bool) or isinstance(after, str | bool) or before is None or after is None:
        return None
    if before == after:
        return 0.0
    return after / before - 1 if before else None


def why_unknown(name: str, values: Values) -> str:
    """What would make a figure known, as the end of a sentence."""
    side = next((one for one in (BASE, HEAD, CHANGE) if name.startswith(one)), "")
    plain = name.removeprefix(side)
    prefix = side
    if side == CHANGE:
        prefix = next((one for one in (BASE, HEAD) if values.get(f"{one}{plain}") is None), BASE)
    if f"{prefix}{plain}" not in values:
        return "it is not told of two kinds of nodes"
    for need in FIGURES[plain].needs:
        witness, how = NEEDS[need]
        if values.get(f"{prefix}{witness}") is None:
            return how
    return "the document does not have it" if side != CHANGE else "it was zero before"
