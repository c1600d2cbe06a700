"""Why a step is as long as it is: from the model's FLOPs at the peak to the step, loss by loss; operators' rooflines.

The losses are differences of the cost model with itself: the same functions with everything that slows a kernel taken
away, then put back one after the other. They add up to the step by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from planner.cost.arrays import Floats, added, weighted
from planner.cost.flops import attention_flops, model_flops
from planner.cost.layer_tables import layer_kinds, layer_tables, operator_passes, shard_of
from planner.cost.operators.compute import Passes, Shard, memory_rate, peak_16_bit
from planner.cost.pipeline.partition import layer_prefix
from planner.cost.scenario import Training
from planner.cost.step import TERMS, Scores, layer_terms, micro_batches
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import needed_flops
from planner.workload.operators import AttentionCore, ExpertLinear, Linear, Operator

_KERNELS = ("forward", "backward", "recompute")


def without_losses(training: Training) -> tuple[Training, ...]:
    """The question as kernels would run at the peak; with the efficiencies that multiplies reach; with memory that
    takes its time too; with gaps between kernels; and as it is, where kernels also wait for the host.
    """
    fitted = training.calibration
    # what casts, norms and the other memory traffic take is nothing where bandwidth has no end
    endless = replace(training.accelerator, memory_bandwidth_bytes_per_s=float("inf"))
    gapless = msgspec.structs.replace(fitted, kernel_launch_s=0.0, host_launch_s=0.0)
    perfect = msgspec.structs.replace(
        gapless,
        gemm_efficiency=1.0,
        gemm_efficiency_8bit=1.0,
        gemm_efficiency_4bit=1.0,
        expert_efficiency=1.0,
        gemm_half_rows=0.0,
        gemm_half_depth=0.0,
        attention_forward_efficiency=1.0,
        attention_backward_efficiency=1.0,
        softmax_width=0.0,
        reference_power_w=0.0,
    )
    return (
        replace(training, accelerator=endless, calibration=perfect),
        replace(training, accelerator=endless, calibration=gapless),
        replace(training, calibration=gapless),
        replace(training, calibration=msgspec.structs.replace(fitted, host_launch_s=0.0)),
        training,
    )


def waterfall(training: Training, s: Strategies, scores: Scores) -> dict[str, Floats]:
    """Seconds of every part of the way from the ideal to the step, in this order: [plans] each. They add up to the
    step's time.

    `ideal`: the FLOPs that the model asks for, by the question's convention, at the peak of all devices: MFU times
    the step. `attention`: what its kernel computes less what the convention counts of it, below zero where a causal
    mask saves half. `other_arithmetic`: multiplies in 16 bit among narrow ones, and what tensor-parallel ranks each
    repeat. `recompute`: of activations, at the peak. `efficiency`, `memory`, `launches`, `host`: what forward,
    backward and recomputation lose on the mean device. `imbalance`: the slowest stage's kernels less the mean's.
    """
    n = micro_batches(training, s)
    levels = [_mean_kernels(one, s) for one in without_losses(training)]
    peak, totals = levels[0], [n * added(level.values()) for level in levels]
    needed = needed_flops(training, model_flops(training.workload, training.global_batch, training.flops_convention))
    rate = training.devices * training.accelerator.peak(training.precision)
    told = attention_flops(training.workload, training.global_batch, training.flops_convention) / rate
    ideal = np.full(len(s), needed / rate)
    attention = n * _mean_attention(training, s) - told
    parts = {
        "ideal": ideal,
        "attention": attention,
        "other_arithmetic": n * (peak["forward"] + peak["backward"]) - ideal - attention,
        "recompute": n * peak["recompute"],
    }
    steps = zip(totals[1:], totals[:-1], strict=True)
    parts |= dict(
        zip(("efficiency", "memory", "launches", "host"), (after - before for after, before in steps), strict=True)
    )
    parts["imbalance"] = added([scores.terms[name] for name in _KERNELS]) - totals[-1]
    return parts | {name: scores.terms[name] for name in TERMS if name not in _KERNELS}


def _layers_of_a_stage(training: Training, s: Strategies) -> Floats:
    """Layers of each kind on the mean stage, embedding and head as parts of one: [plans, kinds]."""
    counts = np.append(layer_prefix(training.workload)[-1], [1, 1])
    layers: Floats = counts / s.pp[:, None]
    return layers


def _mean_kernels(training: Training, s: Strategies) -> dict[str, Floats]:
    """Seconds of one micro-batch's kernels on the mean stage by term, [plans] each."""
    tables, row = layer_tables(training, s)
    layers, terms = _layers_of_a_stage(training, s), layer_terms(training, s, tables, row)
    return {name: weighted(layers, terms[name]) for name in _KERNELS}


def _mean_attention(training: Training, s: Strategies) -> Floats:
    """Seconds of one micro-batch's attention on the mean stage at the peak, both passes, [plans]."""
    peak, shard, layers = without_losses(training)[0], shard_of(training, s), _layers_of_a_stage(training, s)
    total = np.zeros(len(s))
    for column, layer in enumerate(layer_kinds(training)):
        for op in layer.operators:
            if isinstance(op, AttentionCore):
                total = total + layers[:, column] * _both(operator_passes(peak, op, shard))
    return total


@dataclass(frozen=True)
class OperatorRoofline:
    """Forward and backward pass of one operator of one layer on one device, for one micro-batch, shape [plans] each.

    `layers`: how many layers of the model have it. `seconds` as the cost model has it, without waits for the host;
    `arithmetic_s` and `traffic_s`: what multiplies and memory take of it by themselves, at the rates they reach;
    `peak_flops_per_s` of the unit that multiplies it. `whole_in_kernel`: `traffic_bytes` are the least that fused
    attention moves, which the cost model takes as hidden.
    """

    layer: str
    name: str
    layers: int
    peak_flops_per_s: float
    flops: Floats
    traffic_bytes: Floats
    seconds: Floats
    arithmetic_s: Floats
    traffic_s: Floats
    whole_in_kernel: bool

    @property
    def bound(self) -> list[str]:
        """What takes most of each plan's time: compute, memory, or launch (gaps between kernels)."""
        gaps = self.seconds - np.maximum(self.arithmetic_s, self.traffic_s)
        most = np.argmax(np.stack([self.arithmetic_s, self.traffic_s, gaps]), axis=0)
        return [("compute", "memory", "launch")[one] for one in most.tolist()]


def rooflines(training: Training, s: Strategies) -> list[OperatorRoofline]:
    """Every operator that takes time, layer by layer (Williams, Waterman, Patterson 2009)."""
    shard = shard_of(training, s)
    counts = [*layer_prefix(training.workload)[-1].tolist(), 1, 1]
    found = [
        _roofline(training, op, shard, layer.name, count)
        for layer, count in zip(layer_kinds(training), counts, strict=True)
        for op in layer.operators
    ]
    return [one for one in found if (one.seconds > 0).any()]


def _roofline(training: Training, op: Operator, shard: Shard, layer: str, count: int) -> OperatorRoofline:
    peak, reached, gapless, *_ = without_losses(training)
    part = training.accelerator
    instant = replace(part, peak_flops=dict.fromkeys(part.peak_flops, float("inf")))
    rate = _unit_peak(training, op)
    traffic = _both(operator_passes(replace(gapless, accelerator=instant), op, shard))
    fused = isinstance(op, AttentionCore) and training.attention == "flash"
    return OperatorRoofline(
        layer=layer,
        name=op.name,
        layers=count,
        peak_flops_per_s=rate,
        flops=_both(operator_passes(peak, op, shard)) * rate,
        traffic_bytes=_fused_bytes(training, op, shard) if fused else traffic * memory_rate(training),
        seconds=_both(operator_passes(training, op, shard)),
        arithmetic_s=_both(operator_passes(reached, op, shard)),
        traffic_s=traffic,
        whole_in_kernel=fused,
    )


def _both(passes: Passes) -> Floats:
    return passes.forward + passes.backward


def _unit_peak(training: Training, op: Operator) -> float:
    """Peak FLOP/s of the unit that multiplies an operator: only layers' multiplies are narrow."""
    narrow = isinstance(op, ExpertLinear) or (isinstance(op, Linear) and not op.full_precision)
    return training.accelerator.peak(training.precision) if narrow else peak_16_bit(training)


def _fused_bytes(training: Training, op: Operator, shard: Shard) -> Floats:
    """The least that fused attention moves: Q, K, V and the output once forward, with their gradients twice more."""
    assert isinstance(op, AttentionCore)
    tokens = shard.tokens * (op.length or 1)
    queries = op.heads / shard.tp * (op.qk_dim + op.v_dim)
    keys = op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim)
    return 3.0 * training.value_bytes * tokens * (queries + keys)
