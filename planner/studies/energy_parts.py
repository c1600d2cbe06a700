"""What the first plan draws and emits, in the document's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cost.scenario import Training
from planner.documents.plan import PlanPart, RunPart
from planner.documents.site import AssumedPart, CarbonPart, PowerPart
from planner.errors import InputError
from planner.units import DAY_S, J_PER_KWH

if TYPE_CHECKING:
    from planner.hardware.grids import Grid


def power_part(training: Training, plan: PlanPart, run: RunPart | None) -> PowerPart | None:
    """Average power, energy of a day and of the run; None where the part's power is not known."""
    joules, power = plan.energy_j_per_step, training.power
    if not joules or power is None:
        return None
    mean = joules / plan.step_time_s
    return PowerPart(
        mean_w=mean,
        day_j=mean * DAY_S,
        run_j=None if run is None else joules * run.steps,
        pue=power.pue,
        assumed=[AssumedPart(name=one.name, value=one.value, source=one.source) for one in power.assumed],
    )


def carbon_part(grid: Grid | None, plan: PlanPart, run: RunPart | None) -> CarbonPart | None:
    """CO2-equivalent of a step and of the run on a grid. Raises InputError where the part's power is not known."""
    if grid is None:
        return None
    if plan.energy_j_per_step is None:
        raise InputError(
            "no power is known of this accelerator",
            key="--grid",
            value=grid.name,
            expected="a cluster file whose accelerator says power.tdp",
        )
    step = plan.energy_j_per_step / J_PER_KWH * grid.intensity_g_per_kwh / 1000
    return CarbonPart(
        grid=grid.name,
        title=grid.title,
        intensity_g_per_kwh=grid.intensity_g_per_kwh,
        date=grid.date,
        source=grid.source,
        kg_per_step=step,
        kg_of_run=None if run is None else step * run.steps,
    )
