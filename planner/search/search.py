"""The exact search: all candidates that fit compete, and the best are returned.

Nothing is sampled. A candidate is rejected by a rule of the space, by memory, or by a lower bound that proves it
worse than plans that are already known. Equal figures are ordered by memory, then by the index in the enumeration,
which is the same in every run. Which of nearly equal plans comes first is `planner/search/preference.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, find_unique_rows, sum_in_order
from planner.cost.memory.peak import compute_host_memory_bytes, compute_memory_totals_bytes, compute_peak_memory_bytes
from planner.cost.operations.energy import compute_energy_j
from planner.cost.pipeline.stages import PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_pipeline_bound_s, compute_step_costs
from planner.cost.strategies import STRATEGY_FIELDS, Strategies
from planner.progress import track_steps
from planner.search.objective import Objective
from planner.search.pareto import find_pareto_front
from planner.search.preference import find_simplest_plans, sort_by_simplicity
from planner.search.program_rules import build_plan_values, find_accepted_candidates, list_possible_programs
from planner.search.ranked_plans import DEGREE_FIELDS, RankedPlans, find_first_of_distinct, stack_degrees
from planner.search.space import (
    SearchStats,
    Space,
    enumerate_parallel_layouts,
    is_valid_zero_stage,
    reject_all_candidates,
)
from planner.trainers.program import Program

_LAYOUTS_PER_CHUNK = 2_000
"""Layouts whose candidates are scored at once, in order of their bound."""


@dataclass(frozen=True)
class SearchResult:
    """The best plans in order, the statistics, and the plan that needs the least memory where none fits.

    `scenarios`: the scenarios that were searched; `scenario_index`: the scenario of each best plan, [plans].
    """

    scenarios: tuple[Scenario, ...]
    best: Strategies
    scenario_index: Ints
    figures: Floats
    stats: SearchStats
    nearest_miss: Strategies
    nearest_miss_scenario: Scenario
    least_figure: float
    """The least first figure of all plans; infinite where none fits."""


@dataclass(frozen=True)
class SearchTarget:
    """What the search returns: the `top` best plans (None: all) by one objective, or `top` of the Pareto front.

    `diverse`: of plans with the same degrees only the best is kept. `margin`: of the plans whose figure is at most
    this fraction above the least, the simplest comes first, then the best by the objective, then the others by it;
    0: plans are in the order of the objective.
    """

    objectives: tuple[Objective, ...] = (Objective(),)
    top: int | None = 5
    diverse: bool = False
    margin: float = 0.0

    @property
    def is_pareto(self) -> bool:
        """Whether the Pareto front of several objectives is searched."""
        return len(self.objectives) > 1

    def prune_plans(self, plans: RankedPlans) -> RankedPlans:
        """The plans that can still be part of the result, in order."""
        plans = plans.sort_by_figure()
        if self.is_pareto:
            return plans.take(find_pareto_front(plans.figures))
        plans = plans.drop_duplicates()
        kept = self._find_best(plans)
        if self.margin:
            kept = np.union1d(kept, self._find_simplest(plans))
        return plans.take(kept)

    def _find_best(self, plans: RankedPlans) -> Ints:
        """Positions of the `top` best of sorted plans, ascending; `diverse`: of those that differ in degrees."""
        if not self.diverse:
            return np.arange(len(plans))[: self.top]
        return np.sort(find_first_of_distinct(stack_degrees(plans.strategies)))[: self.top]

    def _find_simplest(self, plans: RankedPlans) -> Ints:
        """Positions of the sorted plans that may be preferred to the best, whatever is found after them."""
        figures = plans.figures[:, 0]
        tied = np.flatnonzero(figures <= self.compute_limit(figures[0])) if len(plans) else np.arange(0)
        return tied[find_simplest_plans(plans.strategies.take(tied), figures[tied], plans.total_bytes[tied])]

    def select_plans(self, best: RankedPlans) -> RankedPlans:
        """The plans to return, in order: of a Pareto front with more than `top` plans, `top` evenly spaced ones."""
        if self.is_pareto:
            if self.top is None or len(best) <= self.top:
                return best
            return best.take(np.unique(np.linspace(0, len(best) - 1, self.top).round().astype(np.int64)))
        if not self.margin or not len(best):
            return best
        first_figures = best.figures[:, 0]
        tied = np.flatnonzero(first_figures <= self.compute_limit(float(first_figures[0])))
        simplest = tied[
            sort_by_simplicity(best.strategies.take(tied), first_figures[tied], best.total_bytes[tied])[0]
        ]
        # the best by the objective stays second, also where it has the degrees of the first
        heads = np.unique([simplest, 0])[:: 1 if simplest == 0 else -1]
        ordered = np.concatenate([heads, np.setdiff1d(np.arange(len(best)), heads)])
        if self.diverse:
            firsts = find_first_of_distinct(stack_degrees(best.strategies.take(ordered)))
            ordered = ordered[np.union1d(firsts, np.arange(len(heads)))]
        return best.take(ordered[: self.top])

    def compute_limit(self, least_figure: float) -> float:
        """The figure up to which a plan may be preferred to the one with the least figure."""
        return least_figure * (1.0 + self.margin)

    def compute_threshold(self, best: RankedPlans) -> float:
        """The value of the first figure above which no plan can enter the result."""
        if self.is_pareto or self.top is None:
            return np.inf
        positions = self._find_best(best)
        if len(positions) < self.top:
            return np.inf
        last = float(best.figures[positions[-1], 0])
        return max(last, self.compute_limit(float(best.figures[0, 0])))

    def find_possible_plans(self, strategies: Strategies, first_figures: Floats, threshold: float) -> Ints:
        """Positions of the candidates that can still be part of the result, by their first figures alone, ascending.

        `threshold`: the figure above which none can.
        """
        if self.top is None or self.is_pareto or len(first_figures) <= self.top:
            return np.arange(len(first_figures))
        limit = threshold
        if self.diverse:
            group = find_unique_rows(*(getattr(strategies, name) for name in DEGREE_FIELDS))
            least = np.full(len(group.first_index), np.inf)
            np.minimum.at(least, group.inverse, first_figures)
            if len(least) >= self.top:
                limit = float(np.partition(least, self.top - 1)[self.top - 1])
        else:
            limit = float(np.partition(first_figures, self.top - 1)[self.top - 1])
        if self.margin:
            limit = max(limit, self.compute_limit(float(first_figures.min())))
        return np.flatnonzero(first_figures <= min(limit, threshold))


def build_empty_strategies() -> Strategies:
    """An empty set of plans."""
    return Strategies(**{name: np.zeros(0, dtype=np.int64) for name in STRATEGY_FIELDS})


def search_plans(
    scenarios: Scenario | Sequence[Scenario], space: Space, target: SearchTarget | None = None
) -> SearchResult:
    """The best plans of the whole space over all scenarios together, exactly.

    `scenarios` differ in settings or batch size; each has its own space: `space` narrowed to the scenario.
    """
    scenario_list = (scenarios,) if isinstance(scenarios, Scenario) else tuple(scenarios)
    _raise_mmap_threshold()
    target = target or SearchTarget()
    stats = SearchStats()
    no_indices = np.zeros(0, dtype=np.int64)
    best = RankedPlans(
        build_empty_strategies(), no_indices, np.zeros((0, len(target.objectives))), np.zeros(0), no_indices
    )
    nearest_miss = _NearestMiss(build_empty_strategies(), scenario_list[0], np.inf)
    next_index = 0
    for index, scenario in enumerate(track_steps("searching", scenario_list)):
        for block in _enumerate_layout_blocks(scenario, space.narrow_to_scenario(scenario), stats):
            if block.fits.any():
                best = _update_best_plans(block, best, target, index, next_index)
            elif not stats.feasible and block.total_bytes.min() < nearest_miss.total_bytes:
                nearest_miss = block.find_nearest_miss()
            next_index += block.total_bytes.size
    least_figure = float(best.figures[:, 0].min(initial=np.inf))
    best = target.select_plans(best)
    return SearchResult(
        scenario_list,
        best.strategies,
        best.scenario_index,
        best.figures,
        stats,
        nearest_miss.strategies,
        nearest_miss.scenario,
        least_figure,
    )


def _raise_mmap_threshold() -> None:
    """Let the C library keep the memory of freed arrays, instead of returning and paging it in again.

    It returns blocks above a threshold at once, and raises the threshold to the size of blocks it sees freed (glibc,
    mallopt(3), M_MMAP_THRESHOLD). So a block of the maximum size is allocated, never touched, and freed.
    """
    np.empty(_MMAP_THRESHOLD_BYTES, dtype=np.uint8)


_MMAP_THRESHOLD_BYTES = 32_000_000


@dataclass(frozen=True)
class _NearestMiss:
    """The candidate that needs the least memory."""

    strategies: Strategies
    scenario: Scenario
    total_bytes: float


@dataclass(frozen=True)
class _LayoutBlock:
    """Layouts with the memory of their candidates, shape [layouts, ZeRO stages, recompute modes]."""

    scenario: Scenario
    layouts: Strategies
    plan_tables: PlanTables
    total_bytes: Floats
    fits: Bools
    bound_s: Floats
    zero_stages: Ints
    recompute_modes: Ints

    def build_candidates(self, positions: Ints) -> Strategies:
        """Candidates from (layout, ZeRO stage, recompute mode) positions, shape [plans, 3]."""
        strategies = self.layouts.take(positions[:, 0])
        return replace(
            strategies, zero_stage=self.zero_stages[positions[:, 1]], recompute=self.recompute_modes[positions[:, 2]]
        )

    def compute_least_bytes(self) -> Floats:
        """The least memory among the candidates of each layout that fit, shape [layouts]."""
        least: Floats = np.where(self.fits, self.total_bytes, np.inf).min(axis=(1, 2))
        return least

    def find_nearest_miss(self) -> _NearestMiss:
        """The candidate that needs the least memory."""
        least_total_bytes = self.total_bytes.min()
        return _NearestMiss(
            self.build_candidates(np.argwhere(self.total_bytes == least_total_bytes)[:1]),
            self.scenario,
            float(least_total_bytes),
        )


def _enumerate_layout_blocks(scenario: Scenario, space: Space, stats: SearchStats) -> Iterator[_LayoutBlock]:
    """Blocks of layouts that the rules allow, and which of their candidates fit; updates `stats`."""
    programs = list_possible_programs(scenario)
    if scenario.programs and not programs:
        reject_all_candidates(space, scenario.workload, "trainer", stats)
        return
    values = space.enumerate_values(scenario.workload)
    all_zero_stages, all_recompute_modes = values["zero_stage"], values["recompute"]
    for layout_rows in enumerate_parallel_layouts(space, scenario.workload, stats):
        allowed = is_valid_zero_stage(layout_rows, all_zero_stages, space.shard_group)[:, :, None]
        if space.shard_group is not None:
            rejected_pairs = int(is_valid_zero_stage(layout_rows, all_zero_stages).sum()) - int(allowed.sum())
            stats.rejected_by["shard-group-divides"] += rejected_pairs * len(all_recompute_modes)
        zero_stages, recompute_modes = all_zero_stages, all_recompute_modes
        if programs:
            layout_rows, zero_stages, recompute_modes, allowed = _keep_accepted_candidates(
                scenario, programs, layout_rows, zero_stages, recompute_modes, allowed, stats
            )
            if not len(layout_rows):
                continue
        stages_and_modes = zero_stages.tolist(), recompute_modes.tolist()
        plan_tables = build_plan_tables(scenario, layout_rows)
        total_bytes = compute_memory_totals_bytes(scenario, layout_rows, plan_tables, *stages_and_modes)
        total_bytes = np.where(allowed, total_bytes, np.inf)
        fits = total_bytes <= scenario.usable_memory_bytes
        feasible = int(fits.sum())
        stats.rejected_by["memory"] += int(np.isfinite(total_bytes).sum()) - feasible
        if scenario.host is not None and scenario.offload.is_active:
            host_bytes = compute_host_memory_bytes(scenario, layout_rows, plan_tables, *stages_and_modes)
            fits &= host_bytes <= scenario.host.memory_bytes
            stats.rejected_by["host-memory"] += feasible - int(fits.sum())
            feasible = int(fits.sum())
        stats.feasible += feasible
        bound_s = (
            compute_pipeline_bound_s(scenario, layout_rows, plan_tables) if feasible else np.zeros(len(layout_rows))
        )
        yield _LayoutBlock(
            scenario, layout_rows, plan_tables, total_bytes, fits, bound_s, zero_stages, recompute_modes
        )


def _keep_accepted_candidates(
    scenario: Scenario,
    programs: Sequence[Program],
    layouts: Strategies,
    zero_stages: Ints,
    recompute_modes: Ints,
    allowed: Bools,
    stats: SearchStats,
) -> tuple[Strategies, Ints, Ints, Bools]:
    """Layouts, ZeRO stages and recompute modes of which a program runs some candidate, and which candidates are
    allowed then, shape [layouts, ZeRO stages, recompute modes], the last of length 1 where all modes are alike;
    updates `stats`. `allowed` has shape [layouts, ZeRO stages, 1].
    """
    plan_values = build_plan_values(scenario, layouts, zero_stages, recompute_modes)
    accepted: Bools = allowed & find_accepted_candidates(programs, plan_values, allowed.ndim)
    allowed_count = int(allowed.sum()) * len(recompute_modes)
    accepted_count = int(accepted.sum()) * (len(recompute_modes) // accepted.shape[2])
    if accepted_count == allowed_count:
        return layouts, zero_stages, recompute_modes, allowed
    stats.rejected_by["trainer"] += allowed_count - accepted_count
    rows, stages = np.flatnonzero(accepted.any(axis=(1, 2))), np.flatnonzero(accepted.any(axis=(0, 2)))
    if len(rows) < len(layouts):
        layouts, accepted = layouts.take(rows), accepted[rows]
    if len(stages) < len(zero_stages):
        zero_stages, accepted = zero_stages[stages], accepted[:, stages]
    if accepted.shape[2] > 1:
        modes = np.flatnonzero(accepted.any(axis=(0, 1)))
        recompute_modes, accepted = recompute_modes[modes], accepted[:, :, modes]
    return layouts, zero_stages, recompute_modes, accepted


def _update_best_plans(
    block: _LayoutBlock, best: RankedPlans, target: SearchTarget, scenario_index: int, first_index: int
) -> RankedPlans:
    """The best plans after a block, whose layouts are scored in the order of their lower bounds.

    Once the result is full, a layout whose bound is above the figure of its last plan cannot have a better plan, nor
    can any later layout. A layout with an equal bound is scored, so that ties are broken as without bounds.
    """
    feasible_layouts = np.flatnonzero(block.fits.any(axis=(1, 2)))
    bound = target.objectives[0].compute_bound(block.scenario, block.bound_s, block.compute_least_bytes)
    order = feasible_layouts[np.argsort(bound[feasible_layouts], kind="stable")]
    for start in range(0, len(order), _LAYOUTS_PER_CHUNK):
        chunk = order[start : start + _LAYOUTS_PER_CHUNK]
        # the bound adds the same terms in another order: a relative tolerance of 1e-9 covers the rounding
        threshold = target.compute_threshold(best)
        threshold += 1e-9 * abs(threshold)
        chunk = chunk[bound[chunk] <= threshold]
        if not len(chunk):
            break
        positions = np.argwhere(block.fits[chunk])
        positions[:, 0] = chunk[positions[:, 0]]
        scored = _score_candidates(block, positions, target, threshold, scenario_index, first_index)
        best = target.prune_plans(best.concatenate(scored))
    return best


def _score_candidates(
    block: _LayoutBlock,
    positions: Ints,
    target: SearchTarget,
    threshold: float,
    scenario_index: int,
    first_index: int,
) -> RankedPlans:
    """Score candidates; those that cannot be in the result by their figures alone are dropped."""
    scenario, strategies = block.scenario, block.build_candidates(positions)
    plan_tables = block.plan_tables.take(positions[:, 0])
    step_costs = compute_step_costs(scenario, strategies, plan_tables)
    total_bytes = block.total_bytes[tuple(positions.T)]

    def evaluate_energy_j() -> Floats:
        return compute_energy_j(scenario, strategies, step_costs, plan_tables)

    values = [
        objective.compute_value(scenario, step_costs.step_time_s, evaluate_energy_j, total_bytes)
        for objective in target.objectives
    ]
    figures = np.stack(values, axis=1)
    kept_positions = target.find_possible_plans(strategies, figures[:, 0], threshold)
    enumeration_indices = first_index + np.ravel_multi_index(tuple(positions.T), block.total_bytes.shape)
    kept_strategies = strategies.take(kept_positions)
    return RankedPlans(
        kept_strategies,
        np.full(len(kept_positions), scenario_index),
        figures[kept_positions],
        # equal to the last bit to the memory of a single plan; for a Pareto front only the figure counts
        total_bytes[kept_positions]
        if target.is_pareto
        else sum_in_order(
            compute_peak_memory_bytes(scenario, kept_strategies, plan_tables.take(kept_positions)).values()
        ),
        enumeration_indices[kept_positions],
    )
