"""The step: every term by its name, in seconds, adding up to the step's time; memory, throughput, MFU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Floats, Ints, sum_in_order, sum_products, take_columns
from planner.cost.collectives import compute_point_to_point_s
from planner.cost.flops import compute_model_flops, compute_recomputed_flops
from planner.cost.layer_tables import LayerTables
from planner.cost.link_contention import COMM_AXIS_GROUPS, compute_shared_tier_bits
from planner.cost.link_contention import compute_overlap_windows_s as added_windows
from planner.cost.memory import compute_activation_bytes, compute_recompute_layer_share
from planner.cost.offload import NO_OFFLOAD, compute_host_transfer_s
from planner.cost.parallelism.data_parallel import (
    compute_data_parallel_s,
    compute_optimizer_s,
    count_owned_parameters,
)
from planner.cost.pipeline.parameters import count_shards
from planner.cost.pipeline.partition import compute_boundary_width
from planner.cost.plan_tables import PlanTables, build_plan_tables
from planner.cost.rank_groups import compute_stage_stride
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import compute_required_flops

LAYER_TERMS = ("forward", "backward", "recompute", "tensor_parallel", "context_parallel", "expert_parallel")
"""Terms that every micro-batch pays in each layer that it goes through."""
POST_PIPELINE_TERMS = ("data_parallel", "optimizer", "offload", "overhead")
"""Terms that a stage pays once a step, after its last micro-batch."""
STEP_TERMS = (*LAYER_TERMS, "pipeline_send", "pipeline_bubble", *POST_PIPELINE_TERMS)
"""All terms of a step, in the order in which they are told."""
OVERLAPPABLE_TERMS = (
    "tensor_parallel",
    "context_parallel",
    "expert_parallel",
    "pipeline_send",
    "data_parallel",
    "offload",
)
"""Terms of which a part may run beside other work: exchanges, and transfers to the host."""


@dataclass(frozen=True)
class StepCosts:
    """What the model says of each plan, arrays of shape [plans]. `terms` add up to `step_time_s`."""

    step_time_s: Floats
    terms: dict[str, Floats]
    overlapped: dict[str, Floats]
    mfu: Floats
    hfu: Floats


def count_micro_batches(scenario: Scenario, s: Strategies) -> Ints:
    """Micro-batches of a step on each data-parallel rank, all ranks alike, shape [plans]."""
    return scenario.global_batch // (s.dp * s.micro_batch)


def compute_pipeline_bound_s(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, n: Ints | None = None, recompute_mode: int = 0
) -> Floats:
    """A lower bound of the step's time over all ZeRO stages and recompute modes from `recompute_mode` on, shape
    [plans]; `micro_batches`: micro-batches of a rank, where ranks are not all alike.

    Proof: recomputation only adds to a stage's terms, so with least of it every chunk's time is least; with f_i the
    first chunks' times, n t_max + sum_i f_i - f_max grows in each of them, since t_max holds f_max and n >= 1.
    Data-parallel exchange, optimizer, offload and overhead are at least zero.
    """
    least_mode = recompute_mode if scenario.recompute_layers is None else 0
    per_layer_s = take_columns(
        sum_in_order(_compute_mode_layer_terms(scenario, plan_tables.layer_tables).values())[least_mode],
        plan_tables.layer_row,
    )
    slowest_path_s = plan_tables.stages.compute_slowest_path_s(plan_tables.stage_rows, per_layer_s)
    n = count_micro_batches(scenario, s) if n is None else n
    sends_s, _ = compute_pipeline_sends_s(scenario, s, n)
    return n * slowest_path_s + sends_s + compute_bubble_s(scenario, s, plan_tables, per_layer_s)


def compute_step_costs(scenario: Scenario, s: Strategies, plan_tables: PlanTables | None = None) -> StepCosts:
    """Time of one step of each plan; `plan_tables`: what `build_plan_tables` makes of them, where it is at hand.

    1F1B (Narayanan et al. 2021, arXiv 2104.04473): with t_i a stage's time for one micro-batch, the slowest
    stage works n t_max; filling and draining costs the other stages' first chunks once: of equal chunks
    (sum_i t_i - t_max) / vpp. Interleaved chunks of different length wait for the longest of their turn, so that
    t_max is the sum over turns of the slowest chunk.
    """
    terms, overlapped = compute_step_terms(
        scenario, s, plan_tables or build_plan_tables(scenario, s), count_micro_batches(scenario, s)
    )
    step_time_s = sum_in_order(terms.values())
    mfu, hfu = _compute_utilization(scenario, s, step_time_s)
    return StepCosts(step_time_s, terms, overlapped, mfu, hfu)


def compute_step_terms(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints, networks: Sequence[Network] = ()
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Seconds of every term and what is hidden beside it, shape [plans] each, for ranks of `micro_batches`
    micro-batches.

    `networks`: those of other kinds of devices among the data-parallel ranks; the slowest network decides.
    """
    stage_terms, per_layer_s = compute_slowest_stage_terms(scenario, plan_tables, s)
    micro_batch_forward_s = stage_terms["forward"]
    micro_batch_backward_s = stage_terms["backward"] + stage_terms["recompute"]
    overlap_windows_s = compute_overlappable_s(scenario, stage_terms)
    dp_exposed_s, dp_overlapped_s = compute_data_parallel_s(
        scenario, s, plan_tables.parameters, plan_tables.stage_rows, micro_batches, *overlap_windows_s
    )
    for network in networks:
        other_scenario = replace(scenario, network=network)
        other_exposed_s, other_overlapped_s = compute_data_parallel_s(
            other_scenario, s, plan_tables.parameters, plan_tables.stage_rows, micro_batches, *overlap_windows_s
        )
        dp_overlapped_s = np.where(other_exposed_s > dp_exposed_s, other_overlapped_s, dp_overlapped_s)
        dp_exposed_s = np.maximum(other_exposed_s, dp_exposed_s)
    sends_exposed_s, sends_overlapped_s = compute_pipeline_sends_s(scenario, s, micro_batches)
    offload_exposed_s, offload_overlapped_s = compute_offload_s(
        scenario, s, plan_tables, micro_batches, micro_batch_forward_s, micro_batch_backward_s
    )
    terms = {name: micro_batches * stage_terms[name] for name in LAYER_TERMS}
    terms |= {
        "pipeline_send": sends_exposed_s,
        "pipeline_bubble": compute_bubble_s(scenario, s, plan_tables, per_layer_s),
        "data_parallel": dp_exposed_s,
        "optimizer": compute_optimizer_s(scenario, s, plan_tables.parameters),
        "offload": offload_exposed_s,
        "overhead": np.full(len(s), scenario.calibration.step_overhead_s),
    }
    overlapped = {
        "tensor_parallel": micro_batches * stage_terms["tp_hidden"],
        "context_parallel": micro_batches * stage_terms["cp_hidden"],
        "expert_parallel": micro_batches * stage_terms["ep_hidden"],
        "pipeline_send": sends_overlapped_s,
        "data_parallel": dp_overlapped_s,
        "offload": offload_overlapped_s,
    }
    return terms, overlapped


def _compute_mode_layer_terms(scenario: Scenario, tables: LayerTables) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer, by term and recompute mode: shape [modes, rows, kinds] each."""
    recomputable_mask = tables.recomputable_mask
    zero_s = np.zeros_like(tables.forward)
    recompute_s = np.stack([zero_s, tables.again * recomputable_mask, tables.forward * recomputable_mask])
    tp_recompute_s = np.stack([zero_s, zero_s, tables.tp_forward * recomputable_mask])
    ep_recompute_s = np.stack([zero_s, zero_s, tables.ep_forward * recomputable_mask])
    attention_comm_s = tables.cp_forward * recomputable_mask
    cp_recompute_s = np.stack(
        [zero_s, attention_comm_s if scenario.attention_kernel == "unfused" else zero_s, attention_comm_s]
    )
    return {
        "forward": np.stack([tables.forward] * 3),
        "backward": np.stack([tables.backward] * 3),
        "recompute": recompute_s,
        "tensor_parallel": tables.tp_forward + tables.tp_backward + tp_recompute_s,
        "context_parallel": tables.cp_forward + tables.cp_backward + cp_recompute_s,
        "expert_parallel": tables.ep_forward + tables.ep_backward + ep_recompute_s,
    }


def compute_bubble_s(scenario: Scenario, s: Strategies, plan_tables: PlanTables, per_layer_s: Floats) -> Floats:
    """Filling and draining: the first chunks of all stages but the slowest, forward going in and backward coming out;
    [plans].

    The zero-bubble schedule ZB-H1 (Qi et al. 2023, arXiv 2401.10241, table 2) puts the weights' gradients W where
    1F1B waits: (p - 1)(F + B - W) instead of (p - 1)(F + B + W), in the same memory; it is not interleaved.
    """
    return plan_tables.stages.compute_fill_drain_s(
        plan_tables.stage_rows, compute_stall_s(scenario, s, plan_tables, per_layer_s)
    )


def compute_stall_s(scenario: Scenario, s: Strategies, plan_tables: PlanTables, per_layer_s: Floats) -> Floats:
    """Of a layer's seconds those that other stages wait while the pipeline fills and drains, [plans, kinds]."""
    if scenario.pipeline_schedule != "zero-bubble":
        return per_layer_s
    weight_grad_s = take_columns(plan_tables.layer_tables.weight, plan_tables.layer_row)
    return np.where((s.vpp == 1)[:, None], np.maximum(per_layer_s - 2 * weight_grad_s, 0.0), per_layer_s)


def _select_plan_terms(
    scenario: Scenario, s: Strategies, terms: dict[str, Floats], layer_row: Ints
) -> dict[str, Floats]:
    """The terms of each plan's recompute mode, shape [plans, kinds] each; of full, as many layers as are repeated."""
    return {
        name: _interpolate_recompute(scenario, s, table[s.recompute, layer_row], table[0, layer_row])
        for name, table in terms.items()
    }


def _interpolate_recompute(
    scenario: Scenario, s: Strategies, full_mode_terms: Floats, no_recompute_terms: Floats
) -> Floats:
    """What a recompute mode takes where not all layers are repeated: between it and none."""
    if scenario.recompute_layers is None:
        return full_mode_terms
    recomputed_share = compute_recompute_layer_share(scenario, s)[:, None]
    return no_recompute_terms + recomputed_share * (full_mode_terms - no_recompute_terms)


def compute_layer_terms(scenario: Scenario, s: Strategies, tables: LayerTables, layer_row: Ints) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer of each kind by term, under each plan's mode: [plans, kinds] each."""
    return _select_plan_terms(scenario, s, _compute_mode_layer_terms(scenario, tables), layer_row)


def compute_slowest_stage_terms(
    scenario: Scenario, plan_tables: PlanTables, s: Strategies
) -> tuple[dict[str, Floats], Floats]:
    """Terms of one micro-batch on the slowest path, [plans]; seconds of one layer of each kind, [plans, kinds]."""
    tables, layer_row = plan_tables.layer_tables, plan_tables.layer_row
    terms = compute_layer_terms(scenario, s, tables, layer_row)
    per_layer_s = sum_in_order(terms.values())
    layer_counts = plan_tables.stages.find_slowest_layers(plan_tables.stage_rows, per_layer_s)
    stage_terms = {name: sum_products(layer_counts, table) for name, table in terms.items()}
    for comm_axis in COMM_AXIS_GROUPS:
        overlapped_s = getattr(tables, f"{comm_axis}_hidden_forward") + getattr(
            tables, f"{comm_axis}_hidden_backward"
        )
        stage_terms[f"{comm_axis}_hidden"] = sum_products(layer_counts, overlapped_s[layer_row])
    shared_tier_bits = compute_shared_tier_bits(scenario, s)
    for name, window in zip(("window_forward", "window_backward"), added_windows(tables), strict=True):
        mode_window_s = _interpolate_recompute(
            scenario, s, window[s.recompute, shared_tier_bits, layer_row], window[0, shared_tier_bits, layer_row]
        )
        stage_terms[name] = sum_products(layer_counts, mode_window_s)
    return stage_terms, per_layer_s


def compute_overlappable_s(scenario: Scenario, stage_terms: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch, forward and backward, beside which a data-parallel collective can run, [plans]."""
    overlap = scenario.calibration.overlap
    forward_s = overlap * stage_terms["forward"] + stage_terms["window_forward"]
    return forward_s, overlap * (stage_terms["backward"] + stage_terms["recompute"]) + stage_terms["window_backward"]


def compute_pipeline_sends_s(scenario: Scenario, s: Strategies, micro_batches: Ints) -> tuple[Floats, Floats]:
    """Activations to the next stage and gradients back, exposed and hidden, shape [plans].

    A stage sends and receives for each chunk of each micro-batch; with interleaving the transfer runs beside
    the other chunks' compute. Tensor-parallel ranks each send their part (scatter-gather, section 4.1 there).
    """
    tokens = s.micro_batch * (scenario.workload.seq_length / s.cp)
    size_bytes = tokens * compute_boundary_width(scenario.workload, s) * scenario.value_bytes / s.tp
    send_s = compute_point_to_point_s(
        scenario.network, size_bytes, compute_stage_stride(scenario.rank_order, s), s.pp
    )
    total_s = np.where(s.pp > 1, 2 * send_s * (micro_batches * s.vpp + s.pp - 1), 0.0)
    overlapped_s = np.where(s.vpp > 1, total_s * scenario.calibration.overlap, 0.0)
    return total_s - overlapped_s, overlapped_s


def compute_offload_s(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    micro_batches: Ints,
    forward_s: Floats,
    backward_s: Floats,
) -> tuple[Floats, Floats]:
    """Transfers to and from the host on the fullest stage, exposed and hidden, shape [plans]."""
    if scenario.host is None or not scenario.offload.is_active:
        return np.zeros(len(s)), np.zeros(len(s))
    without_offload, single_column = replace(scenario, offload=NO_OFFLOAD), np.ones((len(s), 1))
    # of two micro-batches more than of one: what is kept, without the layer at work
    first_bytes, second_bytes = (
        compute_activation_bytes(without_offload, s, plan_tables, s.recompute, count * single_column)["activations"]
        for count in (1, 2)
    )
    dense_parameters, expert_parameters = plan_tables.parameters.dense, plan_tables.parameters.expert
    dense_shards = np.where(s.zero_stage == 3, count_shards(scenario, s.dp * s.cp), 1)[:, None]
    expert_shards = np.where(s.zero_stage == 3, count_shards(scenario, s.expert_ranks), 1)[:, None]
    trainer = scenario.trainer
    return compute_host_transfer_s(
        scenario.host,
        scenario.devices_per_host,
        scenario.offload,
        owned_parameters=scenario.trained_share * count_owned_parameters(scenario, s, plan_tables.parameters),
        weights_bytes=scenario.trainer_state.weight_bytes
        * (dense_parameters / dense_shards + expert_parameters / expert_shards).max(axis=1),
        activations_bytes=(second_bytes - first_bytes).max(axis=1),
        micro_batches=micro_batches.astype(np.float64),
        forward_s=forward_s,
        backward_s=backward_s,
        overlap=scenario.calibration.overlap,
        gradient_and_weight_bytes=(trainer.gradient_bytes, trainer.weight_bytes),
    )


def _compute_utilization(scenario: Scenario, s: Strategies, step_time_s: Floats) -> tuple[Floats, Floats]:
    """MFU and HFU, shape [plans]."""
    workload, batch, convention = scenario.workload, scenario.global_batch, scenario.flops_convention
    peak_flops_per_s = scenario.devices * scenario.accelerator.get_peak_flops(scenario.precision)
    flops = compute_required_flops(scenario, compute_model_flops(workload, batch, convention))
    again = compute_recompute_layer_share(scenario, s) * np.array(compute_recomputed_flops(scenario))[s.recompute]
    mfu = flops / (peak_flops_per_s * step_time_s)
    return mfu, (flops + again) / (peak_flops_per_s * step_time_s)
