"""What a stage does in which order under each pipeline schedule, as groups of passes that begin and end together.

1F1B and interleaved 1F1B: Narayanan et al. 2021 (arXiv 2104.04473, section 2.2). ZB-V: its warm-up, steady state and
cool-down for equally long passes (Qi et al. 2023, arXiv 2401.10241, section 6). DualPipe and DualPipeV: the eight
steps of DeepSeek's repository DualPipe (dualpipe/dualpipe.py, dualpipe/dualpipev.py), where a forward pass is
overlapped with the backward pass of another micro-batch.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Literal

PassType = Literal["forward", "backward", "weight"]
PassWork = tuple[PassType, int, int]
"""A pass, its chunk, its micro-batch."""
PassGroup = tuple[PassWork, ...]
"""Passes one after the other, which begin when all that they need is there, and whose output is there at the end."""


def build_1f1b_order(stage: int, pp: int, vpp: int, micro_batches: int, *, gpipe: bool = False) -> list[PassGroup]:
    """What a stage does under 1F1B, in order; interleaved, the next chunk follows after every pp micro-batches. Under
    GPipe all micro-batches go forward first.
    """
    total = micro_batches * vpp
    warmup_count = pp - stage - 1 if vpp == 1 else 2 * (pp - stage - 1) + (vpp - 1) * pp
    if gpipe:
        warmup_count = total
    warmup_passes = min(warmup_count, total)
    group = pp if vpp > 1 else 1

    def build_work(pass_type: PassType, k: int) -> PassWork:
        chunk = k // group % vpp
        micro_batch = k // (group * vpp) * group + k % group
        return pass_type, chunk if pass_type == "forward" else vpp - 1 - chunk, micro_batch

    order = [build_work("forward", k) for k in range(warmup_passes)]
    for k in range(total - warmup_passes):
        order += [build_work("forward", warmup_passes + k), build_work("backward", k)]
    order += [build_work("backward", k) for k in range(total - warmup_passes, total)]
    return [(work,) for work in order]


class _OrderBuilder:
    """The passes of a folded stage, each on the next micro-batch of its chunk."""

    def __init__(self) -> None:
        self._groups: list[PassGroup] = []
        self._counts: Counter[tuple[PassType, int]] = Counter()
        self._deferred: deque[int] = deque()

    def _take(self, pass_type: PassType, chunk: int) -> PassWork:
        self._counts[pass_type, chunk] += 1
        return pass_type, chunk, self._counts[pass_type, chunk] - 1

    def count(self, pass_type: PassType, chunk: int) -> int:
        """How many passes of this type there are by now."""
        return self._counts[pass_type, chunk]

    def add_forward(self, chunk: int) -> None:
        """A forward pass."""
        self._groups.append((self._take("forward", chunk),))

    def add_input_gradient(self, chunk: int) -> None:
        """A backward pass without the weights' gradients, which `add_weight_gradient` makes later."""
        self._groups.append((self._take("backward", chunk),))
        self._deferred.append(chunk)

    def add_weight_gradient(self, chunk: int | None = None) -> None:
        """The weights' gradients of a chunk; without one, of the backward pass that has waited longest."""
        if chunk is None and not self._deferred:
            return
        chunk = self._deferred.popleft() if chunk is None else chunk
        self._groups.append((self._take("weight", chunk),))

    def add_backward(self, chunk: int) -> None:
        """A whole backward pass."""
        self._groups.append((self._take("backward", chunk), self._take("weight", chunk)))

    def add_overlapped(self, forward_chunk: int, backward_chunk: int) -> None:
        """A forward pass beside a whole backward pass of another micro-batch."""
        forward = self._take("forward", forward_chunk)
        self._groups.append((forward, self._take("backward", backward_chunk), self._take("weight", backward_chunk)))

    def build(self, micro_batches: int) -> list[PassGroup]:
        """The groups, of these micro-batches alone."""
        groups = (tuple(work for work in group if work[2] < micro_batches) for group in self._groups)
        return [group for group in groups if group]


def build_zb_v_order(stage: int, stages: int, micro_batches: int) -> list[PassGroup]:
    """What a stage does under ZB-V: weights' gradients at once, but for what the cool-down puts off."""
    order, total = _OrderBuilder(), max(micro_batches, 2 * stages - 1)

    def add_both_gradients(chunk: int) -> None:
        order.add_input_gradient(chunk)
        order.add_weight_gradient(chunk)

    for _ in range(2 * (stages - stage) - 1):
        order.add_forward(0)
    for _ in range(stage):
        order.add_forward(1)
        order.add_forward(0)
    for _ in range(stages - stage):
        order.add_forward(1)
        add_both_gradients(1)
    while order.count("forward", 1) < total:
        if order.count("forward", 0) < total:
            order.add_forward(0)
        add_both_gradients(0)
        order.add_forward(1)
        add_both_gradients(1)
    for _ in range(stage):
        order.add_input_gradient(0)
        order.add_input_gradient(1)
    for _ in range(stages - stage):
        add_both_gradients(0)
    for chunk in (1, 0):
        while order.count("weight", chunk) < order.count("backward", chunk):
            order.add_weight_gradient(chunk)
    return order.build(micro_batches)


def build_dualpipe_v_order(stage: int, stages: int, micro_batches: int) -> list[PassGroup]:
    """What a stage does under DualPipeV, and under DualPipe each of two ranks on half of its micro-batches."""
    order, total, later_stages = _OrderBuilder(), max(micro_batches, 2 * stages), stages - stage - 1
    for _ in range(2 * later_stages):
        order.add_forward(0)
    for _ in range(stage + 1):
        order.add_forward(0)
        order.add_forward(1)
    for _ in range(later_stages):
        order.add_input_gradient(1)
        order.add_weight_gradient()
        order.add_forward(1)
    for repetition in range(total - 2 * stages + stage + 1):
        if repetition == 0 and later_stages == 0:
            # apart, for a smaller bubble
            order.add_forward(0)
            order.add_backward(1)
        else:
            order.add_overlapped(0, 1)
        order.add_overlapped(1, 0)
    for _ in range(later_stages):
        order.add_backward(1)
        order.add_overlapped(1, 0)
    # weights' gradients are put off from the middle of the cool-down on
    for number in range(2 * (stage + 1)):
        add_pass = order.add_backward if number <= stage else order.add_input_gradient
        add_pass(1 - number % 2)
    for _ in range(later_stages):
        order.add_weight_gradient()
        order.add_input_gradient(0)
    for _ in range(stage + 1):
        order.add_weight_gradient()
    return order.build(micro_batches)
