"""A communication library: which algorithms it has, and what each takes under each protocol.

Figures are data (hardware_db/collectives), read from the library's own tuner where it has one. A step's latency is
the network's, for one step of a ring of bulk copies; a protocol that hands over small pieces takes the share of it
that its step has of that one's in the tuner's table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Floats
from planner.hardware import database
from planner.hardware.figures import FigureSource

_LL_PROTOCOL = "LL"


class ProtocolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an algorithm takes under one protocol; seconds, and shares of the bandwidth of bulk copies."""

    share: float
    base: float
    link: float
    network: float
    share_between_nodes: float | None = None
    rank: float = 0.0


class GenerationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What belongs to a generation of accelerators; `low_latency`: bytes/s on one node, on two, on more."""

    low_latency: tuple[float, float, float] | None = None
    in_network: float = 1.0
    link_share: float | None = None


class MessageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds in which one message is posted to a NIC; bytes of the pieces that a large one is cut in."""

    network: float = 0.0
    piece_bytes: float = math.inf


class ReductionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Share of the network's bandwidth at which its switches add."""

    network: float = 1.0


class LibrarySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/collectives."""

    title: str
    algorithms: dict[str, dict[str, ProtocolSpec]]
    sources: dict[str, FigureSource]
    tree_by_size: dict[str, tuple[float, ...]] = {}
    generations: dict[str, GenerationSpec] = {}
    message: MessageSpec = MessageSpec()
    reduction: ReductionSpec = ReductionSpec()
    one_rank_a_node: tuple[str, ...] = ()
    """Algorithms that are there only for groups of which no two ranks share a node."""
    fitted: dict[str, float] = {}
    confidence: str = ""


@dataclass(frozen=True)
class Protocol:
    """An algorithm under a protocol; times in seconds."""

    bandwidth_share: float
    inter_node_bandwidth_share: float
    base_s: float
    per_rank_s: float
    link_step_ratio: float
    """A step over links inside a node, over that of a ring of bulk copies."""
    network_step_ratio: float
    bandwidth_share_by_size: Floats
    """Share reached at 64 bytes and every doubling; empty: all of it."""
    is_low_latency: bool
    """Whether LL's cap holds."""


@dataclass(frozen=True)
class CollectiveLibrary:
    """A library's algorithms by name, each with its protocols."""

    name: str
    algorithms: dict[str, tuple[Protocol, ...]]
    generations: dict[str, GenerationSpec]
    message_post_s: float
    piece_bytes: float
    switch_reduction_share: float
    single_rank_per_node: tuple[str, ...]
    nic_bandwidth_share: float
    """Of the NICs' rated bandwidth, what bulk copies reach."""

    def has_algorithm(self, algorithm: str) -> bool:
        """Whether the library has an algorithm."""
        return algorithm in self.algorithms

    def find_generation(self, architecture: str) -> GenerationSpec | None:
        """What is known of an architecture: of its generation, whatever its variant."""
        matching_specs = [spec for name, spec in self.generations.items() if architecture.startswith(name)]
        return matching_specs[0] if matching_specs else None

    def get_in_network_share(self, architecture: str) -> float:
        """Share of the links' bandwidth at which their switches add."""
        generation = self.find_generation(architecture)
        return generation.in_network if generation else 1.0


def find_collective_library(network: Network) -> CollectiveLibrary:
    """The library that a network is used with: XLA's on a torus, Gaudi's HCCL, else NCCL or RCCL."""
    if any(len(axes) for axes in network.torus_axes):
        return load_collective_library("xla")
    return load_collective_library("hccl" if network.architecture.startswith("gaudi") else "nccl")


@lru_cache
def load_collective_library(name: str) -> CollectiveLibrary:
    """A library by the name of its file."""
    spec = database.load_database_entry("collectives", name, LibrarySpec, "library", "", "collectives")
    bulk, scale = next(iter(spec.algorithms.values()))["Simple"], spec.fitted.get("latency", 1.0)

    def build_protocol(algorithm: str, protocol: str, figures: ProtocolSpec) -> Protocol:
        inter_node_share = figures.share_between_nodes
        return Protocol(
            bandwidth_share=figures.share,
            inter_node_bandwidth_share=figures.share if inter_node_share is None else inter_node_share,
            base_s=scale * figures.base,
            per_rank_s=scale * figures.rank,
            link_step_ratio=scale * figures.link / bulk.link,
            network_step_ratio=scale * figures.network / bulk.network,
            bandwidth_share_by_size=np.array(spec.tree_by_size.get(protocol, ()) if algorithm == "tree" else ()),
            is_low_latency=protocol == _LL_PROTOCOL,
        )

    return CollectiveLibrary(
        name,
        {
            algorithm: tuple(build_protocol(algorithm, *protocol) for protocol in protocols.items())
            for algorithm, protocols in spec.algorithms.items()
        },
        spec.generations,
        spec.message.network,
        spec.message.piece_bytes,
        spec.reduction.network,
        spec.one_rank_a_node,
        spec.fitted.get("network", 1.0),
    )
