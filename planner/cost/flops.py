"""FLOPs of the model by convention, for MFU and HFU (Chowdhery et al. 2022, arXiv 2204.02311, appendix B)."""

from __future__ import annotations

import math

from planner.cost.layer_tables import repeated_share
from planner.cost.scenario import FlopsConvention, Training
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Layer,
    Linear,
    Workload,
)


def _forward_per_token(layer: Layer, seq_length: int, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass: two a weight, and the attention of its pairs."""
    flops = 0.0
    for op in layer.operators:
        if isinstance(op, Linear):
            flops += 2.0 * op.weights * op.rows
        elif isinstance(op, Convolution):
            flops += 2.0 * op.weights * op.places
        elif isinstance(op, ExpertLinear):
            flops += 2.0 * op.inputs * op.outputs * op.topk
        elif isinstance(op, AttentionCore):
            flops += op.flops_per_pair() * (op.length or 1) * attended(op, op.length or seq_length, convention)
    return flops


def attended(op: AttentionCore, seq_length: int, convention: FlopsConvention) -> float:
    """Pairs that a token counts for: w, its window or the whole sequence s; where causal, by the causal convention,
    w - w^2 / 2s, half of a whole sequence, since the first tokens have fewer before them.
    """
    window = float(min(op.window or seq_length, seq_length))
    return window * (1.0 - window / (2.0 * seq_length)) if op.causal and convention == "causal" else window


def model_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """FLOPs of one step that the model asks for: forward, and twice that backward; no recomputation."""
    return 3.0 * forward_flops(workload, convention) * global_batch * workload.seq_length


def forward_flops(workload: Workload, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass."""
    per_token = math.fsum(
        run.count * _forward_per_token(run.layer, workload.seq_length, convention) for run in workload.runs
    )
    per_token += _forward_per_token(workload.head, workload.seq_length, convention)
    return per_token + _forward_per_token(workload.embedding, workload.seq_length, convention)


def attention_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """Those FLOPs of `model_flops` that attention's products have."""
    per_token = 0.0
    for run in workload.runs:
        cores = tuple(op for op in run.layer.operators if isinstance(op, AttentionCore))
        per_token += run.count * _forward_per_token(Layer("", cores), workload.seq_length, convention)
    return 3.0 * per_token * global_batch * workload.seq_length


def recomputed_flops(training: Training, convention: FlopsConvention | None = None) -> tuple[float, float, float]:
    """FLOPs of one step done a second time under recompute none, selective and full."""
    workload = training.workload
    told = convention or training.flops_convention
    full = selective = 0.0
    for run in workload.runs:
        full += run.count * _forward_per_token(run.layer, workload.seq_length, told)
        for op in run.layer.operators:
            part = Layer(op.name, (op,))
            selective += (
                run.count * repeated_share(training, op) * _forward_per_token(part, workload.seq_length, told)
            )
    tokens = training.global_batch * workload.seq_length
    return 0.0, selective * tokens, full * tokens
