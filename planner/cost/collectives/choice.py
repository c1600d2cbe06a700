"""The fastest algorithm and protocol for each plan's group and size, as NCCL's tuner picks them.

    seconds = base + Σ steps_i · α_i + max(link seconds / share, volume / LL's cap)

with α_i the tier's latency times the protocol's share of a bulk step (NCCL, src/graph/tuning.cc, ncclTopoTuneModel).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np

from planner.cost.arrays import Floats, round_significant, sum_products
from planner.cost.collectives.crossing import TierCrossing
from planner.cost.collectives.library import CollectiveLibrary, Protocol
from planner.cost.collectives.schedule import CollectiveSchedule


def compute_fastest_s(
    crossing: TierCrossing, library: CollectiveLibrary, schedules: Iterable[CollectiveSchedule], size_bytes: Floats
) -> Floats:
    """Seconds of each plan's collective, shape [plans]; zero for a group of one."""
    times_s = [
        _compute_schedule_s(crossing, library, schedule, protocol, size_bytes)
        for schedule in schedules
        for protocol in library.algorithms[schedule.algorithm]
    ]
    return np.where(crossing.group_size > 1, reduce(np.minimum, times_s), 0.0)


def _compute_schedule_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    network = crossing.network
    step_latency_s = network.latency_s * np.where(
        network.through_nic, protocol.network_step_ratio, protocol.link_step_ratio
    )
    latency_s = protocol.base_s + sum_products(schedule.step_counts, step_latency_s)
    if protocol.per_rank_s:
        latency_s = latency_s + protocol.per_rank_s * crossing.group_size
    if schedule.message_counts is not None:
        latency_s = latency_s + library.message_post_s * schedule.message_counts
    time_s = latency_s + _compute_transfer_s(crossing, library, schedule, protocol, size_bytes)
    return time_s if schedule.is_available is None else np.where(schedule.is_available, time_s, np.inf)


def _compute_transfer_s(
    crossing: TierCrossing,
    library: CollectiveLibrary,
    schedule: CollectiveSchedule,
    protocol: Protocol,
    size_bytes: Floats,
) -> Floats:
    """Seconds in which the bytes move."""
    bandwidth_share: float | Floats = protocol.bandwidth_share
    if protocol.inter_node_bandwidth_share != protocol.bandwidth_share:
        bandwidth_share = np.where(
            crossing.node_count > 1, protocol.inter_node_bandwidth_share, protocol.bandwidth_share
        )
    time_s = schedule.link_time_s / bandwidth_share
    if len(protocol.bandwidth_share_by_size):
        # between the tuner's sizes along the line, so that more data never takes less time
        size_index = round_significant(np.log2(np.maximum(size_bytes, 64.0) / 64.0))
        time_s = time_s / np.interp(
            size_index, np.arange(len(protocol.bandwidth_share_by_size)), protocol.bandwidth_share_by_size
        )
    if protocol.is_low_latency:
        generation = library.find_generation(crossing.network.architecture)
        if generation is not None and generation.low_latency is not None:
            max_bytes_per_s = np.array(generation.low_latency)[
                np.minimum(np.ceil(crossing.node_count), 3.0).astype(np.int64) - 1
            ]
            time_s = np.maximum(time_s, schedule.volume_bytes / max_bytes_per_s)
    return time_s
