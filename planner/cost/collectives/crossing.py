"""What a group meets on its way: which tiers it crosses, with how many members, and at what rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.cluster.network.network import Network, Pattern
from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.rank_groups import Group


@dataclass(frozen=True)
class Crossing:
    """What each plan's group meets at each tier, arrays of shape [plans, tiers].

    `members` of the group lie below one part of the tier, `below` of them below one part of the tier inside it;
    the tier is `crossed` where there are more. `rates`: bytes/s of one device. `size` and `nodes`, shape [plans]:
    ranks, and parts that only network cards join. `network` and `group` are what was asked.
    """

    network: Network
    group: Group
    size: Ints
    nodes: Floats
    members: Floats
    below: Floats
    crossed: Bools
    rates: Floats

    @property
    def parts(self) -> Floats:
        """How many parts of the tier inside it each tier joins."""
        return self.members / self.below

    @property
    def tori(self) -> Bools:
        """Which tiers are tori, shape [tiers]."""
        axes = self.network.torus_axes or ((),) * self.network.tiers
        return np.array([len(one) > 0 for one in axes], dtype=np.bool_)

    @property
    def switched(self) -> Bools:
        """Whether a group crosses no torus, shape [plans]."""
        switched: Bools = np.asarray(np.all(~(self.crossed & self.tori), axis=1), dtype=np.bool_)
        return switched

    def slowest(self, leaving: Floats) -> Floats:
        """Seconds in which all tiers, at work at the same time, carry `leaving` bytes of each device; [plans]."""
        return reduce(np.maximum, self._seconds(leaving).T)

    def in_turn(self, leaving: Floats) -> Floats:
        """The same where one tier works after the other."""
        return reduce(np.add, self._seconds(leaving).T)

    def _seconds(self, leaving: Floats) -> Floats:
        return np.where(self.crossed, leaving / self.rates, 0.0)


def crossing(network: Network, group: Group, pattern: Pattern = "ring") -> Crossing:
    """The tiers of each plan's group; `pattern`: who sends to whom."""
    members = network.members(group.sizes, group.strides)
    below = np.concatenate([np.ones((len(members), 1)), members[:, :-1]], axis=1)
    size = group.size
    inside = np.flatnonzero(~network.through_nic)
    nodes = size / members[:, inside[-1]] if len(inside) else size.astype(np.float64)
    rates = network.rates(group.sizes, group.strides, pattern)
    return Crossing(network, group, size, nodes, members, below, members > below, rates)
