"""What the cost model says that a layer keeps, for comparisons with trainers' own code."""

from __future__ import annotations

from dataclasses import replace

from planner.cost.layer_tables import build_layer_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.settings import AttentionKernel
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import LaunchMode, TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload


def build_planned(
    model: str | ModelSpec,
    trainer: TrainerName,
    seq_length: int,
    *,
    attention: AttentionKernel = "flash",
    launch: LaunchMode | None = None,
    version: str = "",
) -> Scenario:
    """A scenario of a model in 16 bit on GPUs of NVIDIA's Hopper."""
    spec = read_model_preset(model) if isinstance(model, str) else model
    assert isinstance(spec, ModelSpec)
    scenario = build_scenario(
        build_workload(spec, seq_length=seq_length),
        read_cluster("dgx-h100", nodes=2),
        global_batch=16,
        precision="bf16",
        framework=trainer,
        trainer_version=version,
        attention=attention,
        launch=launch,
    )
    return replace(scenario, cp_comm_type=scenario.trainer.cp_comm_type)


def compute_planned_bytes(scenario: Scenario, *, tp: int = 1, ep: int = 1) -> dict[str, float]:
    """Bytes that the last type of layer keeps of one sequence without, with selective and with full recomputation."""
    plan = build_strategy(tp=tp, ep=ep, etp=1, dp=16 // tp, sequence_parallel=tp > 1)
    tables, _ = build_layer_tables(scenario, plan)
    layer = len(scenario.workload.layer_types) - 1
    saved, dropped, inputs = (
        float(table[0, layer]) for table in (tables.saved_bytes, tables.dropped_bytes, tables.input_bytes)
    )
    return {"none": saved, "selective": saved - dropped, "full": inputs}
