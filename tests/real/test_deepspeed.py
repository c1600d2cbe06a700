"""What DeepSpeed's own engines hold of weights, gradients and optimizer on a rank, of two on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from planner.cost.memory import buckets
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_host_memory_bytes, compute_stage_memory
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Offload
from planner.cost.strategies import build_strategy
from planner.trainers.names import GradientDtype
from tests.cost.test_engine_memory import build_llama
from tests.export.real.needs import import_package
from tests.real import deepspeed_states

pytestmark = pytest.mark.real

TIMEOUT_S = 600


@pytest.fixture(scope="module")
def held() -> dict[tuple[int, str], dict[str, float]]:
    """Bytes a parameter by moment, of each ZeRO stage and format of gradients."""
    import_package("deepspeed")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", deepspeed_states.__name__, str(port)],
        env=os.environ | {"DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cases: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(case.pop("stage"), case.pop("gradients")): case for case in cases}


def compute_planned_bytes(zero_stage: int, gradients: GradientDtype) -> dict[str, float]:
    """The same of the cost model."""
    scenario = build_llama("deepspeed", gradients)
    plan = build_strategy(dp=deepspeed_states.RANKS, zero_stage=zero_stage)
    memory = compute_stage_memory(scenario, plan, build_plan_tables(scenario, plan)).moment_bytes

    def get_bytes(category: str, moment: str) -> float:
        return float(memory[category][0, MEMORY_MOMENTS.index(moment), 0]) / scenario.workload.parameters

    # whose weights are no more than stored
    kept = get_bytes("weights", "optimizer_step") + get_bytes("optimizer", "optimizer_step")
    return {
        "loss": kept + get_bytes("gradients", "loss"),
        "update": kept + get_bytes("gradients", "optimizer_step"),
    }


@pytest.mark.parametrize(
    ("zero_stage", "gradients", "moment"),
    [
        (1, "bf16", "loss"),
        (1, "bf16", "update"),
        (1, "fp32", "loss"),
        (1, "fp32", "update"),
        (2, "bf16", "loss"),
        (2, "bf16", "update"),
        (2, "fp32", "loss"),
        (2, "fp32", "update"),
        (3, "bf16", "loss"),
        (3, "bf16", "update"),
        (3, "fp32", "loss"),
        (3, "fp32", "update"),
    ],
)
def test_model_state(
    held: dict[tuple[int, str], dict[str, float]],
    zero_stage: int,
    gradients: GradientDtype,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # of a small model all is updated at once
    monkeypatch.setattr(buckets, "_SUB_GROUP_PARAMETERS", float("inf"))
    real_bytes = held[zero_stage, gradients][moment]
    assert compute_planned_bytes(zero_stage, gradients)[moment] == pytest.approx(real_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("zero_stage", "offload"), [(2, {"optimizer"}), (3, {"optimizer"}), (3, {"optimizer", "weights"})]
)
def test_host_memory_lies_between_deepspeed_s_own_estimates(zero_stage: int, offload: set[str]) -> None:
    """Its estimates leave out a copy of 2 bytes a parameter each, and have a factor of 1.5 for buffers."""
    module = "stage3" if zero_stage == 3 else "stage_1_and_2"
    runtime = import_package(f"deepspeed.runtime.zero.{module}")
    scenario = build_llama("deepspeed")
    scenario = replace(scenario, offload=Offload(**dict.fromkeys(offload, True)))
    parameters, fields = scenario.workload.parameters, {"num_gpus_per_node": 8, "num_nodes": 1}
    if zero_stage == 3:
        fields |= {"largest_layer_params": 0, "cpu_offload_params": "weights" in offload}
    estimate = getattr(runtime, f"estimate_zero{zero_stage}_model_states_mem_needs")
    least, most = (estimate(parameters, additional_buffer_factor=factor, **fields)[0] for factor in (1.0, 1.5))
    if zero_stage == 2:
        # it multiplies by the ranks, as if each had loaded the model
        least, most = (min(size, factor * 16 * parameters) for size, factor in ((least, 1.0), (most, 1.5)))
    plan = build_strategy(dp=8, zero_stage=zero_stage)
    tables = build_plan_tables(scenario, plan)
    host_bytes = compute_host_memory_bytes(scenario, plan, tables, [zero_stage], [0])[0, 0, 0]
    assert least < host_bytes < most
