"""What the way to the host's memory and back costs, for what is kept there instead of in the device's.

ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840): gradients go to the host, the processors update, weights come back.
ZeRO-Infinity (arXiv 2104.07857): weights come before each pass; kept activations leave after the forward pass and
come back in the backward pass. What the transfers need beyond the compute beside them is exposed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Host
from planner.cost.arrays import Floats, Ints, find_last_axis_max, sum_products, take_columns
from planner.cost.data_parallel import count_owned_parameters
from planner.cost.memory.activations import compute_activation_bytes, compute_offloaded_layer_bytes
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.units import Progress
from planner.cost.pipeline.stages import PlanTables, compute_sharded_parameters
from planner.cost.scenario import NO_OFFLOAD, Scenario
from planner.cost.strategies import Strategies

_HOST_GRADIENT_BYTES = 4.0
"""Of the gradient of one parameter that Adam on the host reads; it also reads and writes the optimizer's state."""


def compute_offload_s(
    scenario: Scenario,
    s: Strategies,
    plan_tables: PlanTables,
    micro_batches: Ints,
    forward_s: Floats,
    backward_s: Floats,
) -> tuple[Floats, Floats]:
    """Seconds of a step that transfers on the worst stage add, and those that compute overlaps, shape [plans].

    `forward_s`, `backward_s`: compute of one micro-batch, [plans].
    """
    host, offload = scenario.host, scenario.offload
    if host is None or not offload.is_active:
        return np.zeros(len(s)), np.zeros(len(s))
    # bytes of one micro-batch over the link, in the direction that carries more, during each pass
    forward_bytes = backward_bytes = per_step_s = np.zeros_like(forward_s)
    if offload.activations:
        forward_bytes = backward_bytes = _compute_kept_bytes(scenario, s, plan_tables)
    if offload.weights:
        parameters = plan_tables.parameters
        sharded = compute_sharded_parameters(scenario, s, parameters)
        stage_parameters = np.where(s.zero_stage[:, None] == 3, sharded, parameters.dense + parameters.expert)
        weights_bytes = scenario.trainer_state.weight_bytes * stage_parameters.max(axis=1)
        # they come beside the activations that come back; in the forward pass activations go the other way
        backward_bytes = backward_bytes + weights_bytes
        forward_bytes = np.maximum(forward_bytes, weights_bytes)
    overlap, link_bytes_per_s = scenario.calibration.overlap, host.link_bytes_per_s
    exposed_s = np.maximum(forward_bytes / link_bytes_per_s - overlap * forward_s, 0.0)
    exposed_s = exposed_s + np.maximum(backward_bytes / link_bytes_per_s - overlap * backward_s, 0.0)
    if offload.optimizer:
        owned_parameters = scenario.trained_share * count_owned_parameters(scenario, s, plan_tables.parameters)
        per_step_s = owned_parameters * _compute_optimizer_s_per_parameter(scenario, host)
    transfer_s = (forward_bytes + backward_bytes) / link_bytes_per_s
    return per_step_s + micro_batches * exposed_s, micro_batches * (transfer_s - exposed_s)


def _compute_optimizer_s_per_parameter(scenario: Scenario, host: Host) -> float:
    """Seconds of a step for each parameter whose optimizer state is on the host."""
    trainer, link_bytes_per_s = scenario.trainer, host.link_bytes_per_s
    if not trainer.updates_on_host:
        # the moments come before the update and go back after it
        return 2.0 * trainer.moment_bytes / link_bytes_per_s
    transfer_bytes = trainer.gradient_bytes - trainer.gradient_copy_bytes + trainer.weight_bytes
    # the devices of a host share its memory
    update_bytes = (_HOST_GRADIENT_BYTES + 2.0 * trainer.optimizer_bytes) * scenario.devices_per_host
    return transfer_bytes / link_bytes_per_s + update_bytes / host.memory_bandwidth_bytes_per_s


def _compute_kept_bytes(scenario: Scenario, s: Strategies, plan_tables: PlanTables) -> Floats:
    """Activations of one micro-batch that the worst stage keeps on the host, [plans]: those of some modules, or all,
    which are what two micro-batches have more than one.
    """
    if scenario.offloads_by_module:
        counts = take_columns(plan_tables.stages.layer_counts, plan_tables.stage_rows)
        offloaded = compute_offloaded_layer_bytes(scenario, s, plan_tables, s.recompute)
        return find_last_axis_max(sum_products(counts[:, :, :-1], offloaded[:, :, :-1]))
    without_offload = replace(scenario, offload=NO_OFFLOAD)

    def compute_bytes(micro_batches: float) -> Floats:
        in_flight = np.full(plan_tables.parameters.dense.shape, micro_batches)
        progress = Progress(np.ones_like(s.pp), in_flight)
        parts = compute_activation_bytes(without_offload, s, plan_tables, s.recompute, progress)
        return parts["activations"][:, MEMORY_MOMENTS.index("last_layer_backward")]

    kept_bytes: Floats = (compute_bytes(2.0) - compute_bytes(1.0)).max(axis=1)
    return kept_bytes
