"""Gradient and parameter collectives of data parallelism, the links that they share, and the optimizer's update.

Dense parameters are shared by dp x cp ranks, experts by what the expert group leaves of a stage (`rank_groups.py`).
What moves, by ZeRO stage (arXiv 1910.02054, section 7):
0: one all-reduce of the gradients a step. 1: reduce-scatter of gradients, all-gather of weights, once a step.
2: reduce-scatter after every micro-batch, since no rank keeps all gradients; all-gather once a step.
3: all-gather of weights before every forward and every backward pass, reduce-scatter after every micro-batch; never
resharded after the forward pass, weights are gathered before that alone.
Under hybrid sharding (arXiv 2304.11277, section 3.2.2) gathers and scatters stay within the sharding group; what is
scattered is then reduced over its replicas, once a step.

A data-parallel collective runs beside a micro-batch's compute, and so does its layers' overlapped communication. A
link carries one at a time: seconds in which overlapped communication uses a tier that the data-parallel collective
uses too are no time for the latter. While communication on other tiers is exposed, the collective's own links are
idle: those seconds are time for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from planner.cost import collectives, rank_groups
from planner.cost.arrays import Bools, Floats, Ints, find_unique_rows
from planner.cost.layer_tables import AxisCommunication
from planner.cost.operators.roofline import compute_gemm_flops_per_s, compute_memory_bytes_per_s
from planner.cost.pipeline.stages import (
    PlanTables,
    StageParameters,
    compute_sharded_parameters,
    count_data_ranks,
    count_expert_shards,
    count_shards,
)
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import count_copies
from planner.cost.strategies import Strategies

COMM_AXIS_GROUPS = {
    "tp": rank_groups.build_tensor_group,
    "cp": rank_groups.build_context_group,
    "ep": rank_groups.build_expert_group,
}
"""Axes that communicate inside a layer, and the ranks of each."""


def compute_shared_tier_bits(scenario: Scenario, s: Strategies) -> Ints:
    """Which axes use a tier that the data-parallel collective uses too: one bit each, in the order of
    `COMM_AXIS_GROUPS`; shape [plans].
    """
    strides, network = rank_groups.compute_rank_strides(scenario.rank_layout, s), scenario.network
    # DualPipe's copies of a stage lie as far apart as the stages
    mirror_keys = (strides["pp"], s.pp, s.vpp) if scenario.rank_layout.mirrors_stages else ()
    unique = find_unique_rows(s.tp, s.cp, s.ep, s.etp, s.dp, strides["cp"], strides["dp"], *mirror_keys)
    keys = s.take(unique.first_index)
    data_tiers = collectives.find_used_tiers(network, rank_groups.build_data_group(scenario.rank_layout, keys))
    bits = np.zeros(len(keys), dtype=np.int64)
    for bit_index, (axis, build_group) in enumerate(COMM_AXIS_GROUPS.items()):
        if not (getattr(keys, axis) > 1).any():
            continue
        axis_tiers = collectives.find_used_tiers(network, build_group(scenario.rank_layout, keys))
        bits |= (data_tiers & axis_tiers).any(axis=1).astype(np.int64) << bit_index
    return bits[unique.inverse]


def compute_overlap_windows_s(
    communication: Sequence[AxisCommunication], *, repeats_modules: bool = False
) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch in one layer to add to what a data-parallel collective can run beside, forward and
    backward, by recompute mode and by the bits of `compute_shared_tier_bits`: [modes, 8, keys, layer types] each.

    `communication`: of the axes of `COMM_AXIS_GROUPS`, arrays of shape [keys, layer types]. Of an axis that uses a
    shared tier the overlapped seconds are taken off, of one on other tiers the exposed seconds are added. Full
    recomputation repeats the forward communication in the backward pass, as selective recomputation of modules does
    with theirs (`repeats_modules`).
    """
    forward_s = _compute_pass_windows_s([(axis.forward, axis.overlapped_forward) for axis in communication])
    backward_s = _compute_pass_windows_s([(axis.backward, axis.overlapped_backward) for axis in communication])

    def compute_repeated_windows_s(shares: list[Floats]) -> Floats:
        axes = zip(communication, shares, strict=True)
        return _compute_pass_windows_s(
            [(axis.forward * share, axis.overlapped_forward * share) for axis, share in axes]
        )

    selective_s = backward_s
    if repeats_modules:
        selective_s = backward_s + compute_repeated_windows_s([axis.selective_share for axis in communication])
    full_s = backward_s + compute_repeated_windows_s([axis.repeated_share for axis in communication])
    return np.stack([forward_s] * 3), np.stack([backward_s, selective_s, full_s])


def _compute_pass_windows_s(axis_times: list[tuple[Floats, Floats]]) -> Floats:
    """One pass, shape [8, keys, layer types]; `axis_times`: exposed and overlapped seconds of each axis."""
    bits = np.arange(2 ** len(axis_times))[:, None, None]
    window_s = np.zeros((len(bits), *axis_times[0][0].shape))
    for bit_index, (exposed_s, overlapped_s) in enumerate(axis_times):
        window_s += np.where(bits >> bit_index & 1, -overlapped_s, exposed_s)
    return window_s


@dataclass(frozen=True)
class DataParallelComm:
    """Seconds of one collective over the parameters of the stage with most, shape [plans]."""

    all_reduce_s: Floats
    reduce_scatter_s: Floats
    all_gather_s: Floats
    updated_all_gather_s: Floats
    """Of the weights that the optimizer changed."""
    replica_all_reduce_s: Floats
    """Of scattered gradients between sharding groups, zero where there is one."""

    def add(self, other: DataParallelComm, mask: Bools) -> DataParallelComm:
        """The sum, where `mask` holds, [plans]."""
        names = [field.name for field in fields(DataParallelComm)]
        return DataParallelComm(*(getattr(self, name) + np.where(mask, getattr(other, name), 0.0) for name in names))

    def take(self, index: Ints) -> DataParallelComm:
        """Those of the plans at `index`."""
        return DataParallelComm(*(getattr(self, field.name)[index] for field in fields(DataParallelComm)))


def _compute_data_parallel_comm(
    scenario: Scenario, s: Strategies, dense_parameters: Floats, expert_parameters: Floats
) -> DataParallelComm:
    """All collectives; dense and experts one after the other."""
    network, layout, state = scenario.network, scenario.rank_layout, scenario.trainer_state
    # what the optimizer changed is gathered once a step, under ZeRO 3 all weights before each pass
    gathered_weight_bytes = state.gather_bytes or state.weight_bytes
    updated_weight_bytes = scenario.trained_share * (scenario.trainer.gather_bytes or scenario.trainer.weight_bytes)
    unsharded_gradient_bytes = state.unsharded_reduce_bytes or state.grad_reduce_bytes
    comm = DataParallelComm(*[np.zeros(len(s))] * 5)
    for parameters, build_group, is_expert in (
        (dense_parameters, rank_groups.build_data_group, False),
        (expert_parameters, rank_groups.build_expert_data_group, True),
    ):
        if not (parameters > 0).any():
            continue
        group = build_group(layout, s)
        shards = (
            count_expert_shards(scenario, s) if is_expert else count_shards(scenario, count_data_ranks(scenario, s))
        )
        gradient_bytes, weight_bytes = parameters * state.grad_reduce_bytes, parameters * gathered_weight_bytes
        shard_ranks, replica_ranks = group.split(shards)
        messages = count_messages(scenario, s, parameters)
        all_gather_s = updated_all_gather_s = messages * collectives.compute_all_gather_s(
            network, weight_bytes / messages, shard_ranks
        )
        if updated_weight_bytes != gathered_weight_bytes:
            updated_all_gather_s = messages * collectives.compute_all_gather_s(
                network, parameters * updated_weight_bytes / messages, shard_ranks
            )
        replica_all_reduce_s = np.zeros(len(s))
        if (replica_ranks.size > 1).any():
            replica_all_reduce_s = messages * collectives.compute_all_reduce_s(
                network, gradient_bytes / shard_ranks.size / messages, replica_ranks
            )
        unsharded_bytes = parameters * unsharded_gradient_bytes
        group_comm = DataParallelComm(
            messages * collectives.compute_all_reduce_s(network, unsharded_bytes / messages, group),
            messages * collectives.compute_reduce_scatter_s(network, gradient_bytes / messages, shard_ranks),
            all_gather_s,
            updated_all_gather_s,
            replica_all_reduce_s,
        )
        comm = comm.add(group_comm, parameters > 0)
    return comm


def count_messages(scenario: Scenario, s: Strategies, parameters: Floats) -> Floats:
    """Messages of one collective over `parameters` parameters, [plans]: one for each layer, or for each bucket of the
    trainer's; one alone of a trainer with buckets where nothing runs
    beside compute.
    """
    if scenario.trainer.message_elements is None:
        copies = count_copies(scenario.pipeline_schedule, s)
        return np.asarray(copies * np.ceil(scenario.workload.layer_count / s.pp), dtype=np.float64)
    if not scenario.dp_overlap:
        return np.ones(len(s))
    least, per_rank = scenario.trainer.message_elements
    trained_parameters = scenario.trained_share * parameters
    messages: Floats = np.maximum(np.ceil(trained_parameters / np.maximum(least, per_rank * s.dp)), 1.0)
    return messages


def count_overlapped_passes(s: Strategies, micro_batches: Ints) -> Floats:
    """Passes of micro-batches through a stage beside which a step's collectives can run, [plans].

    Of one: a layer's gradients are whole when the last micro-batch has gone back through it, its weights are needed
    by the first one. Interleaved chunks work on pp micro-batches each in turn, so that the gradients of all chunks
    but the first are whole pp micro-batches of the chunks before them earlier, and the weights needed as much later
    (megatron-core 0.16.1, `overlap_grad_reduce` and `overlap_param_gather` of
    `forward_backward_pipelining_with_interleaving` in pipeline_parallel/schedules.py).
    """
    passes: Floats = ((s.vpp - 1) * np.minimum(s.pp, micro_batches) + 1) / s.vpp
    return passes


def compute_data_parallel_s(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints, windows_s: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Seconds of a step, exposed and overlapped, shape [plans].

    `windows_s`: seconds of one micro-batch on one stage, forward and backward, in which the links are free, beside
    which the collectives of the other layers run; the first layer's gather and the last layer's scatter have nothing
    to run beside.
    """
    parameters, stage_rows = plan_tables.parameters, plan_tables.stage_rows
    forward_window_s, backward_window_s = windows_s
    dense = parameters.dense.max(axis=1)
    unique = find_unique_rows(s.tp, s.ep, s.etp, s.cp, s.dp, stage_rows)
    comm = _compute_data_parallel_comm(
        scenario,
        s.take(unique.first_index),
        dense[unique.first_index],
        parameters.expert[unique.first_index].max(axis=1),
    ).take(unique.inverse)
    messages = count_messages(scenario, s, dense)
    overlap, zero = 1.0 if scenario.dp_overlap else 0.0, s.zero_stage
    gather_overlap = 1.0 if scenario.gather_overlap else 0.0

    def compute_exposed_s(comm_s: Floats, window_s: Floats) -> Floats:
        unoverlappable_s = comm_s / messages
        return unoverlappable_s + np.maximum(comm_s - unoverlappable_s - overlap * np.maximum(window_s, 0.0), 0.0)

    # of every micro-batch
    forward_s = np.where(zero == 3, comm.all_gather_s, 0.0)
    gathered_again_s = np.zeros_like(forward_s) if scenario.reshard == "never" else forward_s
    scattered_each_s = np.where(zero >= 2, comm.reduce_scatter_s, 0.0)
    backward_s = gathered_again_s + scattered_each_s
    # of every step
    weights_s = np.where((zero == 1) | (zero == 2), comm.updated_all_gather_s, 0.0)
    scattered_s = np.where(zero == 1, comm.reduce_scatter_s, 0.0) + comm.replica_all_reduce_s
    gradients_s = np.where(zero == 0, comm.all_reduce_s, scattered_s)
    total_s = weights_s + gradients_s + micro_batches * (forward_s + backward_s)
    micro_batch_exposed_s = compute_exposed_s(forward_s, gather_overlap * forward_window_s)
    if scenario.gather_overlap:
        micro_batch_exposed_s += compute_exposed_s(backward_s, backward_window_s)
    else:
        micro_batch_exposed_s += gathered_again_s + compute_exposed_s(scattered_each_s, backward_window_s)
    passes = count_overlapped_passes(s, micro_batches)
    exposed_s = (
        compute_exposed_s(weights_s, gather_overlap * passes * forward_window_s)
        + compute_exposed_s(gradients_s, passes * backward_window_s)
        + micro_batches * micro_batch_exposed_s
    )
    overlapped_s = total_s - exposed_s
    return exposed_s + scenario.calibration.contention * overlapped_s, overlapped_s


def count_owned_parameters(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Parameters whose optimizer state one device of the stage with most has, shape [plans]."""
    sharded = compute_sharded_parameters(scenario, s, parameters)
    owned: Floats = np.where(s.zero_stage[:, None] >= 1, sharded, parameters.dense + parameters.expert).max(axis=1)
    return owned


def compute_optimizer_s(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Adam by its memory traffic: gradient read, master copy and two moments read and written, weight written.

    Sharded from ZeRO stage 1 on. The stage with most decides; result [plans]. The traffic of an optimizer that
    updates on the host is the host's (`offload.py`), none of the device's. Muon's Newton-Schulz iterations are
    multiplies beside the traffic, on whole matrices; what gathers a matrix cut by tensor parallelism is not counted.
    """
    if scenario.offload.optimizer and scenario.trainer.updates_on_host:
        return np.zeros(len(s))
    trainer, owned_parameters = scenario.trainer, count_owned_parameters(scenario, s, parameters)
    accumulated_bytes = trainer.gradient_bytes - trainer.gradient_copy_bytes
    bytes_per_parameter = accumulated_bytes + 2 * trainer.optimizer_bytes + trainer.weight_bytes
    moved_bytes = scenario.trained_share * owned_parameters * bytes_per_parameter
    time_s: Floats = moved_bytes / compute_memory_bytes_per_s(scenario)
    if scenario.techniques.optimizer_flops:
        flops = owned_parameters * scenario.techniques.optimizer_flops
        time_s = time_s + flops / compute_gemm_flops_per_s(scenario, full_precision=True)
    return time_s
