"""Outcomes of sizes in the documents' words."""

from __future__ import annotations

from planner.documents.sizing import OptimalPart, RunPart, SizePart
from planner.studies.run_estimate import Outcome, Run
from planner.studies.size import compute_optimal
from planner.units import J_PER_KWH


def run_part(run: Run) -> RunPart:
    """What is trained."""
    return RunPart(
        tokens=run.tokens,
        steps=run.steps,
        global_batch=run.global_batch,
        tokens_per_step=run.tokens_per_step,
        precision=run.precision,
    )


def size_part(run: Run, found: Outcome, intensity_g_per_kwh: float | None) -> SizePart:
    """The whole run on one size; carbon where the grid's intensity is told."""
    kwh = None if found.energy_j is None else found.energy_j / J_PER_KWH
    share = found.reliability.goodput_share
    return SizePart(
        nodes=found.nodes,
        devices=found.devices,
        spare_nodes=found.reliability.spares.recommended,
        days=found.days,
        days_without_failures=found.days * share,
        goodput_share=share,
        usd=found.usd,
        energy_kwh=kwh,
        carbon_kg=None if kwh is None or intensity_g_per_kwh is None else kwh * intensity_g_per_kwh / 1000,
        step_time_s=found.plan.step_time_s,
        tokens_per_s=found.plan.tokens_per_s * share,
        tokens_per_usd=run.tokens / found.usd if found.usd else None,
        tokens_per_joule=run.tokens / found.energy_j if found.energy_j else None,
        mfu=found.plan.mfu,
        strategy=found.plan.strategy,
    )


def optimal_part(run: Run) -> OptimalPart | None:
    """Chinchilla's line beside the run; None for what is no language model: the rule is of text."""
    if run.workload.sample != "sequence":
        return None
    best = compute_optimal(run)
    ratio = run.tokens / run.workload.active_parameters
    return OptimalPart(parameters=best.parameters, tokens=best.tokens, tokens_per_parameter=ratio)
