"""Gradient and parameter collectives of data parallelism, and the optimizer's update.

Dense parameters are shared by dp x cp ranks, experts by what the expert group leaves of a stage (Megatron-LM).
What moves, by ZeRO stage (arXiv 1910.02054, section 7):
0: one all-reduce of the gradients a step. 1: reduce-scatter of gradients, all-gather of weights, once a step.
2: reduce-scatter after every micro-batch, since no rank keeps all gradients; all-gather once a step.
3: all-gather of weights before every forward and every backward pass, reduce-scatter after every micro-batch.
Under hybrid sharding (arXiv 2304.11277, section 3.2.2) gathers and scatters stay within the sharding group; what is
scattered is then reduced over its replicas, once a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.collectives import compute_all_gather_s, compute_all_reduce_s, compute_reduce_scatter_s
from planner.cost.operators.roofline import compute_gemm_flops_per_s, compute_memory_bytes_per_s
from planner.cost.pipeline.parameters import StageParameters, count_shards
from planner.cost.rank_groups import RankGroup, build_data_group, build_expert_data_group
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import find_unique_rows


@dataclass(frozen=True)
class DataParallelComm:
    """Seconds of one collective over the parameters of the stage with most, shape [plans].

    `updated_all_gather_s`: of the weights that the optimizer changed.
    `replica_all_reduce_s`: the all-reduce of scattered gradients between sharding groups, zero where there is one.
    """

    all_reduce_s: Floats
    reduce_scatter_s: Floats
    all_gather_s: Floats
    updated_all_gather_s: Floats
    replica_all_reduce_s: Floats


def _compute_data_parallel_comm(
    scenario: Scenario, s: Strategies, dense_parameters: Floats, expert_parameters: Floats
) -> DataParallelComm:
    """All collectives; dense and experts one after the other."""
    network, rank_order, trainer_state = scenario.network, scenario.rank_order, scenario.trainer_state
    # what the optimizer changed is gathered once a step, under ZeRO 3 all weights before each pass
    updated_weight_bytes = scenario.trained_share * scenario.trainer.weight_bytes
    all_reduce_s = reduce_scatter_s = all_gather_s = updated_all_gather_s = replica_all_reduce_s = np.zeros(len(s))
    for parameters, group in (
        (dense_parameters, build_data_group(rank_order, s)),
        (expert_parameters, build_expert_data_group(rank_order, s)),
    ):
        gradient_bytes, weight_bytes = (
            parameters * trainer_state.grad_reduce_bytes,
            parameters * trainer_state.weight_bytes,
        )
        has_parameters = parameters > 0
        if not has_parameters.any():
            continue
        shard_ranks, replica_ranks = _split_shard_group(group, count_shards(scenario, group.size))
        shards = shard_ranks.size
        all_reduce_s = all_reduce_s + np.where(
            has_parameters, compute_all_reduce_s(network, gradient_bytes, group), 0.0
        )
        reduce_scatter_s = reduce_scatter_s + np.where(
            has_parameters, compute_reduce_scatter_s(network, gradient_bytes, shard_ranks), 0.0
        )
        all_gather_s = all_gather_s + np.where(
            has_parameters, compute_all_gather_s(network, weight_bytes, shard_ranks), 0.0
        )
        if updated_weight_bytes != trainer_state.weight_bytes:
            updated_all_gather_s = updated_all_gather_s + np.where(
                has_parameters, compute_all_gather_s(network, parameters * updated_weight_bytes, shard_ranks), 0.0
            )
        if (replica_ranks.size > 1).any():
            replica_all_reduce_s = replica_all_reduce_s + np.where(
                has_parameters, compute_all_reduce_s(network, gradient_bytes / shards, replica_ranks), 0.0
            )
    return DataParallelComm(
        all_reduce_s,
        reduce_scatter_s,
        all_gather_s,
        all_gather_s if updated_weight_bytes == trainer_state.weight_bytes else updated_all_gather_s,
        replica_all_reduce_s,
    )


def _split_shard_group(group: RankGroup, shards: Ints) -> tuple[RankGroup, RankGroup]:
    """The sharding group, the innermost `shards` ranks of a group, and the group of its replicas."""
    shard_sizes, remaining = [], shards
    for part in group.sizes.T:
        share = np.gcd(part, remaining)
        shard_sizes.append(share)
        remaining = remaining // share
    sizes = np.stack(shard_sizes, axis=1)
    return RankGroup(sizes, group.strides), RankGroup(group.sizes // sizes, group.strides * sizes)


def compute_data_parallel_s(
    scenario: Scenario,
    s: Strategies,
    parameters: StageParameters,
    stage_rows: Ints,
    micro_batches: Ints,
    forward_window_s: Floats,
    backward_window_s: Floats,
) -> tuple[Floats, Floats]:
    """Seconds of a step, exposed and overlapped, shape [plans].

    `forward_window_s` and `backward_window_s`: seconds of one micro-batch on one stage in which the links are free
    (see `link_contention.py`), beside which the collectives of the other layers run; the first layer's gather and
    the last layer's scatter have nothing to run beside.
    """
    unique_keys = find_unique_rows(s.tp, s.ep, s.etp, s.cp, s.dp, stage_rows)
    unique_strategies = s.take(unique_keys.first_index)
    comm = _compute_data_parallel_comm(
        scenario,
        unique_strategies,
        parameters.dense[unique_keys.first_index].max(axis=1),
        parameters.expert[unique_keys.first_index].max(axis=1),
    )
    comm_parts = (
        comm.all_reduce_s,
        comm.reduce_scatter_s,
        comm.all_gather_s,
        comm.updated_all_gather_s,
        comm.replica_all_reduce_s,
    )
    all_reduce_s, reduce_scatter_s, all_gather_s, updated_all_gather_s, replica_all_reduce_s = (
        part[unique_keys.inverse] for part in comm_parts
    )
    layers_on_stage = np.ceil(scenario.workload.layer_count / s.pp)
    overlap = 1.0 if scenario.dp_overlap else 0.0
    zero = s.zero_stage

    def compute_exposed_s(comm_s: Floats, window_s: Floats) -> Floats:
        unoverlappable_s = comm_s / layers_on_stage
        return unoverlappable_s + np.maximum(comm_s - unoverlappable_s - overlap * np.maximum(window_s, 0.0), 0.0)

    per_forward_s = np.where(zero == 3, all_gather_s, 0.0)
    per_backward_s = np.where(zero == 3, all_gather_s, 0.0) + np.where(zero >= 2, reduce_scatter_s, 0.0)
    per_step_backward_s = np.where(
        zero == 0, all_reduce_s, np.where(zero == 1, reduce_scatter_s, 0.0) + replica_all_reduce_s
    )
    per_step_forward_s = np.where((zero == 1) | (zero == 2), updated_all_gather_s, 0.0)
    total_s = per_step_forward_s + per_step_backward_s + micro_batches * (per_forward_s + per_backward_s)
    exposed_s = (
        compute_exposed_s(per_step_forward_s, forward_window_s)
        + compute_exposed_s(per_step_backward_s, backward_window_s)
        + micro_batches
        * (compute_exposed_s(per_forward_s, forward_window_s) + compute_exposed_s(per_backward_s, backward_window_s))
    )
    overlapped_s = total_s - exposed_s
    return exposed_s + scenario.calibration.contention * overlapped_s, overlapped_s


def count_owned_parameters(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Parameters whose optimizer state one device of the stage with most has, shape [plans]."""
    dense_shards = count_shards(scenario, s.dp * s.cp)[:, None].astype(np.float64)
    expert_shards = count_shards(scenario, s.expert_ranks)[:, None].astype(np.float64)
    sharded_parameters = parameters.dense / dense_shards + parameters.expert / expert_shards
    owned_parameters: Floats = np.where(
        s.zero_stage[:, None] >= 1, sharded_parameters, parameters.dense + parameters.expert
    ).max(axis=1)
    return owned_parameters


def compute_optimizer_s(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Adam by its memory traffic: gradient read, master copy and two moments read and written, weight written.

    Sharded from ZeRO stage 1 on. The stage with most decides; result [plans]. An offloaded optimizer's traffic is the
    host's (`offload.py`), none of the device's.
    """
    if scenario.offload.optimizer:
        return np.zeros(len(s))
    trainer = scenario.trainer
    bytes_per_parameter = trainer.gradient_bytes + 2 * trainer.optimizer_bytes + trainer.weight_bytes
    moved_bytes = scenario.trained_share * count_owned_parameters(scenario, s, parameters) * bytes_per_parameter
    time_s: Floats = moved_bytes / compute_memory_bytes_per_s(scenario)
    if scenario.techniques.optimizer_flops:
        time_s = time_s + _compute_orthogonalization_s(scenario, s, parameters)
    return time_s


def _compute_orthogonalization_s(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Arithmetic of the update beside its traffic (Muon's Newton-Schulz iterations), on whole matrices, shape
    [plans]; what gathers a matrix that tensor parallelism cuts is not counted.
    """
    flops = count_owned_parameters(scenario, s, parameters) * scenario.techniques.optimizer_flops
    return flops / compute_gemm_flops_per_s(scenario, full_precision=True)
