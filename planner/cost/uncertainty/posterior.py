"""What the spread of the fitted numbers does to a step: first order, by groups of numbers that act alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from planner.cost.arrays import Floats, round_significant
from planner.cost.calibration import combine_calibration, compute_calibration_spreads
from planner.cost.pipeline.stages import PlanTables, replace_layer_tables
from planner.cost.scenario import Scenario
from planner.cost.step import COMMUNICATION_TERMS, StepCosts, compute_step_costs
from planner.cost.strategies import Strategies
from planner.trainers.trainer import find_calibration_name

PARAMETER_GROUPS: dict[str, tuple[str, ...]] = {
    "multiplies": (
        "gemm_efficiency",
        "gemm_efficiency_8bit",
        "gemm_efficiency_4bit",
        "rowwise_efficiency",
        "expert_efficiency",
        "gemm_half_rows",
        "gemm_half_depth",
        "power_exponent",
        "immaturity",
    ),
    "attention": ("attention_forward_efficiency", "attention_backward_efficiency", "softmax_width"),
    "memory": ("memory_efficiency", "eager_traffic", "routing_traffic"),
    "launches": ("kernel_launch_s", "host_launch_s", "step_overhead_s"),
    "network": ("link_efficiency", "nic_efficiency"),
    "overlap": ("overlap", "contention", "tensor_overlap"),
}
"""Numbers that slow the same work, and are off together; the groups are independent."""
_NETWORK_GROUPS = ("network", "overlap")
_FASTER_WORDS = ("efficiency", "overlap")
"""In the names of numbers with which a step gets faster; with all others it gets slower."""


def compute_slowdown_factors(spreads: Mapping[str, float], group: str) -> dict[str, float]:
    """By number of a group, the factor by which it is one standard deviation on the slow side."""
    signs = {
        name: -1.0 if name.startswith(_FASTER_WORDS[1]) or _FASTER_WORDS[0] in name else 1.0
        for name in PARAMETER_GROUPS[group]
    }
    names = list(signs)
    factors = round_significant(np.exp([signs[name] * spreads[name] for name in names]), 32)
    return dict(zip(names, factors.tolist(), strict=True))


def compute_group_log_changes(
    scenario: Scenario, strategies: Strategies, plan_tables: PlanTables, step_costs: StepCosts
) -> Floats:
    """By how much the logarithm of the step time grows with each group one standard deviation on the slow side.

    `plan_tables` and `step_costs`: those of the plans in the scenario. Shape [groups, plans].
    """
    spreads = compute_calibration_spreads(scenario.accelerator.architecture, find_calibration_name(scenario.trainer))
    is_communicating = any(
        costs[name].any()
        for costs in (step_costs.terms, step_costs.overlapped)
        for name in (*COMMUNICATION_TERMS, "pipeline_send", "data_parallel")
    )
    log_changes = np.zeros((len(PARAMETER_GROUPS), len(strategies)))
    for row, group in enumerate(PARAMETER_GROUPS):
        if group in _NETWORK_GROUPS and not is_communicating:
            continue
        perturbed_scenario = perturb_scenario(scenario, compute_slowdown_factors(spreads, group))
        perturbed_tables = replace_layer_tables(plan_tables, perturbed_scenario, strategies)
        perturbed_s = compute_step_costs(perturbed_scenario, strategies, perturbed_tables).step_time_s
        log_changes[row] = np.log(perturbed_s / step_costs.step_time_s)
    return round_significant(log_changes, 32)


def perturb_scenario(scenario: Scenario, factors: dict[str, float]) -> Scenario:
    """The scenario with its fitted parameters multiplied by `factors`; efficiencies stay within their limits."""
    old_calibration, network = scenario.calibration, scenario.network
    new_calibration = combine_calibration(old_calibration, factors)
    link_factor, nic_factor = (
        new_calibration.link_efficiency / old_calibration.link_efficiency,
        new_calibration.nic_efficiency / old_calibration.nic_efficiency,
    )
    bandwidth_bytes_per_s = network.bandwidth_bytes_per_s * np.where(network.through_nic, nic_factor, link_factor)
    return replace(
        scenario, calibration=new_calibration, network=replace(network, bandwidth_bytes_per_s=bandwidth_bytes_per_s)
    )
