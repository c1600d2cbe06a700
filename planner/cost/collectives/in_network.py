"""Switches that add up what passes through them.

Inside a node NVLink SHARP (NVLS, NCCL 2.17 and later; NVSwitch of the third generation): a device reads a value
already summed over all members and writes the sum to all of them at once. Between nodes SHARP (Graham et al. 2016,
Scalable Hierarchical Aggregation Protocol), or trees where the network does not add (NVLSTree). All of it pipelined.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, doublings
from planner.cost.collectives import tree
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.library import Library
from planner.cost.collectives.schedule import Schedule


def reduce_all(at: Crossing, size_bytes: Floats, library: Library) -> Schedule:
    """All-reduce. NVLS: each member's data is read once and 1/r of the sum written, S (1 + 1/r) each way. SHARP: S
    up and S down. A tier that does not add takes what a tree or a chain takes. Further out each device has its own
    share. Where only the network adds (CollNet), what the devices of a node reduce and copy among themselves is not
    hidden.
    """
    network, parts = at.network, at.parts
    adds, through_nic = network.reduces, network.through_nic
    links = library.in_network(network.architecture)
    inside, outside = (1 + 1 / parts) / links, np.full_like(parts, 1 / library.reduction_share)
    chained = np.where(through_nic, tree.between(at), 2 * (parts - 1) / parts)
    passed = np.where(adds, np.where(through_nic, outside, inside), chained)
    depth = np.where(adds, 1.0, 2 * doublings(parts))
    volume = 2 * (at.size - 1) / at.size * size_bytes
    offered = (at.crossed & adds).any(axis=1) & at.switched
    leaving = passed * size_bytes[:, None] / at.below
    inner_adds = (at.crossed & adds & ~through_nic).any(axis=1) | ~(at.crossed & ~through_nic).any(axis=1)
    seconds = np.where(inner_adds, at.slowest(leaving), at.in_turn(leaving))
    return Schedule("in-network", seconds, volume, np.where(at.crossed, depth, 0.0), offered=offered)
