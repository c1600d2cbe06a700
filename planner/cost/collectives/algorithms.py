"""The algorithms of collectives: what each sends over the tiers that a group crosses, and in how many steps.

An algorithm is a function from a `TierCrossing` and a size to a `CollectiveSchedule`. In the equations g is the size
of the group, N its nodes, S the size in bytes; of tier i, m_i are the members below one part of it and
r_i = m_i / m_(i-1) the parts that meet in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np

from planner.cluster.network.network import Network, TrafficPattern
from planner.cost.arrays import Bools, Floats, Ints, compute_ceil_log2, find_unique_rows
from planner.cost.rank_groups import RankGroup, RankRun

CollectiveAlgorithm = Literal["ring", "tree", "halving", "hierarchical", "in-network", "torus", "pairwise"]


@dataclass(frozen=True)
class TierCrossing:
    """What each plan's group of ranks crosses of the network, arrays of shape [plans, tiers] unless stated."""

    network: Network
    group: RankGroup
    group_size: Ints
    """g: ranks, [plans]."""
    node_count: Floats
    """N: parts that only NICs join, [plans]."""
    members: Floats
    """m_i: ranks of the group below one part of the tier."""
    inner_members: Floats
    """m_(i-1): ranks of the group below one part of the tier inside it."""
    is_crossed: Bools
    """Whether the group is in several parts of the tier."""
    device_bytes_per_s: Floats
    """R_i: bandwidth of one device, bytes/s."""

    @property
    def parts(self) -> Floats:
        """r_i: how many parts meet in each tier."""
        return self.members / self.inner_members

    @property
    def torus_tiers(self) -> Bools:
        """Which tiers are tori, shape [tiers]."""
        axes = self.network.torus_axes or ((),) * self.network.tier_count
        return np.array([len(tier_axes) > 0 for tier_axes in axes], dtype=np.bool_)

    @property
    def crosses_no_torus(self) -> Bools:
        """Whether a group crosses no torus, shape [plans]."""
        crosses_no_torus: Bools = np.asarray(np.all(~(self.is_crossed & self.torus_tiers), axis=1), dtype=np.bool_)
        return crosses_no_torus

    def compute_gather_volume(self, size_bytes: Floats) -> Floats:
        """(g-1)/g · S: bytes that pass a device in an all-gather, [plans]."""
        return (self.group_size - 1) / self.group_size * size_bytes

    def compute_concurrent_s(self, sent_bytes: Floats) -> Floats:
        """Seconds in which all tiers, at work at the same time, carry `sent_bytes` bytes of each device; [plans]."""
        return reduce(np.maximum, self._compute_tier_times_s(sent_bytes).T)

    def compute_sequential_s(self, sent_bytes: Floats) -> Floats:
        """The same where one tier works after the other."""
        return reduce(np.add, self._compute_tier_times_s(sent_bytes).T)

    def _compute_tier_times_s(self, sent_bytes: Floats) -> Floats:
        return np.where(self.is_crossed, sent_bytes / self.device_bytes_per_s, 0.0)


def compute_tier_crossing(network: Network, group: RankGroup, pattern: TrafficPattern = "ring") -> TierCrossing:
    """The tiers that each plan's group crosses; `pattern`: who sends to whom."""
    group = group.sort_by_stride()
    members, group_size = network.compute_members(group.sizes, group.strides), group.size
    if group.run is not None:
        members = _count_run_members(network, group.run, members)
    inner_members = np.concatenate([np.ones((len(members), 1)), members[:, :-1]], axis=1)
    intra_node_tiers = np.flatnonzero(~network.through_nic)
    return TierCrossing(
        network=network,
        group=group,
        group_size=group_size,
        node_count=group_size / (members[:, intra_node_tiers[-1]] if len(intra_node_tiers) else 1.0),
        members=members,
        inner_members=inner_members,
        is_crossed=members > inner_members,
        device_bytes_per_s=network.compute_rates_bytes_per_s(group.sizes, group.strides, pattern),
    )


def _count_run_members(network: Network, run: RankRun, members: Floats) -> Floats:
    """`Network.compute_members` with the groups that straddle their parts counted one by one, [plans, tiers]."""
    plans = np.flatnonzero(run.straddles)
    keys = [column[plans] for column in (*run.sizes.T, *run.strides.T, run.step, run.ranks)]
    unique = find_unique_rows(*keys)
    counted = np.array(
        [network.count_members(run.list_places(plan, network.devices)) for plan in plans[unique.first_index]]
    )
    members = members.copy()
    members[plans] = counted[unique.inverse]
    return members


@dataclass(frozen=True)
class CollectiveSchedule:
    """One algorithm over each plan's group."""

    algorithm: CollectiveAlgorithm
    link_time_s: Floats
    """Seconds of the links at the rate of bulk copies, [plans]."""
    volume_bytes: Floats
    """Bytes that pass a device, [plans]."""
    steps: Floats
    """Messages of each tier that follow one another, [plans, tiers]."""
    messages: Floats | None = None
    """Messages that a device posts to its NIC, [plans]."""
    is_available: Bools | None = None
    """Whether the network and the group allow it, [plans]."""


def double_schedule(schedule: CollectiveSchedule) -> CollectiveSchedule:
    """An all-reduce: a reduce-scatter, then an all-gather, which are each other's mirror images."""
    return replace(
        schedule,
        link_time_s=2 * schedule.link_time_s,
        volume_bytes=2 * schedule.volume_bytes,
        steps=2 * schedule.steps,
    )


def build_ring_gather(crossing: TierCrossing, size_bytes: Floats, own_part: float = 0.0) -> CollectiveSchedule:
    """Ring all-gather to `size_bytes`, or reduce-scatter of them: (g-1)/g · S passes each device in g-1 steps.

    Patarasuk, Yuan 2009 (Bandwidth optimal all-reduce algorithms for clusters of workstations); the rails as NCCL
    lays them: rings leave a part of a tier through every member's own uplink, so that a tier carries as many rings as
    the part below it has members, each with 1/m_(i-1) of the bytes. Where a ring goes on through NICs, it leaves out
    one step in the node, N/g of the bytes. It crosses the wiring of tier i g/m_(i-1) - g/m_i times. A member also
    moves its own part, S/g, into the result, which takes `own_part` of a step over a link.
    """
    volume_bytes, group_size = crossing.compute_gather_volume(size_bytes), crossing.group_size[:, None]
    device_share = 1 / crossing.inner_members
    node_exit_share = np.where(crossing.node_count > 1, crossing.node_count / crossing.group_size, 0.0)
    device_share = np.where(crossing.network.through_nic, device_share, device_share - node_exit_share[:, None])
    sent_bytes = volume_bytes[:, None] * device_share
    return CollectiveSchedule(
        "ring",
        link_time_s=crossing.compute_concurrent_s(_add_own_part(crossing, sent_bytes, size_bytes, own_part)),
        volume_bytes=volume_bytes,
        steps=np.where(crossing.is_crossed, group_size / crossing.inner_members - group_size / crossing.members, 0.0),
    )


def _add_own_part(crossing: TierCrossing, sent_bytes: Floats, size_bytes: Floats, own_part: float) -> Floats:
    """`sent_bytes`, [plans, tiers], with a member's own part on the way of the innermost links that it uses."""
    is_own = crossing.is_crossed & ~crossing.network.through_nic & (crossing.inner_members == 1)
    own_bytes: Floats = own_part * size_bytes / crossing.group_size
    return sent_bytes + np.where(is_own, own_bytes[:, None], 0.0)


def build_halving_gather(
    crossing: TierCrossing, size_bytes: Floats, *, single_rank_per_node: bool
) -> CollectiveSchedule:
    """Recursive halving and doubling, for powers of two: as few bytes as a ring, as few steps as a tree.

    Thakur, Rabenseifner, Gropp 2005 (Optimization of Collective Communication Operations in MPICH). The farthest
    partners come first, when messages are smallest, as in NCCL's PAT (release 2.23) and unlike MPICH's: at a tier a
    device, which by then has gathered what lies outside, sends (r_i-1)/m_i · S in log2 r_i steps; one tier after the
    other. `single_rank_per_node`: whether the library has it only where no two ranks share a node (NCCL).
    """
    is_available = (crossing.group_size & (crossing.group_size - 1)) == 0
    if single_rank_per_node:
        is_available = is_available & (crossing.node_count == crossing.group_size)
    return CollectiveSchedule(
        "halving",
        link_time_s=crossing.compute_sequential_s((crossing.parts - 1) / crossing.members * size_bytes[:, None]),
        volume_bytes=crossing.compute_gather_volume(size_bytes),
        steps=np.where(crossing.is_crossed, compute_ceil_log2(crossing.parts), 0.0),
        is_available=is_available,
    )


def build_hierarchical_gather(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """A ring per tier, one tier after the other: all-gather from the outermost tier inwards, or reduce-scatter the
    other way; a device sends (r_i-1)/m_i · S in r_i-1 steps.

    Jia et al. 2018 (Highly scalable deep learning training system with mixed precision, arXiv 1807.11205, section
    3.3).
    """
    return CollectiveSchedule(
        "hierarchical",
        link_time_s=crossing.compute_sequential_s((crossing.parts - 1) / crossing.members * size_bytes[:, None]),
        volume_bytes=crossing.compute_gather_volume(size_bytes),
        steps=np.where(crossing.is_crossed, crossing.parts - 1, 0.0),
    )


def build_torus_gather(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """Rings along all axes of a torus at once: the data is cut in as many parts as the group spans axes, and each
    part goes through the axes in another order, so that all links work all the time.

    (m-1)/m · S of the m members on the torus over the links of all axes that they span, in side - 1 steps an axis;
    beyond the torus a ring per tier, in turn. Ying et al. 2018 (Image classification at supercomputer scale, arXiv
    1811.06992, section 4) for two axes; Jouppi et al. 2023 (TPU v4, arXiv 2304.01433) for three.
    """
    torus_tiers, is_crossed = crossing.torus_tiers, crossing.is_crossed
    innermost, outermost = int(np.argmax(torus_tiers)), len(torus_tiers) - 1 - int(np.argmax(torus_tiers[::-1]))
    torus_members = crossing.members[:, outermost]
    torus_bytes_per_s = reduce(np.minimum, np.where(is_crossed & torus_tiers, crossing.device_bytes_per_s, np.inf).T)
    torus_time_s = (torus_members - 1) / torus_members * size_bytes / torus_bytes_per_s
    outer_share = np.where(torus_tiers, 0.0, (crossing.parts - 1) / crossing.members)
    steps = np.where(is_crossed & ~torus_tiers, crossing.parts - 1, 0.0)
    steps[:, innermost] = reduce(np.add, (_compute_torus_sides(crossing, innermost) - 1).T)
    return CollectiveSchedule(
        "torus",
        link_time_s=torus_time_s + crossing.compute_sequential_s(outer_share * size_bytes[:, None]),
        volume_bytes=crossing.compute_gather_volume(size_bytes),
        steps=steps,
    )


def _compute_torus_sides(crossing: TierCrossing, tier: int) -> Floats:
    """How many ranks a group has along each axis of the torus, shape [plans, axes]."""
    axes, group = crossing.network.torus_axes[tier], crossing.group
    first_stride = np.maximum(group.strides[:, :, None], axes[:, 0])
    last_stride = np.minimum((group.strides * group.sizes)[:, :, None], axes[:, 1])
    sides: Floats = np.maximum(last_stride / first_stride, 1.0).prod(axis=1)
    return sides


def build_tree_all_reduce(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    """All-reduce by double binary trees: the bandwidth of a ring in log2 steps.

    Sanders, Speck, Träff 2009 (Two-tree algorithms for full bandwidth broadcast, reduction and scan). As NCCL lays
    them: a chain through the devices of a node, trees between the nodes, all of it pipelined. In a chain each device
    sends up and down but at the ends: 2 (r-1)/r · S in 2 (r-1) steps; in the trees 2 log2 r steps up and down.
    """
    is_tree = crossing.network.through_nic
    tier_steps = np.where(is_tree, compute_ceil_log2(crossing.parts), crossing.parts - 1)
    sent_bytes = _compute_tree_or_chain_ratio(crossing) * size_bytes[:, None] / crossing.inner_members
    return CollectiveSchedule(
        "tree",
        link_time_s=crossing.compute_concurrent_s(sent_bytes),
        volume_bytes=2 * crossing.compute_gather_volume(size_bytes),
        steps=2 * np.where(crossing.is_crossed, tier_steps, 0.0),
        is_available=crossing.crosses_no_torus,
    )


def _compute_tree_or_chain_ratio(crossing: TierCrossing) -> Floats:
    """What a part sends, over the size, [plans, tiers]: in trees over NICs, in a chain over other links.

    A part is a leaf of one tree, which sends its half of the data up, and inside the other, where it sends half up
    and two halves down: 2 S, and S where there are but two parts; the busiest part decides. The trees are over all
    nodes, so that a tier carries what goes on to the tiers outside it too.
    """
    joined_parts = crossing.group_size[:, None] / crossing.inner_members
    tree_ratio = np.where(joined_parts > 2, 2.0, 2 * (joined_parts - 1) / joined_parts)
    return np.where(crossing.network.through_nic, tree_ratio, 2 * (crossing.parts - 1) / crossing.parts)


def build_in_network_all_reduce(
    crossing: TierCrossing, size_bytes: Floats, link_reduction_share: float, switch_reduction_share: float
) -> CollectiveSchedule:
    """All-reduce by switches that add up what passes through them, pipelined over the tiers.

    Inside a node or rack NVLink SHARP (NVLS, NCCL 2.17 and later; NVSwitch of the third generation): a device reads
    values already summed over all members and writes sums to all of them at once, S (1 + 1/r) each way on the wire.
    Kernels, not wires, set the pace: from 5 to 72 members S over the time is the same (tests/published), so that the
    devices take S over `link_reduction_share` of what links carry in rings. Between nodes SHARP (Graham et al. 2016,
    Scalable Hierarchical Aggregation Protocol), S up and S down, or trees where the network does not add (NVLSTree).
    Further out each device has its own share. Where only the network adds (CollNet), what the devices of a node
    reduce and copy among themselves is not overlapped. Switches between nodes reach `switch_reduction_share`.
    """
    network, parts = crossing.network, crossing.parts
    is_reducing, through_nic = network.reducing_tiers, network.through_nic
    sent_ratio = np.where(
        is_reducing,
        np.where(through_nic, 1 / switch_reduction_share, 1 / link_reduction_share),
        _compute_tree_or_chain_ratio(crossing),
    )
    tier_steps = np.where(is_reducing, 1.0, 2 * compute_ceil_log2(parts))
    sent_bytes = sent_ratio * size_bytes[:, None] / crossing.inner_members
    is_crossed_in_node = crossing.is_crossed & ~through_nic
    is_concurrent = (is_crossed_in_node & is_reducing).any(axis=1) | ~is_crossed_in_node.any(axis=1)
    return CollectiveSchedule(
        "in-network",
        link_time_s=np.where(
            is_concurrent, crossing.compute_concurrent_s(sent_bytes), crossing.compute_sequential_s(sent_bytes)
        ),
        volume_bytes=2 * crossing.compute_gather_volume(size_bytes),
        steps=np.where(crossing.is_crossed, tier_steps, 0.0),
        is_available=(crossing.is_crossed & is_reducing).any(axis=1) & crossing.crosses_no_torus,
    )


def build_all_to_all(
    crossing: TierCrossing, size_bytes: Floats, posting_s_per_byte: float = 0.0, own_part: float = 0.0
) -> CollectiveSchedule:
    """Pairwise all-to-all of `size_bytes` on each device, 1/g of it for every member: (g - m_(i-1))/g · S leaves the
    part below a tier.

    By symmetry a device receives as much as it sends, so that many senders to one receiver (incast) share its links
    as they share their own: what is left of incast is the number of messages. Every partner on another node gets its
    part in pieces (NCCL, point to point: 128 KiB), which the host's proxy hands to the NIC one after the other, in
    `posting_s_per_byte` of a piece's bytes: as fast as the NIC sends them, or slower. `own_part` as of a ring.
    """
    group_size = crossing.group_size
    sent_bytes = (group_size[:, None] - crossing.inner_members) / group_size[:, None] * size_bytes[:, None]
    remote_partners = group_size - group_size / crossing.node_count
    schedule = _build_pairwise_schedule(
        crossing, _add_own_part(crossing, sent_bytes, size_bytes, own_part), remote_partners
    )
    posting_s = posting_s_per_byte * remote_partners * size_bytes / group_size
    return replace(schedule, link_time_s=np.maximum(schedule.link_time_s, posting_s))


def build_expert_all_to_all(crossing: TierCrossing, size_bytes: Floats, topk: int) -> CollectiveSchedule:
    """All-to-all of tokens to `topk` experts each, spread evenly; `size_bytes` is one copy of a device's tokens.

    A token that goes to several experts below one part of a tier is sent there once and copied inside (DeepSeek-V3,
    arXiv 2412.19437, section 3.2.2): of P parts, k even choices visit P (1 - (1 - 1/P)^k). So a device has one
    partner on every other node. Kernels that post their own messages do not wait for a proxy: bytes over the rate of
    the NIC and a constant fit the times of DeepEP's low-latency kernels on 16 to 256 H800, dispatch to 3 % and
    combine to 8 % (deepseek-ai/DeepEP, docs/legacy.md, Performance: 128 tokens of 7168 values to 8 experts, 50 GB/s).
    """
    parts = crossing.group_size[:, None] / crossing.inner_members
    remote_copies = (parts - 1) * (1 - (1 - 1 / parts) ** topk)
    return _build_pairwise_schedule(crossing, remote_copies * size_bytes[:, None], crossing.node_count - 1)


def _build_pairwise_schedule(crossing: TierCrossing, sent_bytes: Floats, messages: Floats) -> CollectiveSchedule:
    return CollectiveSchedule(
        "pairwise",
        link_time_s=crossing.compute_concurrent_s(sent_bytes),
        volume_bytes=sent_bytes[:, 0],
        # messages to different partners are in flight together: the farthest one's latency, once a tier
        steps=np.where(crossing.is_crossed, 1.0, 0.0),
        messages=messages,
    )
