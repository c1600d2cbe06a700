"""FLOPs of the model by convention, for MFU and HFU (Chowdhery et al. 2022, arXiv 2204.02311, appendix B)."""

from __future__ import annotations

import math

from planner.cost.operators.compute import compute_selective_share
from planner.cost.scenario import FlopsConvention, Scenario
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Layer,
    Linear,
    Workload,
)


def _compute_layer_forward_flops(layer: Layer, seq_length: int, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass: two a weight, and the attention of its pairs."""
    flops = 0.0
    for op in layer.operators:
        if isinstance(op, Linear):
            flops += 2.0 * op.weights * op.rows
        elif isinstance(op, Convolution):
            flops += 2.0 * op.weights * op.output_positions
        elif isinstance(op, ExpertLinear):
            flops += 2.0 * op.inputs * op.outputs * op.topk
        elif isinstance(op, AttentionCore):
            flops += (
                op.compute_flops_per_pair()
                * (op.attended_rows or 1)
                * count_attended_pairs(op, op.attended_rows or seq_length, convention)
            )
    return flops


def count_attended_pairs(op: AttentionCore, seq_length: int, convention: FlopsConvention) -> float:
    """Pairs that a token counts for: w, its window or the whole sequence s; where causal, by the causal convention,
    w - w^2 / 2s, half of a whole sequence, since the first tokens have fewer before them.
    """
    window = float(min(op.window or seq_length, seq_length))
    return window * (1.0 - window / (2.0 * seq_length)) if op.causal and convention == "causal" else window


def compute_model_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """FLOPs of one step that the model asks for: forward, and twice that backward; no recomputation."""
    return 3.0 * compute_token_forward_flops(workload, convention) * global_batch * workload.seq_length


def compute_token_forward_flops(workload: Workload, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass."""
    flops_per_token = math.fsum(
        run.count * _compute_layer_forward_flops(run.layer, workload.seq_length, convention)
        for run in workload.layer_runs
    )
    flops_per_token += _compute_layer_forward_flops(workload.head, workload.seq_length, convention)
    return flops_per_token + _compute_layer_forward_flops(workload.embedding, workload.seq_length, convention)


def compute_attention_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """Those FLOPs of `compute_model_flops` that attention's products have."""
    flops_per_token = 0.0
    for run in workload.layer_runs:
        attention_cores = tuple(op for op in run.layer.operators if isinstance(op, AttentionCore))
        flops_per_token += run.count * _compute_layer_forward_flops(
            Layer("", attention_cores), workload.seq_length, convention
        )
    return 3.0 * flops_per_token * global_batch * workload.seq_length


def compute_recomputed_flops(
    scenario: Scenario, convention: FlopsConvention | None = None
) -> tuple[float, float, float]:
    """FLOPs of one step done a second time under recompute none, selective and full."""
    workload = scenario.workload
    used_convention = convention or scenario.flops_convention
    full_flops = selective_flops = 0.0
    for run in workload.layer_runs:
        full_flops += run.count * _compute_layer_forward_flops(run.layer, workload.seq_length, used_convention)
        for op in run.layer.operators:
            operator_layer = Layer(op.name, (op,))
            selective_flops += (
                run.count
                * compute_selective_share(scenario, op)
                * _compute_layer_forward_flops(operator_layer, workload.seq_length, used_convention)
            )
    tokens = scenario.global_batch * workload.seq_length
    return 0.0, selective_flops * tokens, full_flops * tokens
