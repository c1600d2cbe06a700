"""Peak memory per GPU (worst stage, fullest moment) of each plan, by category."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, find_last_axis_max, find_unique_rows, sum_in_order, take_columns
from planner.cost.memory.activations import (
    compute_activation_bytes,
    compute_fullest_activation_bytes,
    compute_progress,
)
from planner.cost.memory.communicators import compute_communicator_bytes
from planner.cost.memory.dummy_gradients import compute_dummy_gradient_bytes
from planner.cost.memory.freed_blocks import compute_freed_block_bytes
from planner.cost.memory.model_state import compute_model_state_bytes
from planner.cost.memory.moments import MEMORY_CATEGORIES, MEMORY_MOMENTS
from planner.cost.memory.units import Progress
from planner.cost.pipeline.stages import (
    IN_FLIGHT_ROUNDS,
    PlanTables,
    build_plan_tables,
    compute_sharded_parameters,
)
from planner.cost.scenario import NO_OFFLOAD, Scenario
from planner.cost.strategies import Strategies


@dataclass(frozen=True)
class PeakMemory:
    """What a device has at its fullest moment; arrays of one shape."""

    category_bytes: dict[str, Floats]
    """By `MEMORY_CATEGORIES`."""
    moment: Ints
    """The index of the moment in `MEMORY_MOMENTS`."""


@dataclass(frozen=True)
class StageMemory:
    """Memory of a device of each stage."""

    moment_bytes: dict[str, Floats]
    """By `MEMORY_CATEGORIES`, [plans, moments, stages] each."""

    @property
    def total_bytes(self) -> Floats:
        """All categories, [plans, moments, stages]."""
        return sum_in_order(self.moment_bytes[category] for category in MEMORY_CATEGORIES)

    @property
    def peak(self) -> PeakMemory:
        """What a device of each stage has at its fullest moment, [plans, stages]."""
        moment: Ints = np.argmax(self.total_bytes, axis=1)
        category_bytes = {
            category: np.take_along_axis(values, moment[:, None], axis=1)[:, 0]
            for category, values in self.moment_bytes.items()
        }
        return PeakMemory(category_bytes, moment)

    def compute_stage_peaks_bytes(self, omitted_categories: Collection[str] = ()) -> Floats:
        """The most bytes of each stage at any moment, [plans, stages], of all categories but `omitted_categories`:
        the moment may be another than that of the peak of all.
        """
        counted = [category for category in MEMORY_CATEGORIES if category not in omitted_categories]
        stage_bytes: Floats = sum_in_order(self.moment_bytes[category] for category in counted).max(axis=1)
        return stage_bytes


def compute_stage_memory(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> StageMemory:
    """Bytes by category on a device of each stage of `plan_tables`; `micro_batches` as in
    `count_micro_batches_in_flight`.
    """
    progress = compute_progress(scenario, s, plan_tables, micro_batches)
    return compute_stage_memory_in_flight(scenario, s, plan_tables, progress)


def compute_stage_memory_in_flight(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, progress: Progress
) -> StageMemory:
    """The same with these micro-batches in flight."""
    parts = compute_model_state_bytes(scenario, s, plan_tables.parameters, s.zero_stage, progress)
    parts["gradients"] = parts["gradients"] + compute_dummy_gradient_bytes(scenario, s, plan_tables)[:, None]
    activations = compute_activation_bytes(scenario, s, plan_tables, s.recompute, progress)
    shared = {category: parts[category] + activations[category] for category in ("buffers", "allocator")}
    parts |= activations | shared
    plans, stages = progress.in_flight.shape
    shape = (plans, len(MEMORY_MOMENTS), stages)
    parts["communicators"] = compute_communicator_bytes(scenario, s)[:, None, None]
    parts["reserve"] = np.full((1, 1, 1), scenario.runtime_reserve_bytes)
    used_bytes = sum_in_order(parts[category] for category in MEMORY_CATEGORIES)
    parts["allocator"] = parts["allocator"] + compute_freed_block_bytes(
        scenario, s, plan_tables, progress.in_flight, used_bytes
    )
    return StageMemory({category: np.broadcast_to(parts[category], shape) for category in MEMORY_CATEGORIES})


def compute_stage_memory_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, micro_batches: Ints | None = None
) -> dict[str, Floats]:
    """Bytes by category on a device of each stage of `plan_tables` at its fullest moment, shape [plans, stages] each;
    keys are `MEMORY_CATEGORIES`.
    """
    return compute_stage_memory(scenario, s, plan_tables, micro_batches).peak.category_bytes


def compute_peak_memory(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables | None = None, micro_batches: Ints | None = None
) -> PeakMemory:
    """What a device of the worst stage of each plan has at its fullest moment, [plans]; the categories add up to the
    peak. `micro_batches` as in `count_micro_batches_in_flight`.
    """
    stages = compute_stage_memory(scenario, s, plan_tables or build_plan_tables(scenario, s), micro_batches).peak
    sizes = stages.category_bytes
    worst_stage = np.argmax(sum_in_order(sizes[category] for category in MEMORY_CATEGORIES), axis=1)
    rows = np.arange(len(s))
    worst_bytes = {category: sizes[category][rows, worst_stage] for category in MEMORY_CATEGORIES}
    return PeakMemory(worst_bytes, stages.moment[rows, worst_stage])


def compute_peak_memory_bytes(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables | None = None, micro_batches: Ints | None = None
) -> dict[str, Floats]:
    """The same, by category alone."""
    return compute_peak_memory(scenario, s, plan_tables, micro_batches).category_bytes


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
    others = compute_communicator_bytes(scenario, s) + scenario.runtime_reserve_bytes
    return _compute_peak_totals(*halves) + others[:, None, None]


def compute_host_memory_bytes(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
) -> Floats:
    """Bytes that a host keeps for its devices, all taken to be of the stage that offloads most; shaped as
    `compute_memory_totals_bytes`. What is offloaded is what the device has less than it would without, and beside an
    optimizer the trainer's copies.
    """
    # a copy for the update on the device is none on the host
    scenario = replace(scenario, trainer=replace(scenario.trainer, reduce_bucket_elements=0.0))
    without_offload, with_offload = (
        _compute_halves(bound, s, plan_tables, zero_stages, recompute_modes, by_moment=True)
        for bound in (replace(scenario, offload=NO_OFFLOAD), scenario)
    )
    states, activations = (
        [unoffloaded - on_device for unoffloaded, on_device in zip(*pair, strict=True)]
        for pair in zip(without_offload, with_offload, strict=True)
    )
    if scenario.offload.optimizer:
        sharded = compute_sharded_parameters(scenario, s, plan_tables.parameters)[:, None]
        copy_bytes = (scenario.trained_share * scenario.trainer.host_copy_bytes[zero] for zero in zero_stages)
        states = [
            state + bytes_per_parameter * sharded
            for state, bytes_per_parameter in zip(states, copy_bytes, strict=True)
        ]
    return scenario.devices_per_host * _compute_peak_totals(states, activations)


def _compute_halves(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    zero_stages: Sequence[int],
    recompute_modes: Sequence[int],
    micro_batches: Ints | None = None,
    *,
    by_moment: bool = False,
) -> tuple[list[Floats], list[Floats]]:
    """Model state under each ZeRO stage, activations under each recompute mode, shape [plans, moments, stages] each;
    of one moment for all where no state changes, activations then of the fullest but `by_moment`.
    """
    progress = compute_progress(scenario, s, plan_tables, micro_batches)
    # the micro-batches decide which gradients there are: all alike beyond those that are ever in flight
    distinct = np.minimum(progress.micro_batches, IN_FLIGHT_ROUNDS * s.pp + 1)
    if not scenario.trainer.frees_gradients:
        distinct = np.zeros_like(distinct)
    unique = find_unique_rows(s.tp, s.ep, s.etp, s.dp * s.cp, plan_tables.stage_rows, distinct)
    owners, owner_parameters = s.take(unique.first_index), plan_tables.parameters.take(unique.first_index)
    owner_progress = progress.take(unique.first_index)
    dummy_bytes = compute_dummy_gradient_bytes(scenario, owners, plan_tables.take(unique.first_index))

    def compute_state_bytes(zero_stage: int) -> Floats:
        stages = np.full(len(owners), zero_stage)
        parts = compute_model_state_bytes(scenario, owners, owner_parameters, stages, owner_progress)
        parts["gradients"] = parts["gradients"] + dummy_bytes[:, None]
        return take_columns(sum_in_order(parts.values()), unique.inverse)

    states = list(map(compute_state_bytes, zero_stages))
    needs_moments = by_moment or any(state.shape[1] > 1 for state in states)

    def compute_mode_bytes(mode: int) -> Floats:
        stage_values = scenario, s, plan_tables, np.full(len(s), mode), progress
        if not needs_moments:
            return compute_fullest_activation_bytes(*stage_values)[:, None]
        return sum_in_order(compute_activation_bytes(*stage_values).values())

    return states, list(map(compute_mode_bytes, recompute_modes))


def _compute_peak_totals(states: list[Floats], activations: list[Floats]) -> Floats:
    """The sum of every pair at the fullest moment of the worst stage, shape [plans, states, activations]."""
    fullest = [mode_bytes.max(axis=1) for mode_bytes in activations]

    def compute_peak(state: Floats, mode: int) -> Floats:
        if state.shape[1] == 1:
            return find_last_axis_max(state[:, 0] + fullest[mode])
        return find_last_axis_max((state + activations[mode]).max(axis=1))

    totals = [[compute_peak(state, mode) for mode in range(len(activations))] for state in states]
    return np.moveaxis(np.array(totals), 2, 0)
