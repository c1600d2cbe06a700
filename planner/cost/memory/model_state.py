"""Weights, gradients and optimizer state on a device of each stage, at each moment of a step.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): stage 1 shards the optimizer state over the data-parallel ranks, 2
also the gradients, 3 also the weights. What is sharded is whole while it is at work, in units: a layer, the
embedding, the head (torch 2.13, `fully_shard` of torch/distributed/fsdp/_fully_shard; torchtitan 0.3.0,
`apply_fsdp_to_decoder` of torchtitan/distributed/fsdp.py).
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.memory.allocator import compute_pool_bytes
from planner.cost.memory.buckets import compute_bucket_bytes, compute_gathered_copy_bytes
from planner.cost.memory.gradients import compute_gradient_bytes
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.narrow_weights import compute_narrow_weight_bytes
from planner.cost.memory.units import Progress, get_units, stack_moments
from planner.cost.pipeline.stages import StageParameters, compute_sharded_parameters
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import count_copies
from planner.cost.strategies import Strategies
from planner.workload.techniques import WEIGHT_16BIT_BYTES


def compute_model_state_bytes(
    scenario: Scenario, s: Strategies, parameters: StageParameters, zero_stage: Ints, progress: Progress
) -> dict[str, Floats]:
    """Weights, gradients, optimizer state and buffers of gradients in bytes under `zero_stage` [plans], shape [plans,
    moments, stages] each; of one moment for all where they do not change.
    """
    state = scenario.trainer_state
    unsharded = parameters.dense + parameters.expert
    sharded = compute_sharded_parameters(scenario, s, parameters)
    weights = _compute_weight_bytes(scenario, s, parameters, zero_stage, unsharded, sharded)
    optimizer_bytes = state.optimizer_bytes
    if scenario.offload.optimizer:
        optimizer_bytes = 0.0 if scenario.trainer.updates_on_host else optimizer_bytes - state.moment_bytes
    optimizer = optimizer_bytes * np.where(zero_stage[:, None] >= 1, sharded, unsharded)
    gradients = compute_gradient_bytes(scenario, s, parameters, zero_stage, unsharded, sharded, progress)
    return {
        "weights": weights,
        "gradients": gradients.total,
        "optimizer": optimizer[:, None],
        "buffers": compute_bucket_bytes(scenario, s, zero_stage, unsharded)
        + compute_gathered_copy_bytes(scenario, s, zero_stage, unsharded),
        "allocator": compute_pool_bytes(scenario, s, parameters, zero_stage, gradients.shards),
    }


def _compute_weight_bytes(
    scenario: Scenario,
    s: Strategies,
    parameters: StageParameters,
    zero_stage: Ints,
    unsharded: Floats,
    sharded: Floats,
) -> Floats:
    """Weights, the teacher's too, [plans, moments, stages]."""
    state, is_sharded = scenario.trainer_state, zero_stage >= 3
    weights = state.weight_bytes * unsharded[:, None]
    if is_sharded.any() or scenario.offload.weights:
        gathered = state.weight_bytes * compute_gathered_parameters(scenario, s, parameters)
        kept_bytes = 0.0 if scenario.offload.weights else state.sharded_weight_bytes
        partly = np.minimum(kept_bytes * sharded[:, None] + gathered, weights)
        weights = partly if scenario.offload.weights else np.where(is_sharded[:, None, None], partly, weights)
    if not scenario.offload.weights:
        unsharded_bytes = compute_narrow_weight_bytes(scenario, parameters)
        weights = weights + np.where(is_sharded[:, None], 0.0, unsharded_bytes)[:, None]
    teacher = scenario.techniques.teacher
    if teacher is not None:
        copies = count_copies(scenario.pipeline_schedule, s)
        teacher_bytes = WEIGHT_16BIT_BYTES * teacher.parameters / (s.tp * s.pp)[:, None, None]
        weights = weights + copies[:, None, None] * teacher_bytes
    return weights


def compute_gathered_parameters(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Parameters that a device of each stage has gathered under ZeRO 3, [plans, moments, stages].

    The unit at work and what is fetched for the next one; embedding and head at all times of a micro-batch where the
    trainer keeps them, as the root of a module. A unit is freed before its gradient is reduced. Never resharded after
    the forward pass, or kept gathered between the micro-batches of a pipeline: all whose backward pass has not been.
    """
    unit = get_units(parameters)
    whole, is_chunked = unit.whole, scenario.loss == "chunked"
    kept = np.zeros_like(unit.layer)
    if scenario.trainer.keeps_embedding_gathered:
        # a head that multiplies by chunks of the sequence is none of the root
        kept = unit.embedding if is_chunked else unit.embedding + unit.head
    head = kept + unit.head if is_chunked else np.maximum(unit.head, kept)
    if scenario.trainer.keeps_last_layer_gathered and scenario.reshard == "default":
        head = head + unit.layer
    is_loop = scenario.trainer.runs_layers_as_loop
    passing = {
        # only a chunked loss multiplies by the head, which else is there because it has not been resharded
        "loss": kept if scenario.reshard == "always" and not is_chunked else head,
        "head_backward": head if is_chunked else kept + unit.layer,
        "last_layer_backward": np.minimum((1.0 if is_loop else 2.0) * unit.layer, whole - unit.head) + kept,
        # a loop fetches nothing of what comes after it
        "first_layer_backward": unit.layer + (kept if is_loop else np.maximum(unit.embedding, kept)),
        "embedding_backward": kept,
    }
    if scenario.trainer.reuse_distance_parameters and scenario.reshard == "default":
        # the layers whose use in the forward and in the backward pass are this near
        near = np.minimum(whole, scenario.trainer.reuse_distance_parameters / 2.0)
        for moment in ("loss", "head_backward", "last_layer_backward"):
            passing[moment] = np.maximum(passing[moment], near)
    if scenario.reshard == "never":
        never = {
            **passing,
            "loss": whole,
            "head_backward": whole,
            "last_layer_backward": whole - np.where(kept > 0, 0.0, unit.head),
        }
        gathered = stack_moments(never, whole)
    else:
        gathered = stack_moments(passing, whole)
    has_pipeline = s.pp > 1
    if scenario.trainer.keeps_weights_gathered_in_pipeline and has_pipeline.any():
        is_late = scenario.reshard == "always"
        moments = ("first_layer_backward",) if is_late else MEMORY_MOMENTS[:4]
        in_pipeline = stack_moments(
            {**passing, **dict.fromkeys(moments, whole), "embedding_backward": whole - unit.embedding}, whole
        )
        gathered = np.where(has_pipeline[:, None, None], in_pipeline, gathered)
    return np.minimum(gathered, whole[:, None])
