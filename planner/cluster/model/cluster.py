"""A cluster in SI numbers: a number of equal nodes, and the levels of its fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.cluster.model.intra_node import IntraNodeTopology
from planner.cluster.model.spec import ReliabilitySpec, StorageSpec
from planner.hardware.accelerator import Accelerator
from planner.hardware.figures import Assumption

if TYPE_CHECKING:
    from planner.cluster.model.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Host:
    """One node's processors: memory, its bandwidth, and one device's link to it in one direction."""

    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    link_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Nics:
    """NICs of one node: how many, and the latency of going through one."""

    count: int
    latency_s: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """`nodes` nodes of `devices_per_node` accelerators, and the levels of their fabric: what every cluster has."""

    name: str
    title: str
    accelerator: Accelerator
    nodes: int
    devices_per_node: int
    levels: tuple[FabricLevel, ...]
    host: Host | None = None
    """None where the node's file lacks one of its figures."""
    nics: Nics | None = None
    intra_node: IntraNodeTopology | None = None
    """How a whole node's devices are joined; None where nothing is known."""
    reliability: ReliabilitySpec | None = None
    storage: StorageSpec | None = None
    """What the cluster's file states on failures and checkpoints."""
    node_overhead_w: float | None = None
    """Watts that a node may draw besides its devices; None where its file has no power."""
    pue: Assumption | None = None
    """Power usage effectiveness, where it is given."""
    host_cores: float | None = None
    """Cores of one node's processors; None where its file has none."""
    node_storage_bytes_per_s: float | None = None
    """What one node reads from storage; None where its file does not say."""

    @property
    def devices(self) -> int:
        """All accelerators."""
        return self.nodes * self.devices_per_node

    @property
    def listed_hosts(self) -> tuple[str, ...]:
        """Names of the hosts that ranks can be placed on; empty where all hosts are alike."""
        return ()

    @property
    def is_regular(self) -> bool:
        """Whether its levels lay out its groups and name its switches, as of a degraded cluster those of the healthy
        one do.
        """
        return True

    @property
    def has_failed_parts(self) -> bool:
        """Whether a regular cluster lacks some of its hosts or links."""
        return False

    @property
    def layout(self) -> Cluster:
        """The cluster whose levels lay out groups, tori and nodes."""
        return self


@dataclass(frozen=True, slots=True)
class RegularCluster(Cluster):
    """A healthy cluster of equal parts: its levels describe all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredCluster(Cluster):
    """A cluster described link by link; its levels summarise the links."""

    wiring: Wiring

    @property
    def listed_hosts(self) -> tuple[str, ...]:
        """Names of all hosts."""
        return self.wiring.hosts

    @property
    def is_regular(self) -> bool:
        """Its links lay out its groups."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedCluster(WiredCluster):
    """A regular cluster with failed parts: the healthy one, all links of that, and the links that are left."""

    healthy: RegularCluster
    healthy_wiring: Wiring

    @property
    def is_regular(self) -> bool:
        """Its groups are those of the healthy cluster."""
        return True

    @property
    def has_failed_parts(self) -> bool:
        """Some hosts or links of the healthy cluster are gone."""
        return True

    @property
    def layout(self) -> Cluster:
        """The healthy cluster with the bandwidths that are left; of a single node the node itself."""
        return self if self.nodes == 1 else replace(self.healthy, levels=self.levels)


def compute_group_devices(cluster: Cluster) -> tuple[int, ...]:
    """Ranks that are put below one part of each level: spread evenly over the fewest parts.

    A job of 256 devices on racks of 72 takes 64 of each, so that its groups do not straddle racks. Where the parts of
    a level cannot be alike they take as many whole parts of the level below as they have room for.
    """
    device_counts: list[int] = []
    group_devices = room = 1
    for level in cluster.levels:
        capacity = level.devices or cluster.devices
        even_devices, remainder = divmod(cluster.devices, -(-cluster.devices // capacity))
        if capacity >= cluster.devices:
            group_devices = cluster.devices
        elif remainder == 0 and even_devices % group_devices == 0:
            group_devices = even_devices
        else:
            group_devices = capacity if group_devices == room else capacity // room * group_devices
        room = capacity
        device_counts.append(group_devices)
    return tuple(device_counts)


@dataclass(frozen=True, slots=True)
class TorusAxes:
    """How a torus is laid out: `shape`, devices along each axis of a whole one (empty: as cubic as `dims` axes can
    be); `wrap`, which axes are closed to rings; `wrap_multiple`: only where their length is a multiple of this.
    """

    dims: int
    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    wrap_multiple: int


@dataclass(frozen=True, slots=True)
class FabricLevel:
    """One level of the fabric, from the node (the innermost) outwards.

    `devices` are joined by one group of this level (0: all of the cluster). `bandwidth_bytes_per_s` is one
    device's share of the uplink to this level, one direction, oversubscription taken off. `in_network`: whether its
    switches reduce in the network.
    """

    name: str
    topology: str
    devices: int
    bandwidth_bytes_per_s: float
    latency_s: float
    axes: TorusAxes | None = None
    """Of a torus."""
    through_nic: bool = False
    in_network: bool = False

    @property
    def is_rack(self) -> bool:
        """Whether it joins the devices of several hosts as if they were one host's."""
        return self.name != "node" and self.topology == "nvswitch" and not self.through_nic
