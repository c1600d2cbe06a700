"""What the cost model says that a rank holds at its fullest, for comparisons with steps of torchtitan."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from planner.cost.arrays import Floats
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload
from tests.real.torchtitan_steps import Step

PRESETS = {"8B": "llama-3-8b", "70B": "llama-3-70b"}
MODES = ("none", "selective", "full")
KINDS = {
    "weights": ("weights",),
    "gradients": ("gradients",),
    "states": ("optimizer",),
    "others": ("activations", "logits", "buffers"),
}


def compute_planned_peak(step: Step) -> tuple[dict[str, float], str]:
    """Allocated bytes by kind at the fullest moment of the step's stage, and the moment. Where a rank has several
    chunks, torchtitan's order of layers is that of the cost model's stages.
    """
    memory = _compute_moments(step)
    by_moment = {kind: sum(memory[category] for category in categories) for kind, categories in KINDS.items()}
    fullest = int(np.argmax(sum(by_moment.values())))
    return {kind: float(sizes[fullest]) for kind, sizes in by_moment.items()}, MEMORY_MOMENTS[fullest]


def compute_planned_reserve_bytes(step: Step) -> float:
    """What the allocator has beyond what is allocated, when the two are most together."""
    memory = _compute_moments(step)
    fullest = int(
        np.argmax(sum(sizes for category, sizes in memory.items() if category not in ("communicators", "reserve")))
    )
    return float(memory["allocator"][fullest])


def _compute_moments(step: Step) -> dict[str, Floats]:
    """By category, [moments], of the step's stage."""
    spec, dp = read_model_preset(PRESETS[step.flavor]), step.ranks // step.pp
    assert isinstance(spec, ModelSpec)
    scenario = build_scenario(
        build_workload(msgspec.structs.replace(spec, layers=step.layers), seq_length=step.seq_length),
        read_cluster("dgx-h100", nodes=step.ranks // 8),
        global_batch=dp * step.micro_batches,
        precision="bf16",
        framework="fsdp2",
        trainer_version="torchtitan@0.3",
    )
    trainer = replace(scenario.trainer, loss=step.loss)
    plan = build_strategy(dp=dp, pp=step.pp, vpp=step.vpp, zero_stage=3, recompute=MODES.index(step.recompute))
    scenario = replace(scenario, trainer=trainer, reshard=step.reshard)
    memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan)).moment_bytes
    return {category: sizes[0, :, step.stage] for category, sizes in memory.items()}
