"""The step of a single plan as slots in time: the cost model's terms put through the simulated pipeline schedule."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.cost.arrays import sum_in_order, sum_products
from planner.cost.layer_tables import build_layer_tables
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix
from planner.cost.pipeline.schedule import ScheduleSlot, StageTimes, simulate_slots
from planner.cost.scenario import Scenario
from planner.cost.step import (
    POST_PIPELINE_TERMS,
    StepCosts,
    compute_layer_terms,
    compute_pipeline_sends_s,
    count_micro_batches,
)
from planner.cost.strategies import Strategies


def compute_stage_times(scenario: Scenario, s: Strategies) -> StageTimes:
    """The times of a single plan's chunks, by the cost model's terms."""
    tables, layer_row = build_layer_tables(scenario, s)
    terms = {name: table[0] for name, table in compute_layer_terms(scenario, s, tables, layer_row).items()}
    table_row = int(layer_row[0])
    comm_s = terms["tensor_parallel"] + terms["context_parallel"] + terms["expert_parallel"]
    forward_comm_s = sum_in_order(axis.forward[table_row] for axis in tables.communication)
    chunks = assign_layers(compute_layer_prefix(scenario.workload), int(s.pp[0]), int(s.vpp[0]))
    times = StageTimes(
        forward_s=sum_products(chunks, terms["forward"]),
        forward_comm_s=sum_products(chunks, forward_comm_s),
        backward_s=sum_products(chunks, terms["backward"] + terms["recompute"]),
        backward_comm_s=sum_products(chunks, comm_s - forward_comm_s),
        weight_grad_s=sum_products(chunks, tables.weight_grad[table_row]) * float(_is_zero_bubble(scenario, s)),
    )
    return _add_sends(times, compute_exposed_send_s(scenario, s))


def compute_exposed_send_s(scenario: Scenario, s: Strategies) -> float:
    """Exposed seconds of one transfer to the next stage."""
    micro_batches = count_micro_batches(scenario, s)
    exposed_s, _ = compute_pipeline_sends_s(scenario, s, micro_batches)
    return float((exposed_s / (2 * (micro_batches * s.vpp + s.pp - 1)))[0])


def _add_sends(times: StageTimes, send_s: float) -> StageTimes:
    """With the transfer after each pass: none after the last chunk's forward pass and the first one's backward."""
    forward_send_s, backward_send_s = np.full_like(times.forward_s, send_s), np.full_like(times.forward_s, send_s)
    forward_send_s[-1, -1] = backward_send_s[0, 0] = 0.0
    return replace(
        times,
        forward_comm_s=times.forward_comm_s + forward_send_s,
        backward_comm_s=times.backward_comm_s + backward_send_s,
    )


def simulate_pipeline(scenario: Scenario, s: Strategies, max_micro_batches: int | None = None) -> list[ScheduleSlot]:
    """All slots of a single plan's step, of at most about `max_micro_batches` micro-batches
    (`count_simulated_micro_batches`), stage by stage in the order of time.
    """
    times, micro_batches = (
        compute_stage_times(scenario, s),
        count_simulated_micro_batches(scenario, s, max_micro_batches),
    )
    return simulate_slots(times, micro_batches, zero_bubble=_is_zero_bubble(scenario, s))


def _is_zero_bubble(scenario: Scenario, s: Strategies) -> bool:
    return scenario.pipeline_schedule == "zero-bubble" and int(s.vpp[0]) == 1


def count_simulated_micro_batches(scenario: Scenario, s: Strategies, max_micro_batches: int | None) -> int:
    """The step's micro-batches, or the most whole rounds of pp within `max_micro_batches`, at least one."""
    micro_batches, pp = int(count_micro_batches(scenario, s)[0]), int(s.pp[0])
    if max_micro_batches is None or micro_batches <= max_micro_batches:
        return micro_batches
    if int(s.vpp[0]) == 1:
        return max_micro_batches
    return min(micro_batches, max(1, max_micro_batches // pp) * pp)


def compute_simulated_step_s(step_costs: StepCosts, slots: list[ScheduleSlot]) -> float:
    """Seconds of the step if its pipeline takes what the slots do, the cost model's other terms after it."""
    post_pipeline_s = math.fsum(float(step_costs.terms[name][0]) for name in POST_PIPELINE_TERMS)
    return max(slot.end_s for slot in slots) + post_pipeline_s
