"""The step of a single plan as slots in time: which chunk of a stage works on which micro-batch, and when.

The cost model's terms are put through a simulation of the pipeline schedule. Each stage does its slots in the order
of its schedule (`schedule_orders.py`), as soon as what a slot needs is there. A stage is busy until the output of its
slot is sent, as in the cost model. Zero bubble: ZB-H1 of Qi et al. 2023 (arXiv 2401.10241, section 3), the weights'
gradients done whenever nothing else can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from planner.cost.arrays import Floats, sum_in_order, sum_products
from planner.cost.layer_tables import build_layer_tables
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix, find_partition_costs
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import FOLDED_SCHEDULES, V_SCHEDULES, is_folded
from planner.cost.schedules.orders import (
    PassGroup,
    PassType,
    PassWork,
    build_1f1b_order,
    build_dualpipe_v_order,
    build_zb_v_order,
)
from planner.cost.settings import PipelineSchedule
from planner.cost.step import (
    POST_PIPELINE_TERMS,
    StepCosts,
    compute_layer_terms,
    compute_pipeline_send_s,
    count_micro_batches,
)
from planner.cost.strategies import Strategies


class ScheduleSlot(NamedTuple):
    """One pass of one micro-batch through one chunk of a stage; from `start_s`, `compute_s`, then `comm_s`."""

    stage: int
    chunk: int
    micro_batch: int
    pass_type: PassType
    start_s: float
    compute_s: float
    comm_s: float

    @property
    def end_s(self) -> float:
        """When the stage is free again."""
        return self.start_s + self.compute_s + self.comm_s


@dataclass(frozen=True)
class StageTimes:
    """Seconds of one micro-batch in every chunk, shape [vpp, stages]: kernels of a pass, and its exposed
    communication (to the next stage included). `weight_grad_s`: the part of `backward_s` that makes the
    weights' gradients where the schedule puts it off, zero elsewhere.
    """

    forward_s: Floats
    forward_comm_s: Floats
    backward_s: Floats
    backward_comm_s: Floats
    weight_grad_s: Floats

    def get_pass_times_s(self, pass_type: PassType, chunk: int, stage: int) -> tuple[float, float]:
        """Seconds of kernels and of exposed communication of one pass."""
        if pass_type == "weight":
            return float(self.weight_grad_s[chunk, stage]), 0.0
        comm_s = self.forward_comm_s if pass_type == "forward" else self.backward_comm_s
        compute_s = self.forward_s if pass_type == "forward" else self.backward_s - self.weight_grad_s
        return float(compute_s[chunk, stage]), float(comm_s[chunk, stage])


def simulate_slots(times: StageTimes, micro_batches: int, schedule: PipelineSchedule = "1f1b") -> list[ScheduleSlot]:
    """All slots of `micro_batches` micro-batches (whole rounds of the stages where chunks are interleaved), stage by
    stage. `schedule`: one that plans of these stages and chunks can have.
    """
    if schedule == "zero-bubble":
        return _simulate_zero_bubble(times, micro_batches)
    if schedule in ("zb-v", "dualpipe-v"):
        return _simulate_folded(times, micro_batches, schedule)
    if schedule == "dualpipe":
        return _mirror_slots(times, _simulate_folded(_take_first_half(times), -(-micro_batches // 2), schedule))
    vpp, pp = times.forward_s.shape
    is_gpipe = schedule == "gpipe" and pp > 1
    orders = [build_1f1b_order(stage, pp, vpp, micro_batches, gpipe=is_gpipe) for stage in range(pp)]
    return _simulate_fixed_order(times, orders, _find_dependency)


def _simulate_folded(times: StageTimes, micro_batches: int, schedule: PipelineSchedule) -> list[ScheduleSlot]:
    stages = times.forward_s.shape[1]
    build_order = build_zb_v_order if schedule == "zb-v" else build_dualpipe_v_order
    orders = [build_order(stage, stages, micro_batches) for stage in range(stages)]
    return _simulate_fixed_order(times, orders, _find_folded_dependency)


def _take_first_half(times: StageTimes) -> StageTimes:
    """The stages of the pipeline's first half."""
    stages = times.forward_s.shape[1] // 2
    return StageTimes(**{field.name: getattr(times, field.name)[:, :stages] for field in fields(StageTimes)})


def _mirror_slots(times: StageTimes, slots: list[ScheduleSlot]) -> list[ScheduleSlot]:
    """The slots of both halves of DualPipe's ranks, which do the same on micro-batches of either direction: of the
    even ones the first half has the front of the model, of the odd ones the second half.
    """
    last_stage = times.forward_s.shape[1] - 1
    front = [slot._replace(micro_batch=2 * slot.micro_batch + slot.chunk) for slot in slots]
    back = [
        slot._replace(stage=last_stage - slot.stage, micro_batch=2 * slot.micro_batch + 1 - slot.chunk)
        for slot in slots
    ]
    return sorted([*front, *back], key=lambda slot: (slot.stage, slot.start_s))


Dependency = tuple[int, PassWork] | None
"""The stage and work that must be done before; None for what the data's own stage begins with."""
DependencyFinder = Callable[[PassWork, int, int, int], Dependency]
"""From work, its stage, and the numbers of stages and of chunks."""


def _find_dependency(work: PassWork, stage: int, pp: int, vpp: int) -> Dependency:
    """The same under 1F1B."""
    pass_type, chunk, micro_batch = work
    if pass_type == "weight":
        return stage, ("backward", chunk, micro_batch)
    if pass_type == "forward":
        if stage > 0:
            return stage - 1, work
        return (pp - 1, ("forward", chunk - 1, micro_batch)) if chunk > 0 else None
    if stage < pp - 1:
        return stage + 1, work
    return (0, ("backward", chunk + 1, micro_batch)) if chunk < vpp - 1 else (stage, ("forward", chunk, micro_batch))


def _find_folded_dependency(work: PassWork, stage: int, stages: int, chunks: int) -> Dependency:
    """The same of folded stages: the first chunks from the first stage to the last, the second ones back again."""
    pass_type, chunk, micro_batch = work
    if pass_type == "weight":
        return stage, ("backward", chunk, micro_batch)
    if (pass_type == "forward") == (chunk == 0):
        if stage > 0:
            return stage - 1, work
        return None if chunk == 0 else (0, ("forward", 1, micro_batch))
    if stage < stages - 1:
        return stage + 1, work
    return stage, (pass_type, 1 - chunk, micro_batch)


def _build_slot(times: StageTimes, stage: int, work: PassWork, start_s: float) -> ScheduleSlot:
    pass_type, chunk, micro_batch = work
    return ScheduleSlot(
        stage, chunk, micro_batch, pass_type, start_s, *times.get_pass_times_s(pass_type, chunk, stage)
    )


def _simulate_fixed_order(
    times: StageTimes, stage_orders: list[list[PassGroup]], find_dependency: DependencyFinder
) -> list[ScheduleSlot]:
    """Every stage in its fixed order, each group of slots as soon as what it needs is done."""
    vpp, pp = times.forward_s.shape
    finished_s: list[dict[PassWork, float]] = [{} for _ in range(pp)]
    slots: list[list[ScheduleSlot]] = [[] for _ in range(pp)]
    done_groups = [0] * pp
    unfinished_stages = set(range(pp))
    while unfinished_stages:
        groups_before = sum(done_groups)
        for stage in sorted(unfinished_stages):
            while done_groups[stage] < len(stage_orders[stage]):
                group = stage_orders[stage][done_groups[stage]]
                all_needs = (find_dependency(work, stage, pp, vpp) for work in group)
                needs = [need for need in all_needs if need and (need[0] != stage or need[1] not in group)]
                if any(need[1] not in finished_s[need[0]] for need in needs):
                    break
                free_s = slots[stage][-1].end_s if slots[stage] else 0.0
                start_s = max([free_s, *(finished_s[need[0]][need[1]] for need in needs)])
                for work in group:
                    slots[stage].append(_build_slot(times, stage, work, start_s))
                    start_s = slots[stage][-1].end_s
                finished_s[stage] |= dict.fromkeys(group, start_s)
                done_groups[stage] += 1
            else:
                unfinished_stages.discard(stage)
        assert sum(done_groups) > groups_before, "a schedule that waits for itself"
    return [slot for stage_slots in slots for slot in stage_slots]


def _simulate_zero_bubble(times: StageTimes, micro_batches: int) -> list[ScheduleSlot]:
    """ZB-H1: backward passes first, then forward ones, no more in flight than under 1F1B, then weights' gradients.

    What is put off keeps its activations: the cost model counts pp micro-batches on every stage.
    """
    pp = times.forward_s.shape[1]
    finished_s: list[dict[PassWork, float]] = [{} for _ in range(pp)]
    slots: list[list[ScheduleSlot]] = [[] for _ in range(pp)]
    pass_counts: list[dict[PassType, int]] = [{"forward": 0, "backward": 0, "weight": 0} for _ in range(pp)]
    for _ in range(3 * pp * micro_batches):
        # the earliest start of all: whatever is done later cannot change what a stage knew then
        start_s, _, stage, pass_type = min(
            choice
            for stage in range(pp)
            if (choice := _find_next_slot(stage, pp, micro_batches, pass_counts[stage], finished_s, slots[stage]))
            is not None
        )
        slot = _build_slot(times, stage, (pass_type, 0, pass_counts[stage][pass_type]), start_s)
        finished_s[stage][pass_type, 0, pass_counts[stage][pass_type]] = slot.end_s
        pass_counts[stage][pass_type] += 1
        slots[stage].append(slot)
    return [slot for stage_slots in slots for slot in stage_slots]


def _find_next_slot(
    stage: int,
    pp: int,
    micro_batches: int,
    pass_counts: dict[PassType, int],
    finished_s: list[dict[PassWork, float]],
    stage_slots: list[ScheduleSlot],
) -> tuple[float, int, int, PassType] | None:
    """When a stage can start its next slot, the slot's rank among those that could start then, and which it is."""
    free_s = stage_slots[-1].end_s if stage_slots else 0.0
    in_flight = pass_counts["forward"] - pass_counts["backward"]
    possible: dict[PassType, bool] = {
        "backward": pass_counts["backward"] < pass_counts["forward"],
        "forward": pass_counts["forward"] < micro_batches and in_flight < pp - stage,
        "weight": pass_counts["weight"] < pass_counts["backward"],
    }
    choices: list[tuple[float, int, int, PassType]] = []
    for rank, (pass_type, is_possible) in enumerate(possible.items()):
        dependency = _find_dependency((pass_type, 0, pass_counts[pass_type]), stage, pp, 1)
        if is_possible and (dependency is None or dependency[1] in finished_s[dependency[0]]):
            ready_s = finished_s[dependency[0]][dependency[1]] if dependency else 0.0
            choices.append((max(free_s, ready_s), rank, stage, pass_type))
    return min(choices, default=None)


def compute_stage_times(scenario: Scenario, s: Strategies) -> StageTimes:
    """The times of a single plan's chunks, by the cost model's terms."""
    tables, layer_row = build_layer_tables(scenario, s)
    terms = {name: table[0] for name, table in compute_layer_terms(scenario, s, tables, layer_row).items()}
    table_row = int(layer_row[0])
    comm_s = terms["tensor_parallel"] + terms["context_parallel"] + terms["expert_parallel"]
    forward_comm_s = sum_in_order(axis.forward[table_row] for axis in tables.communication)
    pp, vpp, schedule = int(s.pp[0]), int(s.vpp[0]), find_plan_schedule(scenario, s)
    workload = scenario.workload
    prefix = compute_layer_prefix(workload)
    costs = find_partition_costs(workload, scenario.trainer)
    chunks = assign_layers(prefix, pp, vpp, scenario.layout, schedule, workload.prediction_layers, costs)
    if schedule == "dualpipe":
        chunks = np.concatenate([chunks, chunks[:, ::-1]], axis=1)
    # a transfer after each pass: none after the last chunk's forward pass and the first one's backward
    forward_send_s, backward_send_s = np.full((2, *chunks.shape[:2]), _compute_send_s(scenario, s))
    last_stage = 0 if is_folded(schedule, pp, vpp) else pp - 1
    forward_send_s[-1, last_stage] = backward_send_s[0, 0] = 0.0
    if schedule == "dualpipe":
        forward_send_s[-1, -1] = backward_send_s[0, -1] = 0.0
    if schedule in V_SCHEDULES:
        # the last stage has the model's middle
        forward_send_s[0, -1] = backward_send_s[1, -1] = 0.0
    return StageTimes(
        forward_s=sum_products(chunks, terms["forward"]),
        forward_comm_s=sum_products(chunks, forward_comm_s) + forward_send_s,
        backward_s=sum_products(chunks, terms["backward"] + terms["recompute"]),
        backward_comm_s=sum_products(chunks, comm_s - forward_comm_s) + backward_send_s,
        weight_grad_s=sum_products(chunks, tables.weight_grad[table_row]) * float(schedule not in ("1f1b", "gpipe")),
    )


def _compute_send_s(scenario: Scenario, s: Strategies) -> float:
    """Exposed seconds of one transfer to the next stage."""
    micro_batches = count_micro_batches(scenario, s)
    exposed_s, _ = compute_pipeline_send_s(scenario, s, micro_batches)
    return float((exposed_s / (2 * (micro_batches * s.vpp + s.pp - 1)))[0])


def simulate_pipeline(scenario: Scenario, s: Strategies, max_micro_batches: int | None = None) -> list[ScheduleSlot]:
    """All slots of a single plan's step, of at most about `max_micro_batches` micro-batches
    (`count_simulated_micro_batches`), stage by stage in the order of time.
    """
    micro_batches = count_simulated_micro_batches(scenario, s, max_micro_batches)
    return simulate_slots(compute_stage_times(scenario, s), micro_batches, find_plan_schedule(scenario, s))


def find_plan_schedule(scenario: Scenario, s: Strategies) -> PipelineSchedule:
    """The schedule of a single plan: 1F1B where its stages and chunks cannot run the scenario's."""
    schedule, pp, vpp = scenario.pipeline_schedule, int(s.pp[0]), int(s.vpp[0])
    is_possible = is_folded(schedule, pp, vpp) if schedule in FOLDED_SCHEDULES else vpp == 1
    return schedule if is_possible else "1f1b"


def count_simulated_micro_batches(scenario: Scenario, s: Strategies, max_micro_batches: int | None) -> int:
    """The step's micro-batches, or the most whole rounds of pp within `max_micro_batches`, at least one."""
    micro_batches, pp = int(count_micro_batches(scenario, s)[0]), int(s.pp[0])
    if max_micro_batches is None or micro_batches <= max_micro_batches:
        return micro_batches
    if is_folded(scenario.pipeline_schedule, pp, int(s.vpp[0])):
        # what fills a folded pipeline
        return min(micro_batches, max(2, max_micro_batches // pp) * pp)
    if int(s.vpp[0]) == 1:
        return max_micro_batches
    return min(micro_batches, max(1, max_micro_batches // pp) * pp)


def compute_simulated_step_s(step_costs: StepCosts, slots: list[ScheduleSlot]) -> float:
    """Seconds of the step if its pipeline takes what the slots do, the cost model's other terms after it."""
    post_pipeline_s = math.fsum(float(step_costs.terms[name][0]) for name in (*POST_PIPELINE_TERMS, "input"))
    return max(slot.end_s for slot in slots) + post_pipeline_s
