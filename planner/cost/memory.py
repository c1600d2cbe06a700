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
    find_unique_rows,
    sum_in_order,
    sum_products,
    take_columns,
)
from planner.cost.pipeline.stages import (
    IN_FLIGHT_ROUNDS,
    PlanTables,
    StageParameters,
    build_plan_tables,
    compute_in_flight_passes,
    compute_sharded_parameters,
)
from planner.cost.scenario import NO_OFFLOAD, Scenario
from planner.cost.schedules.catalog import count_copies
from planner.cost.strategies import FULL_RECOMPUTE, Strategies
from planner.workload.techniques import WEIGHT_16BIT_BYTES

MEMORY_CATEGORIES = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")


def compute_model_state_bytes(
    scenario: Scenario, s: Strategies, parameters: StageParameters, zero_stage: Ints
) -> dict[str, Floats]:
    """Weights, gradients and optimizer state in bytes, shape [plans, stages] each, under `zero_stage` [plans]."""
    state, unsharded_parameters = scenario.trainer_state, parameters.dense + parameters.expert
    sharded_parameters = compute_sharded_parameters(scenario, s, parameters)

    def compute_bytes(per_parameter: float, first_stage: int, at_work: Floats | float, kept: float) -> Floats:
        """Sharded from one ZeRO stage on, `kept` bytes a parameter beside the parameters at work, never more than
        unsharded.
        """
        unsharded_bytes = per_parameter * unsharded_parameters
        sharded_bytes = np.minimum(kept * sharded_parameters + per_parameter * at_work, unsharded_bytes)
        return np.where(zero_stage[:, None] >= first_stage, sharded_bytes, unsharded_bytes)

    largest_layer = (parameters.largest_dense + parameters.largest_expert)[:, None]
    gathered = compute_gathered_parameters(scenario, parameters)
    weights = compute_bytes(state.weight_bytes, 3, gathered, state.sharded_weight_bytes)
    gradients = compute_bytes(state.gradient_bytes, 2, largest_layer, state.gradient_bytes)
    optimizer = compute_bytes(state.optimizer_bytes, 1, 0.0, state.optimizer_bytes)
    if scenario.offload.weights:
        weights = np.minimum(state.weight_bytes * gathered, weights)
    if scenario.offload.optimizer:
        kept_bytes = 0.0 if scenario.trainer.updates_on_host else state.optimizer_bytes - state.moment_bytes
        optimizer = compute_bytes(kept_bytes, 1, 0.0, kept_bytes)
    teacher = scenario.techniques.teacher
    if teacher is not None:
        copies = count_copies(scenario.pipeline_schedule, s)
        teacher_bytes = WEIGHT_16BIT_BYTES * teacher.parameters / (s.tp * s.pp)[:, None]
        weights = weights + copies[:, None] * teacher_bytes
    return {"weights": weights, "gradients": gradients, "optimizer": optimizer}


def compute_gathered_parameters(scenario: Scenario, parameters: StageParameters) -> Floats:
    """Parameters that a device of each stage has gathered at the peak under ZeRO 3, [plans, stages].

    Two layers, the one at work and the one being fetched; embedding and head too where the trainer keeps them.
    Resharded always, they are gathered only while at work; never resharded, all are gathered (FSDP2's
    `reshard_after_forward`).
    """
    if scenario.reshard == "never":
        return parameters.dense + parameters.expert
    largest_layer = (parameters.largest_dense + parameters.largest_expert)[:, None]
    if not scenario.trainer.keeps_embedding_gathered:
        return 2.0 * largest_layer + np.zeros_like(parameters.dense)
    if scenario.reshard == "always":
        return largest_layer + np.maximum(largest_layer, parameters.larger_end)
    return 2.0 * largest_layer + parameters.embedding_and_head


def count_micro_batches_in_flight(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> Floats:
    """Most micro-batches in flight on each stage, shape [plans, stages]; `micro_batches`: those of a rank's
    step, where ranks are not all alike. GPipe runs all forward passes before the first backward pass.
    """
    step_micro_batches = scenario.global_batch // (s.dp * s.micro_batch) if micro_batches is None else micro_batches
    if scenario.pipeline_schedule == "gpipe":
        # without a pipeline each micro-batch has its backward pass before the next
        in_flight = np.where(s.pp == 1, 1.0, step_micro_batches)
        return np.repeat(in_flight[:, None], plan_tables.parameters.dense.shape[1], axis=1)
    # beyond a few rounds every round of the schedule is like the one before
    simulated = np.clip(step_micro_batches, 1, IN_FLIGHT_ROUNDS * s.pp)
    unique, rows = find_unique_rows(plan_tables.stage_rows, simulated), plan_tables.stage_rows
    first = unique.first_index
    in_flight = compute_in_flight_passes(
        plan_tables.stages, rows[first], s.pp[first], s.vpp[first], simulated[first], scenario.pipeline_schedule
    )
    return take_columns(in_flight, unique.inverse)


def compute_activation_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints, in_flight: Floats
) -> dict[str, Floats]:
    """Kept activations, the head's own, and buffers in bytes, shape [plans, stages] each, under `recompute_modes`.

    `in_flight`: micro-batches in flight, shape [plans, stages]. The head is left as soon as it is entered, so it
    keeps one micro-batch, and so do the layers of multi-token prediction before it; under recomputation the layer at
    work is restored beside what is kept.
    """
    tables, layer_row = plan_tables.layer_tables, plan_tables.layer_row
    saved, dropped = tables.saved_bytes, tables.dropped_bytes
    least = np.minimum(tables.input_bytes, saved - dropped)
    kept_by_mode = np.concatenate([saved, saved - dropped, least])
    restored_by_mode = np.concatenate([np.zeros_like(saved), dropped, saved - least])
    row = recompute_modes * len(saved) + layer_row
    kept, restored = (take_columns(table, row)[:, None, :] for table in (kept_by_mode, restored_by_mode))
    counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
    kept = _keep_other_layers(scenario, s, recompute_modes, kept, saved[layer_row])
    predicting = counts[:, :, -1] * tables.prediction_bytes[layer_row, -1:]
    at_work = find_last_axis_max(np.where(counts[:, :, :-2] > 0, restored[:, :, :-2], 0.0))
    # the backward pass of multi-token prediction comes before that of the other layers
    at_work = np.maximum(at_work, predicting)
    activations = in_flight * sum_products(counts[:, :, :-1], kept[:, :, :-1])
    if scenario.offload.activations:
        offloaded = compute_offloaded_layer_bytes(scenario, s, plan_tables, recompute_modes)
        offloaded_bytes = in_flight * sum_products(counts[:, :, :-1], offloaded[:, :, :-1])
        # on their way out or in: the layer at work and the one before it
        largest_offloaded = find_last_axis_max(np.where(counts[:, :, :-1] > 0, offloaded[:, :, :-1], 0.0))
        kept_bytes = in_flight * sum_products(counts[:, :, :-1], (kept - offloaded)[:, :, :-1])
        activations = kept_bytes + np.minimum(2.0 * largest_offloaded, offloaded_bytes)
    # the layer's input as it is received, and the next one's as it is sent; the gathered sequence and its gradient
    largest_input, largest_gathered = (
        find_last_axis_max(table[:, :-2])[layer_row, None] for table in (tables.input_bytes, tables.gathered_bytes)
    )
    return {
        "activations": activations + at_work,
        "logits": counts[:, :, -1] * saved[layer_row, -1:] - predicting,
        "buffers": np.broadcast_to(2 * largest_input + largest_gathered, in_flight.shape),
    }


def compute_offloaded_layer_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, recompute_modes: Ints
) -> Floats:
    """Bytes of one micro-batch on the host of one layer of each type, where activations are offloaded, shape
    [plans, 1, layer types].
    """
    offloaded_by_mode, layer_row = plan_tables.layer_tables.offloaded_bytes, plan_tables.layer_row
    row = recompute_modes * len(offloaded_by_mode[0]) + layer_row
    offloaded = take_columns(np.concatenate(offloaded_by_mode), row)[:, None, :]
    return _keep_other_layers(scenario, s, recompute_modes, offloaded, offloaded_by_mode[0][layer_row])


def _keep_other_layers(
    scenario: Scenario, s: Strategies, recompute_modes: Ints, kept: Floats, saved: Floats
) -> Floats:
    """What layers keep on average where full recomputation leaves some of them out, which keep `saved`
    [plans, layer types]; shape [plans, 1, layer types], as `kept`.
    """
    if scenario.recompute_layers is None:
        return kept
    other_layers_share = 1.0 - compute_full_recompute_share(scenario, s)[:, None, None]
    partly_kept = kept + other_layers_share * (saved[:, None, :] - kept)
    return np.where((recompute_modes == FULL_RECOMPUTE)[:, None, None], partly_kept, kept)


def compute_full_recompute_share(scenario: Scenario, s: Strategies) -> Floats:
    """Share of a stage's layers that full recomputation repeats, shape [plans]: all, or a number of them."""
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
    halves = _compute_halves(scenario, s, plan_tables, zero_stages, recompute_modes, micro_batches)
    return _compute_peak_totals(*halves) + scenario.runtime_reserve_bytes


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
    without_offload, with_offload = (
        _compute_halves(bound, s, plan_tables, zero_stages, recompute_modes)
        for bound in (replace(scenario, offload=NO_OFFLOAD), scenario)
    )
    states, activations = (
        [unoffloaded - on_device for unoffloaded, on_device in zip(*pair, strict=True)]
        for pair in zip(without_offload, with_offload, strict=True)
    )
    return scenario.devices_per_host * _compute_peak_totals(states, activations)


def _compute_halves(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
    micro_batches: Ints | None = None,
) -> tuple[list[Floats], list[Floats]]:
    """Model state under each ZeRO stage, activations under each recompute mode, shape [plans, stages] each."""
    unique = find_unique_rows(s.tp, s.ep, s.etp, s.dp * s.cp, plan_tables.stage_rows)
    owners, owner_parameters = s.take(unique.first_index), plan_tables.parameters.take(unique.first_index)

    def compute_state_bytes(zero_stage: int) -> Floats:
        stages = np.full(len(owners), zero_stage)
        state_bytes = compute_model_state_bytes(scenario, owners, owner_parameters, stages)
        return take_columns(sum_in_order(state_bytes.values()), unique.inverse)

    def compute_mode_bytes(mode: int) -> Floats:
        modes = np.full(len(s), mode)
        return sum_in_order(compute_activation_bytes(scenario, s, plan_tables, modes, in_flight).values())

    in_flight = count_micro_batches_in_flight(scenario, s, plan_tables, micro_batches)
    return list(map(compute_state_bytes, zero_stages)), list(map(compute_mode_bytes, recompute_modes))


def _compute_peak_totals(states: list[Floats], activations: list[Floats]) -> Floats:
    """The worst stage's sum of every pair, shape [plans, states, activations]."""
    totals = [[find_last_axis_max(state + mode_bytes) for mode_bytes in activations] for state in states]
    return np.moveaxis(np.array(totals), 2, 0)
