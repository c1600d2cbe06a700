"""The step: every term by its name, in seconds, adding up to the step's time; memory, throughput, MFU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Floats, Ints, sum_in_order, sum_products, take_columns
from planner.cost.collectives import compute_point_to_point_s
from planner.cost.data_parallel import (
    compute_data_parallel_s,
    compute_optimizer_s,
    compute_overlap_windows_s,
    compute_shared_tier_bits,
)
from planner.cost.flops import compute_recomputed_flops, compute_required_flops
from planner.cost.input_pipeline import compute_input_demand, compute_input_s
from planner.cost.layer_tables import LayerTables
from planner.cost.memory.activations import compute_recompute_layer_share
from planner.cost.offload import compute_offload_s
from planner.cost.operators.roofline import get_peak_16bit_flops_per_s
from planner.cost.pipeline.partition import compute_boundary_width
from planner.cost.pipeline.stages import PlanTables, build_plan_tables
from planner.cost.rank_groups import compute_stage_stride
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import FOLDED_SCHEDULES, compute_folded_waits, is_folded
from planner.cost.strategies import Strategies

COMMUNICATION_TERMS = ("tensor_parallel", "context_parallel", "expert_parallel")
"""Terms of communication inside a layer: of tp, cp and ep."""
LAYER_TERMS = ("forward", "backward", "recompute", *COMMUNICATION_TERMS)
"""Terms that every micro-batch pays in each layer that it goes through."""
POST_PIPELINE_TERMS = ("data_parallel", "optimizer", "offload", "overhead")
"""Terms that a stage pays once a step, after its last micro-batch."""
STEP_TERMS = (*LAYER_TERMS, "pipeline_send", "pipeline_bubble", *POST_PIPELINE_TERMS, "input")
"""All terms of a step, in the order in which they are printed; `input`: by how much the reading and preparing of the
next samples is longer than all others together."""
OVERLAPPABLE_TERMS = (*COMMUNICATION_TERMS, "pipeline_send", "data_parallel", "offload")
"""Terms of which a part may run beside other work: communication, and transfers to the host."""


@dataclass(frozen=True)
class StepCosts:
    """What the model says of each plan, arrays of shape [plans]. `terms` add up to `step_time_s`."""

    step_time_s: Floats
    terms: dict[str, Floats]
    overlapped: dict[str, Floats]
    mfu: Floats
    mfu_bf16: Floats
    """Of the 16-bit peak, or the precision's own where it is wider."""
    hfu: Floats


@dataclass(frozen=True)
class StageTerms:
    """One micro-batch on the slowest stage (the slowest chunk of each round where they are interleaved), in seconds,
    arrays of shape [plans] unless stated.
    """

    terms: dict[str, Floats]
    """By `LAYER_TERMS`."""
    overlapped: dict[str, Floats]
    """By `COMMUNICATION_TERMS`."""
    forward_window_s: Floats
    """What contention for links adds to the time beside which a data-parallel collective can run."""
    backward_window_s: Floats
    per_layer_s: Floats
    """All terms of one layer of each type, [plans, layer types]."""

    @property
    def forward_s(self) -> Floats:
        """Compute of the forward pass, [plans]."""
        return self.terms["forward"]

    @property
    def backward_s(self) -> Floats:
        """Compute of the backward pass, recomputation included, [plans]."""
        return self.terms["backward"] + self.terms["recompute"]


def count_micro_batches(scenario: Scenario, s: Strategies) -> Ints:
    """Micro-batches of a step on each data-parallel rank, all ranks alike, shape [plans]."""
    return scenario.global_batch // (s.dp * s.micro_batch)


def compute_pipeline_bound_s(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    micro_batches: Ints | None = None,
    recompute_mode: int = 0,
) -> Floats:
    """A lower bound of the step's time over all ZeRO stages and recompute modes from `recompute_mode` on, shape
    [plans]; `micro_batches`: micro-batches of a rank, where ranks are not all alike.

    Proof: recomputation only adds to a stage's terms, so with least of it every chunk's time is least; with f_i the
    first chunks' times, n t_max + sum_i f_i - f_max grows in each of them, since t_max holds f_max and n >= 1. Of a
    folded schedule's waits those are left out that recomputation may shorten. Data-parallel communication, optimizer,
    offload and overhead are at least zero.
    """
    least_mode = recompute_mode if scenario.recompute_layers is None else 0
    mode_terms = _compute_mode_layer_terms(plan_tables.layer_tables)
    per_layer_s = take_columns(sum_in_order(mode_terms.values())[least_mode], plan_tables.layer_row)
    slowest_path_s = plan_tables.stages.compute_slowest_path_s(plan_tables.stage_rows, per_layer_s)
    micro_batches = count_micro_batches(scenario, s) if micro_batches is None else micro_batches
    send_s, _ = compute_pipeline_send_s(scenario, s, micro_batches)
    bubble_s = compute_bubble_s(scenario, s, plan_tables, per_layer_s, for_bound=True)
    return micro_batches * slowest_path_s + send_s + bubble_s


def compute_step_costs(scenario: Scenario, s: Strategies, plan_tables: PlanTables | None = None) -> StepCosts:
    """Time of one step of each plan; `plan_tables`: what `build_plan_tables` makes of them, where it is at hand.

    1F1B (Narayanan et al. 2021, arXiv 2104.04473): with t_i a stage's time for one micro-batch, the slowest
    stage works n t_max; filling and draining costs the other stages' first chunks once: of equal chunks
    (sum_i t_i - t_max) / vpp. Interleaved chunks of different length wait for the slowest of their round, so that
    t_max is the sum over rounds of the slowest chunk.
    """
    plan_tables = plan_tables or build_plan_tables(scenario, s)
    terms, overlapped = compute_step_terms(scenario, s, plan_tables, count_micro_batches(scenario, s))
    terms["input"] = compute_input_wait_s(scenario, s, sum_in_order(terms.values()))
    step_time_s = sum_in_order(terms.values())
    peak_flops = scenario.devices * scenario.accelerator.get_peak_flops(scenario.precision) * step_time_s
    flops = compute_required_flops(scenario)
    recomputed_flops = np.array(compute_recomputed_flops(scenario))[s.recompute]
    recomputed_flops = compute_recompute_layer_share(scenario, s) * recomputed_flops
    peak_16bit_flops = scenario.devices * get_peak_16bit_flops_per_s(scenario) * step_time_s
    return StepCosts(
        step_time_s,
        terms,
        overlapped,
        mfu=flops / peak_flops,
        mfu_bf16=flops / peak_16bit_flops,
        hfu=(flops + recomputed_flops) / peak_flops,
    )


def compute_input_wait_s(scenario: Scenario, s: Strategies, busy_s: Floats) -> Floats:
    """What a step waits for its samples, which are read and prepared beside it; `busy_s`: all its other terms."""
    demand = compute_input_demand(
        scenario.workload, scenario.global_batch, scenario.devices_per_host, scenario.rank_order, s
    )
    if demand is None:
        return np.zeros(len(s))
    wait_s: Floats = np.maximum(compute_input_s(demand, scenario.input_supply) - busy_s, 0.0)
    return wait_s


def compute_step_terms(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints, networks: Sequence[Network] = ()
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Seconds of every term and what of it is overlapped, shape [plans] each, for ranks of `micro_batches`
    micro-batches.

    `networks`: of the other pool among the data-parallel ranks; the slowest network decides.
    """
    stage = compute_slowest_stage_terms(scenario, plan_tables, s)
    send_exposed_s, send_overlapped_s = compute_pipeline_send_s(scenario, s, micro_batches)
    post_pipeline, post_overlapped = compute_post_pipeline_terms(
        scenario, s, plan_tables, micro_batches, stage, networks
    )
    terms = {
        **{name: micro_batches * stage.terms[name] for name in LAYER_TERMS},
        "pipeline_send": send_exposed_s,
        "pipeline_bubble": compute_bubble_s(scenario, s, plan_tables, stage.per_layer_s),
        **post_pipeline,
    }
    overlapped = {
        **{name: micro_batches * overlapped_s for name, overlapped_s in stage.overlapped.items()},
        "pipeline_send": send_overlapped_s,
        **post_overlapped,
    }
    return terms, overlapped


def compute_post_pipeline_terms(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    micro_batches: Ints,
    stage: StageTerms,
    networks: Sequence[Network] = (),
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Terms by `POST_PIPELINE_TERMS` and what of them is overlapped, shape [plans] each; `networks` as of
    `compute_step_terms`.
    """
    # seconds of one micro-batch beside which a data-parallel collective can run
    overlap = scenario.calibration.overlap
    windows_s = (
        overlap * stage.forward_s + stage.forward_window_s,
        overlap * stage.backward_s + stage.backward_window_s,
    )
    dp_exposed_s, dp_overlapped_s = compute_data_parallel_s(scenario, s, plan_tables, micro_batches, windows_s)
    for network in networks:
        bound = replace(scenario, network=network)
        other_exposed_s, other_overlapped_s = compute_data_parallel_s(bound, s, plan_tables, micro_batches, windows_s)
        dp_overlapped_s = np.where(other_exposed_s > dp_exposed_s, other_overlapped_s, dp_overlapped_s)
        dp_exposed_s = np.maximum(other_exposed_s, dp_exposed_s)
    offload_exposed_s, offload_overlapped_s = compute_offload_s(
        scenario, s, plan_tables, micro_batches, stage.forward_s, stage.backward_s
    )
    terms = {
        "data_parallel": dp_exposed_s,
        "optimizer": compute_optimizer_s(scenario, s, plan_tables.parameters),
        "offload": offload_exposed_s,
        "overhead": np.full(len(s), scenario.calibration.step_overhead_s),
    }
    return terms, {"data_parallel": dp_overlapped_s, "offload": offload_overlapped_s}


def _compute_mode_layer_terms(tables: LayerTables) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer, by term and recompute mode: shape [modes, keys, layer types] each."""
    zero_s = np.zeros_like(tables.forward)
    # what is repeated without recomputation, under selective and under full recomputation
    recompute_s = np.stack([zero_s, tables.selective_recompute, tables.forward * tables.repeated_share])
    tp_recompute_s, cp_recompute_s, ep_recompute_s = (
        np.stack([zero_s, axis.forward * axis.selective_share, axis.forward * axis.repeated_share])
        for axis in tables.communication
    )
    return {
        "forward": np.stack([tables.forward] * 3),
        "backward": np.stack([tables.backward] * 3),
        "recompute": recompute_s,
        "tensor_parallel": tables.tp.forward + tables.tp.backward + tp_recompute_s,
        "context_parallel": tables.cp.forward + tables.cp.backward + cp_recompute_s,
        "expert_parallel": tables.ep.forward + tables.ep.backward + ep_recompute_s,
    }


def compute_bubble_s(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, per_layer_s: Floats, *, for_bound: bool = False
) -> Floats:
    """Filling and draining: the first chunks of all stages but the slowest, forward going in and backward coming out;
    [plans]. `for_bound`: no more than it takes with more recomputation too.

    The zero-bubble schedule ZB-H1 (Qi et al. 2023, arXiv 2401.10241, table 2) puts the weights' gradients W where
    1F1B waits: (p - 1)(F + B - W) instead of (p - 1)(F + B + W), at least (p - 1) F; it is not interleaved. GPipe
    (Huang et al. 2019, arXiv 1811.06965, section 2.3) waits as 1F1B does. Folded schedules: `schedules.py`.
    """
    stages, stage_rows, schedule = plan_tables.stages, plan_tables.stage_rows, scenario.pipeline_schedule
    bubble_s = stages.compute_fill_drain_s(stage_rows, compute_stall_s(scenario, s, plan_tables, per_layer_s))
    if schedule not in FOLDED_SCHEDULES:
        return bubble_s
    tables, row = plan_tables.layer_tables, plan_tables.layer_row
    forward_s = take_columns(tables.forward + sum_in_order(axis.forward for axis in tables.communication), row)
    weight_grad_s = take_columns(tables.weight_grad, row)
    waits_s = compute_folded_waits(schedule, forward_s, per_layer_s - forward_s - weight_grad_s, weight_grad_s)
    longest_s = np.zeros(len(s))
    for wait_s in waits_s[1:] if for_bound and schedule == "zb-v" else waits_s:
        longest_s = np.maximum(longest_s, stages.compute_fill_drain_s(stage_rows, wait_s))
    return np.where(is_folded(schedule, s.pp, s.vpp), longest_s, bubble_s)


def compute_stall_s(scenario: Scenario, s: Strategies, plan_tables: PlanTables, per_layer_s: Floats) -> Floats:
    """Of a layer's seconds those that other stages wait while the pipeline fills and drains, [plans, layer types]."""
    if scenario.pipeline_schedule != "zero-bubble":
        return per_layer_s
    tables, row = plan_tables.layer_tables, plan_tables.layer_row
    forward_s = take_columns(tables.forward + sum_in_order(axis.forward for axis in tables.communication), row)
    shortened_s = np.maximum(per_layer_s - 2 * take_columns(tables.weight_grad, row), forward_s)
    return np.where((s.vpp == 1)[:, None], np.minimum(shortened_s, per_layer_s), per_layer_s)


def _interpolate_recompute(scenario: Scenario, s: Strategies, mode_s: Floats, none_s: Floats) -> Floats:
    """What a recompute mode takes where not all layers are repeated: between it and none."""
    if scenario.recompute_layers is None:
        return mode_s
    return none_s + compute_recompute_layer_share(scenario, s)[:, None] * (mode_s - none_s)


def compute_layer_terms(scenario: Scenario, s: Strategies, tables: LayerTables, layer_row: Ints) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer of each type by term, in each plan's recompute mode, shape
    [plans, layer types] each; of full recomputation, as many layers as are repeated.
    """
    return {
        name: _interpolate_recompute(scenario, s, table[s.recompute, layer_row], table[0, layer_row])
        for name, table in _compute_mode_layer_terms(tables).items()
    }


def compute_slowest_stage_terms(scenario: Scenario, plan_tables: PlanTables, s: Strategies) -> StageTerms:
    """Terms of one micro-batch on the path of the slowest stages."""
    tables, row = plan_tables.layer_tables, plan_tables.layer_row
    terms = compute_layer_terms(scenario, s, tables, row)
    per_layer_s = sum_in_order(terms.values())
    layer_counts = plan_tables.stages.find_slowest_layers(plan_tables.stage_rows, per_layer_s)
    bits = compute_shared_tier_bits(scenario, s)
    forward_window_s, backward_window_s = (
        sum_products(
            layer_counts,
            _interpolate_recompute(scenario, s, window_s[s.recompute, bits, row], window_s[0, bits, row]),
        )
        for window_s in compute_overlap_windows_s(
            tables.communication, repeats_modules=scenario.recompute_choice is not None
        )
    )
    return StageTerms(
        {name: sum_products(layer_counts, table) for name, table in terms.items()},
        {
            name: sum_products(layer_counts, (comm.overlapped_forward + comm.overlapped_backward)[row])
            for name, comm in zip(COMMUNICATION_TERMS, tables.communication, strict=True)
        },
        forward_window_s,
        backward_window_s,
        per_layer_s,
    )


def compute_pipeline_send_s(scenario: Scenario, s: Strategies, micro_batches: Ints) -> tuple[Floats, Floats]:
    """Seconds of sending activations to the next stage and gradients back, exposed and overlapped, shape [plans].

    A stage sends and receives for each chunk of each micro-batch; with interleaving, or micro-batches of both
    directions, the transfer runs beside the other chunks' compute. By `pp_overlap` it never does, or beside that of
    other micro-batches too. Tensor-parallel ranks each send their part (scatter-gather, section 4.1 there).
    """
    tokens = s.micro_batch * (scenario.workload.seq_length / s.cp)
    size_bytes = tokens * compute_boundary_width(scenario.workload, s, scenario.layout) * scenario.value_bytes / s.tp
    stride = compute_stage_stride(scenario.rank_layout, s)
    send_s = compute_point_to_point_s(scenario.network, size_bytes, stride, s.pp)
    total_s = np.where(s.pp > 1, 2 * send_s * (micro_batches * s.vpp + s.pp - 1), 0.0)
    # sends that fill and drain the pipeline have no other micro-batch beside them
    steady_s = np.where(s.pp > 1, 2 * send_s * micro_batches, 0.0)
    has_other_chunks = (s.vpp > 1) | is_folded(scenario.pipeline_schedule, s.pp, s.vpp)
    overlappable_s = {
        "interleaved": np.where(has_other_chunks, total_s, 0.0),
        "yes": np.where(has_other_chunks, total_s, steady_s),
        "no": np.zeros_like(total_s),
    }[scenario.pp_overlap]
    overlapped_s = overlappable_s * scenario.calibration.overlap
    return total_s - overlapped_s, overlapped_s
