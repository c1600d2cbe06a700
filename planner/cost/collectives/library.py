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
from planner.hardware.figures import Source

_LOW_LATENCY = "LL"


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
    """Seconds in which one message is posted to a network card; bytes of the pieces that a large one is cut in."""

    network: float = 0.0
    piece_bytes: float = math.inf


class ReductionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Share of the network's bandwidth at which its switches add."""

    network: float = 1.0


class LibrarySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/collectives."""

    title: str
    algorithms: dict[str, dict[str, ProtocolSpec]]
    sources: dict[str, Source]
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
    """An algorithm under a protocol. `link` and `network`: a step over that of a ring of bulk copies.

    `by_size`: share reached at 64 bytes and every doubling; empty: all of it. `low_latency`: whether LL's cap holds.
    """

    share: float
    share_between_nodes: float
    base_s: float
    rank_s: float
    link: float
    network: float
    by_size: Floats
    low_latency: bool


@dataclass(frozen=True)
class Library:
    """A library's algorithms by name, each with its protocols."""

    name: str
    algorithms: dict[str, tuple[Protocol, ...]]
    generations: dict[str, GenerationSpec]
    message_s: float
    piece_bytes: float
    reduction_share: float
    one_rank_a_node: tuple[str, ...]
    network_share: float
    """Of the network cards' rated bandwidth, what bulk copies reach."""

    def has(self, algorithm: str) -> bool:
        """Whether the library has an algorithm."""
        return algorithm in self.algorithms

    def generation(self, architecture: str) -> GenerationSpec | None:
        """What is known of an architecture: of its generation, whatever its variant."""
        found = [spec for name, spec in self.generations.items() if architecture.startswith(name)]
        return found[0] if found else None

    def in_network(self, architecture: str) -> float:
        """Share of the links' bandwidth at which their switches add."""
        known = self.generation(architecture)
        return known.in_network if known else 1.0


def library_of(network: Network) -> Library:
    """The library that a network is used with: XLA's on a torus, Gaudi's HCCL, else NCCL or RCCL."""
    if any(len(axes) for axes in network.torus_axes):
        return library("xla")
    return library("hccl" if network.architecture.startswith("gaudi") else "nccl")


@lru_cache
def library(name: str) -> Library:
    """A library by the name of its file."""
    spec = database.load("collectives", name, LibrarySpec, "library", "", "collectives")
    bulk = next(iter(spec.algorithms.values()))["Simple"]
    scale = spec.fitted.get("latency", 1.0)
    algorithms = {
        algorithm: tuple(
            Protocol(
                share=one.share,
                share_between_nodes=one.share if one.share_between_nodes is None else one.share_between_nodes,
                base_s=scale * one.base,
                rank_s=scale * one.rank,
                link=scale * one.link / bulk.link,
                network=scale * one.network / bulk.network,
                by_size=np.array(spec.tree_by_size.get(protocol, ()) if algorithm == "tree" else ()),
                low_latency=protocol == _LOW_LATENCY,
            )
            for protocol, one in protocols.items()
        )
        for algorithm, protocols in spec.algorithms.items()
    }
    return Library(
        name,
        algorithms,
        spec.generations,
        spec.message.network,
        spec.message.piece_bytes,
        spec.reduction.network,
        spec.one_rank_a_node,
        spec.fitted.get("network", 1.0),
    )
