"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cluster import database
from planner.cluster.accelerator import Accelerator, resolve_accelerator
from planner.cluster.figures import number, positive
from planner.cluster.spec import ClusterSpec, HostSpec, LevelSpec, NodeSpec
from planner.errors import InputError


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
    dims: int = 0
    through_nic: bool = False
    in_network: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """One node's processors: memory, its bandwidth, and one device's link to it in one direction."""

    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    link_bytes_per_s: float


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

    @property
    def devices(self) -> int:
        """All accelerators."""
        return self.nodes * self.devices_per_node


def resolve_cluster(
    spec: ClusterSpec, origin: str, *, nodes: int | None = None, devices: int | None = None
) -> Cluster:
    """The cluster of `spec` with `nodes` nodes, or as many as hold `devices` (the file's count if neither).

    Fewer devices than one node's make a single, partly used node. Raises InputError for figures that make
    no sense, for both counts at once, and for more nodes than the cluster can have.
    """
    if spec.node is None or spec.nodes is None:
        key = "node" if spec.node is None else "nodes"
        raise InputError("is missing", origin=origin, key=key, expected="which node, and how many")
    node = spec.node if isinstance(spec.node, NodeSpec) else database.node_spec(spec.node, origin=origin)
    accelerator = node.accelerator
    if isinstance(accelerator, str):
        accelerator = database.accelerator_spec(accelerator, origin=origin, key="node.accelerator")
    count, per_node = _counts(spec, node, nodes, devices)
    return Cluster(
        name=spec.name,
        title=spec.title or spec.name,
        accelerator=resolve_accelerator(accelerator, origin),
        nodes=count,
        devices_per_node=per_node,
        levels=_levels(spec, node, accelerator.architecture, per_node, count, origin),
        host=_host(node.host, origin),
    )


def _host(host: HostSpec | None, origin: str) -> Host | None:
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


def _adds(told: bool | None, topology: str, architecture: str) -> bool:
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
    dims = spec.fabric[0].dims if spec.fabric and link.topology == spec.fabric[0].topology == "torus" else 0
    adds = _adds(link.in_network, link.topology, architecture)
    levels = [Level("node", link.topology, per_node, bandwidth, latency, dims, in_network=adds)]
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
        dims = level.dims if level.topology == "torus" else 0
        adds = _adds(level.in_network, "" if through_nic else level.topology, architecture)
        levels.append(Level(level.name, level.topology, joined, share, step, dims, through_nic, adds))
        if joined == 0 or joined >= nodes * per_node:
            break
    return tuple(levels)
