"""Gradients on a device of each stage, at each moment of a step: those accumulated, and those of the unit at work.

`fully_shard` makes the gradient of a unit in the format of its gathered weights, copies it into one buffer in the
format of the reduction, and adds what it gets of it to the rank's shard (torch 2.13, `foreach_reduce` of
torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py). The head's gradient is summed over the chunks of a loss in
the format of the reduction (torchtitan 0.3.0, `ChunkedLossWrapper` of torchtitan/components/loss.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.memory.buckets import (
    compute_updated_gradient_bytes,
    compute_widened_gradient_bytes,
    keep_gradient_buffers,
    list_made_parameters,
)
from planner.cost.memory.units import Progress, Units, get_units, stack_moments
from planner.cost.pipeline.stages import StageParameters
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies


@dataclass(frozen=True)
class GradientBytes:
    """Arrays of shape [plans, moments, stages]; of one moment where they do not change."""

    total: Floats
    shards: Floats
    """Of them what is a rank's shard."""


def compute_gradient_bytes(
    scenario: Scenario,
    s: Strategies,
    parameters: StageParameters,
    zero_stage: Ints,
    unsharded: Floats,
    sharded: Floats,
    progress: Progress,
) -> GradientBytes:
    """Gradients under `zero_stage` [plans]; `unsharded` and `sharded`: parameters of each stage, [plans, stages]."""
    trainer, state = scenario.trainer, scenario.trainer_state
    is_sharded, unit = (zero_stage >= 2)[:, None], get_units(parameters, s.ep > 1)
    whole_bytes, shard_bytes = state.gradient_bytes * unsharded, state.gradient_bytes * sharded
    if not trainer.frees_gradients:
        if trainer.frees_gradient_copies:
            copies = stack_moments(list_made_parameters(unit), unsharded)
            kept_bytes = (state.gradient_bytes - state.gradient_copy_bytes) * unsharded
            return GradientBytes(kept_bytes[:, None] + state.gradient_copy_bytes * copies, shard_bytes[:, None])
        partly = np.minimum(shard_bytes + state.gradient_bytes * unit.layer, whole_bytes)
        kept = np.where(is_sharded, partly, whole_bytes)[:, None]
        updated = np.where((zero_stage >= 1)[:, None], sharded, unsharded)
        return GradientBytes(kept + compute_widened_gradient_bytes(scenario, updated), shard_bytes[:, None])
    sums = updated = np.where(is_sharded, shard_bytes, whole_bytes)
    if trainer.reduce_bucket_elements:
        copy_bytes = compute_updated_gradient_bytes(scenario, zero_stage, sharded)
        updated = np.where(copy_bytes > 0.0, shard_bytes + copy_bytes, updated)
    if scenario.offload.optimizer and trainer.offloads_gradients:
        sums, updated = (np.where(is_sharded, 0.0, sizes) for sizes in (sums, updated))
    gradients = _compute_reduced(scenario, parameters, unit, sums, updated, zero_stage, progress)
    stays_whole = (progress.micro_batches > 1) & (trainer.accumulates_unsharded != "never")
    if trainer.accumulates_unsharded == "pipeline":
        stays_whole = stays_whole & (s.pp > 1)
    if not stays_whole.any():
        return gradients
    summed = _compute_unreduced(scenario, parameters, unit, sharded, progress)
    is_whole = (is_sharded & stays_whole[:, None])[:, None]
    return GradientBytes(
        np.where(is_whole, summed.total, gradients.total), np.where(is_whole, summed.shards, gradients.shards)
    )


def _get_work_bytes(scenario: Scenario) -> tuple[float, float]:
    """Bytes per parameter of a gradient as it is made, and as it is reduced; none of frozen parameters."""
    share = scenario.trained_share
    return share * scenario.trainer.weight_bytes, share * scenario.trainer.grad_reduce_bytes


def _compute_reduced(
    scenario: Scenario,
    parameters: StageParameters,
    unit: Units,
    sums: Floats,
    updated: Floats,
    zero_stage: Ints,
    progress: Progress,
) -> GradientBytes:
    """Where each micro-batch's are reduced at once, or no rank shards them; `sums`: of all micro-batches, `updated`:
    at the update, [plans, stages].
    """
    made, reduced = _get_work_bytes(scenario)
    trainer, matrix = scenario.trainer, parameters.largest_matrix[:, None]
    is_chunked, is_sharded = scenario.loss == "chunked", (zero_stage >= 2)[:, None]
    before = np.where(progress.accumulates, sums, 0.0)
    # of the first micro-batch the head's come before the others
    head_share = np.divide(unit.head, unit.whole, out=np.zeros_like(sums), where=unit.whole > 0)
    head_sums = head_share * sums
    shards = {
        "loss": before,
        # what the reduction makes, beside the sum that it is added to
        "head_backward": np.where(progress.accumulates, sums + np.where(is_sharded, head_sums, 0.0), head_sums),
        "last_layer_backward": np.where(progress.accumulates | scenario.trainer.runs_layers_as_loop, sums, head_sums),
        "first_layer_backward": sums,
        "embedding_backward": sums,
        "optimizer_step": updated,
    }
    at_work = {
        "loss": reduced * unit.head if is_chunked else np.zeros_like(unit.head),
        "head_backward": ((reduced if is_chunked else made) + reduced) * unit.head,
        # of a layer that of the matrix at work, beside what is still being reduced of the unit before
        "last_layer_backward": made * matrix + reduced * np.maximum(unit.reduced, unit.head),
        "first_layer_backward": made * matrix + reduced * unit.reduced,
        "embedding_backward": made * unit.embedding + reduced * np.maximum(unit.embedding, unit.reduced),
    }
    if trainer.runs_layers_as_loop:
        at_work |= {
            "head_backward": reduced * unit.head,
            "last_layer_backward": reduced * unit.reduced,
            "first_layer_backward": reduced * unit.reduced,
        }
    if trainer.reduce_bucket_elements:
        # of layers they are in the buckets
        at_work = {"head_backward": made * unit.head, "embedding_backward": made * unit.embedding}
    stacked = total = stack_moments(shards, sums)
    if trainer.reduce_bucket_elements:
        total = keep_gradient_buffers(scenario, zero_stage, stacked, sums, unit, progress)
    # where no rank shards them, the sum of a chunked loss has the newest chunk's beside it
    newest = {"head_backward": made * unit.head} if is_chunked else {}
    work = np.where(is_sharded[:, None], stack_moments(at_work, sums), stack_moments(newest, sums))
    return GradientBytes(total + work, stacked)


def _compute_unreduced(
    scenario: Scenario,
    parameters: StageParameters,
    unit: Units,
    sharded: Floats,
    progress: Progress,
) -> GradientBytes:
    """Where they are summed whole, in the format of the reduction, up to the last micro-batch.

    A unit's are converted one by one, so that of the format in which they are made there is one matrix's. Under a
    pipeline a chunked loss reduces the head's with each micro-batch, and keeps the buffer of that reduction.
    """
    made, reduced = _get_work_bytes(scenario)
    shard_share = np.divide(sharded, unit.whole, out=np.zeros_like(sharded), where=unit.whole > 0)
    reduces_head = scenario.loss == "chunked" and scenario.trainer.accumulates_unsharded == "pipeline"
    head_bytes = reduced * unit.head
    kept_head = head_bytes if reduces_head else np.zeros_like(head_bytes)
    head_shard = shard_share * kept_head
    sums = reduced * unit.whole - kept_head + head_shard
    before, is_later = np.where(progress.accumulates, sums, 0.0), progress.accumulates
    matrix_bytes = made * parameters.largest_matrix[:, None]
    is_chunked = scenario.loss == "chunked"
    first_sums = head_shard if reduces_head else head_bytes
    end_bytes = reduced * np.maximum(unit.embedding, unit.reduced)
    moments = {
        "loss": before + (head_bytes if is_chunked else 0.0) + np.where(is_later, kept_head, 0.0),
        "head_backward": before
        + (2.0 * head_bytes + head_shard if reduces_head else np.where(is_later, 0.0, head_bytes) + made * unit.head),
        "last_layer_backward": np.where(is_later, sums, first_sums) + matrix_bytes + kept_head,
        "first_layer_backward": sums + matrix_bytes + kept_head,
        "embedding_backward": sums + (1.0 + shard_share) * end_bytes + kept_head,
        "optimizer_step": reduced * sharded,
    }
    shards = {moment: np.where(is_later, head_shard, 0.0) for moment in moments}
    shards["optimizer_step"] = moments["optimizer_step"]
    return GradientBytes(stack_moments(moments, sums), stack_moments(shards, sums))
