"""What plans are ordered by: the figure of each objective, as tables and pictures tell it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.documents.plan import PlanDocument, PlanPart
from planner.report.views.plan_words import convert_to_throughput_units, get_throughput_per_s, get_throughput_unit
from planner.search.objective import compute_effective_tokens
from planner.units import format_bytes, format_seconds, format_si


@dataclass(frozen=True)
class ObjectiveFigure:
    """An objective's figure of a plan, and how it is written.

    `heading`: of its column, with the unit; empty where every table has it already, with its unit beside the number.
    """

    heading: str
    compute_value: Callable[[PlanPart], float]
    format_number: Callable[[float], str]

    def format_value(self, value: float) -> str:
        """A value with its unit, for where there is no heading."""
        return f"{self.format_number(value)} {self.heading}".rstrip()


def build_objective_figure(objective: str, document: PlanDocument) -> ObjectiveFigure:
    """The figure of an objective; also of `memory`, over which plans are drawn where there is one objective only.

    Dollars and joules are told for what the model's throughput counts: tokens, or images. With a critical batch, for
    what a step's tokens are worth (`search.objective.effective_tokens`), as the search compares them.
    """
    model, critical_batch_tokens = document.model, document.search.critical_batch_tokens or 0.0
    unit, unit_suffix = get_throughput_unit(model), " that count" if critical_batch_tokens else ""

    def count_effective_units(plan: PlanPart) -> float:
        return convert_to_throughput_units(
            model, compute_effective_tokens(plan.global_batch * model.seq_length, critical_batch_tokens)
        )

    def compute_usd_per_million(plan: PlanPart) -> float:
        return 1e6 * (plan.cost_usd_per_step or 0) / count_effective_units(plan)

    def compute_energy_j(plan: PlanPart) -> float:
        return (plan.energy_j_per_step or 0) / count_effective_units(plan)

    figures: dict[str, ObjectiveFigure] = {
        "tokens-per-s-per-device": ObjectiveFigure(
            f"{unit}s/s/device", lambda plan: get_throughput_per_s(model, plan)[1], format_si
        ),
        "cost": ObjectiveFigure(f"USD/M {unit}s{unit_suffix}", compute_usd_per_million, _format_three_digits),
        "energy": ObjectiveFigure(
            f"J/{unit}{unit_suffix.replace('count', 'counts')}", compute_energy_j, _format_three_digits
        ),
        "memory-headroom": ObjectiveFigure(
            "", lambda plan: plan.memory.capacity_bytes - plan.memory.total_bytes, _format_free_bytes
        ),
        "memory": ObjectiveFigure("", lambda plan: plan.memory.total_bytes, format_bytes),
        "step-time": ObjectiveFigure("", lambda plan: plan.step_time_s, format_seconds),
    }
    return figures[objective]


def _format_three_digits(value: float) -> str:
    return f"{value:.3g}"


def _format_free_bytes(free_bytes: float) -> str:
    return f"{format_bytes(free_bytes)} free"
