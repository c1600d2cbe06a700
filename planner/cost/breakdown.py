"""The waterfall from the model's FLOPs at the peak to the step, loss by loss, and the operators' rooflines.

The losses are differences of the cost model with itself: the same functions with everything that slows a kernel taken
away, then put back one after the other. They add up to the step by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from planner.cost.arrays import Floats, sum_in_order, sum_products
from planner.cost.flops import compute_attention_flops, compute_required_flops
from planner.cost.layer_tables import build_layer_shard, build_layer_tables, list_layer_types
from planner.cost.operators import compute_operator_times, get_operator_cost, roofline
from planner.cost.operators.operator_cost import LayerShard
from planner.cost.pipeline.partition import count_layers
from planner.cost.scenario import Scenario
from planner.cost.step import STEP_TERMS, StepCosts, compute_layer_terms, count_micro_batches
from planner.cost.strategies import Strategies
from planner.workload.operators import Operator

_KERNEL_TERMS = ("forward", "backward", "recompute")


def build_idealized_scenarios(scenario: Scenario) -> tuple[Scenario, ...]:
    """The scenario with kernels at the peak; with GEMM inefficiency; with memory traffic; with launch gaps; and as it
    is, where kernels also wait for the host.
    """
    fitted = scenario.calibration
    # what casts, norms and the other memory traffic take is nothing where bandwidth has no end
    infinite_bandwidth_accelerator = replace(scenario.accelerator, memory_bandwidth_bytes_per_s=float("inf"))
    without_launch_gaps = msgspec.structs.replace(fitted, kernel_launch_s=0.0, host_launch_s=0.0)
    full_efficiency = msgspec.structs.replace(
        without_launch_gaps,
        gemm_efficiency=1.0,
        gemm_efficiency_8bit=1.0,
        gemm_efficiency_4bit=1.0,
        rowwise_efficiency=1.0,
        immaturity=0.0,
        expert_efficiency=1.0,
        gemm_half_rows=0.0,
        gemm_half_depth=0.0,
        attention_forward_efficiency=1.0,
        attention_backward_efficiency=1.0,
        softmax_width=0.0,
        reference_power_w=0.0,
    )
    return (
        replace(scenario, accelerator=infinite_bandwidth_accelerator, calibration=full_efficiency),
        replace(scenario, accelerator=infinite_bandwidth_accelerator, calibration=without_launch_gaps),
        replace(scenario, calibration=without_launch_gaps),
        replace(scenario, calibration=msgspec.structs.replace(fitted, host_launch_s=0.0)),
        scenario,
    )


def compute_waterfall_s(scenario: Scenario, s: Strategies, step_costs: StepCosts) -> dict[str, Floats]:
    """Seconds of every part of the way from the ideal to the step, in this order: [plans] each. They add up to the
    step's time.

    `ideal_s`: the FLOPs that the model asks for, by the scenario's convention, at the peak of all devices: MFU times
    the step. `attention_s`: what its kernel computes less what the convention counts of it, below zero where a causal
    mask saves half. `other_arithmetic`: multiplies in 16 bit among narrow ones, and what tensor-parallel ranks each
    repeat. `recompute`: of activations, at the peak. `efficiency`, `memory`, `launches`, `host`: what forward,
    backward and recomputation lose on the mean device. `imbalance`: the slowest stage's kernels less the mean's.
    """
    micro_batches = count_micro_batches(scenario, s)
    kernels = [_compute_mean_kernels_s(idealized, s) for idealized in build_idealized_scenarios(scenario)]
    totals_s = [micro_batches * sum_in_order(terms.values()) for terms in kernels]
    peak_flops_per_s = scenario.devices * scenario.accelerator.get_peak_flops(scenario.precision)
    counted_flops = compute_attention_flops(scenario.workload, scenario.global_batch, scenario.flops_convention)
    ideal_s = np.full(len(s), compute_required_flops(scenario) / peak_flops_per_s)
    attention_s = micro_batches * _compute_mean_attention_s(scenario, s) - counted_flops / peak_flops_per_s
    arithmetic_s = micro_batches * (kernels[0]["forward"] + kernels[0]["backward"])
    parts = {
        "ideal": ideal_s,
        "attention": attention_s,
        "other_arithmetic": arithmetic_s - ideal_s - attention_s,
        "recompute": micro_batches * kernels[0]["recompute"],
    }
    for name, before, after in zip(
        ("efficiency", "memory", "launches", "host"), totals_s[:-1], totals_s[1:], strict=True
    ):
        parts[name] = after - before
    parts["imbalance"] = sum_in_order([step_costs.terms[name] for name in _KERNEL_TERMS]) - totals_s[-1]
    return parts | {name: step_costs.terms[name] for name in STEP_TERMS if name not in _KERNEL_TERMS}


def _compute_mean_stage_layers(scenario: Scenario, s: Strategies) -> Floats:
    """Layers of each type on the mean stage, embedding and head as parts of one: [plans, layer types]."""
    return count_layers(scenario.workload) / s.pp[:, None]


def _compute_mean_kernels_s(scenario: Scenario, s: Strategies) -> dict[str, Floats]:
    """Seconds of one micro-batch's kernels on the mean stage by term, [plans] each."""
    tables, row = build_layer_tables(scenario, s)
    layers, terms = _compute_mean_stage_layers(scenario, s), compute_layer_terms(scenario, s, tables, row)
    return {name: sum_products(layers, terms[name]) for name in _KERNEL_TERMS}


def _compute_mean_attention_s(scenario: Scenario, s: Strategies) -> Floats:
    """Seconds of one micro-batch's attention on the mean stage at the peak, both passes, [plans]."""
    peak_scenario, *_ = build_idealized_scenarios(scenario)
    shard, layers, total_s = build_layer_shard(scenario, s), _compute_mean_stage_layers(scenario, s), np.zeros(len(s))
    for column, layer in enumerate(list_layer_types(scenario.workload)):
        for op in layer.operators:
            if get_operator_cost(op).is_attention:
                total_s = total_s + layers[:, column] * compute_operator_times(peak_scenario, op, shard).total_s
    return total_s


@dataclass(frozen=True)
class OperatorRoofline:
    """Forward and backward pass of one operator of one layer on one device, for one micro-batch, [plans] each."""

    layer_name: str
    operator_name: str
    layer_count: int
    """How many layers of the model have it."""
    peak_flops_per_s: float
    """Of the unit that multiplies it."""
    flops: Floats
    traffic_bytes: Floats
    time_s: Floats
    """As the cost model has it, without waits for the host."""
    arithmetic_s: Floats
    """What multiplies take of it by themselves, at the rate they reach."""
    traffic_s: Floats
    """What memory takes of it by itself."""
    is_fused_attention: bool
    """Whether `traffic_bytes` are the least that fused attention moves, which the cost model takes as overlapped."""

    @property
    def bound(self) -> list[str]:
        """What takes most of each plan's time: compute, memory, or launch (gaps between kernels)."""
        launch_gaps_s = self.time_s - np.maximum(self.arithmetic_s, self.traffic_s)
        dominant_index = np.argmax(np.stack([self.arithmetic_s, self.traffic_s, launch_gaps_s]), axis=0)
        return [("compute", "memory", "launch")[index] for index in dominant_index.tolist()]


def compute_rooflines(scenario: Scenario, s: Strategies) -> list[OperatorRoofline]:
    """Every operator that takes time, layer by layer (Williams, Waterman, Patterson 2009)."""
    shard = build_layer_shard(scenario, s)
    layers = zip(list_layer_types(scenario.workload), count_layers(scenario.workload).tolist(), strict=True)
    rooflines = [
        _compute_roofline(scenario, op, shard, layer.name, int(count))
        for layer, count in layers
        for op in layer.operators
    ]
    return [line for line in rooflines if (line.time_s > 0).any()]


def _compute_roofline(
    scenario: Scenario, op: Operator, shard: LayerShard, layer_name: str, layer_count: int
) -> OperatorRoofline:
    peak_scenario, efficiency_scenario, gapless_scenario, *_ = build_idealized_scenarios(scenario)
    accelerator, cost = scenario.accelerator, get_operator_cost(op)
    infinite_flops = replace(accelerator, peak_flops=dict.fromkeys(accelerator.peak_flops, float("inf")))

    def compute_total_s(idealized: Scenario) -> Floats:
        return compute_operator_times(idealized, op, shard).total_s

    # only the multiplies of layers are narrow
    peak_flops_per_s = (
        accelerator.get_peak_flops(scenario.precision)
        if cost.runs_in_layer_precision(op)
        else roofline.get_peak_16bit_flops_per_s(scenario)
    )
    traffic_s = compute_total_s(replace(gapless_scenario, accelerator=infinite_flops))
    overlapped_bytes = cost.compute_overlapped_bytes(scenario, op, shard)
    moved_bytes = traffic_s * roofline.compute_memory_bytes_per_s(scenario)
    return OperatorRoofline(
        layer_name=layer_name,
        operator_name=op.name,
        layer_count=layer_count,
        peak_flops_per_s=peak_flops_per_s,
        flops=compute_total_s(peak_scenario) * peak_flops_per_s,
        traffic_bytes=moved_bytes if overlapped_bytes is None else overlapped_bytes,
        time_s=compute_total_s(scenario),
        arithmetic_s=compute_total_s(efficiency_scenario),
        traffic_s=traffic_s,
        is_fused_attention=overlapped_bytes is not None,
    )
