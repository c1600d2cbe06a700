"""What plans are ordered by: the figure of each objective, as tables and pictures tell it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.documents.plan import Document, PlanPart
from planner.report.views.plan_words import in_units, per_second, unit_of
from planner.search.objective import effective_tokens
from planner.units import format_bytes, format_seconds, format_si


@dataclass(frozen=True)
class Figure:
    """An objective's figure of a plan, and how it is written.

    `heading`: of its column, with the unit; empty where every table has it already, with its unit beside the number.
    """

    heading: str
    of: Callable[[PlanPart], float]
    written: Callable[[float], str]

    def said(self, value: float) -> str:
        """A value with its unit, for where there is no heading."""
        return f"{self.written(value)} {self.heading}".rstrip()


def figure_of(objective: str, document: Document) -> Figure:
    """The figure of an objective; also of `memory`, over which plans are drawn where there is one objective only.

    Dollars and joules are told for what the model's throughput counts: tokens, or images. With a critical batch, for
    what a step's tokens are worth (`search.objective.effective_tokens`), as the search compares them.
    """
    model, critical = document.model, document.search.critical_batch_tokens or 0.0
    unit, counts = unit_of(model), " that count" if critical else ""

    def worth(plan: PlanPart) -> float:
        return in_units(model, effective_tokens(plan.global_batch * model.seq_length, critical))

    def usd(plan: PlanPart) -> float:
        return 1e6 * (plan.cost_usd_per_step or 0) / worth(plan)

    def joules(plan: PlanPart) -> float:
        return (plan.energy_j_per_step or 0) / worth(plan)

    figures: dict[str, Figure] = {
        "tokens-per-s-per-device": Figure(f"{unit}s/s/device", lambda plan: per_second(model, plan)[1], format_si),
        "cost": Figure(f"USD/M {unit}s{counts}", usd, _three_digits),
        "energy": Figure(f"J/{unit}{counts.replace('count', 'counts')}", joules, _three_digits),
        "memory-headroom": Figure("", lambda plan: plan.memory.capacity_bytes - plan.memory.total_bytes, _free),
        "memory": Figure("", lambda plan: plan.memory.total_bytes, format_bytes),
        "step-time": Figure("", lambda plan: plan.step_time_s, format_seconds),
    }
    return figures[objective]


def _three_digits(value: float) -> str:
    return f"{value:.3g}"


def _free(left: float) -> str:
    return f"{format_bytes(left)} free"
