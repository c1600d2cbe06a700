"""Buffers of communicators: a term of each plan, by its groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.memory.communicators import compute_communicator_bytes
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.strategies import build_strategy
from planner.evidence.memory_kinds import find_omitted_categories
from planner.request.inputs import read_cluster
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

MIB = 2.0**20
DEGREES = ("tp", "cp", "pp")


def build(
    model: str = "llama-3-8b", trainer: str = "megatron", cluster: str = "dgx-h100", nodes: int = 8
) -> Scenario:
    spec = read_model_preset(model)
    assert isinstance(spec, ModelSpec)
    return build_scenario(
        build_workload(spec, seq_length=4096),
        read_cluster(cluster, nodes=nodes),
        global_batch=512,
        precision="bf16",
        framework=trainer,  # type: ignore[arg-type]
    )


def compute_mib(scenario: Scenario, **degrees: int) -> float:
    return float(compute_communicator_bytes(scenario, build_strategy(**degrees))[0]) / MIB


def test_one_device_has_no_communicator() -> None:
    assert compute_mib(build(nodes=1)) == 0.0


def test_a_mesh_of_all_ranks_is_the_world_and_megatrons_group_another() -> None:
    shared, own = (compute_mib(build(trainer=name, nodes=1), dp=8) for name in ("fsdp2", "megatron"))
    assert own == 2 * shared > 0.0


def test_a_switch_that_adds_has_buffers_for_each_rank_of_a_node() -> None:
    """32 MiB each of 8 GPUs: of 16 channels, 2 directions, 8 pieces of 128 KiB (NCCL, src/transport/nvls.cc)."""
    adding, plain = (
        compute_mib(build(trainer="ddp", cluster=name, nodes=1), dp=8) for name in ("dgx-h100", "dgx-a100")
    )
    assert adding - plain == 8 * 32


def test_an_all_to_all_of_a_node_is_what_was_measured() -> None:
    """3.28 GB more after the first all-to-all of 8 H100 (NVIDIA/nccl#1685), where 7 x 32 channels are connected."""
    deepep = build("mixtral-8x7b", nodes=1)
    nccl = replace(deepep, ep_exchange="nccl")
    with_exchange, without = compute_mib(nccl, dp=8, ep=8), compute_mib(nccl, dp=8)
    assert 0.8 * 3.28e9 < (with_exchange - without) * MIB < 1.2 * 3.28e9
    assert compute_mib(deepep, dp=8, ep=8) < with_exchange


@pytest.mark.parametrize("trainer", ["megatron", "fsdp2", "deepspeed", "nanotron"])
@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(DEGREES), st.sampled_from([1, 2, 4, 8])))
def test_another_axis_has_another_communicator(trainer: str, degrees: dict[str, int]) -> None:
    """A degree above 1 takes no less than none: each axis has buffers of its own, the world keeps its own."""
    scenario = build(trainer=trainer, nodes=512)
    world = 4096
    whole = {name: degrees.get(name, 1) for name in DEGREES}
    dp = world // int(np.prod(list(whole.values())))
    size = compute_mib(scenario, dp=dp, **whole)
    for name in DEGREES:
        without = whole | {name: 1}
        assert compute_mib(scenario, dp=dp * whole[name], **without) <= size


def test_a_file_that_says_what_programs_cannot_have_counts_them() -> None:
    scenario = build(nodes=1)
    stated = replace(scenario, accelerator=replace(scenario.accelerator, reserved_memory_bytes=1e9))
    assert compute_mib(stated, dp=8) == 0.0


def test_figures_of_the_allocator_have_no_communicators() -> None:
    memory = compute_peak_memory_bytes(build(nodes=1), build_strategy(dp=8, zero_stage=1))
    assert memory["communicators"][0] > 0.0
    for kind in ("allocated", "reserved", "estimated"):
        assert "communicators" in find_omitted_categories(kind)  # type: ignore[arg-type]
    assert not find_omitted_categories("device")
