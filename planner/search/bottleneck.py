"""One sentence: what holds a plan back, and what would change it, found by asking the cost model again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.flops import model_flops
from planner.cost.step import score
from planner.cost.strategies import Strategies
from planner.cost.training import Training

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


def bottleneck(training: Training, plan: Strategies) -> str:
    """The sentence for a single plan."""
    scores = score(training, plan)
    step = float(scores.step_time_s[0])
    losses = {name: float(scores.terms[name][0]) for name in _NAMES}
    ideal = model_flops(training.workload, training.global_batch, "full")
    ideal /= training.devices * training.accelerator.peak(training.precision)
    losses["kernels"] = float(scores.terms["forward"][0] + scores.terms["backward"][0]) - ideal
    worst = max(losses, key=lambda name: losses[name])
    name = _NAMES.get(worst, "kernels that run below the peak rate")
    gains = [(_gain(training, plan, step, change), change.what) for change in _CHANGES]
    gain, what = max(gains, key=lambda pair: pair[0])
    cause = f"{losses[worst] / step:.0%} of the step goes to {name}"
    return f"{cause}; {what} would make this plan {gain:.0%} faster."


def _gain(training: Training, plan: Strategies, step: float, change: _Change) -> float:
    """Relative gain in throughput under a change; the batch may change too, so it is per sequence."""
    changed = change.apply(training)
    faster = float(score(changed, plan).step_time_s[0]) * training.global_batch / changed.global_batch
    return step / faster - 1
