"""Weights, gradients and optimizer state on a device of each stage, at each moment of a step.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054): stage 1 shards the optimizer state over the data-parallel ranks, 2
also the gradients, 3 also the weights. What is sharded is whole while it is at work, in units: a layer, the
embedding, the head (torch 2.13, `fully_shard` of torch/distributed/fsdp/_fully_shard; torchtitan 0.3.0,
`apply_fsdp_to_decoder` of torchtitan/distributed/fsdp.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.memory.allocator import compute_pool_bytes
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.narrow_weights import compute_narrow_weight_bytes
from planner.cost.memory.units import Units, get_units, stack_moments
from planner.cost.pipeline.stages import StageParameters, compute_sharded_parameters
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import count_copies
from planner.cost.strategies import Strategies
from planner.workload.techniques import WEIGHT_16BIT_BYTES

_COPIED_GRADIENT_BYTES = 4.0
_SUB_GROUP_PARAMETERS = 1e9
"""`sub_group_size` of deepspeed/runtime/zero/config.py, DeepSpeed 0.19.8."""


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
    gradients, sharded_gradients = _compute_gradient_bytes(
        scenario, s, parameters, zero_stage, unsharded, sharded, progress
    )
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer[:, None],
        "buffers": _compute_bucket_bytes(scenario, s, zero_stage, unsharded),
        "allocator": compute_pool_bytes(scenario, s, parameters, zero_stage, sharded_gradients)
        + _compute_freed_copy_bytes(scenario, parameters),
    }


@dataclass(frozen=True)
class Progress:
    """How far the micro-batches of a step are when most of them are in flight."""

    micro_batches: Ints
    """Of a step on each rank, [plans]."""
    in_flight: Floats
    """Most of them in flight on each stage, [plans, stages]."""

    @property
    def accumulates(self) -> Bools:
        """Whether a stage has gradients of earlier micro-batches then, [plans, stages]."""
        return self.micro_batches[:, None] > np.ceil(self.in_flight)

    def take(self, index: Ints) -> Progress:
        """Of the plans at `index`."""
        return Progress(self.micro_batches[index], self.in_flight[index])


def _has_whole_pipeline_weights(scenario: Scenario, s: Strategies) -> Bools:
    """Whether a stage's weights stay gathered between micro-batches, [plans]."""
    is_kept = scenario.trainer.keeps_weights_gathered_in_pipeline
    return (s.pp > 1) & is_kept


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
    whole = parameters.dense + parameters.expert
    is_chunked = scenario.loss == "chunked"
    kept = np.zeros_like(unit.layer)
    if scenario.trainer.keeps_embedding_gathered:
        # a head that multiplies by chunks of the sequence is none of the root
        kept = unit.embedding if is_chunked else unit.embedding + unit.head
    head = kept + unit.head if is_chunked else np.maximum(unit.head, kept)
    if scenario.trainer.keeps_last_layer_gathered and scenario.reshard == "default":
        head = head + unit.layer
    passing = {
        # only a chunked loss multiplies by the head, which else is there because it has not been resharded
        "loss": kept if scenario.reshard == "always" and not is_chunked else head,
        "head_backward": head if is_chunked else kept + unit.layer,
        "last_layer_backward": np.minimum(2.0 * unit.layer, whole - unit.head) + kept,
        "first_layer_backward": unit.layer + np.maximum(unit.embedding, kept),
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
    keeps_stage = _has_whole_pipeline_weights(scenario, s)
    if keeps_stage.any():
        late = ("first_layer_backward", "embedding_backward")
        moments = late if scenario.reshard == "always" else MEMORY_MOMENTS[:-1]
        in_pipeline = stack_moments({**passing, **dict.fromkeys(moments, whole)}, whole)
        gathered = np.where(keeps_stage[:, None, None], in_pipeline, gathered)
    return np.minimum(gathered, whole[:, None])


def _compute_gradient_bytes(
    scenario: Scenario,
    s: Strategies,
    parameters: StageParameters,
    zero_stage: Ints,
    unsharded: Floats,
    sharded: Floats,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """Gradients, those accumulated and those of the unit at work; and of them those of a rank's shard; [plans,
    moments, stages] each.
    """
    state, is_sharded = scenario.trainer_state, (zero_stage >= 2)[:, None]
    whole_bytes, shard_bytes = state.gradient_bytes * unsharded, state.gradient_bytes * sharded
    unit = get_units(parameters)
    if not scenario.trainer.frees_gradients:
        if scenario.trainer.frees_gradient_copies:
            copies = stack_moments(_list_made_parameters(unit, unsharded), unsharded)
            kept_bytes = (state.gradient_bytes - state.gradient_copy_bytes) * unsharded
            return kept_bytes[:, None] + state.gradient_copy_bytes * copies, shard_bytes[:, None]
        partly = np.minimum(shard_bytes + state.gradient_bytes * unit.layer, whole_bytes)
        return np.where(is_sharded, partly, whole_bytes)[:, None], shard_bytes[:, None]
    sum_bytes, shard_sum_bytes = np.where(is_sharded, shard_bytes, whole_bytes), shard_bytes
    stays_whole = (progress.micro_batches > 1) & (scenario.trainer.accumulates_unsharded != "never")
    if scenario.trainer.accumulates_unsharded == "pipeline":
        stays_whole &= s.pp > 1
    if stays_whole.any():
        # without a reduction they are summed in its format
        whole_sum_bytes = scenario.trained_share * scenario.trainer.grad_reduce_bytes * unsharded
        is_whole = is_sharded & stays_whole[:, None]
        sum_bytes, shard_sum_bytes = (
            np.where(is_whole, whole_sum_bytes, sum_bytes),
            np.where(is_whole, 0.0, shard_bytes),
        )

    # of the first micro-batch the head's come before the others
    head_share = np.divide(unit.head, unsharded, out=np.zeros_like(unsharded), where=unsharded > 0)

    def stack_sums(sums: Floats, last: Floats) -> Floats:
        reduced_head = np.where(progress.accumulates, sums, head_share * sums)
        moments = {
            "loss": np.where(progress.accumulates, sums, 0.0),
            "head_backward": reduced_head,
            "last_layer_backward": reduced_head,
            "first_layer_backward": sums,
            "embedding_backward": sums,
            "optimizer_step": last,
        }
        return stack_moments(moments, unsharded)

    at_work = stack_moments(_compute_unit_gradient_bytes(scenario, unit), unsharded)
    last_bytes = np.where(is_sharded, shard_bytes, whole_bytes)
    if scenario.trainer.reduce_bucket_elements:
        copy_bytes = _compute_updated_gradient_bytes(scenario, zero_stage, sharded)
        last_bytes = np.where(copy_bytes > 0.0, shard_bytes + copy_bytes, last_bytes)
    if scenario.offload.optimizer and scenario.trainer.offloads_gradients:
        sum_bytes, shard_sum_bytes, last_bytes = (
            np.where(is_sharded, 0.0, sizes) for sizes in (sum_bytes, shard_sum_bytes, last_bytes)
        )
    gradients = stack_sums(sum_bytes, last_bytes)
    if scenario.trainer.reduce_bucket_elements:
        gradients = _keep_gradient_buffers(scenario, zero_stage, gradients, sum_bytes, unsharded, unit)
    return gradients + np.where(is_sharded[:, None], at_work, 0.0), stack_sums(shard_sum_bytes, shard_bytes)


def _list_made_parameters(unit: Units, unsharded: Floats) -> dict[str, Floats]:
    """The parameters that have a gradient of a micro-batch by then, [plans, stages] by moment."""
    return {
        "head_backward": unit.head,
        "last_layer_backward": unit.head,
        "first_layer_backward": unsharded - unit.embedding,
        "embedding_backward": unsharded,
    }


def _compute_updated_gradient_bytes(scenario: Scenario, zero_stage: Ints, sharded: Floats) -> Floats:
    """DeepSpeed's 32-bit copy of 16-bit gradients for the update, [plans, stages]: of a rank's shard, under ZeRO 3 of
    a group of its parameters at a time (DeepSpeed 0.19.8, `step` of deepspeed/runtime/zero/stage_1_and_2.py,
    `_prepare_sub_group` of stage3.py).
    """
    if scenario.trainer.gradient_bytes != scenario.trainer.weight_bytes or scenario.trainer.weight_bytes > 2.0:
        return np.zeros_like(sharded)
    copied = np.where((zero_stage == 3)[:, None], np.minimum(sharded, _SUB_GROUP_PARAMETERS), sharded)
    return scenario.trained_share * _COPIED_GRADIENT_BYTES * np.where((zero_stage > 0)[:, None], copied, 0.0)


def _keep_gradient_buffers(
    scenario: Scenario, zero_stage: Ints, gradients: Floats, sum_bytes: Floats, unsharded: Floats, unit: Units
) -> Floats:
    """Gradients of DeepSpeed, [plans, moments, stages], with those buffers that are never freed: a shard's under
    ZeRO 3 (`grad_partitions_flat_buffer` of deepspeed/runtime/zero/stage3.py); under ZeRO 1 those summed in 32 bit,
    beside 16-bit ones of all micro-batches (DeepSpeed 0.19.8, deepspeed/runtime/bf16_optimizer.py).
    """
    stage = zero_stage[:, None, None]
    gradients = np.where(stage == 3, np.maximum(gradients, sum_bytes[:, None]), gradients)
    is_wide = scenario.trainer.gradient_bytes > scenario.trainer.weight_bytes
    if not is_wide or scenario.offload.optimizer:
        return gradients
    copies = stack_moments(_list_made_parameters(unit, unsharded), unsharded)
    wide = sum_bytes[:, None] + scenario.trained_share * scenario.trainer.weight_bytes * copies
    return np.where(stage == 1, wide, gradients)


def _compute_bucket_bytes(scenario: Scenario, s: Strategies, zero_stage: Ints, unsharded: Floats) -> Floats:
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


def _compute_freed_copy_bytes(scenario: Scenario, parameters: StageParameters) -> Floats:
    """Of 16-bit gradients that are freed once they are added up what the allocator keeps, [plans, moments, stages]:
    blocks of the sizes of weights, which few activations have.
    """
    if not scenario.trainer.frees_gradient_copies:
        return np.zeros((1, 1, 1))
    whole = parameters.dense + parameters.expert
    made = stack_moments(_list_made_parameters(get_units(parameters), whole), whole)
    return scenario.trainer_state.gradient_copy_bytes * (whole[:, None] - made)


def _compute_unit_gradient_bytes(scenario: Scenario, unit: Units) -> dict[str, Floats]:
    """Of the unit at work its gradient and what is reduced of it, beside what is still being reduced of the unit
    before it, [plans, stages] by moment. The head's is summed over the chunks of a loss in the format of the
    reduction.
    """
    share = scenario.trained_share
    made = share * scenario.trainer.weight_bytes
    if scenario.trainer.reduce_bucket_elements:
        # of layers they are in the buckets (`_compute_bucket_bytes`)
        return {"head_backward": made * unit.head, "embedding_backward": made * unit.embedding}
    reduced = share * scenario.trainer.grad_reduce_bytes
    is_chunked = scenario.loss == "chunked"
    return {
        "loss": reduced * unit.head if is_chunked else np.zeros_like(unit.head),
        "head_backward": ((reduced if is_chunked else made) + reduced) * unit.head,
        "last_layer_backward": made * unit.layer + reduced * np.maximum(unit.layer, unit.head),
        "first_layer_backward": (made + reduced) * unit.layer,
        "embedding_backward": made * unit.embedding + reduced * np.maximum(unit.embedding, unit.layer),
    }
