"""What each setting changes in time and in memory, against the equation of the cost model's page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.cost.memory import compute_peak_memory_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.search.settings import enumerate_setting_scenarios
from planner.trainers.names import TrainerName
from tests.examples import lab, lab_scenario, tiny


def change(q: Scenario, **values: str) -> Scenario:
    """The scenario with these values of settings."""
    (changed,) = enumerate_setting_scenarios(q, {name: (value,) for name, value in values.items()})
    return changed


def build(framework: TrainerName, **model: object) -> Scenario:
    """A tiny model under a trainer, without fragmentation."""
    q = build_scenario(tiny(**model), lab(), global_batch=32, framework=framework)
    return replace(q, trainer=replace(q.trainer, fragmentation_share=0.0))


def held(q: Scenario, plan: Strategies, kind: str) -> float:
    return float(compute_peak_memory_bytes(q, plan)[kind][0])


def compute(q: Scenario, plan: Strategies) -> float:
    """Seconds of the kernels of a step."""
    terms = compute_step_costs(q, plan).terms
    return float(terms["forward"][0] + terms["backward"][0])


def test_a_loss_holds_its_bytes_per_logit() -> None:
    q, plan, tokens, vocab, hidden = build("fsdp2"), build_strategy(dp=16), 1024, 8192, 512
    logits = {name: held(change(q, loss=name), plan, "logits") for name in ("plain", "compiled", "fused", "chunked")}
    assert logits["plain"] - logits["compiled"] == tokens * vocab * (14 - 4)
    assert logits["fused"] == logits["compiled"]
    # eager: chunks of the plain loss, and the 32-bit gradient of the hidden states
    assert logits["plain"] - logits["chunked"] == pytest.approx(tokens * (vocab * 14 * 7 / 8 - 4 * hidden))
    compiled = replace(q, launch_mode="compiled")
    assert held(change(compiled, loss="chunked"), plan, "logits") < logits["chunked"]


def test_a_loss_moves_its_bytes_three_times() -> None:
    q, plan = replace(build("fsdp2"), launch_mode="graph"), build_strategy(dp=16)
    saved_s = compute(change(q, loss="plain"), plan) - compute(change(q, loss="fused"), plan)
    micro_batches, bandwidth = 2, q.accelerator.memory_bandwidth_bytes_per_s * q.calibration.memory_efficiency
    assert saved_s == pytest.approx(micro_batches * 3 * 10 * 1024 * 8192 / bandwidth)
    # in chunks the same bytes move, and the head's multiplies have more edges
    assert compute(change(q, loss="chunked"), plan) > compute(q, plan)


@pytest.mark.parametrize(("framework", "own"), [("megatron", "plain"), ("fsdp", "fused"), ("maxtext", "plain")])
def test_the_loss_is_the_trainers_own(framework: TrainerName, own: str) -> None:
    q = build(framework)
    assert q.loss == own
    assert change(q, loss=own) == q
