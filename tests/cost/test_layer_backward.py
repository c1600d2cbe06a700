"""What a layer's backward pass holds beside what is saved, against torchtitan's layer of Llama 3 8B.

Measured on the CPU with torch 2.13.0 and torchtitan 0.3.0 under fully_shard, 8,192 tokens a rank, tensor by tensor:
the largest moment is the derivative of the gated activation. Three gradients as wide as the MLP are there then, of
224 MiB, and the gradient of the residual stream, of 64 MiB; the input of the last multiply is gone, 224 MiB.
"""

from __future__ import annotations

import pytest

from planner.cost.layer_tables import build_layer_tables
from planner.cost.scenario import build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

MIB = 2**20


def compute_backward_mib(framework: TrainerName, **degrees: int) -> float:
    """Of a layer of Llama 3 8B with one sequence of 8,192 tokens."""
    spec = read_model_preset("llama-3-8b")
    assert isinstance(spec, ModelSpec)
    cluster = read_cluster("dgx-h100", nodes=8)
    workload = build_workload(spec, seq_length=8192)
    scenario = build_scenario(workload, cluster, global_batch=64, framework=framework)
    tables, (row,) = build_layer_tables(scenario, build_strategy(**degrees))
    return float(tables.backward_bytes[row, 0]) / MIB


def test_the_gated_activation_is_the_fullest() -> None:
    assert compute_backward_mib("fsdp2", dp=64) == 64 + 3 * 224 - 224


@pytest.mark.parametrize(("framework", "gathered"), [("fsdp2", 1), ("megatron-classic", 2)])
def test_a_gathered_sequence_is_whole(framework: TrainerName, gathered: int) -> None:
    # the first multiply of the MLP: gradients of its output and of its input, less what the activation had saved
    cut = compute_backward_mib(framework, tp=8, dp=8, sequence_parallel=1)
    whole = compute_backward_mib(framework, tp=8, dp=8)
    assert cut >= 64 * gathered - 3 * 28 and whole > 64
