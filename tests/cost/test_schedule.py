"""The schedules, played slot by slot, take what the cost model's equations say, and keep their rules."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.arrays import take_columns
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.step import compute_stall_s, compute_step_costs
from planner.cost.strategies import build_strategy
from planner.cost.timeline import (
    ScheduleSlot,
    StageTimes,
    compute_simulated_step_s,
    simulate_pipeline,
    simulate_slots,
)
from tests.cost.test_breakdown import build_large_scenario


def build_even_stages(pp: int, vpp: int = 1, weight: float = 0.0) -> StageTimes:
    """Chunks of equal length: one second forward, two backward."""
    full = np.ones((vpp, pp))
    return StageTimes(full, 0 * full, 2 * full, 0 * full, weight * full)


def compute_makespan(slots: list[ScheduleSlot]) -> float:
    return max(slot.end_s for slot in slots)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_even_stages_take_the_time_of_the_equation(pp: int, vpp: int, rounds: int) -> None:
    n = rounds * pp
    assert compute_makespan(simulate_slots(build_even_stages(pp, vpp), n)) == pytest.approx(
        n * 3 * vpp + (pp - 1) * 3, rel=1e-12
    )


@pytest.mark.parametrize(("pp", "n"), [(4, 8), (4, 16), (8, 16), (2, 4), (4, 4)])
def test_zero_bubble_waits_for_f_plus_b_less_w(pp: int, n: int) -> None:
    assert compute_makespan(simulate_slots(build_even_stages(pp, weight=1.0), n, "zero-bubble")) == pytest.approx(
        3 * n + (pp - 1)
    )


def test_zero_bubble_waits_for_the_forward_passes_at_least() -> None:
    """Where the weights' gradients take longer than the others: torch 2.13, `ScheduleInterleavedZeroBubble`."""
    scenario, s = build_large_scenario(pipeline_schedule="zero-bubble"), build_strategy(tp=2, pp=4, dp=4)
    plan_tables = build_plan_tables(scenario, s)
    tables, row = plan_tables.layer_tables, plan_tables.layer_row
    forward_s = take_columns(tables.forward + sum(axis.forward for axis in tables.communication), row)
    weight_grad_s = take_columns(tables.weight_grad, row)
    for other_s, waits_s in ((0.5 * weight_grad_s, forward_s), (2 * weight_grad_s, forward_s + weight_grad_s)):
        stall_s = compute_stall_s(scenario, s, plan_tables, forward_s + other_s + weight_grad_s)
        assert stall_s == pytest.approx(waits_s)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.randoms(use_true_random=False))
def test_every_pass_runs_once_after_its_inputs(pp, vpp, rounds, zero_bubble, random) -> None:  # type: ignore[no-untyped-def]
    vpp = 1 if zero_bubble else vpp
    n = rounds * pp
    draw = np.array([[random.uniform(0.5, 2.0) for _ in range(pp)] for _ in range(vpp)])
    slots = simulate_slots(
        StageTimes(draw, 0.1 * draw, 2 * draw, 0.2 * draw, draw * zero_bubble),
        n,
        "zero-bubble" if zero_bubble else "1f1b",
    )
    at = {(slot.pass_type, slot.chunk, slot.stage, slot.micro_batch): slot for slot in slots}
    assert len(at) == len(slots) == n * pp * vpp * (3 if zero_bubble else 2)
    for stage in range(pp):
        own = [slot for slot in slots if slot.stage == stage]
        assert all(earlier.end_s <= later.start_s + 1e-9 for earlier, later in itertools.pairwise(own))
    for (pass_type, chunk, stage, micro_batch), slot in at.items():
        place = chunk * pp + stage + (1 if pass_type == "backward" else -1)
        before = ("backward", chunk, stage) if pass_type == "weight" else (pass_type, place // pp, place % pp)
        if pass_type == "backward" and place == pp * vpp:
            before = ("forward", chunk, stage)
        if place >= 0 or pass_type != "forward":
            assert at[before[0], before[1], before[2], micro_batch].end_s <= slot.start_s + 1e-9


def test_no_more_micro_batches_are_in_flight_than_memory_is_counted_for() -> None:
    for stage, own in enumerate(np.array_split(np.arange(4), 4)):
        slots = [slot for slot in simulate_slots(build_even_stages(4), 12) if slot.stage == own[0]]
        in_flight = np.cumsum([1 if slot.pass_type == "forward" else -1 for slot in slots])
        assert in_flight.max() == 4 - stage


@pytest.mark.parametrize(
    ("split", "schedule", "tolerance"),
    [
        ({"tp": 2, "pp": 4, "dp": 4}, "1f1b", 0.01),
        ({"tp": 2, "pp": 4, "dp": 4, "vpp": 4}, "1f1b", 0.02),
        # the head's stage alone sets the pace: its own weights' gradients fill more than the equation has
        ({"tp": 2, "pp": 4, "dp": 4}, "zero-bubble", 0.06),
    ],
)
def test_a_real_models_stages_are_near_the_cost_model(split: dict[str, int], schedule: str, tolerance: float) -> None:
    scenario, s = build_large_scenario(pipeline_schedule=schedule), build_strategy(**split)
    scores = compute_step_costs(scenario, s)
    assert compute_simulated_step_s(scores, simulate_pipeline(scenario, s)) == pytest.approx(
        float(scores.step_time_s[0]), rel=tolerance
    )


def test_fewer_micro_batches_are_whole_rounds() -> None:
    scenario, s = replace(build_large_scenario(), global_batch=256), build_strategy(tp=2, pp=4, dp=4, vpp=4)
    assert max(slot.micro_batch for slot in simulate_pipeline(scenario, s, 10)) == 7
    assert max(slot.micro_batch for slot in simulate_pipeline(scenario, s, 2)) == 3
