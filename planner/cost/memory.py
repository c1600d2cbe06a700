"""Peak memory per GPU (worst stage) of each plan, by category.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): stage 1 shards the optimizer state over the data-parallel
ranks, 2 also the gradients, 3 also the weights. What is sharded still needs room for the piece at work: one
layer's gradients, two layers' weights (the one at work and the one being fetched).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cost.arrays import (
    Floats,
    Ints,
    find_last_axis_max,
    sum_in_order,
    sum_products,
    take_columns,
)
from planner.cost.offload import NO_OFFLOAD
from planner.cost.pipeline.parameters import StageParameters, count_shards
from planner.cost.pipeline.partition import IN_FLIGHT_ROUNDS, compute_in_flight_passes
from planner.cost.plan_tables import PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.strategies import FULL_RECOMPUTE, Strategies
from planner.cost.unique_rows import find_unique_rows
from planner.workload.techniques import WEIGHT_16BIT_BYTES

MEMORY_CATEGORIES = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")


def compute_model_state_bytes(
    scenario: Scenario, s: Strategies, parameters: StageParameters, zero_stage: Ints
) -> dict[str, Floats]:
    """Weights, gradients and optimizer state in bytes, shape [plans, stages] each, under `zero_stage` [plans]."""
    dense_shards = count_shards(scenario, s.dp * s.cp)[:, None].astype(np.float64)
    expert_shards = count_shards(scenario, s.expert_ranks)[:, None].astype(np.float64)
    unsharded_parameters = parameters.dense + parameters.expert
    sharded_parameters = parameters.dense / dense_shards + parameters.expert / expert_shards
    largest_layer_parameters = (parameters.largest_dense + parameters.largest_expert)[:, None]
    zero_column, trainer_state = zero_stage[:, None], scenario.trainer_state

    def compute_sharded_bytes(
        bytes_per_parameter: float, first_stage: int, parameters_at_work: Floats | float, bytes_kept: float
    ) -> Floats:
        """Sharded from one ZeRO stage on, with room for the parameters at work, never more than unsharded."""
        sharded_bytes = np.minimum(
            bytes_kept * sharded_parameters + bytes_per_parameter * parameters_at_work,
            bytes_per_parameter * unsharded_parameters,
        )
        return np.where(zero_column >= first_stage, sharded_bytes, bytes_per_parameter * unsharded_parameters)

    gathered_parameters = 2.0 * largest_layer_parameters + (
        parameters.embedding_and_head if trainer_state.keeps_embedding_gathered else 0.0
    )
    state_bytes = {
        "weights": compute_sharded_bytes(
            trainer_state.weight_bytes, 3, gathered_parameters, trainer_state.sharded_weight_bytes
        ),
        "gradients": compute_sharded_bytes(
            trainer_state.gradient_bytes, 2, largest_layer_parameters, trainer_state.gradient_bytes
        ),
        "optimizer": compute_sharded_bytes(trainer_state.optimizer_bytes, 1, 0.0, trainer_state.optimizer_bytes),
    }
    if scenario.offload.weights:
        state_bytes["weights"] = np.minimum(trainer_state.weight_bytes * gathered_parameters, state_bytes["weights"])
    if scenario.offload.optimizer:
        state_bytes["optimizer"] = np.zeros_like(state_bytes["optimizer"])
    if scenario.techniques.teacher is not None:
        teacher_bytes = WEIGHT_16BIT_BYTES * scenario.techniques.teacher.parameters / (s.tp * s.pp)[:, None]
        state_bytes["weights"] = state_bytes["weights"] + teacher_bytes
    return state_bytes


def count_micro_batches_in_flight(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> Floats:
    """Most micro-batches in flight on each stage, shape [plans, stages]; `micro_batches`: those of a rank's
    step, where ranks are not all alike.
    """
    # beyond a few rounds every round of the schedule is like the one before
    step_micro_batches = scenario.global_batch // (s.dp * s.micro_batch) if micro_batches is None else micro_batches
    simulated_micro_batches = np.clip(step_micro_batches, 1, IN_FLIGHT_ROUNDS * s.pp)
    unique_keys = find_unique_rows(plan_tables.stage_rows, simulated_micro_batches)
    first_index = unique_keys.first_index
    in_flight = compute_in_flight_passes(
        plan_tables.stages,
        plan_tables.stage_rows[first_index],
        s.pp[first_index],
        s.vpp[first_index],
        simulated_micro_batches[first_index],
    )
    return take_columns(in_flight, unique_keys.inverse)


def compute_activation_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints, in_flight: Floats
) -> dict[str, Floats]:
    """Kept activations, the head's own, and buffers in bytes, shape [plans, stages] each, under `recompute_modes`.

    `in_flight`: micro-batches in flight, shape [plans, stages]. The head is left as soon as it is entered, so it
    keeps one micro-batch; under recomputation the layer at work is restored beside what is kept.
    """
    tables, layer_row = plan_tables.layer_tables, plan_tables.layer_row
    saved_bytes, dropped_bytes = tables.saved_bytes, tables.dropped_bytes
    least_bytes = np.minimum(tables.input_bytes, saved_bytes - dropped_bytes)
    tables_by_mode = (
        np.concatenate([saved_bytes, saved_bytes - dropped_bytes, least_bytes]),
        np.concatenate([np.zeros_like(saved_bytes), dropped_bytes, saved_bytes - least_bytes]),
    )
    row = recompute_modes * len(saved_bytes) + layer_row
    kept_bytes, restored_bytes = (take_columns(table, row)[:, None, :] for table in tables_by_mode)
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    if scenario.recompute_layers is not None:
        recomputed_share = compute_full_recompute_share(scenario, s)[:, None, None]
        unkept_bytes = saved_bytes[layer_row][:, None, :] - kept_bytes
        kept_bytes = np.where(
            (recompute_modes == FULL_RECOMPUTE)[:, None, None],
            kept_bytes + (1.0 - recomputed_share) * unkept_bytes,
            kept_bytes,
        )
    working_layer_bytes = find_last_axis_max(np.where(counts[:, :, :-2] > 0, restored_bytes[:, :, :-2], 0.0))
    fragmentation_factor = 1.0 + (scenario.trainer.fragmentation_share if scenario.launch_mode == "eager" else 0.0)
    # the layer's input as it is received, and the next one's as it is sent; the gathered sequence and its gradient
    largest_bytes = [
        find_last_axis_max(table[:, :-2])[layer_row, None] for table in (tables.input_bytes, tables.gathered_bytes)
    ]
    buffer_bytes = 2 * largest_bytes[0] + largest_bytes[1]
    activation_bytes = in_flight * sum_products(counts[:, :, :-1], kept_bytes[:, :, :-1])
    if scenario.offload.activations:
        # on their way out or in: the layer at work and the one before it
        activation_bytes = np.minimum(
            2.0 * find_last_axis_max(np.where(counts[:, :, :-1] > 0, kept_bytes[:, :, :-1], 0.0)), activation_bytes
        )
    return {
        "activations": fragmentation_factor * (activation_bytes + working_layer_bytes),
        "logits": fragmentation_factor * counts[:, :, -1] * saved_bytes[layer_row, -1:],
        "buffers": np.broadcast_to(buffer_bytes, in_flight.shape),
    }


def compute_full_recompute_share(scenario: Scenario, s: Strategies) -> Floats:
    """Share of a stage's layers that full recomputation repeats, shape [plans]: all, or so many of them."""
    if scenario.recompute_layers is None:
        return np.ones(len(s))
    return np.minimum(1.0, scenario.recompute_layers * s.pp * s.vpp / scenario.workload.layer_count)


def compute_recompute_layer_share(scenario: Scenario, s: Strategies) -> Floats:
    """Share of the layers that each plan's recompute mode is at work in, shape [plans]: only full recomputation may
    leave some of them out.
    """
    return np.where(s.recompute == FULL_RECOMPUTE, compute_full_recompute_share(scenario, s), 1.0)


def compute_stage_memory_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> dict[str, Floats]:
    """Bytes by category on a device of each stage of `plan_tables`, shape [plans, stages] each; keys are
    `MEMORY_CATEGORIES`.
    """
    stage_bytes = compute_model_state_bytes(scenario, s, plan_tables.parameters, s.zero_stage)
    stage_bytes |= compute_activation_bytes(
        scenario, s, plan_tables, s.recompute, count_micro_batches_in_flight(scenario, s, plan_tables, micro_batches)
    )
    stage_bytes["reserve"] = np.full_like(stage_bytes["weights"], scenario.runtime_reserve_bytes)
    return stage_bytes


def compute_peak_memory_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables | None = None, micro_batches: Ints | None = None
) -> dict[str, Floats]:
    """Bytes by category on a device of the worst stage of each plan, shape [plans] each; keys are
    `MEMORY_CATEGORIES`. They add up to the peak. `micro_batches` as in `count_micro_batches_in_flight`.
    """
    stage_bytes = compute_stage_memory_bytes(
        scenario, s, plan_tables or build_plan_tables(scenario, s), micro_batches
    )
    worst_stage = np.argmax(sum_in_order(stage_bytes[category] for category in MEMORY_CATEGORIES), axis=1)
    rows = np.arange(len(s))
    return {category: stage_bytes[category][rows, worst_stage] for category in MEMORY_CATEGORIES}


def compute_memory_totals_bytes(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
    micro_batches: Ints | None = None,
) -> Floats:
    """Total bytes of a device of the worst stage under every pair of ZeRO stage and recompute mode.

    Shape [plans, zero stages, recompute modes]; the plans' own two columns are not looked at. The sum is
    taken in two halves, each computed once: model state by ZeRO stage, activations by recompute mode.
    """
    return (
        _compute_peak_totals(
            *_compute_state_and_activations(scenario, s, plan_tables, zero_stages, recompute_modes, micro_batches)
        )
        + scenario.runtime_reserve_bytes
    )


def compute_host_memory_bytes(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
) -> Floats:
    """Bytes that a host keeps for its devices, all taken to be of the stage that offloads most; shaped as
    `compute_memory_totals_bytes`. What is offloaded is what the device has less than it would without.
    """
    without_offload = _compute_state_and_activations(
        replace(scenario, offload=NO_OFFLOAD), s, plan_tables, zero_stages, recompute_modes
    )
    with_offload = _compute_state_and_activations(scenario, s, plan_tables, zero_stages, recompute_modes)
    offloaded_states, offloaded_activations = (
        [unoffloaded - on_device for unoffloaded, on_device in zip(*pair, strict=True)]
        for pair in zip(without_offload, with_offload, strict=True)
    )
    return scenario.devices_per_host * _compute_peak_totals(offloaded_states, offloaded_activations)


def _compute_state_and_activations(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
    micro_batches: Ints | None = None,
) -> tuple[list[Floats], list[Floats]]:
    """Model state under each ZeRO stage, activations under each recompute mode, shape [plans, stages] each."""
    unique_owners = find_unique_rows(s.tp, s.ep, s.etp, s.dp * s.cp, plan_tables.stage_rows)
    owner_strategies, owner_parameters = (
        s.take(unique_owners.first_index),
        plan_tables.parameters.take(unique_owners.first_index),
    )
    state_bytes = [
        take_columns(
            sum_in_order(
                compute_model_state_bytes(
                    scenario, owner_strategies, owner_parameters, np.full(len(owner_strategies), zero_stage)
                ).values()
            ),
            unique_owners.inverse,
        )
        for zero_stage in zero_stages
    ]
    in_flight = count_micro_batches_in_flight(scenario, s, plan_tables, micro_batches)
    activation_bytes = [
        sum_in_order(compute_activation_bytes(scenario, s, plan_tables, np.full(len(s), mode), in_flight).values())
        for mode in recompute_modes
    ]
    return state_bytes, activation_bytes


def _compute_peak_totals(state_bytes: list[Floats], activation_bytes: list[Floats]) -> Floats:
    """The worst stage's sum of every pair, shape [plans, states, kept]."""
    peak_totals = [
        [find_last_axis_max(state + activations) for activations in activation_bytes] for state in state_bytes
    ]
    return np.moveaxis(np.array(peak_totals), 2, 0)
