"""Rings: bandwidth-optimal, with a step for every rank.

Patarasuk, Yuan 2009 (Bandwidth optimal all-reduce algorithms for clusters of workstations); the rails as NCCL lays
them: rings leave a part of a tier through every member's own uplink, so a tier carries as many rings as the part
below it has members.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_ring_gather(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """All-gather to `size_bytes`, or reduce-scatter of them: (g-1)/g of it passes each device in g-1 steps.

    Of one device's share of a tier that has `below` members beneath it, each of as many rings takes its part:
    (g-1)/g · S/below; where a ring goes on through NICs, it leaves the links inside the node out of that one
    step in `inside`. A ring of g ranks crosses tier i's own wiring g/below_i - g/members_i times.
    """
    volume_bytes = (crossing.group_size - 1) / crossing.group_size * size_bytes
    device_share = 1 / crossing.ranks_in_inner_tier
    node_exit_share = np.where(crossing.node_count > 1, crossing.node_count / crossing.group_size, 0.0)
    device_share = np.where(crossing.network.through_nic, device_share, device_share - node_exit_share[:, None])
    step_counts = (
        crossing.group_size[:, None] / crossing.ranks_in_inner_tier
        - crossing.group_size[:, None] / crossing.ranks_in_tier
    )
    return CollectiveSchedule(
        "ring",
        crossing.compute_concurrent_s(volume_bytes[:, None] * device_share),
        volume_bytes,
        np.where(crossing.crossed_tiers, step_counts, 0.0),
    )
