"""Which ranks form a group: sizes and strides, from the order in which the dimensions are laid on ranks.

A group that spans several dimensions has one size and one stride for each: arrays of shape [plans, parts].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.cost.arrays import Ints
from planner.cost.strategies import Strategies


@dataclass(frozen=True)
class RankGroup:
    """Ranks that a collective runs over: `sizes` and `strides` of shape [plans, parts], from the inside out."""

    sizes: Ints
    strides: Ints

    @property
    def size(self) -> Ints:
        """How many ranks, shape [plans]."""
        return reduce(np.multiply, self.sizes.T)

    def take(self, index: Ints) -> RankGroup:
        """The groups of the plans at `index`."""
        return RankGroup(self.sizes[index], self.strides[index])


def build_rank_group(size: Ints, stride: Ints) -> RankGroup:
    """Groups of evenly spaced ranks; both of shape [plans]."""
    return RankGroup(size[:, None], stride[:, None])


def compute_rank_strides(rank_order: str, s: Strategies) -> dict[str, Ints]:
    """How many ranks lie between neighbours of each dimension, shape [plans] each."""
    rank_strides, inner_ranks = {}, np.ones_like(s.tp)
    for name in rank_order.split("-"):
        rank_strides[name] = inner_ranks
        inner_ranks = inner_ranks * getattr(s, name)
    return rank_strides


def build_tensor_group(rank_order: str, s: Strategies) -> RankGroup:
    """The ranks that share a layer's matrices."""
    return build_rank_group(s.tp, compute_rank_strides(rank_order, s)["tp"])


def build_context_group(rank_order: str, s: Strategies) -> RankGroup:
    """The ranks that share a sequence."""
    return build_rank_group(s.cp, compute_rank_strides(rank_order, s)["cp"])


def build_data_group(rank_order: str, s: Strategies) -> RankGroup:
    """The ranks that hold the same dense parameters: all of dp x cp."""
    strides, inside_out = compute_rank_strides(rank_order, s), sorted(("cp", "dp"), key=rank_order.index)
    return RankGroup(
        np.stack([getattr(s, name) for name in inside_out], axis=1),
        np.stack([strides[name] for name in inside_out], axis=1),
    )


def build_expert_group(rank_order: str, s: Strategies) -> RankGroup:
    """The ranks that share the experts: the innermost of (tp where experts are not cut by it,) cp and dp."""
    whole = _build_expert_holders(rank_order, s)
    return RankGroup(take_innermost(whole.sizes, s.ep), whole.strides)


def build_expert_data_group(rank_order: str, s: Strategies) -> RankGroup:
    """The ranks that hold the same experts: what the expert group leaves of tp, cp and dp."""
    whole = _build_expert_holders(rank_order, s)
    sizes = take_innermost(whole.sizes, s.ep)
    return RankGroup(whole.sizes // sizes, whole.strides * sizes)


def _build_expert_holders(rank_order: str, s: Strategies) -> RankGroup:
    """All ranks of tp, cp and dp that experts are spread over: where tp cuts experts, its ranks are not theirs."""
    strides, inside_out = compute_rank_strides(rank_order, s), sorted(("tp", "cp", "dp"), key=rank_order.index)
    cut = {"tp": s.etp}
    return RankGroup(
        np.stack([getattr(s, name) // cut.get(name, 1) for name in inside_out], axis=1),
        np.stack([strides[name] * cut.get(name, 1) for name in inside_out], axis=1),
    )


def take_innermost(sizes: Ints, ranks: Ints) -> Ints:
    """What `ranks` [plans] take of each part of groups of `sizes` [plans, parts], from the inside out."""
    taken_sizes, remaining = [], ranks
    for part in sizes.T:
        taken = np.gcd(part, remaining)
        taken_sizes.append(taken)
        remaining = remaining // taken
    return np.stack(taken_sizes, axis=1)


def compute_stage_stride(rank_order: str, s: Strategies) -> Ints:
    """Ranks between neighbouring pipeline stages, shape [plans]."""
    return compute_rank_strides(rank_order, s)["pp"]
