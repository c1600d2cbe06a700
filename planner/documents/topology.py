"""The topology document: a cluster's levels, what crosses its middle, and what each parallel group gets of it.

Field order is output order. The JSON Schema that `planner schema topology` prints is derived from these types.
"""

from __future__ import annotations

from typing import Literal

from planner.documents.plan import ClusterPart
from planner.documents.schema import (
    Amount,
    Count,
    Part,
    Positive,
    Share,
    Whole,
    closed_schema,
)

SCHEMA_VERSION: Literal["1.1"] = "1.1"
GroupKind = Literal["tp", "scale-up", "ep", "pp", "dp"]
Collective = Literal["all-reduce", "all-to-all", "send"]


class LevelPart(Part, frozen=True, kw_only=True):
    """One level of the fabric, from the node outwards."""

    name: str
    topology: str
    devices: Count
    """Joined by one part of the level, the largest."""
    fewest_devices: Count
    """Joined by the smallest part."""
    parts: Count
    most_inside: Count
    """Parts of the next inner level, of the innermost devices, in the part that has the most of them."""
    fewest_inside: Count
    switches: Whole | None
    """In use, in all parts; null where the cluster is too large to be written out."""
    bandwidth_bytes_per_s: Positive
    """One device's share of the way up to the level, one direction."""
    oversubscription: Positive
    """The same of the next inner level of the same network, over this."""
    latency_s: Amount
    network_cards: bool
    """Whether devices reach the level by network cards."""
    shape: list[int]
    """Devices along each axis of a torus; empty for other levels."""
    wrap: list[bool]
    """Which of these axes are closed."""


class NamesPart(Part, frozen=True, kw_only=True):
    """Hosts or switches whose names differ by a number that counts on: by these a fault is told."""

    kind: Literal["node", "switch"]
    first: str
    last: str
    count: Count


class BisectionPart(Part, frozen=True, kw_only=True):
    """What one half of the devices can send to the other, in one direction: whole nodes, of a single node or torus
    devices; the halves that are joined by the least.
    """

    bytes_per_s: Amount
    exact: bool
    """False: the narrowest halves were not found; theirs is at most this."""
    bytes_per_s_per_device: Amount
    """Of each device of the half that sends."""
    share: Share | None
    """Of what those devices' network cards can send, of the network beyond where there are none; null for a single
    node, and where more crosses the middle than that: links of a rack too.
    """


class GroupPart(Part, frozen=True, kw_only=True):
    """What a group of ranks gets while all groups of its kind are at work.

    `bandwidth_bytes_per_s`: one device's, rated, at the slowest level that the group crosses, by all ways out of its
    members. `algorithm_bytes_per_s`: a message's size over the time that the cost model gives it.
    """

    group: GroupKind
    ranks: Count
    stride: Count
    level: str
    """The outermost that the group crosses."""
    collective: Collective
    bandwidth_bytes_per_s: Positive
    message_bytes: Positive
    seconds: Positive
    algorithm_bytes_per_s: Positive


class TopologyDocument(Part, frozen=True, kw_only=True):
    """The whole answer."""

    schema_version: Literal["1.1"]
    cluster: ClusterPart
    levels: list[LevelPart]
    switches: Whole | None
    links: Whole | None
    """Between nodes and switches, those in use; null where the cluster is too large to be written out."""
    names: list[NamesPart]
    """Empty where the cluster is too large to be written out."""
    bisection: BisectionPart
    diameter_hops: Whole
    worst_latency_s: Amount
    """Of one step between the farthest devices."""
    groups: list[GroupPart]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the topology document."""
    return closed_schema(TopologyDocument, f"planner topology document {SCHEMA_VERSION}")
