"""What the first plan draws and emits, in one sentence."""

from __future__ import annotations

import math

from planner.documents.plan import EnergyPart, PlanDocument
from planner.documents.site import CarbonPart, PowerPart
from planner.units import J_PER_KWH, format_energy, format_mass, format_si


def format_power_sentence(document: PlanDocument) -> str | None:
    """The sentence; None where the device's power is not known."""
    part, energy = document.power, document.plans[0].energy
    if part is None or energy is None:
        return None
    text = (
        f"Energy: {format_si(part.mean_w, 'W')}, {format_energy(part.day_j)} "
        f"a day ({_format_energy_parts(energy, part)})"
    )
    if part.run_j is not None:
        text += f"; {format_energy(part.run_j)} for the run"
    return f"{text}{_format_carbon(document.carbon, part)}."


def _format_energy_parts(energy: EnergyPart, part: PowerPart) -> str:
    """Where the joules go, and how good the site is."""
    parts = {"devices": energy.devices_j, "nodes": energy.node_j, "network": energy.network_j}
    total_j = math.fsum(parts.values()) + energy.cooling_j
    shares_text = ", ".join(f"{name} {joules / total_j:.0%}" for name, joules in parts.items() if joules)
    return f"{shares_text}, cooling {energy.cooling_j / total_j:.0%} at PUE {part.pue:.3g}"


def _format_carbon(carbon: CarbonPart | None, part: PowerPart) -> str:
    """What is emitted, of the run or of a day, and on which grid."""
    if carbon is None:
        return ""
    grid = f"{carbon.grid} {carbon.date}".strip()
    mass, period = carbon.kg_of_run, ""
    if mass is None:
        mass, period = part.day_j / J_PER_KWH * carbon.intensity_g_per_kwh / 1000, " a day"
    return f" = {format_mass(mass)} CO2e{period} at {grid} ({carbon.intensity_g_per_kwh:.4g} g/kWh)"
