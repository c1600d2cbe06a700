"""One sentence: what holds a plan back, and what would change it, found by asking the cost model again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.cost.flops import model_flops
from planner.cost.step import score
from planner.cost.strategies import Strategies
from planner.cost.training import Training

Floats = NDArray[np.float64]

_NAMES = {
    "recompute": "recomputation of activations",
    "tensor_parallel": "tensor-parallel collectives",
    "context_parallel": "context-parallel exchange",
    "expert_parallel": "expert-parallel all-to-all",
    "pipeline_send": "sends between pipeline stages",
    "pipeline_bubble": "the pipeline bubble",
    "data_parallel": "data-parallel collectives that compute does not hide",
    "optimizer": "the optimizer's update",
    "overhead": "fixed overhead of every step",
}


@dataclass(frozen=True)
class _Change:
    what: str
    apply: Callable[[Training], Training]


def _network(training: Training, *, nic: bool) -> Training:
    network = training.network
    chosen = network.through_nic if nic else ~network.through_nic
    rates = np.where(chosen, 2.0, 1.0) * network.bandwidth_bytes_per_s
    return replace(training, network=replace(network, bandwidth_bytes_per_s=rates))


def _memory_bandwidth(training: Training) -> Training:
    part = training.accelerator
    faster = replace(part, memory_bandwidth_bytes_per_s=2 * part.memory_bandwidth_bytes_per_s)
    return replace(training, accelerator=faster)


def _peak(training: Training) -> Training:
    part = training.accelerator
    faster = {precision: 2 * peak for precision, peak in part.peak_flops.items()}
    return replace(training, accelerator=replace(part, peak_flops=faster))


_CHANGES = (
    _Change("twice the peak FLOP/s", _peak),
    _Change("twice the memory bandwidth", _memory_bandwidth),
    _Change("twice the bandwidth of the scale-up links", lambda t: _network(t, nic=False)),
    _Change("twice the bandwidth of the network cards", lambda t: _network(t, nic=True)),
    _Change("twice the global batch", lambda t: replace(t, global_batch=2 * t.global_batch)),
)


def bottlenecks(training: Training, plans: Strategies) -> list[str]:
    """The sentence for each plan."""
    scores = score(training, plans)
    step = scores.step_time_s
    ideal = model_flops(training.workload, training.global_batch, "full")
    ideal /= training.devices * training.accelerator.peak(training.precision)
    losses = {name: scores.terms[name] for name in _NAMES}
    losses["kernels"] = scores.terms["forward"] + scores.terms["backward"] - ideal
    gains = {change.what: _gains(training, plans, step, change) for change in _CHANGES}
    return [
        _sentence(
            {name: float(loss[i] / step[i]) for name, loss in losses.items()},
            {what: float(gain[i]) for what, gain in gains.items()},
        )
        for i in range(len(plans))
    ]


def _sentence(losses: dict[str, float], gains: dict[str, float]) -> str:
    worst = max(losses, key=lambda name: losses[name])
    what = max(gains, key=lambda name: gains[name])
    name = _NAMES.get(worst, "kernels that run below the peak rate")
    cause = f"{losses[worst]:.0%} of the step goes to {name}"
    return f"{cause}; {what} would make this plan {gains[what]:.0%} faster."


def _gains(training: Training, plans: Strategies, step: Floats, change: _Change) -> Floats:
    """Relative gain in throughput of each plan under a change; the batch may change too, so per sequence."""
    changed = change.apply(training)
    faster = score(changed, plans).step_time_s * training.global_batch / changed.global_batch
    return step / faster - 1.0
