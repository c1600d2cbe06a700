"""What an algorithm asks of the network, whatever the protocol: bytes through each tier, steps one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.cost.arrays import Bools, Floats

CollectiveAlgorithm = Literal["ring", "tree", "halving", "hierarchical", "in-network", "torus", "exchange"]


@dataclass(frozen=True)
class CollectiveSchedule:
    """One algorithm over each plan's group.

    `link_time_s`: what the links take at the rate of bulk copies, shape [plans]. `volume_bytes`: bytes that pass a
    device, [plans]. `step_counts`: how many messages of each tier follow one another, [plans, tiers].
    `message_counts`: how many a device posts to its network card, [plans]. `is_available`: whether the fabric and the
    group allow it, [plans].
    """

    algorithm: CollectiveAlgorithm
    link_time_s: Floats
    volume_bytes: Floats
    step_counts: Floats
    message_counts: Floats | None = None
    is_available: Bools | None = None


def double_schedule(schedule: CollectiveSchedule) -> CollectiveSchedule:
    """A reduce-scatter, then an all-gather, which are each other's mirror images."""
    return CollectiveSchedule(
        schedule.algorithm,
        2 * schedule.link_time_s,
        2 * schedule.volume_bytes,
        2 * schedule.step_counts,
        schedule.message_counts,
        schedule.is_available,
    )
