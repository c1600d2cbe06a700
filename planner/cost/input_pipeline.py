"""What a step reads and prepares: bytes from storage, and time of the hosts' cores, beside what there is of both.

Loaders run beside the step, so that a step takes the longer of both. A node reads what its data-parallel ranks train
on: of the tensor- and context-parallel ranks of one on the same node one reads for all; pipelines of sequences read
in the first stage, for their tokens, and in the last, for their labels (Megatron-LM, pretrain_gpt.py, get_batch).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import msgspec
import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats
from planner.cost.strategies import Strategies
from planner.hardware.database import load_database_entry
from planner.hardware.figures import Figure, FigureSource, parse_figure
from planner.workload.operators import Workload

_SMALL_VOCABULARY = 65_500
"""Entries below which token ids are stored in 2 bytes."""
_AUDIO_RATE_HZ = 16_000


class _SampleFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    size: Figure = 0
    core_time: Figure


class _InputFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    title: str
    token: _SampleFigures
    image: _SampleFigures
    audio: _SampleFigures
    sources: dict[str, FigureSource]


@dataclass(frozen=True)
class InputSupply:
    """What a cluster has to read and prepare samples with; None: not known, and taken to be enough.

    `node_bytes_per_s` and `storage_bytes_per_s`: what one node, and what all nodes together, read from storage.
    """

    host_cores: float | None = None
    node_bytes_per_s: float | None = None
    storage_bytes_per_s: float | None = None


NOTHING_KNOWN = InputSupply()


@dataclass(frozen=True)
class SampleDemand:
    """What a sample needs: its bytes in storage, and seconds of a core to prepare it."""

    size_bytes: float
    core_s: float


@dataclass(frozen=True)
class InputDemand:
    """What a step needs, arrays of shape [plans]."""

    node_samples: Floats
    """Samples that the busiest node reads."""
    node_bytes: Floats
    storage_bytes: Floats
    """Of all nodes together."""
    node_core_s: Floats
    """Seconds of a core, on the busiest node."""


def read_input_supply(cluster: Cluster) -> InputSupply:
    """What the cluster's file, and that of its node, state."""
    storage = cluster.storage
    read = None if storage is None or storage.read is None else parse_figure(storage.read, "bytes_per_s", key="read")
    return InputSupply(cluster.host_cores, cluster.node_storage_bytes_per_s, read)


@cache
def _read_figures() -> dict[str, SampleDemand]:
    file = load_database_entry("input", "default", _InputFile, "input", "", "input")
    return {
        kind: SampleDemand(
            parse_figure(figures.size, "bytes", key="size"), parse_figure(figures.core_time, "s", key="core_time")
        )
        for kind, figures in (("token", file.token), ("image", file.image), ("audio", file.audio))
    }


def find_sample_demand(workload: Workload) -> SampleDemand | None:
    """What a sample of the model needs; None for samples of a kind that is not known."""
    figures = _read_figures()
    if workload.has_tokens:
        token_bytes = 2.0 if workload.vocab_size < _SMALL_VOCABULARY else 4.0
        return SampleDemand(token_bytes * workload.seq_length, figures["token"].core_s * workload.seq_length)
    if workload.sample_name == "image":
        return figures["image"]
    if workload.signal_length is not None:
        seconds = workload.signal_length / _AUDIO_RATE_HZ
        return SampleDemand(figures["audio"].size_bytes * seconds, figures["audio"].core_s * seconds)
    return None


def compute_input_demand(
    workload: Workload, global_batch: int, devices_per_node: int, rank_order: str, s: Strategies
) -> InputDemand | None:
    """What a step of each plan needs; None for samples of a kind that is not known."""
    sample = find_sample_demand(workload)
    if sample is None:
        return None
    # ranks that lie between two data-parallel ranks in the numbering: those of the dimensions inside dp
    inner = np.ones_like(s.dp)
    for name in rank_order.split("-"):
        if name == "dp":
            break
        inner = inner * getattr(s, name)
    replicas_on_node = np.minimum(np.maximum(devices_per_node // inner, 1), s.dp)
    nodes_of_replica = np.maximum(-(-s.tp * s.cp // devices_per_node), 1)
    reading_stages = np.where((s.pp > 1) & workload.has_tokens, 2, 1)
    node_samples = replicas_on_node * (global_batch / s.dp)
    return InputDemand(
        node_samples=node_samples,
        node_bytes=node_samples * sample.size_bytes,
        storage_bytes=global_batch * sample.size_bytes * nodes_of_replica * reading_stages,
        node_core_s=node_samples * sample.core_s,
    )


def compute_input_s(demand: InputDemand, supply: InputSupply) -> Floats:
    """Seconds in which a step's samples are there, shape [plans]: the slowest of the hosts' cores, a node's reads and
    the storage; 0 where nothing is known.
    """
    input_s = np.zeros(len(demand.node_samples))
    for needed, available in (
        (demand.node_core_s, supply.host_cores),
        (demand.node_bytes, supply.node_bytes_per_s),
        (demand.storage_bytes, supply.storage_bytes_per_s),
    ):
        if available is not None:
            input_s = np.maximum(input_s, needed / available)
    return input_s
