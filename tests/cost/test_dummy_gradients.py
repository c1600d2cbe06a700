"""Weight gradients that Transformer Engine keeps in place of added ones, against those that SimuMax counts.

github.com/MooreThreads/SimuMax, `te_dummy_wgrad_shapes`, of the runs of docs/b200/b200_release_v1.2_summary.md.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from planner.cost.memory.dummy_gradients import compute_dummy_gradient_bytes
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.techniques import Lora, Techniques
from planner.workload.transformer import build_workload


def build_cut(model: str, layers: int, trainer: TrainerName = "megatron-classic") -> Scenario:
    """A preset with fewer layers, on eight B200."""
    spec = read_model_preset(model)
    assert isinstance(spec, ModelSpec)
    workload = build_workload(msgspec.structs.replace(spec, layers=layers), seq_length=4096)
    return build_scenario(workload, read_cluster("dgx-b200", nodes=1), global_batch=16, framework=trainer)


def compute_gib(scenario: Scenario, **degrees: int) -> list[float]:
    plan = build_strategy(zero_stage=1, **degrees)
    stages = compute_dummy_gradient_bytes(scenario, plan, build_plan_tables(scenario, plan))
    assert stages.shape[0] == 1
    return [round(float(stage), 4) for stage in stages[0] / 2**30]


@pytest.mark.parametrize(
    ("model", "layers", "degrees", "shapes_gib"),
    [
        ("llama-3-70b", 12, {"tp": 2, "dp": 4}, [1.7754]),
        ("llama-3-70b", 12, {"dp": 4, "pp": 2}, [1.5938, 3.5508]),
        ("deepseek-v2", 4, {"dp": 8, "ep": 8, "etp": 1}, [1.7379]),
    ],
)
def test_one_of_each_shape(model: str, layers: int, degrees: dict[str, int], shapes_gib: list[float]) -> None:
    assert compute_gib(build_cut(model, layers), **degrees) == pytest.approx(shapes_gib, abs=1e-4)


def test_none_of_frozen_weights_and_without_the_fused_kernel() -> None:
    scenario = build_cut("llama-3-70b", 12)
    frozen = replace(scenario, techniques=Techniques(lora=Lora(16, 16, 0.01, 2.0)))
    assert compute_gib(frozen, tp=2, dp=4) == compute_gib(build_cut("llama-3-70b", 12, "fsdp2"), tp=2, dp=4) == [0.0]
    assert np.all(np.array(compute_gib(scenario, tp=8)) > 0)
