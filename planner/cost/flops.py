"""FLOPs of the model by convention, for MFU and HFU (Chowdhery et al. 2022, arXiv 2204.02311, appendix B)."""

from __future__ import annotations

import math

from planner.cost.operators import get_operator_cost
from planner.cost.operators.kept import find_adapted, is_adapted
from planner.cost.scenario import Scenario
from planner.cost.selective import compute_repeated_shares
from planner.cost.settings import FlopsConvention
from planner.workload.operators import Layer, Workload


def _compute_layer_forward_flops(layer: Layer, seq_length: int, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass; `seq_length`: of the tokens that attend to each other."""
    flops = 0.0
    for op in layer.operators:
        flops += get_operator_cost(op).compute_forward_flops(op, seq_length, convention)
    return flops


def compute_model_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """Model FLOPs of one step: forward, and twice that backward; no recomputation."""
    return 3.0 * compute_token_forward_flops(workload, convention) * global_batch * workload.seq_length


def compute_token_forward_flops(workload: Workload, convention: FlopsConvention) -> float:
    """FLOPs of one token's forward pass."""
    length = workload.attended_length
    flops_per_token = math.fsum(
        run.count * _compute_layer_forward_flops(run.layer, length, convention) for run in workload.layer_runs
    )
    flops_per_token += _compute_layer_forward_flops(workload.output_layer, length, convention)
    return flops_per_token + _compute_layer_forward_flops(workload.embedding, length, convention)


def compute_attention_flops(workload: Workload, global_batch: int, convention: FlopsConvention) -> float:
    """Those FLOPs of `compute_model_flops` that attention's products have."""
    flops_per_token = 0.0
    for run in workload.repeated_runs:
        attention = Layer("", tuple(op for op in run.layer.operators if get_operator_cost(op).is_attention))
        flops_per_token += run.count * _compute_layer_forward_flops(attention, workload.attended_length, convention)
    return 3.0 * flops_per_token * global_batch * workload.seq_length


def compute_recomputed_flops(
    scenario: Scenario, convention: FlopsConvention | None = None
) -> tuple[float, float, float]:
    """FLOPs of one step done a second time under recompute none, selective and full."""
    workload, used_convention = scenario.workload, convention or scenario.flops_convention
    full_flops = selective_flops = 0.0
    for run in workload.repeated_runs:
        full_flops += run.count * _compute_layer_forward_flops(run.layer, workload.attended_length, used_convention)
        shares = compute_repeated_shares(scenario, run.layer)
        for op, share in zip(run.layer.operators, shares, strict=True):
            flops = get_operator_cost(op).compute_forward_flops(op, workload.attended_length, used_convention)
            selective_flops += run.count * share * flops
    tokens = scenario.global_batch * workload.seq_length
    return 0.0, selective_flops * tokens, full_flops * tokens


def compute_required_flops(scenario: Scenario, convention: FlopsConvention | None = None) -> float:
    """FLOPs that a step requires: those of the model without the gradients of frozen weights, with those of adapters,
    and with the teacher's forward pass; by the scenario's convention, or another.
    """
    workload, lora, teacher = scenario.workload, scenario.techniques.lora, scenario.techniques.teacher
    flops_per_token = 0.0
    if lora is not None:
        layers = [(run.layer, run.count) for run in workload.layer_runs]
        layers += [(workload.output_layer, 1), (workload.embedding, 1)]
        flops_per_token += math.fsum(
            count
            * get_operator_cost(op).compute_lora_flops(
                find_adapted(scenario, op), lora.rank if is_adapted(op, lora.modules) else 0
            )
            for layer, count in layers
            for op in layer.operators
        )
    if teacher is not None:
        flops_per_token += teacher.forward_flops_per_token
    model_flops = compute_model_flops(workload, scenario.global_batch, convention or scenario.flops_convention)
    return model_flops + flops_per_token * scenario.global_batch * workload.seq_length
