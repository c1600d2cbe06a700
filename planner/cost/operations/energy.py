"""Joules of a step by where they go: devices by what they do, the rest of the nodes, network, cooling.

joules = PUE · Σ over devices of [Σ over states of P_state · t_state + (P_node + P_network) · step]
P_state = P_idle + share_state · (P_rated - P_idle)

(Patterson et al. 2021, arXiv 2104.10350, section 2.1, with the measured average power split by states.) The shares
are measured ones (hardware_db/power). Multiplies are compute-bound; norms, activations, losses, and the optimizer are
memory-bound, and so is the time that a device waits for its host's launches; a stage that is not the slowest is told
as if it were.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from planner.cluster.build.power import STATES
from planner.cost.arrays import Floats, Ints, added, gathered, weighted
from planner.cost.layer_tables import LayerTables, layer_kinds, layer_tables
from planner.cost.memory import repeated_layers
from planner.cost.plan_tables import Prepared, prepare
from planner.cost.scenario import Training
from planner.cost.step import HIDDEN, Scores
from planner.cost.strategies import Strategies
from planner.workload.operators import Layer, LayerRun, Loss, Pointwise, Workload

PARTS = ("devices", "node", "network", "cooling")


def state_seconds(training: Training, s: Strategies, prepared: Prepared, scores: Scores) -> dict[str, Floats]:
    """Seconds of a step in each of STATES, shape [plans] each; they add up to the step."""
    terms = scores.terms
    layers = terms["forward"] + terms["backward"] + terms["recompute"]
    memory = memory_bound_share(training, s, prepared) * layers
    return {
        "compute": layers - memory,
        "memory": memory + terms["optimizer"],
        "communication": added(terms[name] for name in HIDDEN),  # what of them nothing hides
        "waiting": terms["pipeline_bubble"] + terms["overhead"],
    }


def memory_bound_share(training: Training, s: Strategies, prepared: Prepared) -> Floats:
    """Share of the layers' time that is not multiplies, over the whole model, shape [plans]."""
    # kernels that keep their device busy: a device that waits for its host is not at work
    busy = msgspec.structs.replace(training.calibration, host_launch_s=0.0)
    only = replace(training, workload=_multiplies(training.workload), calibration=busy)
    tables, row = layer_tables(only, s)
    part = _whole_model(only, s, tables, row)
    return 1.0 - part / _whole_model(training, s, prepared.tables, prepared.layer_row)


def _multiplies(workload: Workload) -> Workload:
    """The model's multiplies and attention cores alone."""

    def some(layer: Layer) -> Layer:
        return replace(layer, operators=tuple(op for op in layer.operators if not isinstance(op, Pointwise | Loss)))

    runs = tuple(LayerRun(some(run.layer), run.count) for run in workload.runs)
    return replace(workload, embedding=some(workload.embedding), runs=runs, head=some(workload.head))


def _whole_model(training: Training, s: Strategies, tables: LayerTables, row: Ints) -> Floats:
    """Seconds of one micro-batch through all layers, recomputation included, shape [plans]."""
    counts = np.array([_count(training.workload, kind) for kind in layer_kinds(training)])
    body = tables.repeatable
    once = weighted(counts, gathered(tables.forward + tables.backward, row))
    modes = np.stack([np.zeros_like(tables.forward), tables.again * body, tables.forward * body])
    again = weighted(counts, modes[s.recompute, row])
    return once + repeated_layers(training, s) * again


def _count(workload: Workload, kind: Layer) -> float:
    """How many layers of a kind there are; embedding and head once."""
    return float(sum(run.count for run in workload.runs if run.layer == kind)) or 1.0


def energy_parts(
    training: Training, s: Strategies, scores: Scores, prepared: Prepared | None = None
) -> dict[str, Floats]:
    """Joules of a step at the meter by PARTS, shape [plans] each; all zero where the part's power is not known."""
    seconds = state_seconds(training, s, prepared or prepare(training, s), scores)
    devices = training.devices * added(
        watts * seconds[state] for state, watts in zip(STATES, state_watts(training), strict=True)
    )
    return _with_site(training, devices, scores.step_time_s)


def energy_j(training: Training, s: Strategies, scores: Scores, prepared: Prepared | None = None) -> Floats:
    """Joules of a step at the meter, shape [plans]."""
    return added(energy_parts(training, s, scores, prepared).values())


def least_energy_j(training: Training, step_time_s: Floats) -> Floats:
    """At most the energy of any plan whose step takes at least `step_time_s`, shape [plans].

    Proof: the states' seconds t_i are not negative and add up to the step T, so Σ P_i t_i >= min P_i · T; what nodes
    and network draw is constant or in proportion to the devices'; PUE is a factor. All of it grows with T, which is
    at least `step_time_s`.
    """
    devices = training.devices * min(state_watts(training)) * step_time_s
    return added(_with_site(training, devices, step_time_s).values())


def state_watts(training: Training) -> tuple[float, ...]:
    """Watts of one device in each of STATES; zero where its power is not known."""
    part, power = training.accelerator, training.power
    rated = part.tdp_w or 0.0
    if power is None:
        return (0.0,) * len(STATES)
    idle = power.idle_share * rated if part.idle_w is None else part.idle_w
    return tuple(idle + share * (rated - idle) for share in power.states)


def _with_site(training: Training, devices: Floats, step_time_s: Floats) -> dict[str, Floats]:
    """The devices' joules with those of the nodes around them, the network, and cooling and power distribution."""
    power = training.power
    if power is None:
        return dict.fromkeys(PARTS, np.zeros_like(devices))
    seconds = training.devices * step_time_s
    node = power.node_share * devices if power.node_w is None else power.node_w * seconds
    network = power.network_w * seconds
    return {
        "devices": devices,
        "node": node,
        "network": network,
        "cooling": (power.pue - 1.0) * (devices + node + network),
    }
