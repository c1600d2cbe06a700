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

_UPDATED_BYTES = 28.0
"""Of one parameter that Adam on the host moves: gradient read, master copy and two moments read and written."""


@dataclass(frozen=True)
class Offload:
    """Which state is on the host."""

    optimizer: bool = False
    activations: bool = False
    weights: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is."""
        return self.optimizer or self.activations or self.weights


NO_OFFLOAD = Offload()


def exposed_seconds(
    host: Host,
    devices: int,
    offload: Offload,
    *,
    own_parameters: Floats,
    weights_bytes: Floats,
    activations_bytes: Floats,
    micro_batches: Floats,
    forward: Floats,
    backward: Floats,
    overlap: float,
    held: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Seconds a step that the transfers add, and those that compute hides, shape [plans].

    `own_parameters` whose state this device updates; `weights_bytes` of a stage, `activations_bytes` kept of one
    micro-batch; `forward`, `backward`: compute of one micro-batch; `held`: bytes of a gradient and of a weight.
    `devices` share one host.
    """
    # bytes of one micro-batch over the link, in the direction that carries more, during each pass
    in_forward = in_backward = once = np.zeros_like(forward)
    if offload.activations:
        in_forward, in_backward = in_forward + activations_bytes, in_backward + activations_bytes
    if offload.weights:
        # they come beside the activations that come back; in the forward pass activations go the other way
        in_backward = in_backward + weights_bytes
        in_forward = np.maximum(in_forward, weights_bytes)
    each = np.maximum(in_forward / host.link_bytes_per_s - overlap * forward, 0.0)
    each = each + np.maximum(in_backward / host.link_bytes_per_s - overlap * backward, 0.0)
    if offload.optimizer:
        transfer = own_parameters * sum(held) / host.link_bytes_per_s
        update = own_parameters * _UPDATED_BYTES * devices / host.memory_bandwidth_bytes_per_s
        once = transfer + update
    moved = (in_forward + in_backward) / host.link_bytes_per_s
    return once + micro_batches * each, micro_batches * (moved - each)
