"""A communication library: its algorithms with what each takes under each protocol, and what it reaches of the
bandwidth of links and NICs; read from hardware_db/collectives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Floats
from planner.cost.collectives.algorithms import CollectiveAlgorithm
from planner.hardware import database
from planner.hardware.figures import FigureSource

ProtocolName = Literal["LL", "LL128", "Simple"]


class ProtocolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an algorithm takes under one protocol; seconds, and shares of the bandwidth of bulk copies."""

    share: float
    base: float
    link: float
    network: float
    share_between_nodes: float | None = None
    rank: float = 0.0
    link_rank: float = 0.0


class GenerationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What belongs to a generation of accelerators."""

    link_share: float
    """Share of the links' rated bandwidth that the rings of bulk copies reach."""
    in_network: float = 1.0
    """Size over time of an all-reduce by the links' switches, over their rated bandwidth."""
    latency: float = 1.0
    """Factor on the start of an algorithm and on its steps inside a node."""
    low_latency: tuple[float, float, float] | None = None
    """Bytes/s that LL does not pass on one node, on two, on more."""


class MessageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds in which one message is posted to a NIC; bytes of the pieces that a large one is cut in, and seconds of
    each.
    """

    network: float = 0.0
    piece_bytes: float = math.inf
    piece: float = 0.0

    @property
    def posting_s_per_byte(self) -> float:
        """Seconds a byte in which pieces are posted one after the other."""
        return self.piece / self.piece_bytes


class StepSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds of the step that a network's latencies stand for, inside a node and between nodes."""

    link: float
    network: float


class ReductionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Share of the network's bandwidth at which its switches add."""

    network: float = 1.0


class LibrarySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/collectives."""

    title: str
    algorithms: dict[CollectiveAlgorithm, dict[ProtocolName, ProtocolSpec]]
    sources: dict[str, FigureSource]
    tree_by_size: dict[ProtocolName, tuple[float, ...]] = {}
    step: StepSpec
    link_share: float
    """Of links of a generation without a table of its own."""
    network_share: float
    """Share of the NICs' rated bandwidth that bulk copies reach."""
    network_latency: float = 1.0
    """Factor on steps between nodes."""
    own_part: float = 0.0
    """Share of a member's part at which it moves its own one, which no link carries."""
    rails: float = math.inf
    """How many members of a domain of links have NICs that rings and trees use, at most."""
    generations: dict[str, GenerationSpec] = {}
    message: MessageSpec = MessageSpec()
    reduction: ReductionSpec = ReductionSpec()
    one_rank_a_node: tuple[CollectiveAlgorithm, ...] = ()
    """Algorithms that are there only for groups of which no two ranks share a node."""
    confidence: str = ""


@dataclass(frozen=True)
class Protocol:
    """An algorithm under a protocol; times in seconds."""

    name: ProtocolName
    bandwidth_share: float
    inter_node_bandwidth_share: float
    base_s: float
    per_rank_s: float
    per_linked_rank_s: float
    """For every rank of the group that links join to a rank, not NICs."""
    link_step_ratio: float
    """A step over links inside a node, over the latency that the network states."""
    network_step_ratio: float
    bandwidth_share_by_size: Floats
    """Share reached at 64 bytes and every doubling; empty: all of it."""
    is_low_latency: bool
    """Whether LL's cap holds."""


@dataclass(frozen=True)
class CollectiveLibrary:
    """A library's algorithms by name, each with its protocols."""

    name: str
    algorithms: dict[CollectiveAlgorithm, tuple[Protocol, ...]]
    generations: dict[str, GenerationSpec]
    other_generations: GenerationSpec
    message: MessageSpec
    own_part: float
    """Share of a member's part at which it moves its own one, which no link carries."""
    rails: float
    """How many members of a domain of links have NICs that rings and trees use, at most."""
    switch_reduction_share: float
    single_rank_per_node: tuple[CollectiveAlgorithm, ...]
    nic_bandwidth_share: float
    """Of the NICs' rated bandwidth, what bulk copies reach."""

    def has_algorithm(self, algorithm: CollectiveAlgorithm) -> bool:
        """Whether the library has an algorithm."""
        return algorithm in self.algorithms

    def find_generation(self, architecture: str) -> GenerationSpec:
        """What is known of an architecture: of its generation, whatever its variant."""
        names = [name for name in self.generations if architecture.startswith(name)]
        return self.generations[max(names, key=len)] if names else self.other_generations

    def find_bandwidth_shares(self, network: Network) -> Floats:
        """Share of the rated bandwidth that bulk copies reach, [tiers]."""
        link_share = self.find_generation(network.architecture).link_share
        return np.where(network.through_nic, self.nic_bandwidth_share, link_share)


def find_collective_library(network: Network) -> CollectiveLibrary:
    """The library that a network is used with: XLA's on a torus, Gaudi's HCCL, else NCCL or RCCL."""
    if any(len(axes) for axes in network.torus_axes):
        return load_collective_library("xla")
    return load_collective_library("hccl" if network.architecture.startswith("gaudi") else "nccl")


@lru_cache
def load_collective_library(name: str) -> CollectiveLibrary:
    """A library by the name of its file."""
    spec = database.load_database_entry("collectives", name, LibrarySpec, "library", "", "collectives")
    return build_collective_library(name, spec)


def build_collective_library(name: str, spec: LibrarySpec) -> CollectiveLibrary:
    """A library from its file's figures."""

    def build_protocol(algorithm: CollectiveAlgorithm, protocol: ProtocolName, figures: ProtocolSpec) -> Protocol:
        inter_node_share = figures.share_between_nodes
        return Protocol(
            name=protocol,
            bandwidth_share=figures.share,
            inter_node_bandwidth_share=figures.share if inter_node_share is None else inter_node_share,
            base_s=figures.base,
            per_rank_s=figures.rank,
            per_linked_rank_s=figures.link_rank,
            link_step_ratio=figures.link / spec.step.link,
            network_step_ratio=spec.network_latency * figures.network / spec.step.network,
            bandwidth_share_by_size=np.array(spec.tree_by_size.get(protocol, ()) if algorithm == "tree" else ()),
            is_low_latency=protocol == "LL",
        )

    return CollectiveLibrary(
        name=name,
        algorithms={
            algorithm: tuple(build_protocol(algorithm, *protocol) for protocol in protocols.items())
            for algorithm, protocols in spec.algorithms.items()
        },
        generations=spec.generations,
        other_generations=GenerationSpec(link_share=spec.link_share),
        message=spec.message,
        own_part=spec.own_part,
        rails=spec.rails,
        switch_reduction_share=spec.reduction.network,
        single_rank_per_node=spec.one_rank_a_node,
        nic_bandwidth_share=spec.network_share,
    )
