"""Memory of the fullest device, by kind, for each plan.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): stage 1 shards the optimizer state over the data-parallel
ranks, 2 also the gradients, 3 also the weights. What is sharded still needs room for the piece at work: one
layer's gradients, two layers' weights (the one at work and the one being fetched).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cost.arrays import (
    Floats,
    Ints,
    added,
    gathered,
    largest,
    weighted,
)
from planner.cost.offload import NO_OFFLOAD
from planner.cost.parameters import Parameters, sharded_over
from planner.cost.pipeline.partition import ROUNDS, in_flight
from planner.cost.plan_tables import Prepared, prepare
from planner.cost.scenario import Training
from planner.cost.strategies import FULL, Strategies
from planner.cost.techniques.trained_state import held_state
from planner.cost.unique_rows import distinct
from planner.workload.techniques import WEIGHT_16BIT

KINDS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")


def model_state(training: Training, s: Strategies, parameters: Parameters, zero_stage: Ints) -> dict[str, Floats]:
    """Weights, gradients and optimizer state in bytes, shape [plans, stages] each, under `zero_stage` [plans]."""
    shards = sharded_over(training, s.dp * s.cp)[:, None].astype(np.float64)
    of_experts = sharded_over(training, s.expert_ranks)[:, None].astype(np.float64)
    held = parameters.dense + parameters.expert
    shared = parameters.dense / shards + parameters.expert / of_experts
    layer = (parameters.largest_dense + parameters.largest_expert)[:, None]
    zero, own = zero_stage[:, None], held_state(training)

    def sharded(bytes_each: float, from_stage: int, at_work: Floats | float, kept: float) -> Floats:
        """Sharded from one ZeRO stage on, with room for the parameters at work, never more than unsharded."""
        pieces = np.minimum(kept * shared + bytes_each * at_work, bytes_each * held)
        return np.where(zero >= from_stage, pieces, bytes_each * held)

    at_hand = 2.0 * layer + (parameters.ends if own.keeps_ends else 0.0)
    state = {
        "weights": sharded(own.weight, 3, at_hand, own.sharded_weight),
        "gradients": sharded(own.gradient, 2, layer, own.gradient),
        "optimizer": sharded(own.optimizer, 1, 0.0, own.optimizer),
    }
    if training.offload.weights:
        state["weights"] = np.minimum(own.weight * at_hand, state["weights"])
    if training.offload.optimizer:
        state["optimizer"] = np.zeros_like(state["optimizer"])
    if training.techniques.teacher is not None:
        teacher = WEIGHT_16BIT * training.techniques.teacher.parameters / (s.tp * s.pp)[:, None]
        state["weights"] = state["weights"] + teacher
    return state


def micro_batches_in_flight(training: Training, s: Strategies, p: Prepared, n: Ints | None = None) -> Floats:
    """Micro-batches that each stage holds at its fullest, shape [plans, stages]; `n`: those of a rank's step, where
    ranks are not all alike.
    """
    # beyond a few rounds every round of the schedule is like the one before
    whole = training.global_batch // (s.dp * s.micro_batch) if n is None else n
    count = np.clip(whole, 1, ROUNDS * s.pp)
    keys = distinct(p.split, count)
    first = keys.first
    held = in_flight(p.stages, p.split[first], s.pp[first], s.vpp[first], count[first])
    return gathered(held, keys.of)


def kept_activations(
    training: Training, s: Strategies, p: Prepared, recompute: Ints, passes: Floats
) -> dict[str, Floats]:
    """Kept activations, the head's own, and buffers in bytes, shape [plans, stages] each, under `recompute`.

    `passes`: micro-batches in flight, shape [plans, stages]. The head is left as soon as it is entered, so it
    holds one micro-batch; under recomputation the layer at work is restored beside what is kept.
    """
    tables, layer_row = p.tables, p.layer_row
    saved, dropped = tables.saved_bytes, tables.dropped_bytes
    least = np.minimum(tables.input_bytes, saved - dropped)
    by_mode = (
        np.concatenate([saved, saved - dropped, least]),
        np.concatenate([np.zeros_like(saved), dropped, saved - least]),
    )
    row = recompute * len(saved) + layer_row
    kept, restored = (gathered(table, row)[:, None, :] for table in by_mode)
    counts = gathered(p.stages.counts, p.split)
    if training.recompute_layers is not None:
        again = recomputed_share(training, s)[:, None, None]
        unkept = saved[layer_row][:, None, :] - kept
        kept = np.where((recompute == FULL)[:, None, None], kept + (1.0 - again) * unkept, kept)
    at_work = largest(np.where(counts[:, :, :-2] > 0, restored[:, :, :-2], 0.0))
    held = 1.0 + (training.framework.fragmentation if training.launch == "eager" else 0.0)
    # the layer's input as it is received, and the next one's as it is sent; the gathered sequence and its gradient
    at_most = [largest(table[:, :-2])[layer_row, None] for table in (tables.input_bytes, tables.gathered_bytes)]
    buffers = 2 * at_most[0] + at_most[1]
    layers = passes * weighted(counts[:, :, :-1], kept[:, :, :-1])
    if training.offload.activations:
        # on their way out or in: the layer at work and the one before it
        layers = np.minimum(2.0 * largest(np.where(counts[:, :, :-1] > 0, kept[:, :, :-1], 0.0)), layers)
    return {
        "activations": held * (layers + at_work),
        "logits": held * counts[:, :, -1] * saved[layer_row, -1:],
        "buffers": np.broadcast_to(buffers, passes.shape),
    }


def recomputed_share(training: Training, s: Strategies) -> Floats:
    """Share of a stage's layers that full recomputation repeats, shape [plans]: all, or so many of them."""
    if training.recompute_layers is None:
        return np.ones(len(s))
    return np.minimum(1.0, training.recompute_layers * s.pp * s.vpp / training.workload.layer_count)


def repeated_layers(training: Training, s: Strategies) -> Floats:
    """Share of the layers that each plan's recompute mode is at work in, shape [plans]: only full recomputation may
    leave some of them out.
    """
    return np.where(s.recompute == FULL, recomputed_share(training, s), 1.0)


def stage_memory(training: Training, s: Strategies, p: Prepared, n: Ints | None = None) -> dict[str, Floats]:
    """Bytes by kind on a device of each stage that `p` tells of, shape [plans, stages] each; keys are KINDS."""
    parts = model_state(training, s, p.parameters, s.zero_stage)
    parts |= kept_activations(training, s, p, s.recompute, micro_batches_in_flight(training, s, p, n))
    parts["reserve"] = np.full_like(parts["weights"], training.reserve_bytes)
    return parts


def memory_of(
    training: Training, s: Strategies, prepared: Prepared | None = None, n: Ints | None = None
) -> dict[str, Floats]:
    """Bytes by kind on the fullest device of each plan, each of shape [plans]; keys are KINDS. They add up to the
    total. `n` as in `micro_batches_in_flight`.
    """
    parts = stage_memory(training, s, prepared or prepare(training, s), n)
    fullest = np.argmax(added(parts[kind] for kind in KINDS), axis=1)
    rows = np.arange(len(s))
    return {kind: parts[kind][rows, fullest] for kind in KINDS}


def memory_totals(
    training: Training,
    s: Strategies,
    p: Prepared,
    zero_stages: Sequence[int],
    recomputes: Sequence[int],
    n: Ints | None = None,
) -> Floats:
    """Total bytes of the fullest device under every pair of ZeRO stage and recompute mode.

    Shape [plans, zero stages, recompute modes]; the plans' own two columns are not looked at. The sum is
    taken in two halves, each computed once: model state by ZeRO stage, activations by recompute mode.
    """
    return _fullest(*_halves(training, s, p, zero_stages, recomputes, n)) + training.reserve_bytes


def host_memory_totals(
    training: Training, s: Strategies, p: Prepared, zero_stages: Sequence[int], recomputes: Sequence[int]
) -> Floats:
    """Bytes that a host keeps for its devices, all taken to be of the stage that offloads most; shaped as
    `memory_totals`. What is offloaded is what the device holds less than it would without.
    """
    without = _halves(replace(training, offload=NO_OFFLOAD), s, p, zero_stages, recomputes)
    here = _halves(training, s, p, zero_stages, recomputes)
    states, kept = (
        [whole - part for whole, part in zip(*both, strict=True)] for both in zip(without, here, strict=True)
    )
    return training.devices_per_host * _fullest(states, kept)


def _halves(
    training: Training,
    s: Strategies,
    p: Prepared,
    zero_stages: Sequence[int],
    recomputes: Sequence[int],
    n: Ints | None = None,
) -> tuple[list[Floats], list[Floats]]:
    """Model state under each ZeRO stage, activations under each recompute mode, shape [plans, stages] each."""
    owners = distinct(s.tp, s.ep, s.etp, s.dp * s.cp, p.split)
    owner, held = s.take(owners.first), p.parameters.take(owners.first)
    states = [
        gathered(added(model_state(training, owner, held, np.full(len(owner), zero)).values()), owners.of)
        for zero in zero_stages
    ]
    passes = micro_batches_in_flight(training, s, p, n)
    kept = [added(kept_activations(training, s, p, np.full(len(s), mode), passes).values()) for mode in recomputes]
    return states, kept


def _fullest(states: list[Floats], kept: list[Floats]) -> Floats:
    """The fullest stage's sum of every pair, shape [plans, states, kept]."""
    both = [[largest(state + activation) for activation in kept] for state in states]
    return np.moveaxis(np.array(both), 2, 0)
