"""A cluster's description in a file (TOML or YAML), validated; a preset is such a file.

Bandwidths, latencies, sizes and powers are texts with a unit (`"300GB/s"`, `"3us"`); a plain number is taken only
in a table that names its source, and is in SI then. See `planner.hardware.figures`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.decode import FileFormat, decode_text
from planner.hardware.accelerator import AcceleratorSpec
from planner.hardware.figures import Figure, FigureSource, check_figures

MAX_CLUSTER_DEVICES = 16_777_216
"""Larger clusters are not planned."""
BoundedCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_CLUSTER_DEVICES)]
NodeTopology = Literal["nvswitch", "fully-connected", "hybrid-cube-mesh", "torus", "pcie"]
TorusShape = Annotated[tuple[BoundedCount, ...], msgspec.Meta(max_length=6)]
"""Devices along each axis of a torus."""
LevelSpecs = Annotated[tuple["LevelSpec", ...], msgspec.Meta(max_length=32)]
PoolSpecs = Annotated[tuple["PoolSpec", ...], msgspec.Meta(max_length=100)]
FailedPartSpecs = Annotated[tuple["FailedPartSpec", ...], msgspec.Meta(max_length=10_000)]
FigureSources = Annotated[dict[str, FigureSource], msgspec.Meta(max_length=1000)]
MAX_SPARES = 50_000
"""No more are looked at."""
SpareCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPARES)]
LevelTopology = Literal["rail", "fat-tree", "dragonfly+", "nvswitch", "torus"]


class NodeLinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What joins the devices of one node: bandwidth per device, one direction, and latency of a hop."""

    topology: NodeTopology = "nvswitch"
    bandwidth: Figure
    latency: Figure = "3us"
    in_network: bool | None = None
    """Whether the switch reduces in the network; None: as NVSwitches of the accelerator's generation do."""
    shape: TorusShape | None = None
    """Devices along each axis of a torus that ends with the node."""
    switch_devices: BoundedCount = 1
    """Of a PCIe node: devices that share the uplink from one PCIe switch; 1: each has its own."""
    bridges: BoundedCount = 1
    """Of a PCIe node: host bridges (processors)."""
    bridge: Figure | None = None
    """Of a PCIe node: bandwidth between two host bridges, one direction; as one device's where it is not given."""


class NicSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """NICs of one node: how many, each one's bandwidth in one direction."""

    count: BoundedCount
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
    cores: Figure | None = None
    """Of all processors, for the loaders of the input."""
    storage: Figure | None = None
    """What the node reads from storage, bytes/s."""


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node: a file in hardware_db/nodes, or the [node] table of a cluster file."""

    name: str = "node"
    title: str = ""
    accelerator: str | AcceleratorSpec
    """A name of hardware_db/accelerators, or its own keys."""
    devices: BoundedCount
    """Accelerators of one node."""
    link: NodeLinkSpec
    nic: NicSpec | None = None
    """Needed where a level of the fabric has no bandwidth of its own."""
    power: NodePowerSpec | None = None
    host: HostSpec | None = None
    """Needed for offload."""
    sources: FigureSources = {}

    @property
    def accelerator_name(self) -> str:
        """The accelerator's name in hardware_db or in the file."""
        return self.accelerator if isinstance(self.accelerator, str) else self.accelerator.name


class LevelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One level of the fabric: `nodes` joined by one group of switches.

    A `dragonfly+` joins the groups of the level inside it, each directly with each other one; `oversubscription` is
    then what the links between groups lack.
    """

    name: str
    topology: LevelTopology = "fat-tree"
    nodes: BoundedCount | None = None
    """Left out, it joins all: the last level does in any case."""
    oversubscription: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 1.0
    """What comes from below for what goes on upwards."""
    latency: Figure = "1us"
    """Added to a step by crossing it."""
    bandwidth: Figure | None = None
    """Per device, one direction; for a level that does not go through the node's NICs."""
    dims: Annotated[int, msgspec.Meta(ge=1, le=6)] = 3
    """Axes of a torus, where its shape is not given."""
    shape: TorusShape | None = None
    """Devices along each axis of a whole torus. Fewer get the most cubic part of it."""
    wrap: bool | tuple[bool, ...] = True
    """Whether a torus's axes are closed to rings: all, or each."""
    wrap_multiple: Annotated[int, msgspec.Meta(ge=0)] = 0
    """An axis is closed only where its length is a multiple of this, as TPU slices are; 0: whatever its length."""
    in_network: bool | None = None
    """Whether its switches reduce in the network (SHARP). None: where it is of NVSwitches, as those of the
    accelerator's generation do; of others, no."""


class WiredHostSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hosts of a cluster described link by link. `name` may stand for several: `a[01-16]`."""

    name: str
    node: str | None = None
    """A preset; None: the cluster's own."""
    devices: BoundedCount | None = None
    """Fewer than the node's where some are lost."""


class WiredSwitchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Switches of such a cluster. `name` may stand for several: `leaf[1-4]`."""

    name: str
    latency: Figure = "0.5us"
    """Of crossing one."""
    in_network: bool = False
    """Whether it reduces in the network (SHARP, NVLS)."""


class WiredLinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Links between two hosts or switches: every name of the one end with every name of the other.

    A host's NIC is named by its number: `a01:3`. `bandwidth` is that of one of the parallel links (`cables`), in one
    direction.
    """

    ends: tuple[str, str]
    bandwidth: Figure
    link_count: BoundedCount = msgspec.field(default=1, name="cables")
    kind: Literal["network", "scale-up"] = "network"


class FailedPartSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A failed or slow part: a host (`a03`), its NIC (`a03:2`), or a link (`a03 - leaf1`)."""

    part: str
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """Share of its bandwidth that is left; 0: it is gone."""


class PoolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Equal nodes of a cluster that has several kinds of them."""

    node: str | NodeSpec
    nodes: BoundedCount


class ReliabilitySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mean times between failures, and what a failure costs besides lost work."""

    device_mtbf: Figure | None = None
    """Of one device."""
    node_mtbf: Figure | None = None
    """Of one node without its devices: host, NICs, links, power."""
    software_mtbf: Figure | None = None
    """Of what no part is replaced for, by the node: bugs, timeouts."""
    detection: Figure | None = None
    restart: Figure | None = None
    """From what was detected to the reading of the checkpoint."""
    repair: Figure | None = None
    """Of a node, until it is a spare again."""
    spares: SpareCount | None = None
    """Nodes in addition to those that the plan runs on."""


class StorageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where checkpoints go: bandwidth of the whole storage, as the job gets it."""

    write: Figure | None = None
    read: Figure | None = None
    pause: Figure | None = None
    """What every checkpoint blocks training for besides the copy: planning, serialising, synchronisation."""
    asynchronous: bool = False
    """Training goes on once the state is in the hosts' memory."""


class NodeStorageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What hardware_db knows of storage: shares of one node."""

    write_per_node: Figure | None = None
    read_per_node: Figure | None = None
    pause: Figure | None = None


class ReliabilityFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/reliability: the default's is complete, an architecture's has what differs."""

    title: str
    failures: ReliabilitySpec = ReliabilitySpec()
    checkpoints: NodeStorageSpec = NodeStorageSpec()
    sources: dict[str, FigureSource] = {}


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cluster: which node, how many, and the fabric from the node outwards.

    `hosts`, `switches` and `links` describe a wired cluster, in place of `nodes` and `fabric`; `faults` belong to
    either. `pools` describe a heterogeneous cluster, in place of `node` and `nodes`.
    """

    name: str
    title: str = ""
    node: str | NodeSpec | None = None
    """A name of hardware_db/nodes, or its own keys."""
    nodes: BoundedCount | None = None
    """How many are used where neither `--nodes` nor `--devices` is given."""
    max_nodes: BoundedCount | None = None
    """More are refused."""
    reference: bool = False
    """Whether measured runs on its accelerator, or one like it, are taken to be on it (`planner validate`)."""
    pue: Figure | None = None
    """What the whole site draws for what its computers draw."""
    fabric: LevelSpecs = ()
    """From the node outwards."""
    hosts: tuple[WiredHostSpec, ...] = ()
    switches: tuple[WiredSwitchSpec, ...] = ()
    links: tuple[WiredLinkSpec, ...] = ()
    failed_parts: FailedPartSpecs = msgspec.field(default=(), name="faults")
    pools: PoolSpecs = ()
    reliability: ReliabilitySpec | None = None
    storage: StorageSpec | None = None
    sources: FigureSources = {}


def parse_cluster_spec(text: str, file_format: FileFormat, origin: str) -> ClusterSpec:
    """Read one cluster description. Raises InputError naming origin, key and what was expected."""
    spec = decode_text(text, file_format, ClusterSpec, origin)
    check_figures(spec, origin)
    return spec
