"""The time of one operator, and the required FLOPs of a step, with techniques."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.roofline import (
    LayerShard,
    PassTimes,
    compute_gemm_flops_per_s,
    compute_memory_bytes_per_s,
)
from planner.cost.operators.table import get_operator_cost
from planner.cost.scenario import Scenario
from planner.workload.operators import Convolution, ExpertLinear, Linear, Operator
from planner.workload.techniques import WEIGHT_16BIT_BYTES, Lora

PRUNED_OPERATORS = ("mlp_up", "mlp_down", "shared_up", "shared_down")
"""Multiplies that are pruned by the published recipes (arXiv 2404.01847; PyTorch's 2:4 training)."""
_FOUR_BIT_VALUE_BYTES = 0.5


def adjust_pass_times(scenario: Scenario, op: Operator, shard: LayerShard, pass_times: PassTimes) -> PassTimes:
    """Seconds of an operator's passes with the scenario's techniques; `pass_times`: without them. [keys]."""
    lora, pruning = scenario.techniques.lora, scenario.techniques.pruning
    if lora is not None and isinstance(op, Linear | ExpertLinear | Convolution):
        # no gradient of a frozen weight: one multiply of the same size backward instead of two
        pass_times = PassTimes(
            pass_times.forward_s,
            pass_times.backward_s - pass_times.weight_grad_s,
            np.zeros_like(pass_times.weight_grad_s),
        )
        if is_adapted(op):
            pass_times = (
                pass_times
                + _compute_adapter_times(scenario, op, shard, lora.rank)
                + _compute_dequantize_times(scenario, op, shard, lora)
            )
    if pruning is not None and is_pruned(op):
        pass_times = PassTimes(
            *(
                pass_s / pruning.speedup
                for pass_s in (pass_times.forward_s, pass_times.backward_s, pass_times.weight_grad_s)
            )
        )
    return pass_times


def is_adapted(op: Operator) -> bool:
    """Whether it gets adapters: every multiply of the layers but the router, not the logits (arXiv 2305.14314)."""
    return get_operator_cost(op).runs_in_layer_precision(op)


def is_pruned(op: Operator) -> bool:
    """Whether its weights are pruned."""
    return isinstance(op, Linear) and op.name in PRUNED_OPERATORS


def _compute_adapter_times(scenario: Scenario, op: Operator, shard: LayerShard, rank: int) -> PassTimes:
    """Both thin multiplies of an adapter, in 16 bit: down to its rank and up again."""
    if isinstance(op, ExpertLinear):
        thin_operators: tuple[Operator, Operator] = (
            replace(op, outputs=rank, bias=False),
            replace(op, inputs=rank, bias=False),
        )
    else:
        assert isinstance(op, Linear)
        down_shard, up_shard = "row" if op.shard == "row" else "none", "column" if op.shard == "column" else "none"
        thin_operators = (
            Linear("down", op.inputs, rank, down_shard, full_precision=True, rows=op.rows),  # type: ignore[arg-type]
            Linear("up", rank, op.outputs, up_shard, full_precision=True, rows=op.rows),  # type: ignore[arg-type]
        )
    down_times, up_times = (get_operator_cost(thin).compute_times(scenario, thin, shard) for thin in thin_operators)
    return down_times + up_times


def _compute_dequantize_times(scenario: Scenario, op: Operator, shard: LayerShard, lora: Lora) -> PassTimes:
    """Frozen weights of four bits are written out in 16 before each pass: read once, written, and read again."""
    zero_s = np.zeros_like(shard.tokens)
    if lora.bits == 16:
        return PassTimes(zero_s, zero_s, zero_s)
    if isinstance(op, ExpertLinear):
        weight_count: Floats = op.inputs * op.outputs * op.experts / (shard.ep * shard.etp)
    else:
        assert isinstance(op, Linear)
        weight_count = op.weights / (np.ones_like(shard.tp) if op.shard == "none" else shard.tp)
    time_s = weight_count * (_FOUR_BIT_VALUE_BYTES + WEIGHT_16BIT_BYTES) / compute_memory_bytes_per_s(scenario)
    return PassTimes(time_s, time_s, zero_s)


def compute_teacher_s(scenario: Scenario, shard: LayerShard) -> Floats:
    """The teacher's forward pass of one micro-batch, by the layer of the student's; shape [keys].

    At the rate of large multiplies: at least as fast as it really is.
    """
    teacher = scenario.techniques.teacher
    if teacher is None:
        return np.zeros_like(shard.tokens)
    flops_per_token = teacher.forward_flops_per_token / scenario.workload.layer_count
    return flops_per_token * shard.tokens / shard.tp / compute_gemm_flops_per_s(scenario, full_precision=True)


def compute_required_flops(scenario: Scenario, model_flops: float) -> float:
    """Required FLOPs of a step: `model_flops` without the gradients of frozen weights, with those of
    adapters, and with the teacher's forward pass.
    """
    lora, teacher = scenario.techniques.lora, scenario.techniques.teacher
    workload = scenario.workload
    flops_per_token = 0.0
    if lora is not None:
        layers = [(run.layer, run.count) for run in workload.layer_runs]
        layers += [(workload.head, 1), (workload.embedding, 1)]
        flops_per_token += math.fsum(
            count * _compute_lora_flops(op, lora.rank) for layer, count in layers for op in layer.operators
        )
    if teacher is not None:
        flops_per_token += teacher.forward_flops_per_token
    return model_flops + flops_per_token * scenario.global_batch * workload.seq_length


def _compute_lora_flops(op: Operator, rank: int) -> float:
    """What adapters add for one token, less the gradients of the frozen weight."""
    adapter_flops = 6.0 * rank if is_adapted(op) else 0.0
    if isinstance(op, ExpertLinear):
        return op.topk * (adapter_flops * (op.inputs + op.outputs) - 2.0 * op.inputs * op.outputs)
    if isinstance(op, Linear):
        return op.rows * (adapter_flops * (op.inputs + op.outputs) - 2.0 * op.weights)
    return -2.0 * op.weights * op.output_positions if isinstance(op, Convolution) else 0.0
