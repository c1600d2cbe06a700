"""What a technique makes of the time of one operator, and of the FLOPs that a step asks for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.compute import (
    Passes,
    Shard,
    expert_linear,
    gemm_rate,
    linear,
    memory_rate,
)
from planner.cost.scenario import Training
from planner.workload.operators import Convolution, ExpertLinear, Linear, Operator
from planner.workload.techniques import WEIGHT_16BIT, Lora

FEED_FORWARD = ("mlp_up", "mlp_down", "shared_up", "shared_down")
"""Multiplies that are pruned by the published recipes (arXiv 2404.01847; PyTorch's 2:4 training)."""
_FOUR_BITS = 0.5


def with_techniques(training: Training, op: Operator, shard: Shard, passes: Passes) -> Passes:
    """The operator's passes as they are with the question's techniques."""
    lora, pruning = training.techniques.lora, training.techniques.pruning
    if lora is not None and isinstance(op, Linear | ExpertLinear | Convolution):
        # no gradient of a frozen weight: one multiply of the same size backward instead of two
        passes = Passes(passes.forward, passes.backward - passes.weight, np.zeros_like(passes.weight))
        if is_adapted(op):
            passes = passes + _adapters(training, op, shard, lora.rank) + _restored(training, op, shard, lora)
    if pruning is not None and is_pruned(op):
        passes = Passes(*(part / pruning.speed for part in (passes.forward, passes.backward, passes.weight)))
    return passes


def is_adapted(op: Operator) -> bool:
    """Whether it gets adapters: every multiply of the layers but the router, not the logits (arXiv 2305.14314)."""
    return isinstance(op, ExpertLinear) or (isinstance(op, Linear) and not op.full_precision)


def is_pruned(op: Operator) -> bool:
    """Whether its weights are pruned."""
    return isinstance(op, Linear) and op.name in FEED_FORWARD


def _adapters(training: Training, op: Operator, shard: Shard, rank: int) -> Passes:
    """Both thin multiplies of an adapter, in 16 bit: down to its rank and up again."""
    if isinstance(op, ExpertLinear):
        thin = replace(op, outputs=rank, bias=False), replace(op, inputs=rank, bias=False)
        return expert_linear(training, thin[0], shard) + expert_linear(training, thin[1], shard)
    assert isinstance(op, Linear)
    cut = "row" if op.shard == "row" else "none", "column" if op.shard == "column" else "none"
    down = Linear("down", op.inputs, rank, cut[0], full_precision=True, rows=op.rows)  # type: ignore[arg-type]
    up = Linear("up", rank, op.outputs, cut[1], full_precision=True, rows=op.rows)  # type: ignore[arg-type]
    return linear(training, down, shard) + linear(training, up, shard)


def _restored(training: Training, op: Operator, shard: Shard, lora: Lora) -> Passes:
    """Frozen weights of four bits are written out in 16 before each pass: read once, written, and read again."""
    none = np.zeros_like(shard.tokens)
    if lora.bits == 16:
        return Passes(none, none, none)
    if isinstance(op, ExpertLinear):
        values: Floats = op.inputs * op.outputs * op.experts / (shard.ep * shard.etp)
    else:
        assert isinstance(op, Linear)
        values = op.weights / (np.ones_like(shard.tp) if op.shard == "none" else shard.tp)
    seconds = values * (_FOUR_BITS + WEIGHT_16BIT) / memory_rate(training)
    return Passes(seconds, seconds, none)


def teacher_seconds(training: Training, shard: Shard) -> Floats:
    """The teacher's forward pass of one micro-batch, by the layer of the student's; shape [keys].

    At the rate of large multiplies: at least as fast as it really is.
    """
    teacher = training.techniques.teacher
    if teacher is None:
        return np.zeros_like(shard.tokens)
    each = teacher.forward_flops / training.workload.layer_count
    return each * shard.tokens / shard.tp / gemm_rate(training, full_precision=True)


def needed_flops(training: Training, plain: float) -> float:
    """FLOPs of a step that are asked for: `plain` without the gradients of frozen weights, with those of adapters,
    and with the teacher's forward pass.
    """
    lora, teacher = training.techniques.lora, training.techniques.teacher
    workload = training.workload
    per_token = 0.0
    if lora is not None:
        layers = [(run.layer, run.count) for run in workload.runs]
        layers += [(workload.head, 1), (workload.embedding, 1)]
        per_token += math.fsum(
            count * _lora_flops(op, lora.rank) for layer, count in layers for op in layer.operators
        )
    if teacher is not None:
        per_token += teacher.forward_flops
    return plain + per_token * training.global_batch * workload.seq_length


def _lora_flops(op: Operator, rank: int) -> float:
    """What adapters add for one token, less the gradients of the frozen weight."""
    adapters = 6.0 * rank if is_adapted(op) else 0.0
    if isinstance(op, ExpertLinear):
        return op.topk * (adapters * (op.inputs + op.outputs) - 2.0 * op.inputs * op.outputs)
    if isinstance(op, Linear):
        return op.rows * (adapters * (op.inputs + op.outputs) - 2.0 * op.weights)
    return -2.0 * op.weights * op.places if isinstance(op, Convolution) else 0.0
