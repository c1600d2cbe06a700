"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.cluster import database
from planner.cluster.accelerator import Accelerator, resolve_accelerator
from planner.cluster.figures import number, positive
from planner.cluster.inside import CUBE_MESH_DEVICES, Inside
from planner.cluster.power import rated_overhead, read_pue
from planner.cluster.reliability import Assumption, ReliabilitySpec, StorageSpec, check_reliability
from planner.cluster.spec import ClusterSpec, FaultSpec, HostSpec, LevelSpec, NicSpec, NodeSpec
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.wiring import Wiring


_THROUGH_HOST = 0.1
"""Of a device's link, what its way through the processors has where the file does not say."""


@dataclass(frozen=True, slots=True)
class Axes:
    """How a torus is laid out: `shape`, devices along each axis of a whole one (empty: as cubic as `dims` axes can
    be); `wrap`, which axes are closed to rings; `wrap_multiple`: only where their length is a multiple of this.
    """

    dims: int
    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    wrap_multiple: int


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the fabric, from the node (the innermost) outwards.

    `devices` are joined by one group of this level (0: all of the cluster). `bandwidth_bytes_per_s` is one
    device's share of the way up to this level, one direction, oversubscription taken off. `in_network`: its switches
    add up what passes through them.
    """

    name: str
    topology: str
    devices: int
    bandwidth_bytes_per_s: float
    latency_s: float
    axes: Axes | None = None
    """Of a torus."""
    through_nic: bool = False
    in_network: bool = False


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

    A job of 256 devices on racks of 72 takes 64 of each, so that its groups do not straddle racks.
    """
    found: list[int] = []
    below = 1
    for level in cluster.levels:
        capacity = level.devices or cluster.devices
        even, rest = divmod(cluster.devices, -(-cluster.devices // capacity))
        below = even if rest == 0 and even % below == 0 else min(capacity, cluster.devices)
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
        levels=_levels(spec, node, part.architecture, per_node, count, origin),
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
    if count * per_node > 16_777_216:
        raise InputError(
            "more devices than can be planned",
            key="--nodes",
            value=count,
            expected="up to 16,777,216 devices",
        )
    return count, per_node


def switches_add(told: bool | None, topology: str, architecture: str) -> bool:
    """Whether a level's switches add: NVSwitches of the third generation on do, those of Hopper (NVLink SHARP)."""
    return topology == "nvswitch" and architecture.startswith(("hopper", "blackwell")) if told is None else told


def _levels(
    spec: ClusterSpec, node: NodeSpec, architecture: str, per_node: int, nodes: int, origin: str
) -> tuple[Level, ...]:
    """The node's own link, then the fabric; the last one joins all."""
    link = node.link
    bandwidth = positive(link.bandwidth, "bytes_per_s", origin=origin, key="node.link.bandwidth")
    latency = number(link.latency, "s", origin=origin, key="node.link.latency")
    # a torus goes on beyond the node: its axes are those of the fabric's first level
    axes = None
    if link.topology == "torus" and spec.fabric and spec.fabric[0].topology == "torus":
        axes = _axes(spec.fabric[0], node.devices, origin, "fabric[0]")
    elif link.topology == "torus" and link.shape:
        axes = _shaped(link.shape, True, 0, node.devices, origin, "node.link")
    adds = switches_add(link.in_network, link.topology, architecture)
    levels = [Level("node", link.topology, per_node, bandwidth, latency, axes, in_network=adds)]
    if nodes == 1:
        return tuple(levels)
    outside = nic_share = 0.0
    nic_latency = 0.0
    if node.nic is not None:
        each = positive(node.nic.bandwidth, "bytes_per_s", origin=origin, key="node.nic.bandwidth")
        outside = nic_share = each * node.nic.count / node.devices
        nic_latency = number(node.nic.latency, "s", origin=origin, key="node.nic.latency")
    fabric = spec.fabric or (LevelSpec(name="fabric", latency=0.0),)
    for index, level in enumerate(fabric):
        key = f"fabric[{index}]"
        extra = number(level.latency, "s", origin=origin, key=f"{key}.latency")
        if level.bandwidth is not None:
            share = positive(level.bandwidth, "bytes_per_s", origin=origin, key=f"{key}.bandwidth")
            share /= level.oversubscription
            step = latency + extra
        else:
            if not nic_share:
                raise InputError(
                    "the nodes have no way out",
                    origin=origin,
                    key="node.nic",
                    expected="a [node.nic] table, or a bandwidth on every fabric level",
                )
            outside /= level.oversubscription
            nic_latency += extra
            share, step = outside, nic_latency
        joined = level.nodes * per_node if level.nodes and index < len(fabric) - 1 else 0
        if joined and joined <= levels[-1].devices:
            expected = f"more than the level below ({levels[-1].devices // per_node})"
            raise InputError("joins nothing", origin=origin, key=f"{key}.nodes", value=level.nodes, expected=expected)
        through_nic = level.bandwidth is None
        axes = _axes(level, node.devices, origin, key)
        if axes is not None and axes.shape and not joined and nodes * per_node > math.prod(axes.shape):
            expected = f"at most {math.prod(axes.shape) // per_node} nodes, or a level that joins several"
            raise InputError(
                "more than the torus has", origin=origin, key=f"{key}.shape", value=nodes, expected=expected
            )
        inside = any(one.through_nic for one in levels)
        if level.topology == "dragonfly+" and not (inside and through_nic and index == len(fabric) - 1):
            expected = "the last level, above one whose nodes are a group"
            raise InputError(
                "out of place", origin=origin, key=f"{key}.topology", value="dragonfly+", expected=expected
            )
        adds = switches_add(level.in_network, "" if through_nic else level.topology, architecture)
        levels.append(Level(level.name, level.topology, joined, share, step, axes, through_nic, adds))
        if joined == 0 or joined >= nodes * per_node:
            break
    return tuple(levels)


def _axes(level: LevelSpec, per_node: int, origin: str, key: str) -> Axes | None:
    """A torus's axes; None for other levels. Raises InputError where shape and number of nodes do not agree."""
    if level.topology != "torus":
        return None
    if level.shape is None:
        return Axes(level.dims, (), _each(level.wrap, level.dims, origin, key), level.wrap_multiple)
    devices = (level.nodes or math.prod(level.shape) // per_node) * per_node
    return _shaped(level.shape, level.wrap, level.wrap_multiple, devices, origin, key)


def _shaped(
    shape: tuple[int, ...], wrap: bool | tuple[bool, ...], multiple: int, devices: int, origin: str, key: str
) -> Axes:
    """Axes of a torus whose shape is told, of so many devices. Raises InputError where the two do not agree."""
    if math.prod(shape) != devices:
        expected = f"axes whose product is {devices}"
        value = " x ".join(map(str, shape))
        raise InputError("not its devices", origin=origin, key=f"{key}.shape", value=value, expected=expected)
    return Axes(len(shape), shape, _each(wrap, len(shape), origin, key), multiple)


def _each(wrap: bool | tuple[bool, ...], dims: int, origin: str, key: str) -> tuple[bool, ...]:
    """Whether each axis is closed."""
    each = wrap if isinstance(wrap, tuple) else (wrap,) * dims
    if len(each) != dims:
        expected = f"true or false, or one of them for each of {dims} axes"
        raise InputError(
            "not one for each axis", origin=origin, key=f"{key}.wrap", value=list(each), expected=expected
        )
    return each
