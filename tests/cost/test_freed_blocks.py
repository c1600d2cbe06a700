"""What nanotron holds on its first rank, and what PyTorch's allocator keeps beside it.

`ALLOCATED` is of nanotron's own code at e24d2483 (the benchmarks of February 2025): its Llama, tensor-parallel
linears, loss, pipeline engine and accumulator with fake tensors and process groups under torch 2.13; FlashAttention
stands for its kernels by what they keep, DistributedDataParallel by its buckets.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from planner.cost.memory.moments import MEMORY_CATEGORIES, MEMORY_MOMENTS
from planner.cost.memory.peak import StageMemory, compute_memory_totals_bytes, compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.strategies import Strategies, build_strategy
from planner.request.inputs import read_cluster
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

GIB = 2.0**30
SIZES = {
    "1.34B": {"layers": 16, "hidden_size": 2048, "ffn_size": 8192, "tied_embeddings": True},
    "3.57B": {"layers": 28, "hidden_size": 3072, "ffn_size": 8192, "tied_embeddings": True},
    "8.86B": {"layers": 32, "hidden_size": 4096, "ffn_size": 14336, "tied_embeddings": False},
}
ALLOCATED = [
    ("1.34B", {"tp": 2, "dp": 64, "micro_batch": 4}, 1, 32.71),
    ("1.34B", {"tp": 4, "dp": 64, "micro_batch": 4}, 1, 16.42),
    ("1.34B", {"tp": 2, "pp": 2, "dp": 128, "micro_batch": 2, "zero_stage": 1}, 1, 7.21),
    ("3.57B", {"tp": 4, "dp": 32, "micro_batch": 8}, 1, 49.69),
    ("3.57B", {"tp": 4, "dp": 64, "micro_batch": 4}, 1, 33.19),
    ("3.57B", {"pp": 2, "dp": 8, "micro_batch": 2, "zero_stage": 1}, 4, 43.86),
    ("3.57B", {"pp": 2, "dp": 32, "micro_batch": 1, "zero_stage": 1}, 4, 27.37),
    ("8.86B", {"tp": 8, "dp": 32, "micro_batch": 8}, 1, 47.24),
    ("8.86B", {"tp": 4, "dp": 128, "micro_batch": 2}, 1, 54.45),
    ("8.86B", {"pp": 2, "dp": 32, "micro_batch": 1, "zero_stage": 1}, 4, 54.34),
]
"""Sizes, plan, micro-batches, and the most that is allocated in the second step, in GiB."""


def build_nanotron(
    size: str, degrees: dict[str, int], micro_batches: int = 1, version: str = "nanotron@2025-03"
) -> tuple[Scenario, Strategies]:
    spec = read_model_preset("llama-2-7b")
    assert isinstance(spec, ModelSpec)
    fields = SIZES[size] | {"heads": 32, "kv_heads": 32, "vocab_size": 131072}
    fields["head_dim"] = fields["hidden_size"] // 32
    ranks = degrees.get("tp", 1) * degrees.get("pp", 1) * degrees["dp"]
    scenario = build_scenario(
        build_workload(msgspec.structs.replace(spec, **fields), seq_length=4096),
        read_cluster("dgx-h100", nodes=ranks // 8),
        global_batch=degrees["dp"] * degrees["micro_batch"] * micro_batches,
        precision="bf16",
        framework="nanotron",
        trainer_version=version,
    )
    return scenario, build_strategy(**degrees, sequence_parallel=degrees.get("tp", 1) > 1)


def compute_memory(scenario: Scenario, plan: Strategies) -> StageMemory:
    return compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan))


def compute_freed(scenario: Scenario, plan: Strategies, moment: str = "last_layer_backward") -> float:
    return float(compute_memory(scenario, plan).moment_bytes["allocator"][0, MEMORY_MOMENTS.index(moment), 0]) / GIB


@pytest.mark.parametrize(("size", "degrees", "micro_batches", "gib"), ALLOCATED)
def test_allocated(size: str, degrees: dict[str, int], micro_batches: int, gib: float) -> None:
    memory = compute_memory(*build_nanotron(size, degrees, micro_batches))
    allocated = memory.compute_stage_peaks_bytes(("allocator", "communicators", "reserve"))[0, 0] / GIB
    assert allocated == pytest.approx(gib, rel=0.01)


def test_blocks_of_collectives_wait_for_the_device_before_torch_2_8() -> None:
    """Of all 32 layers two uncut results of 256 MiB each, less what the device has run by then."""
    degrees = {"tp": 8, "dp": 32, "micro_batch": 8}
    old, new = (
        compute_freed(*build_nanotron("8.86B", degrees, version=version)) for version in ("nanotron@2025-03", "")
    )
    assert 0.75 * 16.0 < old - new <= 16.0
    alone = compute_freed(*build_nanotron("8.86B", {"dp": 256, "micro_batch": 1}))
    assert alone < 0.2


def test_copies_of_an_all_gather_are_larger_than_tensors_of_the_passes() -> None:
    """Twice all 16-bit weights and once the rank's, less Adam's moments; nothing without ZeRO, or on one rank."""
    degrees = {"pp": 2, "dp": 32, "micro_batch": 1}
    scenario, plan = build_nanotron("3.57B", degrees | {"zero_stage": 1}, 4)
    parameters = build_plan_tables(scenario, plan).parameters.dense[0, 0]
    gathered = (2.0 * (2.0 + 1 / 32) - 8.0 / 32) * parameters / GIB
    assert compute_freed(scenario, plan, "first_layer_backward") == pytest.approx(gathered, rel=1e-6)
    without = build_nanotron("3.57B", degrees | {"zero_stage": 0}, 4)
    assert compute_freed(*without, "first_layer_backward") == 0.0
    step = compute_memory(scenario, plan).moment_bytes["buffers"][0, MEMORY_MOMENTS.index("optimizer_step"), 0]
    assert step / GIB == pytest.approx(2.0 * (2.0 + 1 / 32) * parameters / GIB, rel=0.01)


def test_freed_blocks_never_decide_whether_a_plan_fits() -> None:
    scenario, plan = build_nanotron("8.86B", {"pp": 2, "dp": 32, "micro_batch": 1, "zero_stage": 1}, 4)
    tables = build_plan_tables(scenario, plan)
    larger = replace(scenario, accelerator=replace(scenario.accelerator, memory_bytes=200 * GIB))
    full, free = (compute_stage_memory(q, plan, tables) for q in (scenario, larger))
    assert (free.total_bytes.max(axis=1) > full.total_bytes.max(axis=1)).any()
    assert full.total_bytes.max() <= scenario.accelerator.memory_bytes
    for q, memory in ((scenario, full), (larger, free)):
        total = compute_memory_totals_bytes(q, plan, tables, [1], [0])[0, 0, 0]
        others = sum(memory.moment_bytes[name] for name in MEMORY_CATEGORIES if name != "allocator")
        assert total <= memory.total_bytes.max() * (1 + 1e-12)
        assert total >= np.max(others) * (1 - 1e-12)
