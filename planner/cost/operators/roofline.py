"""The ceilings of one operator's time: a roofline (Williams, Waterman, Patterson 2009) that depends on the shape.

seconds = max(FLOPs / (peak x e(shape)), bytes / (bandwidth x e_mem)) + launch
"""

from __future__ import annotations

from planner.cost.scenario import Scenario

_NARROW_VALUE_BYTES = {"fp8": 1.0, "mxfp8": 1.0 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
"""Of one value with its share of the block's scale (OCP Microscaling Formats v1.0; NVFP4: one byte for 16)."""
_WIDE_PRECISIONS = ("fp16", "bf16", "fp32", "tf32", "fp64")


def is_16bit_or_wider(scenario: Scenario, full_precision: bool) -> bool:
    """Whether a multiply runs in 16 bit or more: logits, router and attention do whatever the layers run in."""
    return full_precision or scenario.precision in _WIDE_PRECISIONS


def compute_gemm_flops_per_s(scenario: Scenario, full_precision: bool) -> float:
    """FLOP/s of a large multiply: the unit's peak times the share that is reached at this precision."""
    fitted, clock = scenario.calibration, compute_sustained_clock(scenario)
    if is_16bit_or_wider(scenario, full_precision):
        return get_peak_16bit_flops_per_s(scenario) * fitted.gemm_efficiency * clock
    is_4bit = scenario.precision == "nvfp4"
    efficiency = fitted.gemm_efficiency_4bit if is_4bit else fitted.gemm_efficiency_8bit
    return scenario.accelerator.get_peak_flops(scenario.precision) * efficiency * clock


def compute_sustained_clock(scenario: Scenario) -> float:
    """Share of the clock that a part keeps whose power is limited below that of the fitted one."""
    tdp_w, fitted = scenario.accelerator.tdp_w, scenario.calibration
    if tdp_w is None or not fitted.reference_power_w:
        return 1.0
    return min(1.0, float((tdp_w / fitted.reference_power_w) ** fitted.power_exponent))


def get_peak_16bit_flops_per_s(scenario: Scenario) -> float:
    """Peak FLOP/s of the unit for what stays in 16 bit or more where the layers are narrow."""
    peak_flops, layer_peak = scenario.accelerator.peak_flops, scenario.accelerator.get_peak_flops(scenario.precision)
    if scenario.precision in _WIDE_PRECISIONS:
        return layer_peak
    return peak_flops.get("bf16") or peak_flops.get("fp16") or layer_peak


def compute_memory_bytes_per_s(scenario: Scenario) -> float:
    """Bytes a second that kernels reach of the device's memory."""
    return scenario.accelerator.memory_bandwidth_bytes_per_s * scenario.calibration.memory_efficiency


def get_saved_input_bytes(scenario: Scenario) -> float:
    """Bytes of one saved input value of a multiply: in its own precision where the trainer saves that copy."""
    if not scenario.trainer.saves_quantized_inputs:
        return scenario.value_bytes
    return _NARROW_VALUE_BYTES.get(scenario.precision, scenario.value_bytes)
