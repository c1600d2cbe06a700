"""What an algorithm asks of the network, whatever the protocol: bytes through each tier, steps one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.cost.arrays import Bools, Floats

Algorithm = Literal["ring", "tree", "halving", "hierarchical", "in-network", "torus", "exchange"]


@dataclass(frozen=True)
class Schedule:
    """One algorithm over each plan's group.

    `seconds`: what the links take at the rate of bulk copies, shape [plans]. `volume`: bytes that pass a device,
    [plans]. `steps`: how many messages of each tier follow one another, [plans, tiers]. `messages`: how many a device
    posts to its network card, [plans]. `offered`: whether the fabric and the group allow it, [plans].
    """

    algorithm: Algorithm
    seconds: Floats
    volume: Floats
    steps: Floats
    messages: Floats | None = None
    offered: Bools | None = None


def twice(one: Schedule) -> Schedule:
    """A reduce-scatter, then an all-gather, which are each other's mirror images."""
    return Schedule(one.algorithm, 2 * one.seconds, 2 * one.volume, 2 * one.steps, one.messages, one.offered)
