"""Build the power and carbon parts of the plan document for the first plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cost.scenario import Scenario
from planner.documents.plan import PlanPart, RunTotalsPart
from planner.documents.site import AssumptionPart, CarbonPart, PowerPart
from planner.errors import InputError
from planner.units import DAY_S, J_PER_KWH

if TYPE_CHECKING:
    from planner.hardware.grids import PowerGrid


def build_power_part(scenario: Scenario, plan: PlanPart, run: RunTotalsPart | None) -> PowerPart | None:
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


def build_carbon_part(grid: PowerGrid | None, plan: PlanPart, run: RunTotalsPart | None) -> CarbonPart | None:
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
