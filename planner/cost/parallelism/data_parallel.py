"""Gradient and parameter collectives of data parallelism, and the optimizer's update.

Dense parameters are shared by dp x cp ranks, experts by what the expert group leaves of a stage (Megatron-LM).
What moves, by ZeRO stage (arXiv 1910.02054, section 7):
0: one all-reduce of the gradients a step. 1: reduce-scatter of gradients, all-gather of weights, once a step.
2: reduce-scatter after every micro-batch, since no rank keeps all gradients; all-gather once a step.
3: all-gather of weights before every forward and every backward pass, reduce-scatter after every micro-batch.
Under hybrid sharding (arXiv 2304.11277, section 3.2.2) gathers and scatters stay within the sharding group; what is
scattered is then reduced over its replicas, once a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.collectives import all_gather, all_reduce, reduce_scatter
from planner.cost.operators.compute import gemm_rate, memory_rate
from planner.cost.parameters import Parameters, sharded_over
from planner.cost.rank_groups import Group, data_group, expert_data_group
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.cost.techniques.trained_state import held_state, trained_share
from planner.cost.unique_rows import distinct


@dataclass(frozen=True)
class Exchange:
    """Seconds of one collective over the fullest stage's parameters, shape [plans].

    `regather`: of the weights that the optimizer changed.
    `replicas`: the all-reduce of scattered gradients between sharding groups, zero where there is one.
    """

    reduce: Floats
    scatter: Floats
    gather: Floats
    regather: Floats
    replicas: Floats


def _exchange(training: Training, s: Strategies, dense: Floats, expert: Floats) -> Exchange:
    """All collectives; dense and experts one after the other."""
    network, order, held = training.network, training.order, held_state(training)
    # what the optimizer changed is gathered once a step, under ZeRO 3 all weights before each pass
    changed = trained_share(training) * training.framework.weight
    reduce = scatter = gather = regather = replicas = np.zeros(len(s))
    for parameters, group in ((dense, data_group(order, s)), (expert, expert_data_group(order, s))):
        gradients, weights = parameters * held.reduced, parameters * held.weight
        there = parameters > 0
        if not there.any():
            continue
        inner, outer = _halves(group, sharded_over(training, group.size))
        shards = inner.size
        reduce = reduce + np.where(there, all_reduce(network, gradients, group), 0.0)
        scatter = scatter + np.where(there, reduce_scatter(network, gradients, inner), 0.0)
        gather = gather + np.where(there, all_gather(network, weights, inner), 0.0)
        if changed != held.weight:
            regather = regather + np.where(there, all_gather(network, parameters * changed, inner), 0.0)
        if (outer.size > 1).any():
            replicas = replicas + np.where(there, all_reduce(network, gradients / shards, outer), 0.0)
    return Exchange(reduce, scatter, gather, gather if changed == held.weight else regather, replicas)


def _halves(group: Group, shards: Ints) -> tuple[Group, Group]:
    """The sharding group, the innermost `shards` ranks of a group, and the group of its replicas."""
    taken, left = [], shards
    for part in group.sizes.T:
        share = np.gcd(part, left)
        taken.append(share)
        left = left // share
    sizes = np.stack(taken, axis=1)
    return Group(sizes, group.strides), Group(group.sizes // sizes, group.strides * sizes)


def data_parallel(
    training: Training,
    s: Strategies,
    parameters: Parameters,
    split: Ints,
    micro_batches: Ints,
    beside_forward: Floats,
    beside_backward: Floats,
) -> tuple[Floats, Floats]:
    """Seconds a step exposed and hidden, shape [plans].

    `beside_forward` and `beside_backward` are the seconds of one micro-batch on one stage in which the links are free
    (see `sharing.py`), beside which the collectives of the other layers run; the first layer's gather and the
    last layer's scatter have nothing to run beside.
    """
    keys = distinct(s.tp, s.ep, s.etp, s.cp, s.dp, split)
    chosen = s.take(keys.first)
    exchange = _exchange(
        training, chosen, parameters.dense[keys.first].max(axis=1), parameters.expert[keys.first].max(axis=1)
    )
    parts = (exchange.reduce, exchange.scatter, exchange.gather, exchange.regather, exchange.replicas)
    reduce, scatter, gather, regather, replicas = (part[keys.of] for part in parts)
    layers_on_stage = np.ceil(training.workload.layer_count / s.pp)
    overlap = 1.0 if training.dp_overlap else 0.0
    n, zero = micro_batches, s.zero_stage

    def exposed(seconds: Floats, beside: Floats) -> Floats:
        alone = seconds / layers_on_stage
        return alone + np.maximum(seconds - alone - overlap * np.maximum(beside, 0.0), 0.0)

    each_forward = np.where(zero == 3, gather, 0.0)
    each_backward = np.where(zero == 3, gather, 0.0) + np.where(zero >= 2, scatter, 0.0)
    once_backward = np.where(zero == 0, reduce, np.where(zero == 1, scatter, 0.0) + replicas)
    once_forward = np.where((zero == 1) | (zero == 2), regather, 0.0)
    total = once_forward + once_backward + n * (each_forward + each_backward)
    shown = (
        exposed(once_forward, beside_forward)
        + exposed(once_backward, beside_backward)
        + n * (exposed(each_forward, beside_forward) + exposed(each_backward, beside_backward))
    )
    hidden = total - shown
    return shown + training.calibration.contention * hidden, hidden


def own_parameters(training: Training, s: Strategies, parameters: Parameters) -> Floats:
    """Parameters whose optimizer state one device of the fullest stage has, shape [plans]."""
    shards = sharded_over(training, s.dp * s.cp)[:, None].astype(np.float64)
    of_experts = sharded_over(training, s.expert_ranks)[:, None].astype(np.float64)
    shared = parameters.dense / shards + parameters.expert / of_experts
    own: Floats = np.where(s.zero_stage[:, None] >= 1, shared, parameters.dense + parameters.expert).max(axis=1)
    return own


def optimizer_seconds(training: Training, s: Strategies, parameters: Parameters) -> Floats:
    """Adam by its memory traffic: gradient read, master copy and two moments read and written, weight written.

    Sharded from ZeRO stage 1 on. The fullest stage decides; result [plans]. An offloaded optimizer's traffic is the
    host's (`offload.py`), none of the device's.
    """
    if training.offload.optimizer:
        return np.zeros(len(s))
    held = training.framework
    traffic = held.gradient + 2 * held.optimizer + held.weight
    moved = trained_share(training) * own_parameters(training, s, parameters) * traffic
    seconds: Floats = moved / memory_rate(training)
    if training.techniques.optimizer_flops:
        seconds = seconds + _orthogonal_seconds(training, s, parameters)
    return seconds


def _orthogonal_seconds(training: Training, s: Strategies, parameters: Parameters) -> Floats:
    """Arithmetic of the update beside its traffic (Muon's Newton-Schulz iterations), on whole matrices, shape
    [plans]; what gathers a matrix that tensor parallelism cuts is not counted.
    """
    flops = own_parameters(training, s, parameters) * training.techniques.optimizer_flops
    return flops / gemm_rate(training, full_precision=True)
