"""A cluster described link by link: hosts, switches and links as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from planner.cluster.model import presets
from planner.cluster.model.spec import ClusterSpec, NodeSpec, WiredHostSpec, WiredLinkSpec
from planner.cluster.model.wiring import Wiring
from planner.cluster.wired.hostlist import expand_hostlist_at
from planner.errors import InputError, find_nearest_name
from planner.hardware.figures import parse_figure, parse_positive_figure

_MAX_LINKS = 1_000_000
_MAX_NAMES = 262_144
"""Of hosts, and of switches."""
_PORTS_PER_NIC = 2
"""Most links of one NIC."""


def resolve_wiring(spec: ClusterSpec) -> tuple[Wiring, NodeSpec]:
    """The wiring of a file, and the node that all its hosts are.

    Raises InputError for a name that stands twice or nowhere, for hosts of several kinds, and for figures that make
    no sense.
    """
    node = _resolve_single_node(spec, {_resolve_node_name(spec, host) for host in spec.hosts})
    hosts, devices = _expand_hosts(spec, node)
    switches, latency, has_reduction = _expand_switches(spec)
    vertex_by_name = _index_vertices(hosts, switches)
    nic_count = node.nic.count if node.nic is not None else 0
    endpoints, nic_index, rate, scale_up = _build_links(spec.links, vertex_by_name, len(hosts), nic_count)
    device_bytes_per_s = parse_positive_figure(node.link.bandwidth, "bytes_per_s", key="node.link.bandwidth")
    device_latency_s = parse_figure(node.link.latency, "s", key="node.link.latency")
    nic_latency_s = parse_figure(node.nic.latency, "s", key="node.nic.latency") if node.nic else device_latency_s
    count = len(hosts)
    return Wiring(
        hosts=hosts,
        switches=switches,
        devices=np.array(devices, dtype=np.int64),
        scale_up_bytes_per_s=np.full(count, device_bytes_per_s),
        scale_up_latency_s=np.full(count, device_latency_s),
        nic_latency_s=np.full(count, nic_latency_s),
        switch_latency_s=np.array(latency),
        in_network=np.array(has_reduction, dtype=bool),
        endpoints=np.array(endpoints, dtype=np.int64).reshape(-1, 2),
        nic_index=np.array(nic_index, dtype=np.int64),
        bandwidth_bytes_per_s=np.array(rate, dtype=np.float64),
        scale_up=np.array(scale_up, dtype=bool),
    ), node


def _resolve_node_name(spec: ClusterSpec, host: WiredHostSpec) -> str:
    """The name of a host's node; empty for the inline node of the cluster."""
    node_name = host.node or (spec.node if isinstance(spec.node, str) else "")
    if not node_name and spec.node is None:
        expected = "a node of hardware_db, here or as the cluster's node"
        raise InputError("is missing", key="hosts.node", value=host.name, expected=expected)
    return node_name


def _resolve_single_node(spec: ClusterSpec, node_names: set[str]) -> NodeSpec:
    if len(node_names) > 1:
        listed_names = ", ".join(sorted(node_name or "the inline node" for node_name in node_names))
        expected = "equal hosts; different nodes are described as [[pools]]"
        raise InputError("hosts with different nodes", key="hosts.node", value=listed_names, expected=expected)
    (node_name,) = node_names
    if not node_name and isinstance(spec.node, NodeSpec):
        return spec.node
    return presets.load_node_spec(node_name, key="hosts.node" if node_name else "node")


def _expand_hosts(spec: ClusterSpec, node: NodeSpec) -> tuple[tuple[str, ...], list[int]]:
    """Names and devices of all hosts."""
    names: list[str] = []
    devices: list[int] = []
    for index, host in enumerate(spec.hosts):
        count = host.devices or node.devices
        if count > node.devices:
            key, expected = f"hosts[{index}].devices", f"at most the node's {node.devices}"
            raise InputError("more devices than the node has", key=key, value=count, expected=expected)
        host_names = expand_hostlist_at(host.name, f"hosts[{index}].name", _MAX_NAMES - len(names))
        names += host_names
        devices += [count] * len(host_names)
    return tuple(names), devices


def _expand_switches(spec: ClusterSpec) -> tuple[tuple[str, ...], list[float], list[bool]]:
    """Names and latencies of all switches, and whether they reduce in the network."""
    names: list[str] = []
    latency: list[float] = []
    has_reduction: list[bool] = []
    for index, switch in enumerate(spec.switches):
        switch_names = expand_hostlist_at(switch.name, f"switches[{index}].name", _MAX_NAMES - len(names))
        names += switch_names
        latency += [parse_figure(switch.latency, "s", key=f"switches[{index}].latency")] * len(switch_names)
        has_reduction += [switch.in_network] * len(switch_names)
    return tuple(names), latency, has_reduction


def _index_vertices(hosts: Sequence[str], switches: Sequence[str]) -> dict[str, int]:
    """The vertex of each name. Raises InputError for a name that stands twice."""
    vertex_by_name: dict[str, int] = {}
    for vertex, name in enumerate(itertools.chain(hosts, switches)):
        if name in vertex_by_name:
            key = "hosts" if vertex < len(hosts) else "switches"
            raise InputError("duplicate name", key=key, value=name, expected="a name for one part only")
        vertex_by_name[name] = vertex
    return vertex_by_name


def _build_links(
    links: Sequence[WiredLinkSpec], vertex_by_name: dict[str, int], host_count: int, nic_count: int
) -> tuple[list[tuple[int, int]], list[int], list[float], list[bool]]:
    """Every pair of ends, a host first, with its NIC, bandwidth and whether it is a scale-up link.

    As many links as a node has NICs lead one to each.
    """
    endpoints: list[tuple[int, int]] = []
    nic_index: list[int] = []
    rate: list[float] = []
    scale_up: list[bool] = []
    links_per_host = [0] * host_count
    for index, link in enumerate(links):
        key = f"links[{index}]"
        link_bytes_per_s = parse_positive_figure(link.bandwidth, "bytes_per_s", key=f"{key}.bandwidth")
        name_lists = [expand_hostlist_at(end, f"{key}.ends") for end in link.ends]
        left, right = (
            [_parse_endpoint(name, vertex_by_name, host_count, nic_count, key) for name in names]
            for names in name_lists
        )
        is_link_per_nic = link.link_count == nic_count and link.kind == "network"
        if len(endpoints) + len(left) * len(right) * (nic_count if is_link_per_nic else 1) > _MAX_LINKS:
            expected = f"at most {_MAX_LINKS:,} in all"
            raise InputError("too many links", key=f"{key}.ends", expected=expected)
        for left_endpoint, right_endpoint in itertools.product(left, right):
            (first, named_nic), (second, _) = sorted((left_endpoint, right_endpoint))
            if first == second:
                raise InputError("link connects a part to itself", key=f"{key}.ends", value=link.ends[0])
            if link.kind == "network":
                for host, host_nic in (left_endpoint, right_endpoint):
                    if host < host_count:
                        links_per_host[host] += link.link_count
                        _check_port_count(links_per_host[host], link.link_count, host_nic, nic_count, f"{key}.cables")
            to_switch = first < host_count <= second
            is_split = is_link_per_nic and to_switch and named_nic < 0
            for link_nic in range(nic_count) if is_split else [named_nic if to_switch else -1]:
                endpoints.append((first, second))
                nic_index.append(link_nic)
                rate.append(link_bytes_per_s if is_split else link_bytes_per_s * link.link_count)
                scale_up.append(link.kind == "scale-up")
    return endpoints, nic_index, rate, scale_up


def _check_port_count(host_links: int, link_count: int, nic_index: int, nic_count: int, key: str) -> None:
    """More links than a host's NICs, or the one NIC that is named, have ports. A node without NICs has none to
    count.
    """
    ports, owner = _PORTS_PER_NIC, "per NIC"
    if nic_index < 0:
        ports, owner = _PORTS_PER_NIC * nic_count, f"for the {nic_count} NICs of a host"
    if nic_count and max(link_count, 0 if nic_index >= 0 else host_links) > ports:
        count_text = link_count if link_count > ports else f"{host_links} on one host"
        raise InputError("more links than NIC ports", key=key, value=count_text, expected=f"at most {ports} {owner}")


def _parse_endpoint(
    name: str, vertex_by_name: dict[str, int], host_count: int, nic_count: int, key: str
) -> tuple[int, int]:
    """The vertex and the NIC that an end of a link names; -1: no NIC in particular."""
    if name in vertex_by_name:
        return vertex_by_name[name], -1
    part, _, nic_text = name.rpartition(":")
    if part in vertex_by_name and nic_text.isdecimal() and nic_text.isascii() and len(nic_text) < 5:
        if vertex_by_name[part] >= host_count:
            raise InputError("a switch's ports have no numbers here", key=f"{key}.ends", value=name, expected=part)
        if int(nic_text) >= nic_count:
            expected = (
                f"a NIC from 0 to {nic_count - 1}" if nic_count else "no NIC number: the node has no [node.nic]"
            )
            raise InputError("no NIC has this number", key=f"{key}.ends", value=name, expected=expected)
        return vertex_by_name[part], int(nic_text)
    raise InputError(
        "no host or switch has this name",
        key=f"{key}.ends",
        value=name,
        expected="a name of [[hosts]] or [[switches]], or the NIC of a host such as a01:3",
        suggestion=find_nearest_name(part or name, vertex_by_name) if len(vertex_by_name) < 20_000 else "",
    )
