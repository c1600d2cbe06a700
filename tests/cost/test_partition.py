"""Layers of pipeline stages where a trainer partitions them by compute."""

from __future__ import annotations

import msgspec
import pytest

from planner.cost.pipeline.partition import find_partition_costs, list_chunk_layers
from planner.cost.pipeline.stages import build_stage_tables
from planner.cost.scenario import build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.operators import Workload
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

SHAPES = {"1.34B": (16, 2048, 8192), "3.57B": (28, 3072, 8192), "8.86B": (32, 4096, 14336), "80B": (80, 8192, 28672)}
"""Layers, hidden size and that of the MLP."""


def build_llama(layers: int, hidden_size: int, ffn_size: int) -> Workload:
    spec = read_model_preset("llama-3-8b")
    assert isinstance(spec, ModelSpec)
    sizes = {"layers": layers, "hidden_size": hidden_size, "ffn_size": ffn_size, "vocab_size": 131072}
    return build_workload(msgspec.structs.replace(spec, head_dim=hidden_size // spec.heads, **sizes), seq_length=4096)


@pytest.mark.parametrize(
    ("size", "pp", "stage_layers"),
    [
        ("1.34B", 2, [11, 5]),
        ("3.57B", 2, [16, 12]),
        ("8.86B", 2, [18, 14]),
        ("8.86B", 4, [9, 9, 8, 6]),
        ("80B", 4, [21, 20, 20, 19]),
        ("80B", 16, [int(n) for n in "6555555555555563"]),
    ],
)
def test_nanotron_gives_the_head_s_stage_fewer_layers(size: str, pp: int, stage_layers: list[int]) -> None:
    """Stages of runs of nanotron at 0e0a27ea: its scaling benchmarks."""
    workload = build_llama(*SHAPES[size])
    costs = find_partition_costs(workload, TRAINERS_BY_NAME["nanotron"])
    assert list_chunk_layers(workload, pp, 1, "auto", costs) == stage_layers


def test_a_layout_of_one_s_own_is_kept() -> None:
    workload = build_llama(*SHAPES["1.34B"])
    costs = find_partition_costs(workload, TRAINERS_BY_NAME["nanotron"])
    assert list_chunk_layers(workload, 2, 1, "first-8", costs) == [8, 8]


def test_other_trainers_partition_evenly() -> None:
    workload = build_llama(*SHAPES["1.34B"])
    assert find_partition_costs(workload, TRAINERS_BY_NAME["megatron"]) is None


def test_stages_of_the_cost_model() -> None:
    scenario = build_scenario(
        build_llama(*SHAPES["1.34B"]),
        read_cluster("dgx-h100", nodes=1),
        global_batch=64,
        precision="bf16",
        framework="nanotron",
    )
    stages, rows = build_stage_tables(scenario, build_strategy(dp=4, pp=2))
    assert stages.layer_counts[rows[0], :, 0].tolist() == [11.0, 5.0]


def test_no_more_stages_than_layers_beside_the_head() -> None:
    """The head alone may be more than the last stages' shares."""
    workload = build_llama(2, 512, 1024)
    counts = list_chunk_layers(workload, 4, 1, "auto", find_partition_costs(workload, TRAINERS_BY_NAME["nanotron"]))
    assert counts == [2, 0, 0, 0]
