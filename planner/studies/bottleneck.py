"""One sentence: what holds a plan back, and what would change it, found by asking the cost model again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats
from planner.cost.flops import model_flops
from planner.cost.scenario import Training
from planner.cost.step import Scores, score
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import needed_flops
from planner.studies.changes import SCALES, rebound

_NAMES = {
    "recompute": "recomputation of activations",
    "tensor_parallel": "tensor-parallel collectives",
    "context_parallel": "context-parallel exchange",
    "expert_parallel": "expert-parallel all-to-all",
    "pipeline_send": "sends between pipeline stages",
    "pipeline_bubble": "the pipeline bubble",
    "data_parallel": "data-parallel collectives that compute does not hide",
    "optimizer": "the optimizer's update",
    "offload": "transfers to and from the host",
    "overhead": "fixed overhead of every step",
}


_CHANGES: dict[str, Callable[[Training, Cluster], Training]] = {
    "twice the peak FLOP/s": lambda t, c: rebound(t, SCALES["peak"](c, 2.0)),
    "twice the memory bandwidth": lambda t, c: rebound(t, SCALES["memory_bandwidth"](c, 2.0)),
    "twice the bandwidth of the scale-up links": lambda t, c: rebound(t, SCALES["link_bandwidth"](c, 2.0)),
    "twice the bandwidth of the network cards": lambda t, c: rebound(t, SCALES["network_bandwidth"](c, 2.0)),
    "twice the global batch": lambda t, _: replace(t, global_batch=2 * t.global_batch),
}


_OFFLOADED: dict[str, Callable[[Training, Cluster], Training]] = {
    "twice the bandwidth of the link to the host": lambda t, c: rebound(t, SCALES["host_link"](c, 2.0)),
    "twice the memory bandwidth of the host": lambda t, c: rebound(t, SCALES["host_bandwidth"](c, 2.0)),
}


def bottlenecks(training: Training, cluster: Cluster, plans: Strategies, scores: Scores) -> list[str]:
    """The sentence for each plan; `scores`: theirs."""
    step = scores.step_time_s
    ideal = needed_flops(training, model_flops(training.workload, training.global_batch, "full"))
    ideal /= training.devices * training.accelerator.peak(training.precision)
    losses = {name: scores.terms[name] for name in _NAMES}
    losses["kernels"] = scores.terms["forward"] + scores.terms["backward"] - ideal
    changes = _CHANGES | (_OFFLOADED if training.offload.any else {})
    gains = {what: _gains(training, change(training, cluster), plans, step) for what, change in changes.items()}
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
    # of kernels what they take beyond their work at the peak rate; of all else the whole
    cause = f"goes to {_NAMES[worst]}" if worst in _NAMES else "is lost to kernels that run below the peak rate"
    return f"{losses[worst]:.0%} of the step {cause}; {what} would make this plan {gains[what]:.0%} faster."


def _gains(training: Training, changed: Training, plans: Strategies, step: Floats) -> Floats:
    """Relative gain in throughput of each plan under a change; the batch may change too, so per sequence."""
    faster = score(changed, plans).step_time_s * training.global_batch / changed.global_batch
    return step / faster - 1.0
