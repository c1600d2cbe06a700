"""Energy of a step in joules: of devices by power state, the rest of the nodes, network, cooling.

joules = PUE · Σ over devices of [Σ over states of P_state · t_state + (P_node + P_network) · step]
P_state = P_idle + share_state · (P_rated - P_idle)

(Patterson et al. 2021, arXiv 2104.10350, section 2.1, with the measured average power split by states.) The shares
are measured ones (hardware_db/power). Multiplies are compute-bound; norms, activations, losses, and the optimizer are
memory-bound, and so is the time that a device waits for its host's launches; a stage that is not the slowest is
counted as if it were.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from planner.cluster.build.power import POWER_STATES
from planner.cost.arrays import Floats, Ints, sum_in_order, sum_products, take_columns
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.memory.activations import compute_recompute_layer_share
from planner.cost.operators import get_operator_cost
from planner.cost.pipeline.partition import count_layers
from planner.cost.pipeline.stages import PlanTables, build_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import OVERLAPPABLE_TERMS, StepCosts
from planner.cost.strategies import Strategies
from planner.workload.operators import Layer, LayerRun, Workload

ENERGY_PARTS = ("devices", "node", "network", "cooling")


def compute_state_times_s(
    scenario: Scenario, s: Strategies, plan_tables: PlanTables, step_costs: StepCosts
) -> dict[str, Floats]:
    """Seconds of a step in each of `POWER_STATES`, shape [plans] each; they add up to the step."""
    terms = step_costs.terms
    kernels_s = terms["forward"] + terms["backward"] + terms["recompute"]
    memory_bound_s = compute_memory_bound_share(scenario, s, plan_tables) * kernels_s
    return {
        "compute": kernels_s - memory_bound_s,
        "memory": memory_bound_s + terms["optimizer"],
        "communication": sum_in_order(terms[name] for name in OVERLAPPABLE_TERMS),  # exposed
        "waiting": terms["pipeline_bubble"] + terms["overhead"] + terms["input"],
    }


def compute_memory_bound_share(scenario: Scenario, s: Strategies, plan_tables: PlanTables) -> Floats:
    """Share of the layers' time that is not multiplies, over the whole model, shape [plans]."""
    # kernels that keep their device busy: a device that waits for its host is not at work
    busy_calibration = msgspec.structs.replace(scenario.calibration, host_launch_s=0.0)
    multiplies_scenario = replace(
        scenario, workload=_keep_only_multiplies(scenario.workload), calibration=busy_calibration
    )
    tables, row = build_layer_tables(multiplies_scenario, s)
    multiplies_s = _compute_model_s(multiplies_scenario, s, tables, row)
    return 1.0 - multiplies_s / _compute_model_s(scenario, s, plan_tables.layer_tables, plan_tables.layer_row)


def _keep_only_multiplies(workload: Workload) -> Workload:
    """The model's multiplies and attention cores alone."""

    def keep_multiplies(layer: Layer) -> Layer:
        return replace(
            layer, operators=tuple(op for op in layer.operators if not get_operator_cost(op).is_memory_bound)
        )

    prediction = workload.prediction
    return replace(
        workload,
        embedding=keep_multiplies(workload.embedding),
        layer_runs=tuple(LayerRun(keep_multiplies(run.layer), run.count) for run in workload.layer_runs),
        head=keep_multiplies(workload.head),
        prediction=None if prediction is None else LayerRun(keep_multiplies(prediction.layer), prediction.count),
    )


def _compute_model_s(scenario: Scenario, s: Strategies, tables: LayerTables, layer_row: Ints) -> Floats:
    """Seconds of one micro-batch through all layers, recomputation included, shape [plans]."""
    counts = count_layers(scenario.workload)
    single_pass_s = sum_products(counts, take_columns(tables.forward + tables.backward, layer_row))
    zero_s = np.zeros_like(tables.forward)
    mode_times_s = np.stack([zero_s, tables.selective_recompute, tables.forward * tables.repeated_share])
    recompute_s = sum_products(counts, mode_times_s[s.recompute, layer_row])
    return single_pass_s + compute_recompute_layer_share(scenario, s) * recompute_s


def compute_energy_parts_j(
    scenario: Scenario, s: Strategies, step_costs: StepCosts, plan_tables: PlanTables | None = None
) -> dict[str, Floats]:
    """Joules of a step of the site (incl. PUE) by `ENERGY_PARTS`, [plans] each; all zero where power is unknown."""
    state_times_s = compute_state_times_s(scenario, s, plan_tables or build_plan_tables(scenario, s), step_costs)
    powers_w = zip(POWER_STATES, compute_state_power_w(scenario), strict=True)
    devices_j = scenario.devices * sum_in_order(power_w * state_times_s[state] for state, power_w in powers_w)
    return _add_site_energy_j(scenario, devices_j, step_costs.step_time_s)


def compute_energy_j(
    scenario: Scenario, s: Strategies, step_costs: StepCosts, plan_tables: PlanTables | None = None
) -> Floats:
    """Joules of a step of the whole site (incl. PUE), shape [plans]."""
    return sum_in_order(compute_energy_parts_j(scenario, s, step_costs, plan_tables).values())


def compute_least_energy_j(scenario: Scenario, step_time_s: Floats) -> Floats:
    """At most the energy of any plan whose step takes at least `step_time_s`, shape [plans].

    Proof: the states' seconds t_i are not negative and add up to the step T, so Σ P_i t_i >= min P_i · T; what nodes
    and network draw is constant or in proportion to the devices'; PUE is a factor. All of it grows with T, which is
    at least `step_time_s`.
    """
    least_devices_j = scenario.devices * min(compute_state_power_w(scenario)) * step_time_s
    return sum_in_order(_add_site_energy_j(scenario, least_devices_j, step_time_s).values())


def compute_state_power_w(scenario: Scenario) -> tuple[float, ...]:
    """Watts of one device in each of `POWER_STATES`; zero where its power is not known."""
    accelerator, power = scenario.accelerator, scenario.power
    rated_w = accelerator.tdp_w or 0.0
    if power is None:
        return (0.0,) * len(POWER_STATES)
    idle_w = power.idle_share * rated_w if accelerator.idle_w is None else accelerator.idle_w
    return tuple(idle_w + share * (rated_w - idle_w) for share in power.state_shares)


def _add_site_energy_j(scenario: Scenario, devices_j: Floats, step_time_s: Floats) -> dict[str, Floats]:
    """The devices' joules with those of the nodes around them, the network, and cooling and power distribution."""
    power = scenario.power
    if power is None:
        return dict.fromkeys(ENERGY_PARTS, np.zeros_like(devices_j))
    device_seconds = scenario.devices * step_time_s
    node_j = power.node_share * devices_j
    if power.node_w_per_device is not None:
        node_j = power.node_w_per_device * device_seconds
    network_j = power.network_w_per_device * device_seconds
    cooling_j = (power.pue - 1.0) * (devices_j + node_j + network_j)
    return {"devices": devices_j, "node": node_j, "network": network_j, "cooling": cooling_j}
