"""The topology document: a cluster's levels, what crosses its middle, and what each parallel group gets of it.

Field order is output order. The JSON Schema that `planner schema topology` prints is derived from these types.
"""

from __future__ import annotations

from typing import Literal

from planner.documents.plan import ClusterPart
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
    build_closed_schema,
)

SCHEMA_VERSION: Literal["1.1"] = "1.1"
ParallelGroupType = Literal["tp", "scale-up", "ep", "pp", "dp"]
GroupCollective = Literal["all-reduce", "all-to-all", "send"]


class FabricLevelPart(DocumentPart, frozen=True, kw_only=True):
    """One level of the fabric, from the node outwards."""

    name: str
    topology: str
    devices: PositiveInt
    """Joined by one part of the level, the largest."""
    fewest_devices: PositiveInt
    """Joined by the smallest part."""
    parts: PositiveInt
    most_inside: PositiveInt
    """Parts of the next inner level, of the innermost devices, in the part that has the most of them."""
    fewest_inside: PositiveInt
    switches: NonNegativeInt | None
    """In use, in all parts; null where the cluster is too large to be written out."""
    bandwidth_bytes_per_s: PositiveFloat
    """One device's share of the way up to the level, one direction."""
    oversubscription: PositiveFloat
    """The same of the next inner level of the same network, over this."""
    latency_s: NonNegativeFloat
    network_cards: bool
    """Whether devices reach the level by network cards."""
    shape: list[int]
    """Devices along each axis of a torus; empty for other levels."""
    wrap: list[bool]
    """Which of these axes are closed."""


class NameRangePart(DocumentPart, frozen=True, kw_only=True):
    """Hosts or switches whose names differ by a number that counts on: by these a fault is told."""

    kind: Literal["node", "switch"]
    first: str
    last: str
    count: PositiveInt


class BisectionPart(DocumentPart, frozen=True, kw_only=True):
    """What one half of the devices can send to the other, in one direction: whole nodes, of a single node or torus
    devices; the halves that are joined by the least.
    """

    bytes_per_s: NonNegativeFloat
    exact: bool
    """False: the narrowest halves were not found; theirs is at most this."""
    bytes_per_s_per_device: NonNegativeFloat
    """Of each device of the half that sends."""
    share: UnitFraction | None
    """Of what those devices' network cards can send, of the network beyond where there are none; null for a single
    node, and where more crosses the middle than that: links of a rack too.
    """


class ParallelGroupPart(DocumentPart, frozen=True, kw_only=True):
    """What a group of ranks gets while all groups of its kind are at work.

    `bandwidth_bytes_per_s`: one device's, rated, at the slowest level that the group crosses, by all ways out of its
    members. `algorithm_bytes_per_s`: a message's size over the time that the cost model gives it.
    """

    group: ParallelGroupType
    ranks: PositiveInt
    stride: PositiveInt
    level: str
    """The outermost that the group crosses."""
    collective: GroupCollective
    bandwidth_bytes_per_s: PositiveFloat
    message_bytes: PositiveFloat
    seconds: PositiveFloat
    algorithm_bytes_per_s: PositiveFloat


class TopologyDocument(DocumentPart, frozen=True, kw_only=True):
    """The whole answer."""

    schema_version: Literal["1.1"]
    cluster: ClusterPart
    levels: list[FabricLevelPart]
    switches: NonNegativeInt | None
    links: NonNegativeInt | None
    """Between nodes and switches, those in use; null where the cluster is too large to be written out."""
    names: list[NameRangePart]
    """Empty where the cluster is too large to be written out."""
    bisection: BisectionPart
    diameter_hops: NonNegativeInt
    worst_latency_s: NonNegativeFloat
    """Of one step between the farthest devices."""
    groups: list[ParallelGroupPart]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the topology document."""
    return build_closed_schema(TopologyDocument, f"planner topology document {SCHEMA_VERSION}")
