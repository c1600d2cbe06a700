"""The batch of a training run on each size of a cluster: given, of a range, or around the critical batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from planner.search.batches import BatchRange, list_divisible_batches
from planner.units import format_count, format_counted_noun, format_parameter_count
from planner.workload.operators import Workload

_LOSS_PARAMETERS, _LOSS_EXPONENT = 8.8e13, 0.076
"""Loss of a model of N parameters without embedding, trained to the end: L = (8.8e13 / N)^0.076."""
_CRITICAL_TOKENS, _CRITICAL_EXPONENT = 2e8, 0.21
"""Critical batch at a loss L: 2e8 tokens / L^(1 / 0.21)."""
_CRITICAL_SOURCE = "Kaplan et al. 2020, arXiv 2001.08361, section 1.2"
_SPREAD = 0.25
"""How far a batch may be from the one that is aimed at: the critical batch is known less well."""
_IMAGE_BATCH = 4096
"""Samples of a step where these are not sequences of tokens."""
_MAX_SEQUENCES = 10**9

BatchRule = Literal["given", "range", "auto"]


@dataclass(frozen=True)
class BatchChoice:
    """How the batch of each size is chosen: of each range the batches that the size's widths divide compete by time
    per sample.

    `note`: the rule in words; empty for a given batch.
    """

    ranges: tuple[BatchRange, ...]
    rule: BatchRule = "given"
    critical_tokens: float | None = None
    note: str = ""

    @property
    def single_batch(self) -> int | None:
        """The batch of every size; None where sizes differ."""
        return self.ranges[0].low if len(self.ranges) == 1 and self.ranges[0].is_single else None

    @property
    def low(self) -> int:
        """The smallest batch of any size."""
        return min(batches.low for batches in self.ranges)

    @property
    def high(self) -> int:
        """The largest batch of any size."""
        return max(batches.high for batches in self.ranges)

    def list_batches(self, devices: int) -> tuple[int, ...]:
        """The batches that compete on this number of devices, ascending."""
        batches = {batch for batches in self.ranges for batch in list_divisible_batches(batches, devices)}
        return tuple(sorted(batches))


def choose_single_batch(batch: int) -> BatchChoice:
    """The same batch on every size."""
    return BatchChoice((BatchRange(batch, batch, batch),))


def choose_from_range(low: int, high: int, tried: Sequence[int]) -> BatchChoice:
    """Batches from `low` to `high`; `tried`: those of which each is tried, or what the widths divide near it."""
    ranges = tuple(
        BatchRange(
            max(low, math.ceil(batch * (1 - _SPREAD))), min(high, math.floor(batch * (1 + _SPREAD))), float(batch)
        )
        for batch in tried
    )
    return BatchChoice(ranges, "range")


def choose_critical_batch(workload: Workload) -> BatchChoice:
    """Batches around the critical batch of the model's size; of images, which have no such law, a usual one."""
    if workload.sample_name != "sequence":
        tokens, near = None, float(_IMAGE_BATCH)
        aim = f"{format_counted_noun(_IMAGE_BATCH, workload.sample_name)}"
    else:
        tokens = compute_critical_tokens(workload)
        near = max(tokens / workload.seq_length, 1.0)
        aim = (
            f"the critical batch of {format_parameter_count(workload.active_parameters)} parameters, "
            f"{format_count(tokens)} tokens ({_CRITICAL_SOURCE}: 2e8 / L^(1/{_CRITICAL_EXPONENT}) at the loss "
            f"L = (8.8e13 / N)^{_LOSS_EXPONENT})"
        )
    high = min(max(1, math.floor(near * (1 + _SPREAD))), _MAX_SEQUENCES)
    low = min(max(1, math.ceil(near * (1 - _SPREAD))), high)
    note = (
        f"batch by auto: on each size the fastest of {low:,} to {high:,} {workload.sample_name}s that its widths "
        f"divide, around {aim}; --global-batch sets another"
    )
    return BatchChoice((BatchRange(low, high, near),), "auto", tokens, note)


def compute_critical_tokens(workload: Workload) -> float:
    """Tokens of a step at which twice the fewest steps, of twice the fewest tokens, reach the loss of a model of this
    size (McCandlish et al. 2018, arXiv 1812.06162): by the laws of Kaplan et al. for the loss of N parameters and for
    the batch at a loss. Of experts those count that a token uses; the embedding and the head do not.
    """
    parameters = workload.active_parameters - workload.embedding.parameters - workload.output_layer.parameters
    loss = (_LOSS_PARAMETERS / max(parameters, 1)) ** _LOSS_EXPONENT
    return float(_CRITICAL_TOKENS / loss ** (1 / _CRITICAL_EXPONENT))
