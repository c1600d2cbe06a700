"""The fastest algorithm and protocol for each plan's group and size, as NCCL's tuner picks them.

    seconds = base + Σ steps_i · α_i + max(link seconds / share, volume / LL's cap)

with α_i the tier's latency times the protocol's share of a bulk step (NCCL, src/graph/tuning.cc, ncclTopoTuneModel).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np

from planner.cost.arrays import Floats, settled, weighted
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.library import Library, Protocol
from planner.cost.collectives.schedule import Schedule


def fastest(at: Crossing, library: Library, schedules: Iterable[Schedule], size_bytes: Floats) -> Floats:
    """Seconds of each plan's collective, shape [plans]; zero for a group of one."""
    times = [
        _seconds(at, library, schedule, protocol, size_bytes)
        for schedule in schedules
        for protocol in library.algorithms[schedule.algorithm]
    ]
    return np.where(at.size > 1, reduce(np.minimum, times), 0.0)


def _seconds(at: Crossing, library: Library, schedule: Schedule, protocol: Protocol, size_bytes: Floats) -> Floats:
    network = at.network
    alpha = network.latency_s * np.where(network.through_nic, protocol.network, protocol.link)
    latency = protocol.base_s + weighted(schedule.steps, alpha)
    if protocol.rank_s:
        latency = latency + protocol.rank_s * at.size
    if schedule.messages is not None:
        latency = latency + library.message_s * schedule.messages
    seconds = latency + _moving(at, library, schedule, protocol, size_bytes)
    return seconds if schedule.offered is None else np.where(schedule.offered, seconds, np.inf)


def _moving(at: Crossing, library: Library, schedule: Schedule, protocol: Protocol, size_bytes: Floats) -> Floats:
    """Seconds in which the bytes move."""
    share: float | Floats = protocol.share
    if protocol.share_between_nodes != protocol.share:
        share = np.where(at.nodes > 1, protocol.share_between_nodes, protocol.share)
    seconds = schedule.seconds / share
    if len(protocol.by_size):
        # between the tuner's sizes along the line, so that more data never takes less time
        place = settled(np.log2(np.maximum(size_bytes, 64.0) / 64.0))
        seconds = seconds / np.interp(place, np.arange(len(protocol.by_size)), protocol.by_size)
    if protocol.low_latency:
        known = library.generation(at.network.architecture)
        if known is not None and known.low_latency is not None:
            cap = np.array(known.low_latency)[np.minimum(np.ceil(at.nodes), 3.0).astype(np.int64) - 1]
            seconds = np.maximum(seconds, schedule.volume / cap)
    return seconds
