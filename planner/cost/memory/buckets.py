"""Buffers of gradients: buckets that are reduced, and what DeepSpeed keeps of gradients and copies for the update."""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.units import Progress, Units, stack_moments
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies

_COPIED_GRADIENT_BYTES = 4.0
_SUB_GROUP_PARAMETERS = 1e9
"""`sub_group_size` of deepspeed/runtime/zero/config.py, DeepSpeed 0.19.8."""


def list_made_parameters(unit: Units) -> dict[str, Floats]:
    """The parameters that have a gradient of a micro-batch by then, [plans, stages] by moment."""
    return {
        "head_backward": unit.head,
        "last_layer_backward": unit.head,
        "first_layer_backward": unit.whole - unit.embedding,
        "embedding_backward": unit.whole,
    }


def compute_updated_gradient_bytes(scenario: Scenario, zero_stage: Ints, sharded: Floats) -> Floats:
    """DeepSpeed's 32-bit copy of 16-bit gradients for the update, [plans, stages]: of a rank's shard, under ZeRO 3 of
    a group of its parameters at a time, whatever their format (DeepSpeed 0.19.8, `step` of
    deepspeed/runtime/zero/stage_1_and_2.py, `_prepare_fp32_grad_for_sub_group` of stage3.py).
    """
    trainer = scenario.trainer
    if trainer.weight_bytes > 2.0:
        return np.zeros_like(sharded)
    if trainer.gradient_bytes > trainer.weight_bytes:
        zero_stage = np.where(zero_stage == 3, 3, 0)
    copied = np.where((zero_stage == 3)[:, None], np.minimum(sharded, _SUB_GROUP_PARAMETERS), sharded)
    return scenario.trained_share * _COPIED_GRADIENT_BYTES * np.where((zero_stage > 0)[:, None], copied, 0.0)


def compute_widened_gradient_bytes(scenario: Scenario, updated: Floats) -> Floats:
    """Megatron's 32-bit copy of 16-bit gradients while `updated` parameters, [plans, stages], are updated, [plans,
    moments, stages]; of one moment where it has none, as under an optimizer that reads 16-bit ones.
    """
    trainer = scenario.trainer
    is_narrow = trainer.gradient_bytes < _COPIED_GRADIENT_BYTES and trainer.master == trainer.moments == "fp32"
    if not (trainer.widens_gradients and is_narrow):
        return np.zeros((1, 1, 1))
    copy_bytes = scenario.trained_share * _COPIED_GRADIENT_BYTES * updated
    return stack_moments({"optimizer_step": copy_bytes}, updated)


def keep_gradient_buffers(
    scenario: Scenario, zero_stage: Ints, gradients: Floats, sum_bytes: Floats, unit: Units, progress: Progress
) -> Floats:
    """Gradients of DeepSpeed, [plans, moments, stages], with those buffers that are never freed: a shard's under
    ZeRO 3 (`grad_partitions_flat_buffer` of deepspeed/runtime/zero/stage3.py); under ZeRO 1 those summed in 32 bit,
    beside 16-bit ones from the first micro-batch's backward pass to the update (DeepSpeed 0.19.8,
    deepspeed/runtime/bf16_optimizer.py).
    """
    stage = zero_stage[:, None, None]
    gradients = np.where(stage == 3, np.maximum(gradients, sum_bytes[:, None]), gradients)
    is_wide = scenario.trainer.gradient_bytes > scenario.trainer.weight_bytes
    if not is_wide or scenario.offload.optimizer:
        return gradients
    made = list_made_parameters(unit)
    before = ("loss", "head_backward", "last_layer_backward")
    later = {moment: np.where(progress.accumulates, unit.whole, made.get(moment, 0.0)) for moment in before}
    copies = stack_moments({**made, **later, "optimizer_step": unit.whole}, unit.whole)
    wide = sum_bytes[:, None] + scenario.trained_share * scenario.trainer.weight_bytes * copies
    return np.where(stage == 1, wide, gradients)


def compute_bucket_bytes(scenario: Scenario, s: Strategies, zero_stage: Ints, unsharded: Floats) -> Floats:
    """Buffers that gradients are copied to for their reduction, [plans, moments, stages].

    DistributedDataParallel's are of all gradients. DeepSpeed's are of a size, whatever the model: under ZeRO 1 and 2
    there in the backward pass alone, two where it overlaps communication (DeepSpeed 0.19.8, `setup_buckets` of
    deepspeed/runtime/zero/stage_1_and_2.py); under ZeRO 3 one at all times (`ipg_buckets` of stage3.py).
    """
    trainer, stage = scenario.trainer, zero_stage[:, None, None]
    has_ranks = (s.dp * s.cp > 1)[:, None, None]
    if trainer.gradient_bucket_bytes:
        bucket_bytes = scenario.trainer_state.gradient_bucket_bytes * unsharded
        return np.where(has_ranks & (stage == 0), bucket_bytes[:, None], 0.0)
    if not trainer.reduce_bucket_elements:
        return np.zeros((1, 1, 1))
    is_wide = trainer.gradient_bytes > trainer.weight_bytes
    bucket = np.full_like(unsharded, trainer.weight_bytes * trainer.reduce_bucket_elements)
    buckets = np.where(scenario.dp_overlap, 2.0, 1.0) * bucket
    in_backward = stack_moments(dict.fromkeys(MEMORY_MOMENTS[1:-1], buckets), buckets)
    # gradients summed in 32 bit are reduced where they are
    has_buckets = has_ranks & ((stage == 2) | ((stage == 1) & (not is_wide)))
    return np.where(has_buckets, in_backward, np.where(has_ranks & (stage == 3), bucket[:, None], 0.0))


def compute_gathered_copy_bytes(scenario: Scenario, s: Strategies, zero_stage: Ints, unsharded: Floats) -> Floats:
    """Copies of weights in an all-gather of updated ones, [plans, moments, stages]: those of this rank, those of each
    rank, and the one buffer that NCCL fills (nanotron at e24d2483, `all_gather_coalesced` of distributed.py; torch
    2.6, `newLikeFlat` of c10d/ProcessGroupNCCL.cpp).
    """
    if not scenario.trainer.gathers_copies:
        return np.zeros((1, 1, 1))
    ranks = s.dp[:, None].astype(np.float64)
    copies = np.where(((zero_stage == 1) & (s.dp > 1))[:, None], (2.0 + 1.0 / ranks) * unsharded, 0.0)
    return stack_moments({"optimizer_step": scenario.trainer_state.weight_bytes * copies}, unsharded)
