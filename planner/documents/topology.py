"""The topology document: levels of a cluster, its bisection bandwidth, and the bandwidth of each parallel group.

Field order is output order; `planner schema topology` prints the schema of these types.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import msgspec

from planner.documents.plan import ClusterPart
from planner.documents.schema import (
    Document,
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]
ParallelGroupType = Literal["tp", "scale-up", "ep", "pp", "dp"]
GroupCollective = Literal["all-reduce", "all-to-all", "send"]


class FabricLevelPart(DocumentPart, frozen=True, kw_only=True):
    """One level of the fabric; levels are listed from the node outwards."""

    name: str
    topology: str
    devices: PositiveInt
    """Devices that the largest part of the level connects."""
    fewest_devices: PositiveInt
    """Devices that the smallest part of the level connects."""
    parts: PositiveInt
    """Number of separate parts of the level."""
    most_inside: PositiveInt
    """Parts of the next inner level (devices, for the innermost level) in the part that has most of them."""
    fewest_inside: PositiveInt
    """The same in the part that has fewest of them."""
    switches: NonNegativeInt | None
    """Switches in use, of all parts; null where the cluster is too large to list them."""
    bandwidth_bytes_per_s: PositiveFloat
    """Uplink bandwidth to the level per device, in one direction."""
    oversubscription: PositiveFloat
    """Uplink bandwidth per device to the next inner level of the same network, divided by that to this level."""
    latency_s: NonNegativeFloat
    through_nic: bool = msgspec.field(name="network_cards")
    """Whether devices reach the level through NICs."""
    shape: list[int]
    """Devices along each axis of a torus; empty for other levels."""
    wrap: list[bool]
    """Which of these axes are closed to rings."""


class NameRangePart(DocumentPart, frozen=True, kw_only=True):
    """Hosts or switches with consecutive numbers in their names; `--fault` takes these names."""

    kind: Literal["node", "switch"]
    first: str
    last: str
    count: PositiveInt


class BisectionPart(DocumentPart, frozen=True, kw_only=True):
    """Bisection bandwidth: what one half of the devices can send to the other half, in one direction.

    Halves consist of whole nodes (of devices for a single node or a torus); of all divisions into halves, the one
    with the least bandwidth counts.
    """

    bytes_per_s: NonNegativeFloat
    exact: bool
    """False: the value is an upper bound of the bisection bandwidth."""
    bytes_per_s_per_device: NonNegativeFloat
    """Per device of the sending half."""
    share: UnitFraction | None
    """Fraction of what the NICs of these devices can send (of the outer network where there are no NICs). Null for
    a single node, and where links of a rack carry traffic between the halves as well.
    """


class ParallelGroupPart(DocumentPart, frozen=True, kw_only=True):
    """Bandwidth of one parallel group while all groups of the same type communicate.

    `bandwidth_bytes_per_s`: rated bandwidth per device at the slowest level that the group crosses, over all uplinks
    of its members. `algorithm_bytes_per_s`: size of a message divided by its time in the cost model.
    """

    group: ParallelGroupType
    ranks: PositiveInt
    stride: PositiveInt
    level: str
    """The outermost level that the group crosses."""
    collective: GroupCollective
    bandwidth_bytes_per_s: PositiveFloat
    message_bytes: PositiveFloat
    seconds: PositiveFloat
    algorithm_bytes_per_s: PositiveFloat


class TopologyDocument(Document, frozen=True, kw_only=True):
    """The topology of a cluster."""

    NAME: ClassVar[str] = "topology"

    schema_version: SchemaVersion
    cluster: ClusterPart
    levels: list[FabricLevelPart]
    switches: NonNegativeInt | None
    links: NonNegativeInt | None
    """Links in use between nodes and switches; null where the cluster is too large to list them."""
    names: list[NameRangePart]
    """Names of hosts and switches; empty where the cluster is too large to list them."""
    bisection: BisectionPart
    diameter_hops: NonNegativeInt
    worst_latency_s: NonNegativeFloat
    """Latency of one message between the devices that are farthest apart."""
    groups: list[ParallelGroupPart]
