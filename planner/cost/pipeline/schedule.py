"""One step's pipeline schedule, slot by slot: which chunk of which stage works on which micro-batch, and when.

Each stage does its slots in the order of its schedule, as soon as what a slot needs is there. A slot holds the
stage until what it makes is sent, as in the cost model. 1F1B and interleaved 1F1B: Narayanan et al. 2021 (arXiv
2104.04473, section 2.2); zero bubble: ZB-H1 of Qi et al. 2023 (arXiv 2401.10241, section 3), the weights' gradients
done whenever nothing else can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from planner.cost.arrays import Floats, weighted
from planner.cost.layer_tables import layer_tables
from planner.cost.pipeline.partition import dealt_chunks, layer_prefix
from planner.cost.scenario import Training
from planner.cost.step import AFTER_PIPELINE, Scores, layer_terms, micro_batches, pipeline_sends
from planner.cost.strategies import Strategies

Pass = Literal["forward", "backward", "weight"]


class Slot(NamedTuple):
    """One pass of one micro-batch through one chunk of a stage; from `start_s`, `compute_s`, then `exchange_s`."""

    stage: int
    chunk: int
    micro_batch: int
    what: Pass
    start_s: float
    compute_s: float
    exchange_s: float

    @property
    def end_s(self) -> float:
        """When the stage is free again."""
        return self.start_s + self.compute_s + self.exchange_s


@dataclass(frozen=True)
class StageTimes:
    """Seconds of one micro-batch in every chunk, shape [vpp, stages]: kernels of a pass, and what of its exchanges
    (sends to the next stage included) is exposed. `weight`: the part of `backward` that makes the weights' gradients
    where the schedule puts it off, zero elsewhere.
    """

    forward: Floats
    forward_exchange: Floats
    backward: Floats
    backward_exchange: Floats
    weight: Floats

    def seconds(self, what: Pass, chunk: int, stage: int) -> tuple[float, float]:
        """Kernels and exposed exchanges of one pass."""
        if what == "weight":
            return float(self.weight[chunk, stage]), 0.0
        exchange = self.forward_exchange if what == "forward" else self.backward_exchange
        compute = self.forward if what == "forward" else self.backward - self.weight
        return float(compute[chunk, stage]), float(exchange[chunk, stage])


def stage_times(training: Training, s: Strategies) -> StageTimes:
    """The times of a single plan's chunks, by the cost model's terms."""
    tables, row = layer_tables(training, s)
    terms = {name: table[0] for name, table in layer_terms(training, s, tables, row).items()}
    at = int(row[0])
    exchanges = terms["tensor_parallel"] + terms["context_parallel"] + terms["expert_parallel"]
    forward_exchange = tables.tp_forward[at] + tables.cp_forward[at] + tables.ep_forward[at]
    chunks = dealt_chunks(layer_prefix(training.workload), int(s.pp[0]), int(s.vpp[0]))
    times = StageTimes(
        forward=weighted(chunks, terms["forward"]),
        forward_exchange=weighted(chunks, forward_exchange),
        backward=weighted(chunks, terms["backward"] + terms["recompute"]),
        backward_exchange=weighted(chunks, exchanges - forward_exchange),
        weight=weighted(chunks, tables.weight[at]) * float(_is_zero_bubble(training, s)),
    )
    return _with_sends(times, send_seconds(training, s))


def send_seconds(training: Training, s: Strategies) -> float:
    """Exposed seconds of one transfer to the next stage."""
    n = micro_batches(training, s)
    shown, _ = pipeline_sends(training, s, n)
    return float((shown / (2 * (n * s.vpp + s.pp - 1)))[0])


def _with_sends(times: StageTimes, send: float) -> StageTimes:
    """With the transfer after each pass: none after the last chunk's forward pass and the first one's backward."""
    forward, backward = np.full_like(times.forward, send), np.full_like(times.forward, send)
    forward[-1, -1] = backward[0, 0] = 0.0
    return replace(
        times,
        forward_exchange=times.forward_exchange + forward,
        backward_exchange=times.backward_exchange + backward,
    )


def simulated(training: Training, s: Strategies, most: int | None = None) -> list[Slot]:
    """All slots of a single plan's step, of at most about `most` micro-batches (`drawn_micro_batches`), stage by
    stage in the order of time.
    """
    times, n = stage_times(training, s), drawn_micro_batches(training, s, most)
    return scheduled(times, n, zero_bubble=_is_zero_bubble(training, s))


def scheduled(times: StageTimes, n: int, *, zero_bubble: bool = False) -> list[Slot]:
    """All slots of `n` micro-batches (whole rounds of the stages where chunks are interleaved), stage by stage."""
    return _zero_bubble(times, n) if zero_bubble else _in_order(times, n)


def _is_zero_bubble(training: Training, s: Strategies) -> bool:
    return training.schedule == "zero-bubble" and int(s.vpp[0]) == 1


def drawn_micro_batches(training: Training, s: Strategies, most: int | None) -> int:
    """The step's micro-batches, or the most whole rounds of pp of them that `most` holds, one at least."""
    n, pp = int(micro_batches(training, s)[0]), int(s.pp[0])
    if most is None or n <= most:
        return n
    return most if int(s.vpp[0]) == 1 else min(n, max(1, most // pp) * pp)


def simulated_step_s(scores: Scores, slots: list[Slot]) -> float:
    """Seconds of the step if its pipeline takes what the slots do, the cost model's other terms after it."""
    after = math.fsum(float(scores.terms[name][0]) for name in AFTER_PIPELINE)
    return max(slot.end_s for slot in slots) + after


Work = tuple[Pass, int, int]
"""A pass, its chunk, its micro-batch."""


def stage_order(stage: int, pp: int, vpp: int, n: int) -> list[Work]:
    """What a stage does under 1F1B, in order; interleaved, chunks take turns every pp micro-batches."""
    total = n * vpp
    ahead = pp - stage - 1 if vpp == 1 else 2 * (pp - stage - 1) + (vpp - 1) * pp
    first = min(ahead, total)
    group = pp if vpp > 1 else 1

    def work(what: Pass, k: int) -> Work:
        chunk = k // group % vpp
        micro_batch = k // (group * vpp) * group + k % group
        return what, chunk if what == "forward" else vpp - 1 - chunk, micro_batch

    order = [work("forward", k) for k in range(first)]
    for k in range(total - first):
        order += [work("forward", first + k), work("backward", k)]
    return order + [work("backward", k) for k in range(total - first, total)]


def _needed(work: Work, stage: int, pp: int, vpp: int) -> tuple[int, Work] | None:
    """The stage and work that must be done before; None for what the data's own stage begins with."""
    what, chunk, micro_batch = work
    if what == "weight":
        return stage, ("backward", chunk, micro_batch)
    if what == "forward":
        if stage > 0:
            return stage - 1, work
        return (pp - 1, ("forward", chunk - 1, micro_batch)) if chunk > 0 else None
    if stage < pp - 1:
        return stage + 1, work
    return (0, ("backward", chunk + 1, micro_batch)) if chunk < vpp - 1 else (stage, ("forward", chunk, micro_batch))


def _slot(times: StageTimes, stage: int, work: Work, start: float) -> Slot:
    what, chunk, micro_batch = work
    return Slot(stage, chunk, micro_batch, what, start, *times.seconds(what, chunk, stage))


def _in_order(times: StageTimes, n: int) -> list[Slot]:
    """Every stage in its fixed order, each slot as soon as what it needs is done."""
    vpp, pp = times.forward.shape
    orders = [stage_order(stage, pp, vpp, n) for stage in range(pp)]
    done: list[dict[Work, float]] = [{} for _ in range(pp)]
    slots: list[list[Slot]] = [[] for _ in range(pp)]
    waiting = set(range(pp))
    while waiting:
        before = sum(map(len, slots))
        for stage in sorted(waiting):
            while len(slots[stage]) < len(orders[stage]):
                work = orders[stage][len(slots[stage])]
                need = _needed(work, stage, pp, vpp)
                if need is not None and need[1] not in done[need[0]]:
                    break
                free = slots[stage][-1].end_s if slots[stage] else 0.0
                start = max(free, done[need[0]][need[1]]) if need else free
                slot = _slot(times, stage, work, start)
                slots[stage].append(slot)
                done[stage][work] = slot.end_s
            else:
                waiting.discard(stage)
        assert sum(map(len, slots)) > before, "a schedule that waits for itself"
    return [slot for own in slots for slot in own]


def _zero_bubble(times: StageTimes, n: int) -> list[Slot]:
    """ZB-H1: backward passes first, then forward ones, no more in flight than under 1F1B, then weights' gradients.

    What is put off keeps its activations. The cost model takes its memory for that of 1F1B; that is not checked here.
    """
    pp = times.forward.shape[1]
    done: list[dict[Work, float]] = [{} for _ in range(pp)]
    slots: list[list[Slot]] = [[] for _ in range(pp)]
    counts: list[dict[Pass, int]] = [{"forward": 0, "backward": 0, "weight": 0} for _ in range(pp)]
    for _ in range(3 * pp * n):
        # the earliest start of all: whatever is done later cannot change what a stage knew then
        start, _, stage, what = min(
            choice
            for stage in range(pp)
            if (choice := _next(stage, pp, n, counts[stage], done, slots[stage])) is not None
        )
        slot = _slot(times, stage, (what, 0, counts[stage][what]), start)
        done[stage][what, 0, counts[stage][what]] = slot.end_s
        counts[stage][what] += 1
        slots[stage].append(slot)
    return [slot for own in slots for slot in own]


def _next(
    stage: int, pp: int, n: int, count: dict[Pass, int], done: list[dict[Work, float]], own: list[Slot]
) -> tuple[float, int, int, Pass] | None:
    """When a stage can start its next slot, the slot's rank among those that could start then, and which it is."""
    free = own[-1].end_s if own else 0.0
    in_flight = count["forward"] - count["backward"]
    possible: dict[Pass, bool] = {
        "backward": count["backward"] < count["forward"],
        "forward": count["forward"] < n and in_flight < pp - stage,
        "weight": count["weight"] < count["backward"],
    }
    choices: list[tuple[float, int, int, Pass]] = []
    for rank, (what, can) in enumerate(possible.items()):
        need = _needed((what, 0, count[what]), stage, pp, 1)
        if can and (need is None or need[1] in done[need[0]]):
            ready = done[need[0]][need[1]] if need else 0.0
            choices.append((max(free, ready), rank, stage, what))
    return min(choices, default=None)
