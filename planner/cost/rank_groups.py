"""Which ranks form a group, and where they lie: sizes and strides, from the plan's order and the trainer's rule.

A trainer numbers its ranks in its own order of the dimensions, tp, cp and dp from the inside out. The plan's order
says how the dimensions are laid on places, the devices counted through the hosts: on place n is rank n where the
trainer has an option for the order, else the rank that a rankfile puts there. The groups of tp, cp, dp and pp are the
same either way. Those of experts are not: trainers take neighbours by the number of the rank, wherever these lie.

Megatron-LM (`RankGenerator` of the experts in `megatron/core/parallel_state.py`, megatron-core 0.16.1): within a
stage etp is innermost, then ep, then the ranks with the same experts, whatever tp and cp are. torchtitan 0.3.0
(`ParallelDims.build_mesh` in `torchtitan/distributed/parallel_dims.py`): the same with etp 1. DeepSpeed 0.19
(`_get_expert_parallel_ranks` in `deepspeed/utils/groups.py`): the same with etp = tp. MaxText 0.2.5 (`mesh_axes` in
`maxtext/configs/base.yml`) has ep as a mesh axis of its own, inside tp.

A group that spans several dimensions has one size and one stride for each: arrays of shape [plans, parts].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Literal

import numpy as np

from planner.cost.arrays import Bools, Ints
from planner.cost.schedules.catalog import count_copies
from planner.cost.strategies import Strategies

RankAxis = Literal["tensor", "context", "data", "expert", "expert data"]
"""What the ranks of a group share: a layer's matrices, a sequence, dense parameters, a set of experts, an expert."""


@dataclass(frozen=True)
class RankLayout:
    """`order`: the dimensions as they are laid on places, innermost first. `has_expert_axis`: whether ep is a part of
    dp that is laid inside all of them (`Trainer.has_expert_axis`). `mirrors_stages`: whether stage i and its mirror
    image from the pipeline's end hold the same parameters (DualPipe), where stages are even in number and not cut.
    """

    order: str
    has_expert_axis: bool = False
    mirrors_stages: bool = False


@dataclass(frozen=True)
class RankRun:
    """Groups of neighbours by number that straddle the parts, as three do where tp is two: of all ranks of the parts,
    `sizes` and `strides` of shape [plans, parts], each `step`-th, `ranks` of them, both of shape [plans].

    `straddles`, [plans]: for which plans; the group of the others is what its own parts say. Of these plans the
    group's sizes are those of a box around the group.
    """

    sizes: Ints
    strides: Ints
    step: Ints
    ranks: Ints
    straddles: Bools

    @property
    def parts(self) -> RankGroup:
        """All ranks of the parts."""
        return RankGroup(self.sizes, self.strides)

    def take(self, index: Ints) -> RankRun:
        """Those of the plans at `index`."""
        return RankRun(**{field.name: getattr(self, field.name)[index] for field in fields(RankRun)})

    def list_places(self, plan: int, devices: int) -> Ints:
        """The places of all groups of a plan on so many devices, shape [groups, ranks]."""
        first_places, offsets = np.arange(devices), np.zeros(1, dtype=np.int64)
        for size, stride in zip(self.sizes[plan], self.strides[plan], strict=True):
            first_places = first_places[first_places // stride % size == 0]
            offsets = (np.arange(size)[:, None] * stride + offsets[None, :]).ravel()
        first_places = first_places[first_places + offsets[-1] < devices]
        ranks = int(self.ranks[plan])
        group_offsets = offsets.reshape(-1, ranks, int(self.step[plan])).swapaxes(1, 2).reshape(-1, ranks)
        places: Ints = (first_places[:, None, None] + group_offsets[None]).reshape(-1, ranks)
        return places


@dataclass(frozen=True)
class RankGroup:
    """Ranks that a collective runs over: `sizes` and `strides` of shape [plans, parts], from the inside out by the
    numbers of the ranks. `run`: where the groups of some plans are no product of parts; None: of none. `axis`: what
    the ranks share, for reports.
    """

    sizes: Ints
    strides: Ints
    run: RankRun | None = None
    axis: RankAxis | None = None

    @property
    def size(self) -> Ints:
        """How many ranks, shape [plans]."""
        return reduce(np.multiply, self.sizes.T) if self.run is None else self.run.ranks

    def take(self, index: Ints) -> RankGroup:
        """The groups of the plans at `index`."""
        run = None if self.run is None else self.run.take(index)
        return replace(self, sizes=self.sizes[index], strides=self.strides[index], run=run)

    def sort_by_stride(self) -> RankGroup:
        """The same with its parts from the inside out by place."""
        if (self.strides[:, 1:] >= self.strides[:, :-1]).all():
            return self
        order = np.argsort(self.strides, axis=1, kind="stable")
        sizes, strides = (np.take_along_axis(parts, order, axis=1) for parts in (self.sizes, self.strides))
        return replace(self, sizes=sizes, strides=strides)

    def split(self, inner_ranks: Ints) -> tuple[RankGroup, RankGroup]:
        """Groups of neighbours by number, `inner_ranks` of them, [plans], and those of the ranks that are equal in
        them (megatron-core's `num_distributed_optimizer_instances`).
        """
        parts, step = (self, np.ones_like(inner_ranks)) if self.run is None else (self.run.parts, self.run.step)
        inner = _take_neighbours(parts, step, inner_ranks)
        outer = _take_neighbours(parts, step * inner_ranks, self.size // inner_ranks)
        return replace(inner, axis=self.axis), replace(outer, axis=self.axis)


def build_rank_group(size: Ints, stride: Ints) -> RankGroup:
    """Groups of evenly spaced ranks; both of shape [plans]."""
    return RankGroup(size[:, None], stride[:, None])


def compute_rank_strides(layout: RankLayout, s: Strategies) -> dict[str, Ints]:
    """How many places lie between neighbours of each dimension, shape [plans] each; `dp` without what an axis of
    experts takes of it, which is `ep`.
    """
    rank_strides, inner_ranks = {}, np.ones_like(s.tp)
    for name in ("ep", *layout.order.split("-")):
        rank_strides[name] = inner_ranks
        inner_ranks = inner_ranks * _compute_axis_size(layout, s, name)
    return rank_strides


def build_tensor_group(layout: RankLayout, s: Strategies) -> RankGroup:
    """The ranks that share a layer's matrices."""
    return replace(build_rank_group(s.tp, compute_rank_strides(layout, s)["tp"]), axis="tensor")


def build_context_group(layout: RankLayout, s: Strategies) -> RankGroup:
    """The ranks that share a sequence."""
    return replace(build_rank_group(s.cp, compute_rank_strides(layout, s)["cp"]), axis="context")


def compute_all_to_all_ranks(layout: RankLayout, s: Strategies, domain_ranks: int, heads: int) -> Ints:
    """Of hierarchical context parallelism, the ranks that have an all-to-all among them, [plans]; rings run over
    those that are equal in them (`create_hierarchical_groups` in `megatron/core/parallel_state.py`, megatron-core
    0.16.1).

    As many neighbours as divide cp, the `domain_ranks` that links join without a NIC, and the heads of a rank, of
    which each gets as many; `heads`: of queries and of keys, what divides both. 1: a ring alone.
    """
    stride = compute_rank_strides(layout, s)["cp"]
    neighbours = np.where(domain_ranks % stride == 0, domain_ranks // stride, 1)
    rank_heads = np.where(heads % s.tp == 0, heads // s.tp, 1)
    ranks: Ints = np.gcd(np.gcd(s.cp, neighbours), rank_heads)
    return ranks


def build_data_group(layout: RankLayout, s: Strategies) -> RankGroup:
    """The ranks that hold the same dense parameters: all of dp x cp, and of the mirrored stage."""
    parts = _build_parts(layout, s, ("ep", "cp", "dp") if layout.has_expert_axis else ("cp", "dp"))
    return replace(_add_mirrored_stage(layout, s, parts), axis="data")


def _add_mirrored_stage(layout: RankLayout, s: Strategies, parts: RankGroup) -> RankGroup:
    """The ranks with those of the mirrored stage, which is farthest for the first one; as they are without one."""
    if not layout.mirrors_stages:
        return parts
    copies = count_copies("dualpipe", s)
    strides = np.maximum(compute_stage_stride(layout, s) * (s.pp - 1), 1)
    return replace(
        parts,
        sizes=np.concatenate([parts.sizes, copies[:, None]], axis=1),
        strides=np.concatenate([parts.strides, strides[:, None]], axis=1),
    )


def build_expert_group(layout: RankLayout, s: Strategies) -> RankGroup:
    """The ranks that share the experts: ep of a stage's ranks, each etp-th by number; or the axis of experts."""
    if not layout.has_expert_axis:
        group = _take_neighbours(_build_parts(layout, s, ("tp", "cp", "dp")), s.etp, s.ep)
    else:
        step = np.where(_find_expert_axes(layout, s), 1, s.etp)
        group = _take_neighbours(_build_parts(layout, s, ("ep", "tp", "cp", "dp")), step, s.ep)
    return replace(group, axis="expert")


def build_expert_data_group(layout: RankLayout, s: Strategies) -> RankGroup:
    """The ranks that hold the same experts: of a stage's ranks all that are etp x ep apart by number; or all of
    dp x cp beside the axis of experts; with the mirrored stage's.
    """
    parts, step = _build_parts(layout, s, ("tp", "cp", "dp")), s.etp * s.ep
    if layout.has_expert_axis:
        has_axis = _find_expert_axes(layout, s)
        sizes, step = parts.sizes.copy(), np.where(has_axis, 1, step)
        sizes[has_axis, 0] = 1
        parts = replace(parts, sizes=sizes)
    copies = count_copies("dualpipe", s) if layout.mirrors_stages else 1
    group = _take_neighbours(_add_mirrored_stage(layout, s, parts), step, s.expert_ranks * copies)
    return replace(group, axis="expert data")


def compute_stage_stride(layout: RankLayout, s: Strategies) -> Ints:
    """Places between neighbouring pipeline stages, shape [plans]."""
    return compute_rank_strides(layout, s)["pp"]


def compute_rank_places(layout: RankLayout, numbering: RankLayout, s: Strategies) -> Ints:
    """The place of each rank of a single plan, shape [devices]; `numbering`: how the trainer numbers its ranks."""
    strides, inner_ranks = compute_rank_strides(layout, s), 1
    rank = np.arange(s.tp[0] * s.cp[0] * s.dp[0] * s.pp[0])
    places = np.zeros_like(rank)
    for name in ("ep", *numbering.order.split("-")):
        size = int(_compute_axis_size(numbering, s, name)[0])
        places += rank // inner_ranks % size * strides[name][0]
        inner_ranks *= size
    return places


def list_rank_groups(numbering: RankLayout, s: Strategies) -> dict[str, Ints]:
    """All groups of a single plan by the numbers of their ranks, shape [groups, ranks] each: of tp, cp, dp, pp and dp
    with cp; of the experts ep, etp, and edp for the ranks that hold the same ones.
    """
    names = ("ep", *numbering.order.split("-"))[::-1]
    ranks = np.arange(s.tp[0] * s.cp[0] * s.dp[0] * s.pp[0])
    ranks = ranks.reshape([int(_compute_axis_size(numbering, s, name)[0]) for name in names])

    def list_groups(*axes: str) -> Ints:
        """The groups that span these axes."""
        spanned = [names.index(name) for name in names if name in axes]
        moved = np.moveaxis(ranks, spanned, range(-len(spanned), 0))
        return moved.reshape(-1, int(np.prod(moved.shape[-len(spanned) :])))

    groups = {
        "tp": list_groups("tp"),
        "cp": list_groups("cp"),
        "dp": list_groups("dp", "ep"),
        "pp": list_groups("pp"),
        "dp-cp": list_groups("dp", "cp", "ep"),
    }
    if _find_expert_axes(numbering, s)[0]:
        return groups | {"ep": list_groups("ep"), "etp": list_groups("tp"), "edp": list_groups("dp", "cp")}
    ep, etp = int(s.ep[0]), int(s.etp[0])
    stage_ranks = list_groups("tp", "cp", "dp", "ep").reshape(int(s.pp[0]), -1, ep, etp)
    return groups | {
        "ep": stage_ranks.swapaxes(2, 3).reshape(-1, ep),
        "etp": stage_ranks.reshape(-1, etp),
        "edp": np.moveaxis(stage_ranks, 1, 3).reshape(-1, stage_ranks.shape[1]),
    }


def _find_expert_axes(layout: RankLayout, s: Strategies) -> Bools:
    """Whether experts have an axis, shape [plans]: a part of dp, with each expert cut as the other layers are."""
    if not layout.has_expert_axis:
        return np.zeros(len(s), dtype=np.bool_)
    has_axis: Bools = (s.ep > 1) & (s.dp % s.ep == 0) & (s.etp == s.tp)
    return has_axis


def _compute_axis_size(layout: RankLayout, s: Strategies, name: str) -> Ints:
    """How many ranks a dimension has, [plans]; of dp what the axis of experts, `ep`, leaves of it."""
    if name not in ("ep", "dp"):
        size: Ints = getattr(s, name)
        return size
    if not layout.has_expert_axis:
        return np.ones_like(s.ep) if name == "ep" else s.dp
    expert_axis = np.where(_find_expert_axes(layout, s), s.ep, 1)
    return expert_axis if name == "ep" else s.dp // expert_axis


def _build_parts(layout: RankLayout, s: Strategies, names: Sequence[str]) -> RankGroup:
    """All ranks of several dimensions; `names` by the numbers of the ranks, from the inside out."""
    strides = compute_rank_strides(layout, s)
    return RankGroup(
        np.stack([_compute_axis_size(layout, s, name) for name in names], axis=1),
        np.stack([strides[name] for name in names], axis=1),
    )


def _take_innermost(sizes: Ints, ranks: Ints) -> Ints:
    """What `ranks` [plans] take of each part of groups of `sizes` [plans, parts], from the inside out."""
    taken_sizes, remaining = [], ranks
    for part in sizes.T:
        taken = np.gcd(part, remaining)
        taken_sizes.append(taken)
        remaining = remaining // taken
    return np.stack(taken_sizes, axis=1)


def _take_neighbours(parts: RankGroup, step: Ints, ranks: Ints) -> RankGroup:
    """Groups of `ranks` ranks of those of `parts`, each `step` after the one before by number; both [plans]."""
    parts = _join_contiguous_parts(parts)
    steps = _take_innermost(parts.sizes, step)
    rest_sizes = parts.sizes // steps
    taken = _take_innermost(rest_sizes, ranks)
    # the step, then the group, end at a part's end or divide the part
    straddles = np.zeros(len(step), dtype=np.bool_)
    for remaining, sizes, taken_sizes in ((step, parts.sizes, steps), (ranks, rest_sizes, taken)):
        for size, taken_size in zip(sizes.T, taken_sizes.T, strict=True):
            remaining = remaining // taken_size
            straddles |= (remaining > 1) & (size > taken_size)
    strides = parts.strides * steps
    if not straddles.any():
        return RankGroup(taken, strides)
    box_sizes = np.where(straddles[:, None], _compute_box_sizes(parts.sizes, step, ranks), taken)
    run = RankRun(parts.sizes, parts.strides, step, ranks, straddles)
    return RankGroup(box_sizes, np.where(straddles[:, None], parts.strides, strides), run)


def _join_contiguous_parts(parts: RankGroup) -> RankGroup:
    """The same ranks with one part in place of two that follow one another without a gap, and one of size 1."""
    sizes, strides = parts.sizes.copy(), parts.strides.copy()
    for outer in range(1, sizes.shape[1]):
        inner = outer - 1
        size, stride = sizes[:, inner].copy(), strides[:, inner].copy()
        is_joined = (sizes[:, outer] == 1) | (strides[:, outer] == size * stride)
        strides[:, outer] = np.where(is_joined & (size > 1), stride, strides[:, outer])
        sizes[:, outer] = np.where(is_joined, size * sizes[:, outer], sizes[:, outer])
        sizes[:, inner] = np.where(is_joined, 1, size)
    return RankGroup(sizes, strides)


def _compute_box_sizes(sizes: Ints, step: Ints, ranks: Ints) -> Ints:
    """Values of each part between the first and the last rank of a group, of the group that has most; [plans, parts].

    Groups begin at multiples of step x ranks, and up to step - 1 behind them (`Network.compute_members`).
    """
    block, box_sizes, inner_ranks = step * ranks, [], np.ones_like(step)
    for size in sizes.T:
        latest = np.minimum(inner_ranks - np.gcd(block, inner_ranks) + step - 1, inner_ranks - 1)
        spanned = np.minimum(size, (latest + block - step) // inner_ranks + 1)
        inner_ranks = inner_ranks * size
        box_sizes.append(np.where(step % inner_ranks == 0, 1, spanned))
    return np.stack(box_sizes, axis=1)
