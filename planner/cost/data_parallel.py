"""Gradient and parameter collectives of data parallelism, and the optimizer's update.

Dense parameters are shared by dp x cp ranks, experts by dp x cp / ep of them (Megatron-LM). What moves,
by ZeRO stage (arXiv 1910.02054, section 7):
0: one all-reduce of the gradients a step. 1: reduce-scatter of gradients, all-gather of weights, once a step.
2: reduce-scatter after every micro-batch, since no rank keeps all gradients; all-gather once a step.
3: all-gather of weights before every forward and every backward pass, reduce-scatter after every micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost.collectives import all_gather, all_reduce, reduce_scatter
from planner.cost.distinct import distinct
from planner.cost.memory import Parameters
from planner.cost.strategies import Strategies
from planner.cost.training import Training

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Exchange:
    """Seconds of one collective over the fullest stage's parameters, shape [plans]."""

    reduce: Floats
    scatter: Floats
    gather: Floats


def _exchange(training: Training, s: Strategies, dense: Floats, expert: Floats) -> Exchange:
    """All-reduce and reduce-scatter of gradients, all-gather of weights; dense and experts one after the other."""
    network = training.network
    groups = ((dense, s.dp * s.cp, s.tp), (expert, s.dp * s.cp // s.ep, s.tp * s.ep))
    reduce = scatter = gather = np.zeros(len(s))
    for parameters, group, stride in groups:
        gradients, weights = parameters * training.framework.reduced, parameters * training.framework.weight
        there = parameters > 0
        reduce = reduce + np.where(there, all_reduce(network, gradients, group, stride), 0.0)
        scatter = scatter + np.where(there, reduce_scatter(network, gradients, group, stride), 0.0)
        gather = gather + np.where(there, all_gather(network, weights, group, stride), 0.0)
    return Exchange(reduce, scatter, gather)


def data_parallel(
    training: Training,
    s: Strategies,
    parameters: Parameters,
    split: Ints,
    micro_batches: Ints,
    forward: Floats,
    backward: Floats,
) -> tuple[Floats, Floats]:
    """Seconds a step exposed and hidden, shape [plans].

    `forward` and `backward` are the compute of one micro-batch on one stage, beside which the collectives of
    the other layers run; the first layer's gather and the last layer's scatter have nothing to run beside.
    """
    keys = distinct(s.tp, s.ep, s.cp, s.dp, split)
    chosen = s.take(keys.first)
    exchange = _exchange(
        training, chosen, parameters.dense[keys.first].max(axis=1), parameters.expert[keys.first].max(axis=1)
    )
    reduce, scatter, gather = (part[keys.of] for part in (exchange.reduce, exchange.scatter, exchange.gather))
    layers_on_stage = np.ceil(training.workload.layer_count / s.pp)
    overlap = training.calibration.overlap
    n, zero = micro_batches, s.zero_stage

    def exposed(seconds: Floats, beside: Floats) -> Floats:
        alone = seconds / layers_on_stage
        return alone + np.maximum(seconds - alone - overlap * beside, 0.0)

    reduced_once = np.where(zero == 0, reduce, scatter)
    each_forward = np.where(zero == 3, gather, 0.0)
    each_backward = np.where(zero == 3, gather, 0.0) + np.where(zero >= 2, scatter, 0.0)
    once_backward = np.where(zero < 2, reduced_once, 0.0)
    once_forward = np.where((zero == 1) | (zero == 2), gather, 0.0)
    total = once_forward + once_backward + n * (each_forward + each_backward)
    shown = (
        exposed(once_forward, forward)
        + exposed(once_backward, backward)
        + n * (exposed(each_forward, forward) + exposed(each_backward, backward))
    )
    hidden = total - shown
    return shown + training.calibration.contention * hidden, hidden


def optimizer_seconds(training: Training, s: Strategies, parameters: Parameters) -> Floats:
    """Adam by its memory traffic: gradient read, master copy and two moments read and written, weight written.

    Sharded from ZeRO stage 1 on. The fullest stage decides; result [plans].
    """
    shards = (s.dp * s.cp)[:, None].astype(np.float64)
    shared = parameters.dense / shards + parameters.expert * s.ep[:, None] / shards
    own = np.where(s.zero_stage[:, None] >= 1, shared, parameters.dense + parameters.expert).max(axis=1)
    held = training.framework
    traffic = held.gradient + 2 * held.optimizer + held.weight
    rate = training.accelerator.memory_bandwidth_bytes_per_s * training.calibration.memory_efficiency
    seconds: Floats = own * traffic / rate
    return seconds
