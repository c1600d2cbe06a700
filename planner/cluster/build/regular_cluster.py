"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cluster.build.power import rated_overhead
from planner.cluster.model import presets
from planner.cluster.model.intra_node import CUBE_MESH_DEVICES, Inside
from planner.cluster.model.spec import MOST_DEVICES, ClusterSpec, HostSpec, NicSpec, NodeSpec
from planner.cluster.regular.levels import fabric_levels
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import Accelerator, resolve_accelerator
from planner.hardware.figures import number, positive

if TYPE_CHECKING:
    pass
from planner.cluster.model.cluster import Cards, Cluster, Host

_THROUGH_HOST = 0.1
"""Share of a device's own link that its way through the processors has, where the file tells nothing of the host."""


def regular_cluster(
    spec: ClusterSpec, origin: str, *, nodes: int | None = None, devices: int | None = None
) -> Cluster:
    """The cluster that the levels of `spec` tell, without its faults. Raises InputError as `resolve_cluster`."""
    if spec.node is None or spec.nodes is None:
        key = "node" if spec.node is None else "nodes"
        raise InputError("is missing", origin=origin, key=key, expected="which node, and how many")
    node = spec.node if isinstance(spec.node, NodeSpec) else presets.node_spec(spec.node, origin=origin)
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
