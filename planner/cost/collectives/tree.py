"""Double binary trees: the bandwidth of a ring in a number of steps that grows with the logarithm of the nodes.

Sanders, Speck, Träff 2009 (Two-tree algorithms for full bandwidth broadcast, reduction and scan). As NCCL lays them:
a chain through the devices of a node, trees between the nodes, all of it pipelined.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, doublings
from planner.cost.collectives.crossing import Crossing
from planner.cost.collectives.schedule import Schedule


def reduce_all(at: Crossing, size_bytes: Floats) -> Schedule:
    """All-reduce. A part is a leaf of one tree, which sends its half of the data up, and inside the other, where it
    sends one up and two down: 2 S by the ways out of all its members, S where there are but two parts. In a chain
    each device sends up and down but at the ends: 2 (r-1)/r · S. Up and down: 2 (r-1) steps of a chain, 2 log2 r of
    a tree.
    """
    parts = at.parts
    chain = 2 * (parts - 1) / parts
    leaving = np.where(at.network.through_nic, between(at), chain) * size_bytes[:, None] / at.below
    depth = np.where(at.network.through_nic, doublings(parts), parts - 1)
    volume = 2 * (at.size - 1) / at.size * size_bytes
    offered = at.switched
    return Schedule("tree", at.slowest(leaving), volume, 2 * np.where(at.crossed, depth, 0.0), offered=offered)


def between(at: Crossing) -> Floats:
    """What a part of a double binary tree sends, over the size, [plans, tiers]: the busiest one decides. The trees
    are over all nodes, so a tier carries what goes on to the tiers outside it too.
    """
    parts = at.size[:, None] / at.below
    return np.where(parts > 2, 2.0, 2 * (parts - 1) / parts)
