"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.cluster import database
from planner.cluster.accelerator import Accelerator, resolve_accelerator
from planner.cluster.figures import number, positive
from planner.cluster.inside import CUBE_MESH_DEVICES, Inside
from planner.cluster.levels import Level, fabric_levels
from planner.cluster.power import rated_overhead, read_pue
from planner.cluster.reliability import Assumption, ReliabilitySpec, StorageSpec, check_reliability
from planner.cluster.spec import MOST_DEVICES, ClusterSpec, FaultSpec, HostSpec, NicSpec, NodeSpec
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.wiring import Wiring


_THROUGH_HOST = 0.1
"""Share of a device's own link that its way through the processors has, where the file tells nothing of the host."""


@dataclass(frozen=True, slots=True)
class Host:
    """One node's processors: memory, its bandwidth, and one device's link to it in one direction."""

    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    link_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Cards:
    """Network cards of one node: how many, and the latency of going through one."""

    count: int
    latency_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A regular cluster before its faults, and all of its cables."""

    cluster: Cluster
    wiring: Wiring


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a run is given: `nodes` nodes of `devices_per_node` accelerators, and the fabric's levels."""

    name: str
    title: str
    accelerator: Accelerator
    nodes: int
    devices_per_node: int
    levels: tuple[Level, ...]
    host: Host | None = None
    """None where the node's file does not say all of it."""
    cards: Cards | None = None
    inside: Inside | None = None
    """How a whole node's devices are joined; None where nothing is known."""
    wiring: Wiring | None = None
    """None for a regular cluster: its levels say all."""
    sound: Sound | None = None
    """Of a regular cluster with faults what it was; None without faults, and where the file tells the wiring."""
    reliability: ReliabilitySpec | None = None
    storage: StorageSpec | None = None
    """What the cluster's file says of failures and checkpoints, if anything."""
    node_overhead_w: float | None = None
    """What a node may draw beside its devices, where its file tells."""
    pue: Assumption | None = None
    """Power usage effectiveness, where it is told."""

    @property
    def devices(self) -> int:
        """All accelerators."""
        return self.nodes * self.devices_per_node


def joined_devices(cluster: Cluster) -> tuple[int, ...]:
    """Ranks that are put below one part of each level: spread evenly over the fewest parts.

    A job of 256 devices on racks of 72 takes 64 of each, so that its groups do not straddle racks. Where the parts of
    a level cannot be alike they take as many whole parts of the level below as they have room for.
    """
    found: list[int] = []
    below = room = 1
    for level in cluster.levels:
        capacity = level.devices or cluster.devices
        even, rest = divmod(cluster.devices, -(-cluster.devices // capacity))
        if capacity >= cluster.devices:
            below = cluster.devices
        elif rest == 0 and even % below == 0:
            below = even
        else:
            below = capacity if below == room else capacity // room * below
        room = capacity
        found.append(below)
    return tuple(found)


def resolve_cluster(
    spec: ClusterSpec,
    origin: str,
    *,
    nodes: int | None = None,
    devices: int | None = None,
    faults: tuple[FaultSpec, ...] = (),
) -> Cluster:
    """The cluster of `spec` with `nodes` nodes, or as many as hold `devices` (the file's count if neither).

    Fewer devices than one node's make a single, partly used node. `faults` are beside the file's own; with any, a
    regular cluster is written out host by host. Raises InputError for figures that make no sense, for both counts at
    once, for more nodes than the cluster can have, and for a fault of a part that it does not have.
    """
    if spec.pools:
        raise InputError("has two kinds of nodes", origin=origin, key="pools", expected="one kind; or ask `plan`")
    if spec.hosts or spec.faults or faults:
        from planner.cluster.irregular import irregular_cluster

        found = irregular_cluster(spec, origin, faults, nodes=nodes, devices=devices)
    else:
        found = regular_cluster(spec, origin, nodes=nodes, devices=devices)
    check_reliability(spec.reliability, spec.storage, origin)
    pue = None if spec.pue is None else read_pue(spec.pue, origin, "pue", "the cluster's file")
    return replace(found, reliability=spec.reliability, storage=spec.storage, pue=pue)


def regular_cluster(
    spec: ClusterSpec, origin: str, *, nodes: int | None = None, devices: int | None = None
) -> Cluster:
    """The cluster that the levels of `spec` tell, without its faults. Raises InputError as `resolve_cluster`."""
    if spec.node is None or spec.nodes is None:
        key = "node" if spec.node is None else "nodes"
        raise InputError("is missing", origin=origin, key=key, expected="which node, and how many")
    node = spec.node if isinstance(spec.node, NodeSpec) else database.node_spec(spec.node, origin=origin)
    count, per_node = _counts(spec, node, nodes, devices)
    part = node_accelerator(node, origin)
    return Cluster(
        name=spec.name,
        title=spec.title or spec.name,
        accelerator=part,
        nodes=count,
        devices_per_node=per_node,
        levels=fabric_levels(spec, node, part.architecture, per_node, count, origin),
        host=node_host(node.host, origin),
        cards=_cards(node.nic, origin),
        inside=node_inside(node, origin),
        node_overhead_w=rated_overhead(node, part, origin),
    )


def node_inside(node: NodeSpec, origin: str) -> Inside:
    """How a node's devices are joined. Raises InputError for what cannot be."""
    link, key = node.link, "node.link"
    if link.topology == "hybrid-cube-mesh" and node.devices != CUBE_MESH_DEVICES:
        expected = f"{CUBE_MESH_DEVICES} devices in a hybrid cube mesh"
        raise InputError("not a cube", origin=origin, key="node.devices", value=node.devices, expected=expected)
    if node.devices % link.bridges or node.devices // link.bridges % link.switch_devices:
        expected = (
            f"a divisor of {node.devices // link.bridges if node.devices % link.bridges == 0 else node.devices}"
        )
        odd = "switch_devices" if node.devices % link.bridges == 0 else "bridges"
        value = getattr(link, odd)
        raise InputError("not the same for all", origin=origin, key=f"{key}.{odd}", value=value, expected=expected)
    own = positive(link.bandwidth, "bytes_per_s", origin=origin, key=f"{key}.bandwidth")
    bridge = own if link.bridge is None else positive(link.bridge, "bytes_per_s", origin=origin, key=f"{key}.bridge")
    host = node_host(node.host, origin)
    through = _THROUGH_HOST if host is None else min(1.0, host.link_bytes_per_s / own)
    return Inside(link.topology, node.devices, link.switch_devices, link.bridges, bridge / own, through)


def _cards(nic: NicSpec | None, origin: str) -> Cards | None:
    return None if nic is None else Cards(nic.count, number(nic.latency, "s", origin=origin, key="node.nic.latency"))


def node_accelerator(node: NodeSpec, origin: str) -> Accelerator:
    """The accelerator of a node. Raises InputError."""
    part = node.accelerator
    if isinstance(part, str):
        part = database.accelerator_spec(part, origin=origin, key="node.accelerator")
    return resolve_accelerator(part, origin)


def node_host(host: HostSpec | None, origin: str) -> Host | None:
    """A node's processors; None where its file does not say all of it. Raises InputError."""
    if host is None or host.bandwidth is None or host.link is None:
        return None
    return Host(
        memory_bytes=positive(host.memory, "bytes", origin=origin, key="node.host.memory"),
        memory_bandwidth_bytes_per_s=positive(
            host.bandwidth, "bytes_per_s", origin=origin, key="node.host.bandwidth"
        ),
        link_bytes_per_s=positive(host.link, "bytes_per_s", origin=origin, key="node.host.link"),
    )


def _counts(spec: ClusterSpec, node: NodeSpec, nodes: int | None, devices: int | None) -> tuple[int, int]:
    """Nodes and devices used on each."""
    if nodes is not None and devices is not None:
        raise InputError("give one of the two", key="--nodes, --devices", expected="either --nodes or --devices")
    for key, value in (("--nodes", nodes), ("--devices", devices)):
        if value is not None and value < 1:
            raise InputError("not a count", key=key, value=value, expected="a whole number of at least 1")
    per_node = node.devices
    if devices is not None:
        if devices < per_node:
            return 1, devices
        if devices % per_node:
            fit = max(1, devices // per_node) * per_node
            raise InputError(
                f"is not a whole number of nodes of {per_node} devices",
                key="--devices",
                value=devices,
                expected=f"a multiple of {per_node}, such as {fit} or {fit + per_node}",
            )
        nodes = devices // per_node
    count = nodes or spec.nodes or 1
    if spec.max_nodes is not None and count > spec.max_nodes:
        raise InputError(
            f"{spec.name} is not built larger",
            key="--nodes",
            value=count,
            expected=f"at most {spec.max_nodes} nodes ({spec.max_nodes * per_node} devices)",
        )
    if count * per_node > MOST_DEVICES:
        raise InputError(
            "more devices than can be planned",
            key="--nodes",
            value=count,
            expected=f"up to {MOST_DEVICES:,} devices",
        )
    return count, per_node
