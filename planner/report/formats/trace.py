"""One step as a trace for Perfetto and Chrome: the pipeline's schedule, slot by slot.

Chrome's trace event format, JSON object form: complete events ("X") with start and length in microseconds, metadata
events ("M") that name processes and threads (Trace Event Format, Google, 2016). A process is a pipeline stage or a
rank, its threads are compute and exposed communication.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from planner.cost.rank_groups import list_rank_groups
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs, count_micro_batches
from planner.cost.strategies import Strategies
from planner.cost.timeline import ScheduleSlot, count_simulated_micro_batches, simulate_pipeline
from planner.documents.plan import PlanPart
from planner.errors import InputError
from planner.studies.explain import build_plan_strategies
from planner.trainers.trainer import find_numbering_order

MAX_TRACE_RANKS = 4_096
MAX_TRACE_MICRO_BATCHES = 64
_MAX_EVENTS = 200_000
_COMPUTE_THREAD, _COMMUNICATION_THREAD = MAX_TRACE_RANKS + 1, MAX_TRACE_RANKS + 2
"""Numbers of threads. No process has one of them: Perfetto would take that thread for its main one."""
_THREAD_TITLES = {_COMPUTE_THREAD: "compute", _COMMUNICATION_THREAD: "communication, exposed"}
TraceEvent = dict[str, object]


@dataclass(frozen=True)
class StepTrace:
    """The file's text, and a note on what is not drawn; empty where all is."""

    text: str
    note: str


def build_step_trace(scenario: Scenario, plan: PlanPart, *, all_ranks: bool = False) -> StepTrace:
    """One step of the plan, a process for each stage or for each rank; `scenario`: that of the plan.

    Of many micro-batches only as many are drawn that the file stays small. Raises InputError for more than
    MAX_TRACE_RANKS.
    """
    s = build_plan_strategies(plan)
    if all_ranks and scenario.devices > MAX_TRACE_RANKS:
        expected = f"stages, or a plan of at most {MAX_TRACE_RANKS:,} ranks"
        raise InputError(
            "too many ranks to draw", key="--ranks", value=f"all {scenario.devices:,}", expected=expected
        )
    max_micro_batches = _compute_max_micro_batches(scenario, s) if all_ranks else MAX_TRACE_MICRO_BATCHES
    drawn_count = count_simulated_micro_batches(scenario, s, max_micro_batches)
    n = int(count_micro_batches(scenario, s)[0])
    slots = simulate_pipeline(scenario, s, max_micro_batches)
    slots_by_stage: list[list[ScheduleSlot]] = [[] for _ in range(int(s.pp[0]))]
    for slot in slots:
        slots_by_stage[slot.stage].append(slot)
    events_by_stage = [
        _build_stage_events(slots, _compute_trailing_work(scenario, s, stage))
        for stage, slots in enumerate(slots_by_stage)
    ]
    events = [
        event
        for pid, stage, name in _enumerate_processes(scenario, s, all_ranks)
        for event in _enumerate_process_events(pid, name, events_by_stage[stage])
    ]
    note = f"{drawn_count:,} of {n:,} micro-batches are drawn" if drawn_count < n else ""
    metadata = {
        "model": scenario.workload.name,
        "micro_batches": n,
        "micro_batches_drawn": drawn_count,
        "step_time_s": plan.step_time_s,
        "communication": "a chunk's exposed communication is one piece after its kernels; overlapped is not drawn",
    }
    document = {"displayTimeUnit": "ms", "otherData": metadata, "traceEvents": events}
    return StepTrace(msgspec.json.encode(document).decode() + "\n", note)


def _compute_max_micro_batches(scenario: Scenario, s: Strategies) -> int:
    """Micro-batches of which all ranks' events are as many as a file may have."""
    events_per_micro_batch = scenario.devices * 6 * int(s.vpp[0])
    return max(1, min(MAX_TRACE_MICRO_BATCHES, _MAX_EVENTS // events_per_micro_batch))


def _enumerate_processes(scenario: Scenario, s: Strategies, all_ranks: bool) -> Iterator[tuple[int, int, str]]:
    """Number, stage and name of each process."""
    if not all_ranks:
        for stage in range(int(s.pp[0])):
            yield stage, stage, f"stage {stage}"
        return
    numbering_order = find_numbering_order(
        scenario.trainer, scenario.rank_order, s.get_row(0), has_experts=scenario.workload.experts > 0
    )
    numbering = replace(scenario.rank_layout, order=numbering_order)
    stages = list_rank_groups(numbering, s)["pp"].argsort(axis=None) % int(s.pp[0])
    for rank, stage in enumerate(stages.tolist()):
        yield rank, stage, f"rank {rank}, stage {stage}"


def _compute_trailing_work(scenario: Scenario, s: Strategies, stage: int) -> list[tuple[str, int, float]]:
    """What follows the pipeline: name, thread, seconds. The same for all stages: that of the worst stage."""
    terms = compute_step_costs(scenario, s).terms
    threads = dict.fromkeys(("data_parallel", "offload"), _COMMUNICATION_THREAD)
    threads |= dict.fromkeys(("optimizer", "overhead", "input"), _COMPUTE_THREAD)
    return [(name.replace("_", " "), thread, float(terms[name][0])) for name, thread in threads.items()]


def _build_stage_events(slots: list[ScheduleSlot], trailing_work: list[tuple[str, int, float]]) -> list[TraceEvent]:
    """A stage's complete events, in order of time, without the process."""
    events: list[TraceEvent] = []
    for slot in slots:
        event_args = {"micro_batch": slot.micro_batch, "chunk": slot.chunk}
        pass_name = "weight gradient" if slot.pass_type == "weight" else slot.pass_type
        name, compute_end_s = f"{pass_name} {slot.micro_batch}", slot.start_s + slot.compute_s
        events += _build_complete_event(name, _COMPUTE_THREAD, slot.start_s, compute_end_s, event_args)
        events += _build_complete_event(
            f"communication of {name}", _COMMUNICATION_THREAD, compute_end_s, slot.end_s, event_args
        )
    time_s = slots[-1].end_s
    for name, thread, seconds in trailing_work:
        events += _build_complete_event(name, thread, time_s, time_s + seconds, {})
        time_s += seconds
    return events


def _build_complete_event(
    name: str, thread: int, start_s: float, end_s: float, event_args: dict[str, int]
) -> list[TraceEvent]:
    """One complete event in whole nanoseconds, so that neighbours never overlap; none for what takes no time."""
    start_ns, end_ns = (int(np.rint(1e9 * seconds)) for seconds in (start_s, end_s))
    times: TraceEvent = {"ts": start_ns / 1e3, "dur": (end_ns - start_ns) / 1e3}
    return [{"name": name, "ph": "X", **times, "tid": thread, "args": event_args}] if end_ns > start_ns else []


def _enumerate_process_events(pid: int, name: str, events: list[TraceEvent]) -> Iterator[TraceEvent]:
    """A process's names and events."""
    yield {"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}}
    yield {"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for thread, title in _THREAD_TITLES.items():
        yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": thread, "args": {"name": title}}
        yield {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": thread, "args": {"sort_index": thread}}
    for event in events:
        yield {**event, "pid": pid}
