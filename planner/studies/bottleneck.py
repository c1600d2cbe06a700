"""One sentence per plan: what limits it most, and which change would help most, computed with the cost model."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats, sum_in_order
from planner.cost.flops import compute_required_flops
from planner.cost.pipeline.stages import PlanTables, replace_layer_tables
from planner.cost.scenario import Scenario
from planner.cost.step import LAYER_TERMS, StepCosts, compute_step_costs
from planner.cost.strategies import Strategies
from planner.studies.changes import HARDWARE_SCALES, rebind_scenario

_TERM_TITLES = {
    "recompute": "recomputation of activations",
    "tensor_parallel": "tensor-parallel collectives",
    "context_parallel": "context-parallel communication",
    "expert_parallel": "expert-parallel all-to-all",
    "pipeline_send": "sends between pipeline stages",
    "pipeline_bubble": "the pipeline bubble",
    "data_parallel": "exposed data-parallel collectives",
    "optimizer": "the optimizer's update",
    "offload": "transfers to and from the host",
    "overhead": "fixed overhead of every step",
    "input": "waiting for samples, which hosts and storage do not prepare as fast",
}


_HARDWARE_CHANGES = {
    "peak": "twice the peak FLOP/s",
    "memory_bandwidth": "twice the memory bandwidth",
    "link_bandwidth": "twice the bandwidth of the scale-up links",
    "network_bandwidth": "twice the bandwidth of the NICs",
}
_OFFLOAD_CHANGES = {
    "host_link": "twice the bandwidth of the link to the host",
    "host_bandwidth": "twice the memory bandwidth of the host",
}
"""Hardware figures of HARDWARE_SCALES that are doubled."""
_BATCH_CHANGE = "twice the global batch"
_ROUNDING = 1e-9
"""Of a relative gain, more than its sums are rounded by."""


def explain_bottlenecks(
    scenario: Scenario, cluster: Cluster, strategies: Strategies, step_costs: StepCosts, plan_tables: PlanTables
) -> list[str]:
    """The sentence for each plan; `step_costs`: the step costs of the plans, from these tables."""
    step_time_s = step_costs.step_time_s
    ideal_time_s = compute_required_flops(scenario, "full")
    ideal_time_s /= scenario.devices * scenario.accelerator.get_peak_flops(scenario.precision)
    losses = {name: step_costs.terms[name] for name in _TERM_TITLES}
    losses["kernels"] = step_costs.terms["forward"] + step_costs.terms["backward"] - ideal_time_s

    def double_figures(titles: dict[str, str]) -> dict[str, Scenario]:
        return {
            title: rebind_scenario(scenario, HARDWARE_SCALES[name](cluster, 2.0)) for name, title in titles.items()
        }

    changes = double_figures(_HARDWARE_CHANGES)
    changes[_BATCH_CHANGE] = replace(scenario, global_batch=2 * scenario.global_batch)
    if scenario.offload.is_active:
        changes |= double_figures(_OFFLOAD_CHANGES)
    bounds = _compute_gain_bounds(step_costs)
    gains: dict[str, Floats] = {}
    for title, changed_scenario in changes.items():
        if title in bounds and gains and _is_below(bounds[title], gains):
            continue
        changed_tables = plan_tables
        if title != _BATCH_CHANGE:
            # in another batch all tables are the same
            changed_tables = replace_layer_tables(plan_tables, changed_scenario, strategies)
        gains[title] = _compute_gains(scenario, changed_scenario, strategies, step_time_s, changed_tables)
    return [
        _format_bottleneck(
            {name: float(loss[i] / step_time_s[i]) for name, loss in losses.items()},
            {title: float(gain[i]) for title, gain in gains.items()},
        )
        for i in range(len(strategies))
    ]


def _format_bottleneck(losses: dict[str, float], gains: dict[str, float]) -> str:
    largest_loss = max(losses, key=lambda name: losses[name])
    change_name = max(gains, key=lambda name: gains[name])
    # for kernels the time beyond that of their FLOPs at the peak rate; for all other terms the whole time
    cause = (
        f"goes to {_TERM_TITLES[largest_loss]}"
        if largest_loss in _TERM_TITLES
        else "is lost to kernels that run below the peak rate"
    )
    return (
        f"{losses[largest_loss]:.0%} of the step {cause}; {change_name} would "
        f"make this plan {gains[change_name]:.0%} faster."
    )


def _compute_gain_bounds(step_costs: StepCosts) -> dict[str, Floats]:
    """More than what a change of the network, the batch or the host can gain, by its title, [plans].

    Whichever stage is then the slowest, it takes no less than what the slowest one now spends on work that the change
    does not touch: in another network that of kernels, in twice as many micro-batches all that each of them takes,
    with another host all but transfers.
    """
    terms = step_costs.terms
    kernels_s = sum_in_order(terms[name] for name in ("forward", "backward", "recompute", "optimizer", "overhead"))
    micro_batches_s = sum_in_order(terms[name] for name in LAYER_TERMS)
    untouched_s = {
        _HARDWARE_CHANGES["link_bandwidth"]: kernels_s,
        _HARDWARE_CHANGES["network_bandwidth"]: kernels_s,
        _BATCH_CHANGE: micro_batches_s,
        **dict.fromkeys(_OFFLOAD_CHANGES.values(), step_costs.step_time_s - terms["offload"]),
    }
    return {title: step_costs.step_time_s / time_s - 1.0 + _ROUNDING for title, time_s in untouched_s.items()}


def _is_below(bound: Floats, gains: dict[str, Floats]) -> bool:
    """Whether a change gains less than another one for every plan."""
    return bool((bound < reduce(np.maximum, gains.values())).all())


def _compute_gains(
    scenario: Scenario,
    changed_scenario: Scenario,
    strategies: Strategies,
    step_time_s: Floats,
    plan_tables: PlanTables,
) -> Floats:
    """Relative gain in throughput of each plan under a change; per sequence, since the batch may change too."""
    changed_step_time_s = (
        compute_step_costs(changed_scenario, strategies, plan_tables).step_time_s
        * scenario.global_batch
        / changed_scenario.global_batch
    )
    return step_time_s / changed_step_time_s - 1.0
