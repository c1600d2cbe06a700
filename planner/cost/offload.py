"""What is kept in the host's memory instead of the device's, and what the way there costs.

ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840): gradients go to the host, the processors update, weights come back.
ZeRO-Infinity (arXiv 2104.07857): weights come before each pass; kept activations leave after the forward pass and
come back in the backward pass. What the transfers need beyond the compute beside them is exposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cluster.model.cluster import Host
from planner.cost.arrays import Floats

_HOST_UPDATE_BYTES = 28.0
"""Of one parameter that Adam on the host moves: gradient read, master copy and two moments read and written."""


@dataclass(frozen=True)
class Offload:
    """Which state is on the host."""

    optimizer: bool = False
    activations: bool = False
    weights: bool = False

    @property
    def is_active(self) -> bool:
        """Whether anything is."""
        return self.optimizer or self.activations or self.weights


NO_OFFLOAD = Offload()


def compute_host_transfer_s(
    host: Host,
    devices_per_host: int,
    offload: Offload,
    *,
    owned_parameters: Floats,
    weights_bytes: Floats,
    activations_bytes: Floats,
    micro_batches: Floats,
    forward_s: Floats,
    backward_s: Floats,
    overlap: float,
    gradient_and_weight_bytes: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Seconds a step that the transfers add, and those that compute overlaps, shape [plans].

    `owned_parameters` whose state this device updates; `weights_bytes` of a stage, `activations_bytes` kept of one
    micro-batch; `forward_s`, `backward_s`: compute of one micro-batch; `gradient_and_weight_bytes`: bytes of a
    gradient and of a weight. `devices_per_host` share one host.
    """
    # bytes of one micro-batch over the link, in the direction that carries more, during each pass
    forward_bytes = backward_bytes = per_step_s = np.zeros_like(forward_s)
    if offload.activations:
        forward_bytes, backward_bytes = forward_bytes + activations_bytes, backward_bytes + activations_bytes
    if offload.weights:
        # they come beside the activations that come back; in the forward pass activations go the other way
        backward_bytes = backward_bytes + weights_bytes
        forward_bytes = np.maximum(forward_bytes, weights_bytes)
    exposed_s = np.maximum(forward_bytes / host.link_bytes_per_s - overlap * forward_s, 0.0)
    exposed_s = exposed_s + np.maximum(backward_bytes / host.link_bytes_per_s - overlap * backward_s, 0.0)
    if offload.optimizer:
        optimizer_transfer_s = owned_parameters * sum(gradient_and_weight_bytes) / host.link_bytes_per_s
        optimizer_update_s = (
            owned_parameters * _HOST_UPDATE_BYTES * devices_per_host / host.memory_bandwidth_bytes_per_s
        )
        per_step_s = optimizer_transfer_s + optimizer_update_s
    transfer_s = (forward_bytes + backward_bytes) / host.link_bytes_per_s
    return per_step_s + micro_batches * exposed_s, micro_batches * (transfer_s - exposed_s)
