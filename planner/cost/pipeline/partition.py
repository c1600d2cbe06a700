"""Layers partitioned into chunks, and chunks onto pipeline stages.

Without a layout of one's own (`pipeline_layout.py`) the layers are partitioned into pp x vpp chunks as evenly as
their number allows, the longer chunks first. Where only layers + 2 can be partitioned evenly, embedding and head
count as a layer each (Llama 3, arXiv 2407.21783, section 3.3.2). nanotron partitions them by compute, the head's too.

Stage i has chunks i, i + pp, i + 2 pp, ... (interleaved 1F1B, Narayanan et al. 2021, arXiv 2104.04473, section 2.2);
folded, chunk i and its mirror image from the model's end (`schedules.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints, find_unique_rows
from planner.cost.schedules.catalog import is_folded
from planner.cost.settings import PipelineSchedule
from planner.cost.strategies import Strategies
from planner.trainers.pipeline_layout import AUTO_LAYOUT, parse_layout
from planner.trainers.trainer import Trainer
from planner.workload.operators import Workload


def compute_layer_prefix(workload: Workload) -> Ints:
    """Layers of each type among the first i layers: shape [layers + 1, layer types]."""
    type_index = {layer_type: i for i, layer_type in enumerate(workload.layer_types)}
    layer_types = np.concatenate([np.full(run.count, type_index[run.layer]) for run in workload.layer_runs])
    one_hot = np.zeros((len(layer_types) + 1, len(type_index)), dtype=np.int64)
    one_hot[np.arange(len(layer_types)) + 1, layer_types] = 1
    return np.cumsum(one_hot, axis=0)


def count_layers(workload: Workload) -> Floats:
    """Layers of each type in the model, [layer types]; embedding and head once."""
    return np.append(compute_layer_prefix(workload)[-1], [1, 1]).astype(np.float64)


@dataclass(frozen=True)
class PartitionCosts:
    """What a layer and the head count where layers are partitioned by compute, in parameters per hidden unit."""

    layer: int
    head: int


def find_partition_costs(workload: Workload, trainer: Trainer) -> PartitionCosts | None:
    """Those of a trainer that partitions by compute; None: it partitions evenly.

    nanotron counts attention without grouped keys and a gated MLP: `get_block_compute_costs` of
    src/nanotron/models/llama.py and qwen.py, at 0e0a27ea.
    """
    if not trainer.partitions_by_compute:
        return None
    return PartitionCosts(4 * workload.hidden_size + 3 * workload.ffn_size, workload.vocab_size)


def assign_layers(
    prefix: Ints,
    pp: int,
    vpp: int,
    layout: str = AUTO_LAYOUT,
    schedule: PipelineSchedule = "1f1b",
    prediction_layers: int = 0,
    costs: PartitionCosts | None = None,
) -> Floats:
    """Layers of each type, embedding and head, in every chunk of every stage: shape [vpp, pp, layer types + 2].

    Folded: [2, stages, layer types + 2], of DualPipe's stages the first half, each the same as its mirror image.
    """
    chunk_layers = _count_chunk_layers(prefix, pp, vpp, layout, prediction_layers, costs)
    if not is_folded(schedule, pp, vpp):
        return chunk_layers.reshape(vpp, pp, -1)
    stages = len(chunk_layers) // 2
    return np.stack([chunk_layers[:stages], chunk_layers[::-1][:stages]])


def list_chunk_layers(
    workload: Workload, pp: int, vpp: int, layout: str, costs: PartitionCosts | None = None
) -> list[int]:
    """Layers of each chunk in the model's order."""
    counts = _count_chunk_layers(compute_layer_prefix(workload), pp, vpp, layout, workload.prediction_layers, costs)
    return [int(count) for count in counts[:, :-2].sum(axis=1).tolist()]


def _count_chunk_layers(
    prefix: Ints, pp: int, vpp: int, layout: str, prediction_layers: int, costs: PartitionCosts | None
) -> Floats:
    """Layers of each type, embedding and head, by chunk in the model's order: shape [chunks, layer types + 2]."""
    bounds = _compute_chunk_bounds(len(prefix) - 1, pp, vpp, layout, prediction_layers, costs)
    chunk_layers = np.zeros((len(bounds) - 1, prefix.shape[1] + 2))
    chunk_layers[:, :-2] = prefix[bounds[1:]] - prefix[bounds[:-1]]
    chunk_layers[0, -2] = chunk_layers[-1, -1] = 1
    return chunk_layers


def _compute_chunk_bounds(
    layers: int, pp: int, vpp: int, layout: str, prediction_layers: int = 0, costs: PartitionCosts | None = None
) -> Ints:
    """The layers at which chunks begin, and where the last one ends: shape [chunks + 1]. A layout that the plan
    cannot have, which no search has, is the even partition.

    Where the last chunk has layers of multi-token prediction, these count as one layer each, and so do the passes
    through the head, if a layer is left beside them: E4|4|...|1ML of Megatron-Bridge's recipes for DeepSeek-V3.
    """
    chunks, own_layout = pp * vpp, parse_layout(layout)
    own_layers = None if own_layout.is_auto else own_layout.list_chunk_layers(layers, pp, vpp)
    if own_layers is not None:
        return np.concatenate([[0], np.cumsum(own_layers)])
    if costs is not None:
        return _compute_bounds_by_compute(layers, chunks, costs)
    end_layers = 2 * prediction_layers + 1
    if prediction_layers and chunks > 1 and (layers + end_layers) // chunks > end_layers:
        return np.minimum(_compute_even_bounds(layers + end_layers, chunks), layers)
    counts_embedding_and_head = chunks > 1 and layers % chunks > 0 and (layers + 2) % chunks == 0
    if counts_embedding_and_head:
        return np.clip(_compute_even_bounds(layers + 2, chunks) - 1, 0, layers)
    return _compute_even_bounds(layers, chunks)


def _compute_bounds_by_compute(layers: int, chunks: int, costs: PartitionCosts) -> Ints:
    """The bounds where a chunk ends with the first layer by which more than its share of the model's compute is done:
    shape [chunks + 1]. `build_model` of src/nanotron/models/base.py, nanotron at 0e0a27ea.
    """
    total, bounds = layers * costs.layer + costs.head, [0]
    for layer in range(1, layers + 1):
        if len(bounds) < chunks and layer * costs.layer * chunks > total * len(bounds):
            bounds.append(layer)
    return np.array(bounds + [layers] * (chunks + 1 - len(bounds)))


def _compute_even_bounds(layers: int, chunks: int) -> Ints:
    """The bounds of an even partition, the longer chunks first: shape [chunks + 1]."""
    base_layers, longer_chunks = divmod(layers, chunks)
    chunk = np.arange(chunks + 1)
    bounds: Ints = chunk * base_layers + np.minimum(chunk, longer_chunks)
    return bounds


def compute_boundary_width(workload: Workload, s: Strategies, layout: str = AUTO_LAYOUT) -> Floats:
    """Values per token that a chunk hands to the next, where it is most, shape [plans].

    The slowest hop sets the pace; chunks of a transformer all hand on the hidden state.
    """
    hidden_size, runs = workload.hidden_size, workload.layer_runs
    if all((run.layer.input_values or hidden_size) == hidden_size for run in runs):
        return np.full(len(s), float(hidden_size))
    layers = [layer for run in runs for layer in [run.layer] * run.count]
    widths = np.array([layer.input_values or hidden_size for layer in [*layers, workload.head]], dtype=np.float64)
    unique = find_unique_rows(s.pp, s.vpp)
    # the last bound is the head's, which is on the last chunk
    widest = [
        widths[_compute_chunk_bounds(len(layers), pp, vpp, layout)[1:-1]].max(initial=0.0)
        for pp, vpp in zip(s.pp[unique.first_index].tolist(), s.vpp[unique.first_index].tolist(), strict=True)
    ]
    return np.array(widest)[unique.inverse]
