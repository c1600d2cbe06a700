"""What 8- and 4-bit multiplies hold of weights beside those that are counted by the parameter."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.pipeline.stages import StageParameters
from planner.cost.scenario import Scenario
from planner.workload.techniques import WEIGHT_16BIT_BYTES

_TRANSPOSING_ARCHITECTURES = ("ada", "hopper")
"""Architectures whose 8-bit multiplies read both matrices along the sum, so that the gradient of the input needs the
weight's transpose (Transformer Engine 2.18, `is_non_tn_fp8_gemm_supported` of pytorch/utils.py)."""
_MXFP8_BYTES, _NVFP4_BYTES, _BLOCK_BYTES = 1.0 + 1 / 32, 0.5 + 1 / 16, 1.0 + 4 / 128
"""Of one value with its share of the scales."""


def compute_narrow_weight_bytes(scenario: Scenario, parameters: StageParameters) -> Floats:
    """Bytes on a device of each stage, [plans, stages]: of 8-bit weights what stays in 16 bit, embedding and head;
    and of all matrices of the layers the narrow copies that multiplies keep.
    """
    wide = parameters.embedding + parameters.head
    layers = np.maximum(parameters.dense + parameters.expert - wide, 0.0)
    lora, weight_bytes = scenario.techniques.lora, scenario.trainer_state.weight_bytes
    if lora is not None:
        weight_bytes = lora.frozen_bytes if lora.bits != 4 else WEIGHT_16BIT_BYTES
    is_narrow = weight_bytes < WEIGHT_16BIT_BYTES
    widened_bytes = WEIGHT_16BIT_BYTES - weight_bytes if is_narrow else 0.0
    return widened_bytes * wide + _get_copy_bytes(scenario, is_narrow=is_narrow) * layers


def _get_copy_bytes(scenario: Scenario, *, is_narrow: bool) -> float:
    """Bytes of one weight of the layers that is held beside a 16-bit one, or beside an 8-bit one (`is_narrow`)."""
    # frozen weights are transposed anew (`disable_parameter_transpose_cache` of nemo_toolkit 2.5.3,
    # scripts/performance/llm/mlperf_lora_llama2_70b.py)
    if not scenario.trainer.caches_narrow_weights or scenario.techniques.lora is not None:
        return 0.0
    transpose_bytes = 1.0 if scenario.accelerator.architecture in _TRANSPOSING_ARCHITECTURES else 0.0
    match scenario.precision:
        case "fp8" if scenario.fp8_recipe == "blockwise":
            return _BLOCK_BYTES if is_narrow else 2 * _BLOCK_BYTES
        case "fp8":
            return transpose_bytes if is_narrow else 1.0 + transpose_bytes
        case "mxfp8":  # weights in mxfp8 are held both ways themselves
            return 0.0 if scenario.trainer.weights == "fp8" else 2 * _MXFP8_BYTES
        case "nvfp4":
            return 2 * _NVFP4_BYTES
    return 0.0
