"""What MaxText's own programs need beside their arguments, as XLA compiles them for eight chips of TPU v6e.

`temp_size_in_bytes` of `memory_analysis()` in maxtext/trainers/pre_train/train_compile.py (MaxText 0.2.5, jax 0.10.2,
libtpu 0.0.42; no TPU is needed): base.yml with `compile_topology=v6e-8 model_name=default head_dim=128`, eight heads
of queries and two of keys, four layers, full recomputation.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from planner.cost.memory.peak import compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

_ARGUMENTS = ("optimizer", "reserve")
_SIZES = {"layers": 4, "heads": 8, "kv_heads": 2, "head_dim": 128}
_WIDE_HEAD = {"hidden_size": 1024, "ffn_size": 3584}
_WIDE_LAYER = {"hidden_size": 4096, "ffn_size": 16384, "vocab_size": 1024}


def compute_planned_bytes(seq_length: int, micro_batch: int, **sizes: int) -> float:
    preset = read_model_preset("llama-3-8b")
    assert isinstance(preset, ModelSpec)
    scenario = build_scenario(
        build_workload(msgspec.structs.replace(preset, **_SIZES, **sizes), seq_length=seq_length),
        read_cluster("tpu-v6e", nodes=1),
        global_batch=8 * micro_batch,
        precision="bf16",
        framework="maxtext",
    )
    plan = build_strategy(dp=8, zero_stage=3, micro_batch=micro_batch, recompute=2)
    memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan)).moment_bytes
    return float(np.max(sum(sizes for category, sizes in memory.items() if category not in _ARGUMENTS)))


@pytest.mark.parametrize(
    ("seq_length", "micro_batch", "sizes", "compiled_bytes"),
    [
        (2048, 2, {**_WIDE_HEAD, "vocab_size": 32000}, 700_198_752),
        (2048, 2, {**_WIDE_HEAD, "vocab_size": 64000}, 1_289_073_408),
        (256, 1, _WIDE_LAYER, 1_245_552_960),
    ],
)
def test_programs(seq_length: int, micro_batch: int, sizes: dict[str, int], compiled_bytes: int) -> None:
    assert compute_planned_bytes(seq_length, micro_batch, **sizes) == pytest.approx(compiled_bytes, rel=0.09)


def test_logits_take_four_bytes_each_and_the_head_two() -> None:
    small, large = (compute_planned_bytes(2048, 2, **_WIDE_HEAD, vocab_size=size) for size in (32000, 64000))
    assert large - small == pytest.approx(1_289_073_408 - 700_198_752, rel=0.01)
