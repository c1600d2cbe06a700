"""A cluster's description in a file (TOML or YAML), validated; a preset is such a file.

Bandwidths, latencies, sizes and powers are texts with a unit (`"300GB/s"`, `"3us"`); a plain number is taken only
in a table that names its source, and is in SI then. See `planner.cluster.figures`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.cluster.accelerator import AcceleratorSpec
from planner.cluster.figures import Figure, Source, check_figures
from planner.decode import Format, decode

Count = Annotated[int, msgspec.Meta(ge=1, le=16_777_216)]
NodeTopology = Literal["nvswitch", "fully-connected", "hybrid-cube-mesh", "torus", "pcie"]
LevelTopology = Literal["rail", "fat-tree", "nvswitch", "torus"]


class NodeLinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What joins the devices of one node: bandwidth per device, one direction, and latency of a hop."""

    topology: NodeTopology = "nvswitch"
    bandwidth: Figure
    latency: Figure = "3us"


class NicSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Network cards of one node: how many, each one's bandwidth in one direction."""

    count: Count
    bandwidth: Figure
    latency: Figure = "6us"


class NodePowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Electrical power of a whole node."""

    max: Figure


class HostSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The node's processors: their memory, its bandwidth, and one device's link to it in one direction."""

    memory: Figure
    bandwidth: Figure | None = None
    link: Figure | None = None


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node: a file in hardware_db/nodes, or the [node] table of a cluster file."""

    name: str = "node"
    title: str = ""
    accelerator: str | AcceleratorSpec
    devices: Count
    link: NodeLinkSpec
    nic: NicSpec | None = None
    power: NodePowerSpec | None = None
    host: HostSpec | None = None
    sources: dict[str, Source] = {}


class LevelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One level of the fabric: `nodes` joined by one group of switches; None joins all."""

    name: str
    topology: LevelTopology = "fat-tree"
    nodes: Count | None = None
    oversubscription: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 1.0
    latency: Figure = "1us"
    bandwidth: Figure | None = None
    """Per device, one direction; for a level that does not go through the node's network cards."""
    dims: Annotated[int, msgspec.Meta(ge=1, le=6)] = 3
    """Axes of a torus."""


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cluster: which node, how many, and the fabric from the node outwards."""

    name: str
    title: str = ""
    node: str | NodeSpec
    nodes: Count
    max_nodes: Count | None = None
    pue: Figure | None = None
    fabric: tuple[LevelSpec, ...] = ()
    sources: dict[str, Source] = {}


def parse_cluster(text: str, file_format: Format, origin: str) -> ClusterSpec:
    """Read one cluster description. Raises InputError naming origin, key and what was expected."""
    spec = decode(text, file_format, ClusterSpec, origin)
    check_figures(spec, origin)
    return spec
