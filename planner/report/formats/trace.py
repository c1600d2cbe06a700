"""One step as a trace for Perfetto and Chrome: the pipeline's schedule, slot by slot.

Chrome's trace event format, JSON object form: complete events ("X") with start and length in microseconds, metadata
events ("M") that name processes and threads (Trace Event Format, Google, 2016). A process is a pipeline stage or a
rank, its threads are compute and exposed communication.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from planner.cost.pipeline.schedule import Slot, drawn_micro_batches, simulated
from planner.cost.rank_groups import strides
from planner.cost.scenario import Training
from planner.cost.step import micro_batches, score
from planner.cost.strategies import Strategies
from planner.documents.plan import PlanPart
from planner.errors import InputError
from planner.studies.explain import strategy_of

MOST_RANKS = 4_096
MOST_MICRO_BATCHES = 64
_MOST_EVENTS = 200_000
_COMPUTE, _COMMUNICATION = MOST_RANKS + 1, MOST_RANKS + 2
"""Numbers of threads. No process has one of them: Perfetto would take that thread for its main one."""
_THREADS = {_COMPUTE: "compute", _COMMUNICATION: "communication, exposed"}
Event = dict[str, object]


@dataclass(frozen=True)
class Trace:
    """The file's text, and what is to be said of it; empty where nothing is."""

    text: str
    note: str


def traced_step(training: Training, plan: PlanPart, *, all_ranks: bool = False) -> Trace:
    """One step of the plan, a process for each stage or for each rank; `training`: the plan's own question.

    Of many micro-batches so many are drawn that the file stays small. Raises InputError for more than MOST_RANKS.
    """
    s = strategy_of(plan)
    if all_ranks and training.devices > MOST_RANKS:
        expected = f"stages, or a plan of at most {MOST_RANKS:,} ranks"
        raise InputError(
            "too many ranks to draw", key="--ranks", value=f"all {training.devices:,}", expected=expected
        )
    most = _most_micro_batches(training, s) if all_ranks else MOST_MICRO_BATCHES
    drawn, n = drawn_micro_batches(training, s, most), int(micro_batches(training, s)[0])
    slots = simulated(training, s, most)
    by_stage: list[list[Slot]] = [[] for _ in range(int(s.pp[0]))]
    for slot in slots:
        by_stage[slot.stage].append(slot)
    own = [_stage_events(slots, _after(training, s, stage)) for stage, slots in enumerate(by_stage)]
    events = [
        event for pid, stage, name in _processes(training, s, all_ranks) for event in _process(pid, name, own[stage])
    ]
    note = f"{drawn:,} of {n:,} micro-batches are drawn" if drawn < n else ""
    about = {
        "model": training.workload.name,
        "micro_batches": n,
        "micro_batches_drawn": drawn,
        "step_time_s": plan.step_time_s,
        "exchanges": "a chunk's exposed exchanges are drawn in one piece after its kernels, hidden ones not at all",
    }
    document = {"displayTimeUnit": "ms", "otherData": about, "traceEvents": events}
    return Trace(msgspec.json.encode(document).decode() + "\n", note)


def _most_micro_batches(training: Training, s: Strategies) -> int:
    """Micro-batches of which all ranks' events are as many as a file may have."""
    each = training.devices * 6 * int(s.vpp[0])
    return max(1, min(MOST_MICRO_BATCHES, _MOST_EVENTS // each))


def _processes(training: Training, s: Strategies, all_ranks: bool) -> Iterator[tuple[int, int, str]]:
    """Number, stage and name of each process."""
    if not all_ranks:
        for stage in range(int(s.pp[0])):
            yield stage, stage, f"stage {stage}"
        return
    apart = int(strides(training.order, s)["pp"][0])
    for rank in range(training.devices):
        stage = rank // apart % int(s.pp[0])
        yield rank, stage, f"rank {rank}, stage {stage}"


def _after(training: Training, s: Strategies, stage: int) -> list[tuple[str, int, float]]:
    """What follows the pipeline: name, thread, seconds. One figure for all stages, the fullest one's."""
    terms = score(training, s).terms
    threads = {
        "data_parallel": _COMMUNICATION,
        "offload": _COMMUNICATION,
        "optimizer": _COMPUTE,
        "overhead": _COMPUTE,
    }
    return [(name.replace("_", " "), at, float(terms[name][0])) for name, at in threads.items()]


def _stage_events(slots: list[Slot], after: list[tuple[str, int, float]]) -> list[Event]:
    """A stage's complete events, in order of time, without the process."""
    events: list[Event] = []
    for slot in slots:
        told = {"micro_batch": slot.micro_batch, "chunk": slot.chunk}
        name: str = "weight gradient" if slot.what == "weight" else slot.what
        middle = slot.start_s + slot.compute_s
        events += _event(f"{name} {slot.micro_batch}", _COMPUTE, slot.start_s, middle, told)
        events += _event(f"exchange of {name} {slot.micro_batch}", _COMMUNICATION, middle, slot.end_s, told)
    at = slots[-1].end_s
    for name, thread, seconds in after:
        events += _event(name, thread, at, at + seconds, {})
        at += seconds
    return events


def _event(name: str, thread: int, start_s: float, end_s: float, told: dict[str, int]) -> list[Event]:
    """One complete event in whole nanoseconds, so that neighbours never overlap; none for what takes no time."""
    start, end = (int(np.rint(1e9 * seconds)) for seconds in (start_s, end_s))
    if end <= start:
        return []
    return [{"name": name, "ph": "X", "ts": start / 1e3, "dur": (end - start) / 1e3, "tid": thread, "args": told}]


def _process(pid: int, name: str, events: list[Event]) -> Iterator[Event]:
    """A process's names and events."""
    yield {"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}}
    yield {"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for thread, title in _THREADS.items():
        yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": thread, "args": {"name": title}}
        yield {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": thread, "args": {"sort_index": thread}}
    for event in events:
        yield {**event, "pid": pid}
