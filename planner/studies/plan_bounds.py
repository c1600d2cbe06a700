"""Lower bounds of the step of layouts of many sizes together, memory and trainers' rules included: what the
search of each size says of them, but on a network on which no size is slower.

Time and memory of a plan depend on the size by its degrees and micro-batches alone, apart from the network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, sum_in_order
from planner.cost.memory.peak import compute_memory_totals_bytes
from planner.cost.pipeline.stages import PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_pipeline_bound_s, compute_step_terms
from planner.cost.strategies import RECOMPUTE_MODES, STRATEGY_FIELDS, Strategies
from planner.search.program_rules import build_plan_values, find_accepted_candidates, list_possible_programs
from planner.studies.layer_bounds import LayerBounds

_ZERO_STAGES = np.arange(4)
_RECOMPUTE_MODES = np.arange(len(RECOMPUTE_MODES))
_PLANS_AT_ONCE = 20_000
"""Plans that are bounded at the same time."""


def bound_layouts_s(layers: LayerBounds, degrees: dict[str, Ints], batch: Ints, most_s: Floats) -> Floats:
    """The least that a step of each layout takes under any plan that fits and that a program runs, infinite where
    there is none, shape [layouts]; where that is above `most_s`, [layouts], it may be any bound above it.

    `degrees`: tp, pp, cp, dp and micro_batch, [layouts]; `batch`: sequences of a step, [layouts].
    """
    least_s = np.full(len(batch), np.inf)
    layout, plans = _list_plans(layers, degrees, batch, most_s)
    for start in range(0, len(layout), _PLANS_AT_ONCE):
        rows = np.arange(start, min(start + _PLANS_AT_ONCE, len(layout)))
        of_rows = layout[rows]
        bound_s = _bound_plans_s(layers.scenario, plans.take(rows), batch[of_rows], most_s[of_rows])
        np.minimum.at(least_s, of_rows, bound_s)
    return least_s


def _list_plans(
    layers: LayerBounds, degrees: dict[str, Ints], batch: Ints, most_s: Floats
) -> tuple[Ints, Strategies]:
    """The plans of each layout whose layers alone take at most `most_s`, and their layouts: with every sharding of
    norms and experts, and every number of chunks.
    """
    workload, columns = layers.scenario.workload, degrees
    micro_batches = batch // (columns["dp"] * columns["micro_batch"])
    position = (
        np.searchsorted(layers.tp, columns["tp"]),
        np.searchsorted(layers.cp, columns["cp"]),
        np.searchsorted(np.array(layers.micro_batch_values), columns["micro_batch"]),
    )
    # [layouts, shards]
    layer_s = (table[position] for table in layers.layer_s)
    bound_s = layers.bound_step_s(columns["pp"][:, None], micro_batches[:, None], *layer_s)
    ep, has_tp, sequence_parallel = layers.shards
    ranks = (columns["dp"] * columns["cp"])[:, None] * np.where(has_tp == 1, 1, columns["tp"][:, None])
    layout, shard = np.nonzero((bound_s <= most_s[:, None]) & (ranks % ep == 0))
    vpp = np.array(layers.vpp_values)
    layout, shard, vpp = np.repeat(layout, len(vpp)), np.repeat(shard, len(vpp)), np.tile(vpp, len(layout))
    pp = columns["pp"][layout]
    chunks, layer_count = pp * vpp, workload.layer_count
    has_layers = (chunks <= layer_count) | (chunks == layer_count + 2)
    rows = np.flatnonzero((vpp == 1) | ((pp > 1) & has_layers & (micro_batches[layout] % pp == 0)))
    layout, shard = layout[rows], shard[rows]
    columns = {name: column[layout] for name, column in columns.items()}
    columns |= {"vpp": vpp[rows], "ep": ep[shard], "sequence_parallel": sequence_parallel[shard]}
    columns["etp"] = np.where(has_tp[shard] == 1, columns["tp"], 1)
    zeros = np.zeros_like(layout)
    return layout, Strategies(**{name: columns.get(name, zeros) for name in STRATEGY_FIELDS})


def _bound_plans_s(scenario: Scenario, plans: Strategies, batch: Ints, most_s: Floats) -> Floats:
    """The bound of each plan with any ZeRO stage and recompute mode with which it fits, [plans]: that of its
    pipeline without recomputation, and where that is at most `most_s`, the least of the whole step.
    """
    micro_batches, tables = batch // (plans.dp * plans.micro_batch), build_plan_tables(scenario, plans)
    overhead_s = scenario.calibration.step_overhead_s
    bound_s = compute_pipeline_bound_s(scenario, plans, tables, micro_batches) + overhead_s
    near = np.flatnonzero(bound_s <= most_s)
    if not len(near):
        return bound_s
    plans, batch, micro_batches, tables = plans.take(near), batch[near], micro_batches[near], tables.take(near)
    fits = _find_fitting(scenario, plans, batch, micro_batches, tables)
    bound_s[near] = np.inf
    for mode in _RECOMPUTE_MODES.tolist():
        rows = np.flatnonzero(fits[:, :, mode].any(axis=1))
        if not len(rows):
            continue
        pipeline_s = compute_pipeline_bound_s(
            scenario, plans.take(rows), tables.take(rows), micro_batches[rows], mode
        )
        rows = rows[pipeline_s + overhead_s <= most_s[near[rows]]]
        plan, zero_index = np.nonzero(fits[rows, :, mode])
        if len(plan):
            rows = rows[plan]
            whole = replace(plans.take(rows), zero_stage=_ZERO_STAGES[zero_index], recompute=np.full(len(rows), mode))
            terms, _ = compute_step_terms(scenario, whole, tables.take(rows), micro_batches[rows])
            np.minimum.at(bound_s, near[rows], sum_in_order(terms.values()))
    return bound_s


def _find_fitting(
    scenario: Scenario, plans: Strategies, batch: Ints, micro_batches: Ints, tables: PlanTables
) -> Bools:
    """Whether each plan fits and a program runs it, with each ZeRO stage and recompute mode, shape [plans, ZeRO
    stages, recompute modes].
    """
    accepted = np.ones((1, 1, 1), dtype=np.bool_)
    if scenario.programs:
        values = build_plan_values(scenario, plans, _ZERO_STAGES, _RECOMPUTE_MODES)
        # a rule reads the batch for the micro-batches of each plan
        values = replace(values, global_batch=batch[:, None, None])  # type: ignore[arg-type]
        accepted = find_accepted_candidates(list_possible_programs(scenario), values, 3)
    shardable = (plans.dp * plans.cp > 1)[:, None, None] | (_ZERO_STAGES == 0)[None, :, None]
    totals_bytes = compute_memory_totals_bytes(
        scenario, plans, tables, _ZERO_STAGES.tolist(), _RECOMPUTE_MODES.tolist(), micro_batches
    )
    fits: Bools = accepted & shardable & (totals_bytes <= scenario.usable_memory_bytes)
    return fits
