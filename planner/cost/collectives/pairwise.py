"""Everyone to everyone: what leaves each part, and how many messages a network card is asked to send.

By symmetry a device receives as much as it sends, so many senders to one receiver (incast) share its links as
they share their own: what is left of incast is the number of messages. The host's proxy posts each to the card
(NCCL, point to point: pieces of 128 KiB), and meanwhile the card has nothing else of this device to send. Kernels
that post their own messages (DeepEP) do not wait so: there, bytes over the rate and a constant tell the published
times for 8 to 256 partners (its docs/legacy.md).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.library import Library
from planner.cost.collectives.schedule import Schedule


def to_all(at: Crossing, size_bytes: Floats, library: Library) -> Schedule:
    """All-to-all of `size_bytes` that each device holds, 1/g of it for every member: (g - below)/g of it leaves the
    part below a tier. Every partner on another node gets its part in pieces.
    """
    leaving = (at.size[:, None] - at.below) / at.size[:, None] * size_bytes[:, None]
    partners = at.size - at.size / at.nodes
    pieces = np.maximum(partners * np.ceil(size_bytes / at.size / library.piece_bytes), partners)
    return _exchanged(at, leaving, np.where(at.size > 1, pieces, 0.0))


def to_experts(at: Crossing, size_bytes: Floats, topk: int) -> Schedule:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens.

    A token that goes to several experts below one part of a tier is sent there once and copied inside
    (DeepSeek-V3, arXiv 2412.19437, section 3.2.2): of P parts, k even choices visit P (1 - (1 - 1/P)^k). So a device
    has one partner on every other node.
    """
    parts = at.size[:, None] / at.below
    copies = (parts - 1) * (1 - (1 - 1 / parts) ** topk)
    return _exchanged(at, copies * size_bytes[:, None], at.nodes - 1)


def _exchanged(at: Crossing, leaving: Floats, messages: Floats) -> Schedule:
    # messages to different partners are in flight together: the farthest one's latency, once a tier
    steps = np.where(at.crossed, 1.0, 0.0)
    return Schedule("exchange", at.slowest(leaving), leaving[:, 0], steps, messages=messages)
