"""Time of one operator on one device: a roofline whose ceiling depends on the shape that the device gets.

seconds = max(FLOPs / (peak x efficiency(shape)), bytes / (bandwidth x efficiency)) + launch
(Williams, Waterman, Patterson 2009, Roofline). The GEMM's efficiency saturates in each dimension,
e(m, n, k) = e_max * m/(m + r) * n/(n + r) * k/(k + d): tiles at the edge of a small output and the
pipeline's start on a short sum are paid in full.

All arrays have shape [keys]: one entry for each distinct shape of shard (see `layer_tables.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.scenario import Scenario

_NARROW_VALUE_BYTES = {"fp8": 1.0, "mxfp8": 1.0 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
"""Of one value with its share of the block's scale (OCP Microscaling Formats v1.0; NVFP4: one byte for 16)."""


@dataclass(frozen=True)
class LayerShard:
    """What one device has of a layer: `tokens` of one micro-batch, and the degrees that cut the operators.

    Arrays of shape [keys]. `sequence_divisor` is what divides the norms' tokens: tp under sequence parallelism.
    """

    tokens: Floats
    tp: Floats
    ep: Floats
    etp: Floats
    sequence_divisor: Floats


@dataclass(frozen=True)
class PassTimes:
    """Seconds of the forward and of the backward pass, arrays of shape [keys]; `weight_grad_s`: the part of the
    backward pass that makes the weights' gradients.
    """

    forward_s: Floats
    backward_s: Floats
    weight_grad_s: Floats

    def __add__(self, other: PassTimes) -> PassTimes:
        return PassTimes(
            self.forward_s + other.forward_s,
            self.backward_s + other.backward_s,
            self.weight_grad_s + other.weight_grad_s,
        )


def build_weightless_times(forward_s: Floats, backward_s: Floats) -> PassTimes:
    """Passes of an operator without weights to speak of."""
    return PassTimes(forward_s, backward_s, np.zeros_like(forward_s))


_WIDE_PRECISIONS = ("fp16", "bf16", "fp32", "tf32", "fp64")


def is_16bit_or_wider(scenario: Scenario, full_precision: bool) -> bool:
    """Whether a multiply runs in 16 bit or more: logits, router and attention do whatever the layers run in."""
    return full_precision or scenario.precision in _WIDE_PRECISIONS


def compute_gemm_flops_per_s(scenario: Scenario, full_precision: bool) -> float:
    """FLOP/s of a large multiply: the unit's peak times the share that is reached at this precision."""
    fitted = scenario.calibration
    if is_16bit_or_wider(scenario, full_precision):
        return get_peak_16bit_flops_per_s(scenario) * fitted.gemm_efficiency * compute_sustained_clock(scenario)
    is_4bit = scenario.precision == "nvfp4"
    efficiency = fitted.gemm_efficiency_4bit if is_4bit else fitted.gemm_efficiency_8bit
    return scenario.accelerator.get_peak_flops(scenario.precision) * efficiency * compute_sustained_clock(scenario)


def compute_sustained_clock(scenario: Scenario) -> float:
    """Share of the clock that a part keeps whose power is limited below that of the fitted one."""
    tdp_w, fitted = scenario.accelerator.tdp_w, scenario.calibration
    if tdp_w is None or not fitted.reference_power_w:
        return 1.0
    return min(1.0, float((tdp_w / fitted.reference_power_w) ** fitted.power_exponent))


def get_peak_16bit_flops_per_s(scenario: Scenario) -> float:
    """Peak FLOP/s of the unit for what stays in 16 bit or more where the layers are narrow."""
    peak_flops = scenario.accelerator.peak_flops
    if scenario.precision in _WIDE_PRECISIONS:
        return scenario.accelerator.get_peak_flops(scenario.precision)
    return peak_flops.get("bf16") or peak_flops.get("fp16") or scenario.accelerator.get_peak_flops(scenario.precision)


def compute_memory_bytes_per_s(scenario: Scenario) -> float:
    """Bytes a second that kernels reach of the device's memory."""
    return scenario.accelerator.memory_bandwidth_bytes_per_s * scenario.calibration.memory_efficiency


def get_saved_input_bytes(scenario: Scenario) -> float:
    """Bytes of one saved input value of a multiply: in its own precision where the trainer saves that copy."""
    value_bytes = scenario.value_bytes
    return (
        _NARROW_VALUE_BYTES.get(scenario.precision, value_bytes)
        if scenario.trainer.saves_quantized_inputs
        else value_bytes
    )
