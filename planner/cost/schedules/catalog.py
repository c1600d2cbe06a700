"""Pipeline schedules that fold the model: which of a stage's chunks they have, what waits, what is in flight.

A folded stage has two chunks, one from the front of the model and its mirror image from the end, so that activations
wait longest where the others wait least. With F, I and W the seconds of a mean chunk's forward pass, input gradient
and weight gradient, q folded stages, and both chunks of a stage working on each micro-batch:

- zb-v, ZB-V (Qi et al. 2023, arXiv 2401.10241, section 6; V-ZB of Qi et al. 2024, arXiv 2405.15362): vpp 2, chunks i
  and 2p-1-i on stage i, q = p; the step waits (q - 1) max(2F - I, I, 2(I - W)), with at most 2q chunks in flight on
  every stage, 1F1B's on the first. No bubble is left there where stages start the next step without waiting for one
  another; a step that ends for all stages at once has what fills it.
- dualpipe-v, DualPipeV (DeepSeek's repository DualPipe, README.md and dualpipe/dualpipev.py): the same chunks;
  (q - 1) max(2F, 2F + I - W, F + 2I - W), with 2q + 1 chunks in flight.
- dualpipe, DualPipe (DeepSeek-V3, arXiv 2412.19437, section 3.2.1, table 2): vpp 1; micro-batches go in from both
  ends, half of them each, so that rank i has stage i and a copy of stage p-1-i: two copies of all parameters, and a
  chunk works on every second micro-batch. As DualPipeV on q = p/2: its table's (p/2 - 1)(F&B + B - 3W) is the third
  of the terms, with F&B as long as F and B together and B = I + W.

The first terms are not in the papers, whose passes are equally long; they follow from playing out the orders of
torch 2.13 (`ScheduleZBVZeroBubble`, `ScheduleDualPipeV` of torch/distributed/pipelining/schedules.py): never less
than these take, and equal where a term dominates. All hold from two micro-batches for each stage on, as many as
DualPipe requires.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.settings import PipelineSchedule
from planner.cost.strategies import Strategies

V_SCHEDULES: tuple[PipelineSchedule, ...] = ("zb-v", "dualpipe-v")
"""Of two chunks on each stage, laid out as a V."""
FOLDED_SCHEDULES: tuple[PipelineSchedule, ...] = (*V_SCHEDULES, "dualpipe")
SINGLE_CHUNK_SCHEDULES: tuple[PipelineSchedule, ...] = ("zero-bubble", "gpipe", "dualpipe")
"""Not interleaved."""


def is_folded(schedule: PipelineSchedule, pp: Any, vpp: Any) -> Any:
    """Whether plans of these degrees, numbers or arrays, run the schedule folded; plans that cannot are as under
    1F1B, and no search has them.
    """
    if schedule == "dualpipe":
        return (pp > 1) & (pp % 2 == 0) & (vpp == 1)
    return (pp > 1) & (vpp == 2) & (schedule in V_SCHEDULES)


def count_copies(schedule: PipelineSchedule, s: Strategies) -> Ints:
    """How many ranks of one pipeline hold the same stage, shape [plans]."""
    return np.where(is_folded(schedule, s.pp, s.vpp) & (schedule == "dualpipe"), 2, 1)


def compute_folded_waits(
    schedule: PipelineSchedule, forward_s: Floats, input_grad_s: Floats, weight_grad_s: Floats
) -> tuple[Floats, ...]:
    """Seconds of which the longest is what a folded stage adds to the bubble, of one micro-batch; see above. All but
    the first of zb-v grow with the input gradient, and so with recomputation.
    """
    if schedule == "zb-v":
        return 2 * forward_s - input_grad_s, input_grad_s, 2 * (input_grad_s - weight_grad_s)
    return (
        2 * forward_s,
        2 * forward_s + input_grad_s - weight_grad_s,
        forward_s + 2 * input_grad_s - weight_grad_s,
    )


def count_folded_in_flight(schedule: PipelineSchedule, stages: int, stage: Ints) -> Ints:
    """Micro-batches in flight in the first and in the second chunk of each of `stages` folded stages where there are
    most: shape [2, stages].
    """
    first = 2 * stages - 1 - stage + (schedule != "zb-v")
    return np.stack([first, stage + 1])
