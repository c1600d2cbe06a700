"""All-to-all, pairwise: the bytes that leave each part of a tier, and the messages that a NIC sends.

By symmetry a device receives as much as it sends, so many senders to one receiver (incast) share its links as
they share their own: what is left of incast is the number of messages. The host's proxy posts each to the NIC
(NCCL, point to point: pieces of 128 KiB), and meanwhile the NIC has nothing else of this device to send. Kernels
that post their own messages (DeepEP) do not wait so: there, bytes over the rate and a constant fit the published
times for 8 to 256 partners (its docs/legacy.md).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.library import CollectiveLibrary
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_all_to_all(crossing: TierCrossing, size_bytes: Floats, library: CollectiveLibrary) -> CollectiveSchedule:
    """All-to-all of `size_bytes` on each device, 1/g of it for every member: (g - below)/g of it leaves the
    part below a tier. Every partner on another node gets its part in pieces.
    """
    sent_bytes = (
        (crossing.group_size[:, None] - crossing.ranks_in_inner_tier)
        / crossing.group_size[:, None]
        * size_bytes[:, None]
    )
    remote_partners = crossing.group_size - crossing.group_size / crossing.node_count
    message_counts = np.maximum(
        remote_partners * np.ceil(size_bytes / crossing.group_size / library.piece_bytes), remote_partners
    )
    return _build_pairwise_schedule(crossing, sent_bytes, np.where(crossing.group_size > 1, message_counts, 0.0))


def build_expert_all_to_all(crossing: TierCrossing, size_bytes: Floats, topk: int) -> CollectiveSchedule:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens.

    A token that goes to several experts below one part of a tier is sent there once and copied inside
    (DeepSeek-V3, arXiv 2412.19437, section 3.2.2): of P parts, k even choices visit P (1 - (1 - 1/P)^k). So a device
    has one partner on every other node.
    """
    inner_parts = crossing.group_size[:, None] / crossing.ranks_in_inner_tier
    remote_copies = (inner_parts - 1) * (1 - (1 - 1 / inner_parts) ** topk)
    return _build_pairwise_schedule(crossing, remote_copies * size_bytes[:, None], crossing.node_count - 1)


def _build_pairwise_schedule(
    crossing: TierCrossing, sent_bytes: Floats, message_counts: Floats
) -> CollectiveSchedule:
    # messages to different partners are in flight together: the farthest one's latency, once a tier
    step_counts = np.where(crossing.crossed_tiers, 1.0, 0.0)
    return CollectiveSchedule(
        "exchange",
        crossing.compute_concurrent_s(sent_bytes),
        sent_bytes[:, 0],
        step_counts,
        message_counts=message_counts,
    )
