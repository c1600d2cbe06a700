"""A regular cluster in SI numbers, from its description: nodes, devices, levels of the fabric."""

from __future__ import annotations

import msgspec

from planner.cluster.build.power import compute_rated_overhead_w
from planner.cluster.model import presets
from planner.cluster.model.cluster import Host, Nics, RegularCluster
from planner.cluster.model.intra_node import CUBE_MESH_DEVICES, IntraNodeTopology
from planner.cluster.model.spec import MAX_CLUSTER_DEVICES, ClusterSpec, HostSpec, NicSpec, NodePowerSpec, NodeSpec
from planner.cluster.regular.levels import build_fabric_levels
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import Accelerator, resolve_accelerator
from planner.hardware.figures import parse_figure, parse_positive_figure

_DEFAULT_HOST_SHARE = 0.1
"""Share of a device's own link that its path through the processors has, where the file has no host."""


def resolve_regular_cluster(
    spec: ClusterSpec, *, nodes: int | None = None, devices: int | None = None
) -> RegularCluster:
    """The cluster of the levels of `spec`, without failed parts. Raises InputError as `resolve_cluster`."""
    if spec.node is None or spec.nodes is None:
        key = "node" if spec.node is None else "nodes"
        raise InputError("is missing", key=key, expected="which node, and how many")
    node = resolve_node_spec(spec.node)
    count, per_node = _resolve_counts(spec, node, nodes, devices)
    accelerator = resolve_node_accelerator(node)
    return RegularCluster(
        name=spec.name,
        title=spec.title or spec.name,
        accelerator=accelerator,
        nodes=count,
        devices_per_node=per_node,
        levels=build_fabric_levels(spec, node, accelerator.architecture, per_node, count),
        host=resolve_node_host(node.host),
        nics=None if node.nic is None else _resolve_nics(node.nic),
        intra_node=resolve_intra_node(node),
        node_overhead_w=compute_rated_overhead_w(node, accelerator),
    )


def resolve_node_spec(node: str | NodeSpec, key: str = "node") -> NodeSpec:
    """The node's own keys, or the file of hardware_db that it names. Raises InputError with the nearest name."""
    return node if isinstance(node, NodeSpec) else presets.load_node_spec(node, key=key)


def resolve_intra_node(node: NodeSpec) -> IntraNodeTopology:
    """How a node's devices are joined. Raises InputError for what cannot be."""
    link, key = node.link, "node.link"
    if link.topology == "hybrid-cube-mesh" and node.devices != CUBE_MESH_DEVICES:
        expected = f"{CUBE_MESH_DEVICES} devices in a hybrid cube mesh"
        raise InputError("wrong number of devices", key="node.devices", value=node.devices, expected=expected)
    bridge_devices = node.devices // link.bridges
    for part, count, devices in (
        ("bridges", link.bridges, node.devices),
        ("switch_devices", link.switch_devices, bridge_devices),
    ):
        if devices % count:
            expected = f"a divisor of {devices}"
            raise InputError("not the same for all", key=f"{key}.{part}", value=count, expected=expected)
    device_bytes_per_s = parse_positive_figure(link.bandwidth, "bytes_per_s", key=f"{key}.bandwidth")
    bridge = link.bandwidth if link.bridge is None else link.bridge
    bridge_bytes_per_s = parse_positive_figure(bridge, "bytes_per_s", key=f"{key}.bridge")
    host = resolve_node_host(node.host)
    host_share = _DEFAULT_HOST_SHARE if host is None else min(1.0, host.link_bytes_per_s / device_bytes_per_s)
    bridge_share = bridge_bytes_per_s / device_bytes_per_s
    return IntraNodeTopology(link.topology, node.devices, link.switch_devices, link.bridges, bridge_share, host_share)


def _resolve_nics(nic: NicSpec) -> Nics:
    return Nics(nic.count, parse_figure(nic.latency, "s", key="node.nic.latency"))


def resolve_node_accelerator(node: NodeSpec) -> Accelerator:
    """The accelerator of a node. Raises InputError."""
    accelerator = node.accelerator
    if isinstance(accelerator, str):
        accelerator = database.load_accelerator_spec(accelerator, key="node.accelerator")
    return resolve_accelerator(accelerator)


def exchange_accelerator(node: NodeSpec, name: str) -> NodeSpec:
    """The node with other accelerators of hardware_db: it may draw more or less by what they do, and as before where
    that is not known. Raises InputError with the nearest name.
    """
    exchanged = msgspec.structs.replace(
        node, accelerator=database.load_accelerator_spec(name, key="accelerator"), power=None
    )
    old_w, new_w = resolve_node_accelerator(node).tdp_w, resolve_node_accelerator(exchanged).tdp_w
    if node.power is None or old_w is None or new_w is None:
        return exchanged
    max_w = parse_figure(node.power.max, "w", key="node.power.max") + node.devices * (new_w - old_w)
    return msgspec.structs.replace(exchanged, power=NodePowerSpec(max=max_w))


def resolve_node_host(host: HostSpec | None) -> Host | None:
    """A node's processors; None where its file lacks one of its figures. Raises InputError."""
    if host is None or host.bandwidth is None or host.link is None:
        return None
    return Host(
        memory_bytes=parse_positive_figure(host.memory, "bytes", key="node.host.memory"),
        memory_bandwidth_bytes_per_s=parse_positive_figure(host.bandwidth, "bytes_per_s", key="node.host.bandwidth"),
        link_bytes_per_s=parse_positive_figure(host.link, "bytes_per_s", key="node.host.link"),
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
            lower = devices // per_node * per_node
            problem = f"is not a whole number of nodes of {per_node} devices"
            expected = f"a multiple of {per_node}, such as {lower} or {lower + per_node}"
            raise InputError(problem, key="--devices", value=devices, expected=expected)
        nodes = devices // per_node
    count = nodes or spec.nodes or 1
    if spec.max_nodes is not None and count > spec.max_nodes:
        expected = f"at most {spec.max_nodes} nodes ({spec.max_nodes * per_node} devices)"
        raise InputError(f"{spec.name} is not built larger", key="--nodes", value=count, expected=expected)
    if count * per_node > MAX_CLUSTER_DEVICES:
        expected = f"up to {MAX_CLUSTER_DEVICES:,} devices"
        raise InputError("more devices than can be planned", key="--nodes", value=count, expected=expected)
    return count, per_node
