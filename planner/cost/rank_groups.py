"""Which ranks form a group: sizes and strides, from the order in which the dimensions are laid on ranks.

A group that spans several dimensions has one size and one stride for each: arrays of shape [plans, parts].
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.cost.arrays import Ints
from planner.cost.strategies import Strategies

ORDERS = tuple("-".join(order) for order in itertools.permutations(("tp", "cp", "dp", "pp")))
"""From the inside out; the first is Megatron-LM's. Those with tp innermost come first: it exchanges the most."""


@dataclass(frozen=True)
class Group:
    """Ranks that a collective runs over: `sizes` and `strides` of shape [plans, parts], from the inside out."""

    sizes: Ints
    strides: Ints

    @property
    def size(self) -> Ints:
        """How many ranks, shape [plans]."""
        return reduce(np.multiply, self.sizes.T)

    def take(self, index: Ints) -> Group:
        """The groups of the plans at `index`."""
        return Group(self.sizes[index], self.strides[index])


def group(size: Ints, stride: Ints) -> Group:
    """Groups of evenly spaced ranks; both of shape [plans]."""
    return Group(size[:, None], stride[:, None])


def strides(order: str, s: Strategies) -> dict[str, Ints]:
    """How many ranks lie between neighbours of each dimension, shape [plans] each."""
    found, below = {}, np.ones_like(s.tp)
    for name in order.split("-"):
        found[name] = below
        below = below * getattr(s, name)
    return found


def tensor_group(order: str, s: Strategies) -> Group:
    """The ranks that share a layer's matrices."""
    return group(s.tp, strides(order, s)["tp"])


def context_group(order: str, s: Strategies) -> Group:
    """The ranks that share a sequence."""
    return group(s.cp, strides(order, s)["cp"])


def data_group(order: str, s: Strategies) -> Group:
    """The ranks that hold the same dense parameters: all of dp x cp."""
    at = strides(order, s)
    inner, outer = sorted(("cp", "dp"), key=order.index)
    return Group(np.stack([getattr(s, inner), getattr(s, outer)], axis=1), np.stack([at[inner], at[outer]], axis=1))


def expert_group(order: str, s: Strategies) -> Group:
    """The ranks that share the experts: the innermost of (tp where experts are not cut by it,) cp and dp."""
    sizes, at, _ = _expert_parts(order, s)
    return Group(sizes, at)


def expert_data_group(order: str, s: Strategies) -> Group:
    """The ranks that hold the same experts: what the expert group leaves of tp, cp and dp."""
    sizes, at, whole = _expert_parts(order, s)
    return Group(whole // sizes, at * sizes)


def _expert_parts(order: str, s: Strategies) -> tuple[Ints, Ints, Ints]:
    """Of tp, cp and dp in order: the part that ep takes, the stride, the whole; shape [plans, 3]."""
    at = strides(order, s)
    # where experts are cut by tp, tp's ranks are not the experts' to share
    cut = {"tp": s.etp}
    inside_out = sorted(("tp", "cp", "dp"), key=order.index)
    whole = np.stack([getattr(s, name) // cut.get(name, 1) for name in inside_out], axis=1)
    at_parts = np.stack([at[name] * cut.get(name, 1) for name in inside_out], axis=1)
    taken, left = [], s.ep
    for part in whole.T:
        share = np.gcd(part, left)
        taken.append(share)
        left = left // share
    return np.stack(taken, axis=1), at_parts, whole


def next_stage(order: str, s: Strategies) -> Ints:
    """Ranks between neighbouring pipeline stages, shape [plans]."""
    return strides(order, s)["pp"]
