"""The contents of a cluster file before it is written: every figure known, in SI units."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import ParsedSwitch
from planner.cluster.model.spec import LevelTopology, NodeTopology


@dataclass(frozen=True, slots=True)
class NodeDraft:
    """Devices, links and NICs of a node. Rates: per device and per NIC, one direction."""

    accelerator: str
    devices: int
    topology: NodeTopology
    bandwidth_bytes_per_s: float
    nic_count: int
    nic_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class HostDraft:
    """A host; `node` where it differs from the cluster's, `devices` where it has fewer than its node."""

    name: str
    node: str = ""
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """`link_count` cables of `bandwidth_bytes_per_s` each from a host or switch to a switch."""

    lower: str
    upper: str
    bandwidth_bytes_per_s: float
    link_count: int
    nic_index: int | None
    scale_up: bool


@dataclass(frozen=True, slots=True)
class LevelDraft:
    """A level of a regular fabric. The bandwidth is per device; None: that of its node's NICs."""

    name: str
    topology: LevelTopology
    nodes: int | None
    bandwidth_bytes_per_s: float | None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterDraft:
    """The whole cluster: `nodes` and `levels`, or `hosts`, `switches`, `links` and the `unavailable_hosts` hosts
    among them.
    """

    name: str
    title: str
    node: str | NodeDraft
    nodes: int | None = None
    levels: tuple[LevelDraft, ...] = ()
    hosts: tuple[HostDraft, ...] = ()
    switches: tuple[ParsedSwitch, ...] = ()
    links: tuple[LinkDraft, ...] = ()
    unavailable_hosts: tuple[str, ...] = ()
