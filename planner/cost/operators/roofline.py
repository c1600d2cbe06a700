"""The ceilings of one operator's time: a roofline (Williams, Waterman, Patterson 2009) that depends on the shape.

seconds = max(FLOPs / (peak x e(shape)), bytes / (bandwidth x e_mem)) + launch
"""

from __future__ import annotations

import math

import numpy as np

from planner.cost.scenario import Scenario

_NARROW_VALUE_BYTES = {"fp8": 1.0, "mxfp8": 1.0 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
"""Of one value with its share of the block's scale (OCP Microscaling Formats v1.0; NVFP4: one byte for 16)."""
_BLOCK_SCALE_BYTES = 4.0 / 128
"""Of one value its share of the scale of its block, under blockwise scaling."""
_CAST_BYTES = 4.0
_TRANSFORM_BYTES = 4.0
_EAGER_CAST_BYTES = 33.0
"""Of one value in kernels of their own: absolute value and largest one, a 32-bit copy, its product with the scale,
its clamp, the cast (torchao, float8/float8_utils.py, `tensor_to_amax` and `to_fp8_saturated`)."""
_WIDE_PRECISIONS = ("fp16", "bf16", "fp32", "tf32", "fp64")


def is_16bit_or_wider(scenario: Scenario, full_precision: bool) -> bool:
    """Whether a multiply runs in 16 bit or more: logits, router and attention do whatever the layers run in."""
    return full_precision or scenario.precision in _WIDE_PRECISIONS


def compute_gemm_flops_per_s(scenario: Scenario, full_precision: bool) -> float:
    """FLOP/s of a large multiply: the unit's peak times the share that is reached at this precision."""
    fitted, speed = scenario.calibration, compute_kernel_speed(scenario)
    if is_16bit_or_wider(scenario, full_precision):
        return get_peak_16bit_flops_per_s(scenario) * fitted.gemm_efficiency * speed
    is_4bit = scenario.precision == "nvfp4"
    efficiency = fitted.gemm_efficiency_4bit if is_4bit else fitted.gemm_efficiency_8bit
    if scenario.fp8_recipe == "rowwise":
        efficiency = efficiency * fitted.rowwise_efficiency  # not in place: it may be an array of the calibration
    return scenario.accelerator.get_peak_flops(scenario.precision) * efficiency * speed


def compute_kernel_speed(scenario: Scenario) -> float:
    """Speed of multiplies and attention, as a share of the newest kernels' at full power.

    Kernels of an architecture get better for years: the same run on 512 H100 took 12.07, 11.05 and 9.50 s in three
    rounds of MLPerf (v3.0, v3.1, v4.0). What they lack shrinks by a factor of e in a year.
    """
    return compute_sustained_clock(scenario) / (1.0 + scenario.calibration.immaturity * compute_kernel_lag(scenario))


def compute_kernel_lag(scenario: Scenario) -> float:
    """What kernels of the scenario's month lack, as a share of what they do on the day that the architecture comes;
    0 of the newest. That day is the end of the year of its first part.
    """
    first_year = scenario.calibration.first_year
    if not scenario.software_month or not first_year:
        return 0.0
    year, month, *_ = *scenario.software_month.split("-"), "6"
    age_years = int(year) + (int(month) - 0.5) / 12.0 - (first_year + 1.0)
    return math.exp(-max(age_years, 0.0))


def compute_sustained_clock(scenario: Scenario) -> float:
    """Share of the clock that a part keeps whose power is limited below that of the fitted one."""
    tdp_w, fitted = scenario.accelerator.tdp_w, scenario.calibration
    if tdp_w is None or not fitted.reference_power_w:
        return 1.0
    share: float = np.minimum(1.0, (tdp_w / fitted.reference_power_w) ** fitted.power_exponent)
    return share


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
    """Bytes of one saved input value of a multiply: in its own precision where the trainer saves that copy, of which
    the columnwise one is left after the forward pass (Transformer Engine 2.18, pytorch/module/linear.py).
    """
    if not scenario.trainer.saves_quantized_inputs:
        return scenario.value_bytes
    if scenario.fp8_recipe == "blockwise":
        return _NARROW_VALUE_BYTES["fp8"] + _BLOCK_SCALE_BYTES
    return _NARROW_VALUE_BYTES.get(scenario.precision, scenario.value_bytes)


def get_cast_bytes(scenario: Scenario) -> float:
    """Bytes moved to cast one value of an operand: 2 read, 1 written, and 1 of its transpose; by scaling more.

    tensorwise: the tensor is read before, for its largest value (Transformer Engine 2.18,
    features/low_precision_training/fp8_current_scaling); torch.compile finds it in the kernel that makes the tensor.
    nvfp4: the tensor is read before, and so are inputs of the weights' gradients after a Hadamard transform
    (Transformer Engine, features/low_precision_training/nvfp4).
    rowwise: either direction has its own scales, and is cast from 16 bit (torchao, float8/float8_linear.py).
    blockwise: scales of 32 bit for 128 values of both copies (Transformer Engine, fp8_blockwise_scaling).
    """
    recipe, reads_twice = scenario.fp8_recipe, scenario.trainer.saves_quantized_inputs
    if casts_every_operand(scenario) and scenario.launch_mode == "eager":
        return _EAGER_CAST_BYTES
    added_bytes = {
        "tensorwise": 2.0 if reads_twice else 0.0,
        "rowwise": 2.0,
        "blockwise": 2 * _BLOCK_SCALE_BYTES,
        "nvfp4": _TRANSFORM_BYTES,
    }
    return _CAST_BYTES + added_bytes.get(recipe, 0.0)


def casts_every_operand(scenario: Scenario) -> bool:
    """Whether each multiply casts both of its operands: none is kept from pass to pass, weights neither (torchao,
    `matmul_with_hp_or_float8_args` of float8/float8_linear.py).
    """
    return not scenario.trainer.saves_quantized_inputs
