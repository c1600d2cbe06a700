"""What PyTorch's allocator has reserved beyond what is allocated, at each moment of a step.

A block is used again on the stream that it was allocated on, by the smallest request that fits; what is left of a
block is joined to free neighbours alone; with expandable segments the last block of a stream grows (torch 2.13,
c10/cuda/CUDACachingAllocator.cpp). `tests/real/caching_allocator.py` repeats that on the tensors of torchtitan's own
steps.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.memory.units import Units, get_units, stack_moments
from planner.cost.pipeline.stages import StageParameters, count_data_ranks, count_shards
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies


def compute_pool_bytes(
    scenario: Scenario, s: Strategies, parameters: StageParameters, zero_stage: Ints, sharded_gradients: Floats
) -> Floats:
    """What the streams of collectives have that is not allocated, and free blocks among kept tensors that come of
    weights, [plans, moments, stages].

    `fully_shard` allocates what it gathers, of the unit at work and of the one that is fetched, on the all-gather's
    stream, beside the 16-bit copy of a rank's shard; sharded gradients on the reduce-scatter's
    (torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py). A device has room for the most of each at all moments.
    """
    if not scenario.trainer.has_stream_pools:
        return np.zeros((1, 1, 1))
    unit, weight_bytes = get_units(parameters), scenario.trainer_state.weight_bytes
    ends = np.maximum(unit.embedding, unit.head)
    if scenario.trainer.keeps_embedding_gathered and scenario.loss != "chunked":
        ends = unit.embedding + unit.head
    most = unit.layer + np.maximum(unit.layer, ends)
    fetched = {
        "head_backward": np.zeros_like(most) if scenario.loss == "chunked" else unit.layer,
        "last_layer_backward": unit.layer,
        "first_layer_backward": unit.embedding,
    }
    idle = most[:, None] - stack_moments(fetched, most)
    if not scenario.trainer_state.sharded_weight_bytes:
        shards = count_shards(scenario, count_data_ranks(scenario, s))
        idle = idle + (most / shards[:, None])[:, None]
    gathered_bytes = weight_bytes * (idle + stack_moments(_find_gaps(scenario, unit), most))
    gathered = np.where((zero_stage >= 3)[:, None, None], gathered_bytes, 0.0)
    # of sharded gradients the most are there after the last reduction, but for what that makes beside them
    idle_gradients = np.maximum(sharded_gradients[:, -1:] - sharded_gradients, 0.0)
    reduced = np.where((zero_stage >= 2)[:, None, None], idle_gradients, 0.0)
    return gathered + reduced


def _find_gaps(scenario: Scenario, unit: Units) -> dict[str, Floats]:
    """Free blocks, in parameters, smaller than the tensors of the loss, [plans, stages] by moment: of gathered
    weights that are not kept, of a layer, which each layer used in turn, and of the head; of the gradient of the
    head's matrix that a chunk of a loss made, whose sum is in 32 bit.
    """
    trainer, is_chunked = scenario.trainer, scenario.loss == "chunked"
    keeps_layer = scenario.reshard == "never" or (trainer.keeps_last_layer_gathered and scenario.reshard == "default")
    layer = np.zeros_like(unit.layer) if keeps_layer else unit.layer
    frees_head = scenario.reshard == "always" and not is_chunked and not trainer.keeps_embedding_gathered
    return {
        "loss": layer + unit.head if frees_head else layer,
        "head_backward": layer + unit.head if is_chunked else layer,
    }
