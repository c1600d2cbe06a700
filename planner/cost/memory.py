"""Memory of the fullest device, by kind, for each plan.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): stage 1 shards the optimizer state over the data-parallel
ranks, 2 also the gradients, 3 also the weights. What is sharded still needs room for the piece at work: one
layer's gradients, two layers' weights (the one at work and the one being fetched).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from planner.cost.arrays import added, gathered, largest, weighted
from planner.cost.distinct import distinct
from planner.cost.layers import LayerTables, layer_kinds
from planner.cost.offload import NO_OFFLOAD
from planner.cost.pipeline import Stages, in_flight
from planner.cost.strategies import Strategies
from planner.cost.training import Training

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")


@dataclass(frozen=True)
class Parameters:
    """Parameters on one device of each stage: dense ones, and experts.

    Shape [plans, stages] each; `ends`: those of `dense` that embedding and head have; `largest_*` the largest single
    layer's, shape [plans].
    """

    dense: Floats
    expert: Floats
    ends: Floats
    largest_dense: Floats
    largest_expert: Floats

    def take(self, index: Ints) -> Parameters:
        """Those of the plans at `index`."""
        return Parameters(**{field.name: getattr(self, field.name)[index] for field in fields(Parameters)})


def sharded_over(training: Training, ranks: Ints) -> Ints:
    """How many of the ranks that hold the same parameters share them, shape [plans]: all, or a hybrid group's."""
    return ranks if training.shard_group is None else np.gcd(ranks, training.shard_group)


def stage_parameters(training: Training, s: Strategies, stages: Stages, split: Ints) -> Parameters:
    """Parameters of every stage of every plan."""
    keys = distinct(s.tp, s.ep, s.etp, split)
    tp = s.tp[keys.first, None].astype(np.float64)
    of_experts = (s.ep * s.etp)[keys.first, None].astype(np.float64)
    kinds = layer_kinds(training)
    sharded, whole, expert = (
        np.array([getattr(kind, f"{name}_parameters") for kind in kinds], dtype=np.float64)
        for name in ("sharded", "replicated", "expert")
    )
    per_kind = sharded / tp + whole
    per_kind_expert = expert / of_experts
    counts = stages.counts[split[keys.first]]
    dense = weighted(counts, per_kind[:, None, :])
    # a tied output matrix is the embedding's own where both are on one stage, a copy where they are not
    copied = training.workload.tied_parameters * (counts[:, :, -1] - counts[:, :, -1] * counts[:, :, -2])
    dense = dense + copied / tp
    ends = weighted(counts[:, :, -2:], per_kind[:, None, -2:]) + copied / tp
    return Parameters(
        dense=gathered(dense, keys.of),
        expert=gathered(weighted(counts, per_kind_expert[:, None, :]), keys.of),
        ends=gathered(ends, keys.of),
        largest_dense=per_kind[:, :-2].max(axis=1)[keys.of],
        largest_expert=per_kind_expert[:, :-2].max(axis=1)[keys.of],
    )


def model_state(training: Training, s: Strategies, parameters: Parameters, zero_stage: Ints) -> dict[str, Floats]:
    """Weights, gradients and optimizer state in bytes, shape [plans, stages] each, under `zero_stage` [plans]."""
    shards = sharded_over(training, s.dp * s.cp)[:, None].astype(np.float64)
    of_experts = sharded_over(training, s.expert_ranks)[:, None].astype(np.float64)
    held = parameters.dense + parameters.expert
    shared = parameters.dense / shards + parameters.expert / of_experts
    layer = (parameters.largest_dense + parameters.largest_expert)[:, None]
    zero, own = zero_stage[:, None], training.framework

    def sharded(bytes_each: float, from_stage: int, at_work: Floats | float, kept: float) -> Floats:
        """Sharded from one ZeRO stage on, with room for the parameters at work, never more than unsharded."""
        pieces = np.minimum(kept * shared + bytes_each * at_work, bytes_each * held)
        return np.where(zero >= from_stage, pieces, bytes_each * held)

    gathered = 2.0 * layer + (parameters.ends if own.keeps_ends else 0.0)
    state = {
        "weights": sharded(own.weight, 3, gathered, own.sharded_weight),
        "gradients": sharded(own.gradient, 2, layer, own.gradient),
        "optimizer": sharded(own.optimizer, 1, 0.0, own.optimizer),
    }
    if training.offload.weights:
        state["weights"] = np.minimum(own.weight * gathered, state["weights"])
    if training.offload.optimizer:
        state["optimizer"] = np.zeros_like(state["optimizer"])
    return state


def micro_batches_in_flight(training: Training, s: Strategies, stages: Stages, split: Ints) -> Floats:
    """Micro-batches that each stage holds at its fullest, shape [plans, stages]."""
    count = np.maximum(training.global_batch // (s.dp * s.micro_batch), 1)
    keys = distinct(split, count)
    first = keys.first
    held = in_flight(s.pp[first], s.vpp[first], count[first], stages.index[split[first]])
    return gathered(held, keys.of)


def kept_activations(
    training: Training,
    s: Strategies,
    tables: LayerTables,
    layer_row: Ints,
    stages: Stages,
    split: Ints,
    recompute: Ints,
    passes: Floats,
) -> dict[str, Floats]:
    """Kept activations, the head's own, and buffers in bytes, shape [plans, stages] each, under `recompute`.

    `passes`: micro-batches in flight, shape [plans, stages]. The head is left as soon as it is entered, so it
    holds one micro-batch; under recomputation the layer at work is restored beside what is kept.
    """
    saved, dropped = tables.saved_bytes, tables.dropped_bytes
    least = np.minimum(tables.input_bytes, saved - dropped)
    by_mode = (
        np.concatenate([saved, saved - dropped, least]),
        np.concatenate([np.zeros_like(saved), dropped, saved - least]),
    )
    row = recompute * len(saved) + layer_row
    kept, restored = (gathered(table, row)[:, None, :] for table in by_mode)
    counts = gathered(stages.counts, split)
    if training.recompute_layers is not None:
        again = recomputed_share(training, s)[:, None, None]
        unkept = saved[layer_row][:, None, :] - kept
        kept = np.where((recompute == 2)[:, None, None], kept + (1.0 - again) * unkept, kept)
    at_work = largest(np.where(counts[:, :, :-2] > 0, restored[:, :, :-2], 0.0))
    held = 1.0 + (training.framework.fragmentation if training.launch == "eager" else 0.0)
    # the layer's input as it is received, and the next one's as it is sent; the gathered sequence and its gradient
    buffers = 2 * tables.input_bytes[layer_row, :1] + tables.gathered_bytes[layer_row, :1]
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


def memory(
    training: Training,
    s: Strategies,
    tables: LayerTables,
    layer_row: Ints,
    stages: Stages,
    split: Ints,
    parameters: Parameters,
) -> dict[str, Floats]:
    """Bytes by kind on the fullest stage, each of shape [plans]; keys are KINDS. They add up to the total."""
    parts = model_state(training, s, parameters, s.zero_stage)
    passes = micro_batches_in_flight(training, s, stages, split)
    parts |= kept_activations(training, s, tables, layer_row, stages, split, s.recompute, passes)
    parts["reserve"] = np.full_like(parts["weights"], training.reserve_bytes)
    fullest = np.argmax(added(parts[kind] for kind in KINDS), axis=1)
    rows = np.arange(len(s))
    return {kind: parts[kind][rows, fullest] for kind in KINDS}


def totals(
    training: Training,
    s: Strategies,
    tables: LayerTables,
    layer_row: Ints,
    stages: Stages,
    split: Ints,
    parameters: Parameters,
    zero_stages: tuple[int, ...],
    recomputes: tuple[int, ...],
) -> Floats:
    """Total bytes of the fullest stage under every pair of ZeRO stage and recompute mode.

    Shape [plans, zero stages, recompute modes]; the plans' own two columns are not looked at. The sum is
    taken in two halves, each computed once: model state by ZeRO stage, activations by recompute mode.
    """
    states = _states(training, s, parameters, split, zero_stages)
    kept = _kept(training, s, tables, layer_row, stages, split, recomputes)
    return _fullest(states, kept) + training.reserve_bytes


def host_totals(
    training: Training,
    s: Strategies,
    tables: LayerTables,
    layer_row: Ints,
    stages: Stages,
    split: Ints,
    parameters: Parameters,
    zero_stages: tuple[int, ...],
    recomputes: tuple[int, ...],
) -> Floats:
    """Bytes that a host keeps for its devices, all taken to be of the stage that offloads most; shapes as `totals`.

    What is offloaded is what the device holds less than it would without.
    """
    whole = replace(training, offload=NO_OFFLOAD)
    states, kept = (
        [without - here for without, here in zip(*both, strict=True)]
        for both in (
            [_states(t, s, parameters, split, zero_stages) for t in (whole, training)],
            [_kept(t, s, tables, layer_row, stages, split, recomputes) for t in (whole, training)],
        )
    )
    return training.devices_per_host * _fullest(states, kept)


def _states(
    training: Training, s: Strategies, parameters: Parameters, split: Ints, zero_stages: tuple[int, ...]
) -> list[Floats]:
    """Model state under each ZeRO stage, shape [plans, stages] each."""
    owners = distinct(s.tp, s.ep, s.etp, s.dp * s.cp, split)
    owner, held = s.take(owners.first), parameters.take(owners.first)
    return [
        gathered(added(model_state(training, owner, held, np.full(len(owner), zero)).values()), owners.of)
        for zero in zero_stages
    ]


def _kept(
    training: Training,
    s: Strategies,
    tables: LayerTables,
    layer_row: Ints,
    stages: Stages,
    split: Ints,
    recomputes: tuple[int, ...],
) -> list[Floats]:
    """Activations under each recompute mode, shape [plans, stages] each."""
    passes = micro_batches_in_flight(training, s, stages, split)
    return [
        added(kept_activations(training, s, tables, layer_row, stages, split, np.full(len(s), mode), passes).values())
        for mode in recomputes
    ]


def _fullest(states: list[Floats], kept: list[Floats]) -> Floats:
    """The fullest stage's sum of every pair, shape [plans, states, kept]."""
    both = [[largest(state + activation) for activation in kept] for state in states]
    return np.moveaxis(np.array(both), 2, 0)
