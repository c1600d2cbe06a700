"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cluster.build.power import compute_rated_overhead_w
from planner.cluster.model import presets
from planner.cluster.model.intra_node import CUBE_MESH_DEVICES, IntraNodeTopology
from planner.cluster.model.spec import MAX_CLUSTER_DEVICES, ClusterSpec, HostSpec, NicSpec, NodeSpec
from planner.cluster.regular.levels import build_fabric_levels
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import Accelerator, resolve_accelerator
from planner.hardware.figures import parse_figure, parse_positive_figure

if TYPE_CHECKING:
    pass
from planner.cluster.model.cluster import Host, Nics, RegularCluster

_DEFAULT_HOST_SHARE = 0.1
"""Share of a device's own link that its way through the processors has, where the file has no host."""


def resolve_regular_cluster(
    spec: ClusterSpec, origin: str, *, nodes: int | None = None, devices: int | None = None
) -> RegularCluster:
    """The cluster of the levels of `spec`, without failed parts. Raises InputError as `resolve_cluster`."""
    if spec.node is None or spec.nodes is None:
        key = "node" if spec.node is None else "nodes"
        raise InputError("is missing", origin=origin, key=key, expected="which node, and how many")
    node = spec.node if isinstance(spec.node, NodeSpec) else presets.load_node_spec(spec.node, origin=origin)
    count, per_node = _resolve_counts(spec, node, nodes, devices)
    accelerator = resolve_node_accelerator(node, origin)
    return RegularCluster(
        name=spec.name,
        title=spec.title or spec.name,
        accelerator=accelerator,
        nodes=count,
        devices_per_node=per_node,
        levels=build_fabric_levels(spec, node, accelerator.architecture, per_node, count, origin),
        host=resolve_node_host(node.host, origin),
        nics=_resolve_nics(node.nic, origin),
        intra_node=resolve_intra_node(node, origin),
        node_overhead_w=compute_rated_overhead_w(node, accelerator, origin),
    )


def resolve_intra_node(node: NodeSpec, origin: str) -> IntraNodeTopology:
    """How a node's devices are joined. Raises InputError for what cannot be."""
    link, key = node.link, "node.link"
    if link.topology == "hybrid-cube-mesh" and node.devices != CUBE_MESH_DEVICES:
        expected = f"{CUBE_MESH_DEVICES} devices in a hybrid cube mesh"
        raise InputError(
            "wrong number of devices", origin=origin, key="node.devices", value=node.devices, expected=expected
        )
    if node.devices % link.bridges or node.devices // link.bridges % link.switch_devices:
        expected = (
            f"a divisor of {node.devices // link.bridges if node.devices % link.bridges == 0 else node.devices}"
        )
        invalid_key = "switch_devices" if node.devices % link.bridges == 0 else "bridges"
        value = getattr(link, invalid_key)
        raise InputError(
            "not the same for all", origin=origin, key=f"{key}.{invalid_key}", value=value, expected=expected
        )
    device_bytes_per_s = parse_positive_figure(link.bandwidth, "bytes_per_s", origin=origin, key=f"{key}.bandwidth")
    bridge_bytes_per_s = (
        device_bytes_per_s
        if link.bridge is None
        else parse_positive_figure(link.bridge, "bytes_per_s", origin=origin, key=f"{key}.bridge")
    )
    host = resolve_node_host(node.host, origin)
    host_share = _DEFAULT_HOST_SHARE if host is None else min(1.0, host.link_bytes_per_s / device_bytes_per_s)
    return IntraNodeTopology(
        link.topology,
        node.devices,
        link.switch_devices,
        link.bridges,
        bridge_bytes_per_s / device_bytes_per_s,
        host_share,
    )


def _resolve_nics(nic: NicSpec | None, origin: str) -> Nics | None:
    return (
        None
        if nic is None
        else Nics(nic.count, parse_figure(nic.latency, "s", origin=origin, key="node.nic.latency"))
    )


def resolve_node_accelerator(node: NodeSpec, origin: str) -> Accelerator:
    """The accelerator of a node. Raises InputError."""
    accelerator = node.accelerator
    if isinstance(accelerator, str):
        accelerator = database.load_accelerator_spec(accelerator, origin=origin, key="node.accelerator")
    return resolve_accelerator(accelerator, origin)


def resolve_node_host(host: HostSpec | None, origin: str) -> Host | None:
    """A node's processors; None where its file does not say all of it. Raises InputError."""
    if host is None or host.bandwidth is None or host.link is None:
        return None
    return Host(
        memory_bytes=parse_positive_figure(host.memory, "bytes", origin=origin, key="node.host.memory"),
        memory_bandwidth_bytes_per_s=parse_positive_figure(
            host.bandwidth, "bytes_per_s", origin=origin, key="node.host.bandwidth"
        ),
        link_bytes_per_s=parse_positive_figure(host.link, "bytes_per_s", origin=origin, key="node.host.link"),
    )


def _resolve_counts(spec: ClusterSpec, node: NodeSpec, nodes: int | None, devices: int | None) -> tuple[int, int]:
    """Nodes and devices used on each."""
    if nodes is not None and devices is not None:
        raise InputError("conflicting options", key="--nodes, --devices", expected="either --nodes or --devices")
    for key, value in (("--nodes", nodes), ("--devices", devices)):
        if value is not None and value < 1:
            raise InputError("not a count", key=key, value=value, expected="a whole number of at least 1")
    per_node = node.devices
    if devices is not None:
        if devices < per_node:
            return 1, devices
        if devices % per_node:
            fitting_devices = max(1, devices // per_node) * per_node
            raise InputError(
                f"is not a whole number of nodes of {per_node} devices",
                key="--devices",
                value=devices,
                expected=f"a multiple of {per_node}, such as {fitting_devices} or {fitting_devices + per_node}",
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
    if count * per_node > MAX_CLUSTER_DEVICES:
        raise InputError(
            "more devices than can be planned",
            key="--nodes",
            value=count,
            expected=f"up to {MAX_CLUSTER_DEVICES:,} devices",
        )
    return count, per_node
