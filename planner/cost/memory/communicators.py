"""What the communicators of a plan have on a device: buffers of NCCL, which no allocator of a trainer counts.

NCCL has buffers for each channel and direction to each neighbour of a ring or tree: 4 MiB, those of LL, 512 KiB, and
of LL128, 4.7 MiB, rounded up to 10 MiB where they are received and 2 MiB where they are sent (`computeBuffSizes` of
src/init.cc, src/transport/p2p.cc; as allocated on H100: github.com/NVIDIA/nccl/issues/1685). A group that sends point
to point or all-to-all has them for each partner on the node as well, and one pool for all on other nodes
(`sharedNetBuffersInit` of src/transport/net.cc). RCCL and the libraries of other accelerators are taken to be alike:
one more communicator of RCCL is 0.65 GiB (github.com/Lumi-supercomputer/LUMI-AI-Guide/issues/111).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.cost import rank_groups
from planner.cost.arrays import Floats, Ints, sum_in_order
from planner.cost.rank_groups import RankGroup, build_rank_group
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.trainers.names import CommunicatorName

_MIB_BYTES = 2.0**20
_PAIR_BYTES, _GROUP_BYTES = 544 * _MIB_BYTES, 688 * _MIB_BYTES
"""Of a communicator of two ranks and of more, after an all-reduce, measured on four A100, with 24 channels
(github.com/NVIDIA/nccl/issues/964); of H100 as many channels, and no measurement of one alone."""
_SWITCH_BYTES_PER_RANK = 16 * 2 * 8 * _MIB_BYTES / 8
"""Of each rank on the node where the switch adds: 16 channels, two directions, 8 pieces of 128 KiB
(`ncclNvlsBufferSetup` of src/transport/nvls.cc); only for more than two (`ncclNvlsInit`)."""
_CONNECTED_BYTES = 1.6e9
"""Of one that is connected for all algorithms (github.com/NVIDIA/nccl/issues/864)."""
_PEER_BYTES = 32 * (10 + 2) * _MIB_BYTES
"""To and from a partner on the node, 32 channels (github.com/NVIDIA/nccl/issues/1685)."""
_REMOTE_POOL_BYTES = 2 * 32 * 16 * _MIB_BYTES / 8
"""For partners on other nodes: 32 channels, 16 pieces of 128 KiB, sent and received (`sharedNetBuffersInit`)."""
_DEEPEP_CHANNELS, _DEEPEP_NODE_RANKS, _DEEPEP_REMOTE_TOKENS = 10, 8, 128
_DEEPEP_TOKEN_BYTES = 128 * (8 + 4 + 4)
"""Of DeepEP, by rank of a node, and by node: beside a token's values the indices, weights and scales of at most 128
experts each (`get_nvl_buffer_size_hint` and `get_rdma_buffer_size_hint` of csrc/config.hpp)."""


def compute_communicator_bytes(scenario: Scenario, s: Strategies) -> Floats:
    """Bytes on a device, [plans], of all communicators of more than one rank; on all stages as on one that has all.
    None where the accelerator's file says what programs cannot have: that includes them.
    """
    if scenario.accelerator.reserved_memory_bytes is not None:
        return np.zeros(len(s))
    return sum_in_order([np.zeros(len(s)), *_enumerate_bytes(scenario, s)])


def _enumerate_bytes(scenario: Scenario, s: Strategies) -> Iterator[Floats]:
    """Bytes of each communicator that the trainer makes, [plans]."""
    world: Ints = s.tp * s.cp * s.dp * s.pp
    for name in scenario.trainer.communicators:
        for group in _build_groups(scenario, s, name):
            local = _count_local(scenario, group)
            own_bytes = np.where(group.size > 2, _GROUP_BYTES, _PAIR_BYTES)
            if scenario.trainer.connects_all_channels:
                own_bytes = np.full(len(s), _CONNECTED_BYTES)
            elif _has_adding_switch(scenario):
                own_bytes = own_bytes + np.where(local > 2, _SWITCH_BYTES_PER_RANK * local, 0.0)
            own_bytes = own_bytes + _compute_partner_bytes(scenario, name, group.size, local)
            is_made = group.size > 1
            if scenario.trainer.shares_world_communicator and name != "world":
                is_made = is_made & (group.size < world)
            yield np.where(is_made, own_bytes, 0.0)


def _build_groups(scenario: Scenario, s: Strategies, name: CommunicatorName) -> list[RankGroup]:
    """The groups of a rank by what they share; none of experts or tied weights in a model without."""
    layout, ones = scenario.rank_layout, np.ones_like(s.tp)
    stage_stride = rank_groups.compute_stage_stride(layout, s)
    match name:
        case "world":
            return [build_rank_group(s.tp * s.cp * s.dp * s.pp, ones)]
        case "tensor":
            return [rank_groups.build_tensor_group(layout, s)]
        case "context":
            return [rank_groups.build_context_group(layout, s)]
        case "data":
            group = rank_groups.build_data_group(layout, s)
            if scenario.shard_group is None:
                return [group]
            return list(group.split(np.gcd(group.size, scenario.shard_group)))
        case "pipeline":
            return [build_rank_group(s.pp, stage_stride)]
        case "model":
            tensor = rank_groups.build_tensor_group(layout, s)
            sizes = np.stack([tensor.sizes[:, 0], s.pp], axis=1)
            return [RankGroup(sizes, np.stack([tensor.strides[:, 0], stage_stride], axis=1))]
        case "embedding":
            ends = np.where(s.pp > 1, 2, 1)
            return [build_rank_group(ends, stage_stride * (s.pp - 1))] if _has_tied_weights(scenario) else []
    if not scenario.workload.experts:
        return []
    match name:
        case "expert":
            return [rank_groups.build_expert_group(layout, s)]
        case "expert tensor":
            return [build_rank_group(s.etp, rank_groups.compute_rank_strides(layout, s)["tp"])]
        case "expert data":
            return [rank_groups.build_expert_data_group(layout, s)]


def _has_tied_weights(scenario: Scenario) -> bool:
    return scenario.workload.copied_parameters > 0


def _has_adding_switch(scenario: Scenario) -> bool:
    network = scenario.network
    return bool((network.reducing_tiers & ~network.through_nic).any())


def _count_local(scenario: Scenario, group: RankGroup) -> Ints:
    """Ranks of a group on one node, [plans]."""
    on_node = -(-scenario.devices_per_host // np.maximum(group.strides, 1))
    local: Ints = np.minimum(group.sizes, on_node).prod(axis=1)
    return np.minimum(np.minimum(local, scenario.devices_per_host), group.size)


def _compute_partner_bytes(scenario: Scenario, name: CommunicatorName, ranks: Ints, local: Ints) -> Floats:
    """What a group needs, [plans], to send point to point: between stages both ways, in the ring of attention one way
    each, all-to-all to every partner.
    """
    neighbours = local - 1
    is_ring = name == "context" and scenario.cp_comm_type == "ring"
    if name == "expert" and scenario.ep_exchange != "nccl":
        return _compute_deepep_bytes(scenario, ranks)
    if name == "pipeline":
        neighbours = np.minimum(neighbours, 2)
    elif is_ring:
        neighbours = np.minimum(neighbours, 1)
    elif not (name == "expert" or (name == "context" and scenario.cp_comm_type == "all-to-all")):
        return np.zeros(len(ranks))
    partner_bytes: Floats = _PEER_BYTES * neighbours.astype(np.float64) + np.where(
        ranks > local, _REMOTE_POOL_BYTES, 0.0
    )
    return partner_bytes


def _compute_deepep_bytes(scenario: Scenario, ranks: Ints) -> Floats:
    """DeepEP's buffers, [plans]: 10 channels, for each rank of a node 256 to 560 tokens by the size of the group, for
    each node 128, twice (`get_dispatch_config` of deep_ep/buffer.py). HybridEP is taken to be alike.
    """
    token_bytes = scenario.value_bytes * scenario.workload.hidden_size + _DEEPEP_TOKEN_BYTES
    local = np.minimum(ranks, _DEEPEP_NODE_RANKS)
    local_tokens = local * np.where(ranks <= _DEEPEP_NODE_RANKS, 256, np.where(ranks <= 64, 288, 560))
    nodes = np.where(ranks > _DEEPEP_NODE_RANKS, ranks / _DEEPEP_NODE_RANKS, 0.0)
    buffer_bytes: Floats = _DEEPEP_CHANNELS * token_bytes * (local_tokens + 2 * nodes * _DEEPEP_REMOTE_TOKENS)
    return buffer_bytes
