"""Build the parts of the size and compare documents."""

from __future__ import annotations

from planner.documents.sizing import ComputeOptimalPart, RunSizePart, TrainingRunPart
from planner.studies.run_estimate import RunEstimate, TrainingRun
from planner.studies.size import compute_optimal_model
from planner.units import J_PER_KWH


def build_training_run_part(run: TrainingRun) -> TrainingRunPart:
    """The training run part of a document."""
    return TrainingRunPart(
        tokens=run.tokens,
        steps=run.steps,
        global_batch=run.global_batch,
        tokens_per_step=run.tokens_per_step,
        precision=run.precision,
    )


def build_run_size_part(run: TrainingRun, estimate: RunEstimate, intensity_g_per_kwh: float | None) -> RunSizePart:
    """The whole run on one size; carbon where the intensity of the grid is given."""
    energy_kwh = None if estimate.energy_j is None else estimate.energy_j / J_PER_KWH
    goodput_share = estimate.reliability.goodput_share
    return RunSizePart(
        nodes=estimate.nodes,
        devices=estimate.devices,
        spare_nodes=estimate.reliability.spares.recommended,
        days=estimate.days,
        days_without_failures=estimate.days * goodput_share,
        goodput_share=goodput_share,
        usd=estimate.cost_usd,
        energy_kwh=energy_kwh,
        carbon_kg=None
        if energy_kwh is None or intensity_g_per_kwh is None
        else energy_kwh * intensity_g_per_kwh / 1000,
        step_time_s=estimate.plan.step_time_s,
        tokens_per_s=estimate.plan.tokens_per_s * goodput_share,
        tokens_per_usd=run.tokens / estimate.cost_usd if estimate.cost_usd else None,
        tokens_per_joule=run.tokens / estimate.energy_j if estimate.energy_j else None,
        mfu=estimate.plan.mfu,
        strategy=estimate.plan.strategy,
    )


def build_compute_optimal_part(run: TrainingRun) -> ComputeOptimalPart | None:
    """The compute-optimal model for the run's FLOPs; None for models that are not language models."""
    if run.workload.sample_name != "sequence":
        return None
    optimal_model = compute_optimal_model(run)
    ratio = run.tokens / run.workload.active_parameters
    return ComputeOptimalPart(
        parameters=optimal_model.parameters, tokens=optimal_model.tokens, tokens_per_parameter=ratio
    )
