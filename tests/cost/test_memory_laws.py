"""Laws of memory over pipelines, experts, and tiny and huge models: kinds add up to the peak, and more of what cuts a
model or repeats its activations never needs more, but for what is stated here.

Communicators are apart: each axis has its own; and free blocks: under ZeRO 3 the streams of collectives have some,
more than ZeRO 2 in a model of small layers and a large embedding. DeepSpeed has one bucket of 5e8 values at all times
under ZeRO 3, and under ZeRO 2 in the backward pass alone (deepspeed/runtime/zero/stage3.py): more than all of a tiny
model. FSDP2 may need more with stages: it keeps their weights gathered, and adds up whole gradients.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.memory.peak import compute_memory_totals_bytes, compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.strategies import build_strategy
from planner.request.inputs import read_cluster
from planner.trainers.names import TrainerName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

DEVICES, BATCH = 256, 512
SIZES = {
    "tiny": {"layers": 8, "hidden_size": 512, "ffn_size": 1024, "heads": 8, "kv_heads": 8, "head_dim": 64},
    "usual": {},
    "huge": {"layers": 128, "hidden_size": 16384, "ffn_size": 49152, "heads": 128, "kv_heads": 8, "head_dim": 128},
}
TRAINERS: tuple[TrainerName, ...] = ("megatron-classic", "fsdp2", "deepspeed", "hf-trainer", "torchtune")


def build(trainer: TrainerName, size: str, model: str = "llama-3-8b") -> Scenario:
    spec = read_model_preset(model)
    assert isinstance(spec, ModelSpec)
    return build_scenario(
        build_workload(msgspec.structs.replace(spec, **SIZES[size]), seq_length=2048),
        read_cluster("dgx-h100", nodes=DEVICES // 8),
        global_batch=BATCH,
        precision="bf16",
        framework=trainer,
    )


def compute_peak_bytes(scenario: Scenario, degrees: dict[str, int]) -> float:
    """Allocated on the worst stage, and reserve; checks that kinds add up to it, and to what the search has."""
    plan = build_strategy(**degrees, sequence_parallel=degrees["tp"] > 1)
    tables = build_plan_tables(scenario, plan)
    memory = compute_stage_memory(scenario, plan, tables)
    kinds = sum(memory.peak.category_bytes[category] for category in MEMORY_CATEGORIES)
    assert kinds.max() == pytest.approx(memory.total_bytes.max(), rel=1e-12)
    assert all((values >= 0.0).all() for values in memory.moment_bytes.values())
    totals = compute_memory_totals_bytes(scenario, plan, tables, [degrees["zero_stage"]], [degrees["recompute"]])
    assert totals[0, 0, 0] == pytest.approx(memory.total_bytes.max(), rel=1e-12)
    return float(memory.compute_stage_peaks_bytes(("allocator", "communicators")).max())


def fill(degrees: dict[str, int]) -> dict[str, int]:
    """The degrees, with the data parallelism that is left of all devices."""
    return degrees | {"dp": DEVICES // (degrees["tp"] * degrees["pp"] * degrees.get("cp", 1))}


plans = st.fixed_dictionaries(
    {
        "tp": st.sampled_from([1, 2, 4]),
        "pp": st.sampled_from([1, 2, 4]),
        "micro_batch": st.sampled_from([1, 2]),
        "zero_stage": st.sampled_from([0, 1, 2]),
        "recompute": st.sampled_from([0, 1]),
    }
)


@pytest.mark.parametrize("trainer", TRAINERS)
@settings(max_examples=20, deadline=None)
@given(plans, st.sampled_from(list(SIZES)), st.sampled_from(["recompute", "zero_stage", "tp", "cp", "pp"]))
def test_more_of_what_saves_memory_never_needs_more(
    trainer: TrainerName, degrees: dict[str, int], size: str, name: str
) -> None:
    """Of the degrees at the same number of replicas: fewer of these would shard less."""
    if name == "pp" and trainer != "megatron-classic":
        return
    scenario = build(trainer, size)
    base = degrees | {"dp": 8, "cp": 1}
    more = base | {name: base[name] + 1 if name in ("recompute", "zero_stage") else base[name] * 2}
    bucket_bytes = 0.0
    if more["zero_stage"] == 3:
        bucket_bytes = scenario.trainer.weight_bytes * scenario.trainer.reduce_bucket_elements
    assert compute_peak_bytes(scenario, more) <= compute_peak_bytes(scenario, base) * (1 + 1e-9) + bucket_bytes


@pytest.mark.parametrize("trainer", ["megatron-classic", "fsdp2"])
@settings(max_examples=15, deadline=None)
@given(
    plans, st.sampled_from(list(SIZES)), st.sampled_from(["1f1b", "gpipe", "zero-bubble"]), st.sampled_from([1, 2])
)
def test_kinds_add_up_in_a_pipeline(
    trainer: TrainerName, degrees: dict[str, int], size: str, schedule: str, vpp: int
) -> None:
    scenario = replace(build(trainer, size), pipeline_schedule=schedule)  # type: ignore[arg-type]
    plan = fill(degrees) | {"vpp": vpp if degrees["pp"] > 1 and schedule == "1f1b" else 1}
    assert compute_peak_bytes(scenario, plan) > 0.0


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.sampled_from([0, 1]), st.sampled_from([0, 1, 2]))
def test_more_expert_parallelism_never_needs_more(ep: int, tp: int, zero_stage: int, recompute: int) -> None:
    scenario = build("megatron-classic", "usual", "mixtral-8x7b")
    degrees = {"tp": tp, "dp": 32, "zero_stage": zero_stage, "recompute": recompute, "etp": tp}
    less, more = (compute_peak_bytes(scenario, degrees | {"ep": degree}) for degree in (ep, 2 * ep))
    assert more <= less * (1 + 1e-9)
