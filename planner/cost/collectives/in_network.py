"""Switches that add up what passes through them.

Inside a node NVLink SHARP (NVLS, NCCL 2.17 and later; NVSwitch of the third generation): a device reads a value
already summed over all members and writes the sum to all of them at once. Between nodes SHARP (Graham et al. 2016,
Scalable Hierarchical Aggregation Protocol), or trees where the network does not add (NVLSTree). All of it pipelined.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, compute_ceil_log2
from planner.cost.collectives import tree
from planner.cost.collectives.library import CollectiveLibrary
from planner.cost.collectives.schedule import CollectiveSchedule, TierCrossing


def build_in_network_all_reduce(
    crossing: TierCrossing, size_bytes: Floats, library: CollectiveLibrary
) -> CollectiveSchedule:
    """All-reduce. NVLS: each member's data is read once and 1/r of the sum written, S (1 + 1/r) each way. SHARP: S
    up and S down. A tier that does not add takes what a tree or a chain takes. Further out each device has its own
    share. Where only the network adds (CollNet), what the devices of a node reduce and copy among themselves is not
    overlapped.
    """
    network, inner_parts = crossing.network, crossing.inner_parts
    reducing_tiers, through_nic = network.reducing_tiers, network.through_nic
    in_network_share = library.get_in_network_share(network.architecture)
    intra_node_passes, inter_node_passes = (
        (1 + 1 / inner_parts) / in_network_share,
        np.full_like(inner_parts, 1 / library.switch_reduction_share),
    )
    chain_or_tree_passes = np.where(
        through_nic, tree.compute_tree_traffic_ratio(crossing), 2 * (inner_parts - 1) / inner_parts
    )
    passes_per_byte = np.where(
        reducing_tiers, np.where(through_nic, inter_node_passes, intra_node_passes), chain_or_tree_passes
    )
    tier_steps = np.where(reducing_tiers, 1.0, 2 * compute_ceil_log2(inner_parts))
    volume_bytes = 2 * (crossing.group_size - 1) / crossing.group_size * size_bytes
    is_available = (crossing.crossed_tiers & reducing_tiers).any(axis=1) & crossing.is_torus_free
    sent_bytes = passes_per_byte * size_bytes[:, None] / crossing.ranks_in_inner_tier
    is_intra_node_reduced = (crossing.crossed_tiers & reducing_tiers & ~through_nic).any(axis=1) | ~(
        crossing.crossed_tiers & ~through_nic
    ).any(axis=1)
    link_time_s = np.where(
        is_intra_node_reduced, crossing.compute_concurrent_s(sent_bytes), crossing.compute_sequential_s(sent_bytes)
    )
    return CollectiveSchedule(
        "in-network",
        link_time_s,
        volume_bytes,
        np.where(crossing.crossed_tiers, tier_steps, 0.0),
        is_available=is_available,
    )
