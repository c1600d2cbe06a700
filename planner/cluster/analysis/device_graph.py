"""The communication graph of a cluster, for drawing, export and flows: with every accelerator, or collapsed.

A device is `node-3/0`. Inside a node it is joined to the others as the node is built: a star around the NVSwitches
(`node-3/nvswitch`), a mesh, PCIe switches and host bridges, a torus. A NIC belongs to the devices it serves, so that
a link leads from them to the switch; one that several share is split between them. The collapsed graph of a regular
cluster has one representative of each class of part: the device, the node's switch, the NIC, one switch a level.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.intra_node import IntraNodeTopology, compute_link_shares
from planner.cluster.model.wiring import Bools, Wiring
from planner.cluster.regular.torus import Torus, compute_coordinates, compute_grid_index, enumerate_grid_neighbours

if TYPE_CHECKING:
    import networkx as nx

DeviceEdge = tuple[str, str, float]
"""Two vertices, and bytes/s between them in one direction."""
DEVICE_VERTEX = "device"


def build_device_graph(
    wiring: Wiring, intra_node: IntraNodeTopology | None = None, torus: Torus | None = None
) -> nx.Graph[str]:
    """The graph of all devices and switches of a wiring.

    `intra_node`: how a node's devices are joined (None: by one switch); `torus`: the torus that nodes are blocks of.
    Of vertices: `kind` (device, switch, nvswitch, pcie-switch, host-bridge), `host`, of devices `rank`. Of edges:
    `bandwidth_bytes_per_s` (one direction, parallel links together), `scale_up`.
    """
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    rank = 0
    for host, count in zip(wiring.hosts, wiring.devices.tolist(), strict=True):
        for device in range(count):
            graph.add_node(f"{host}/{device}", kind="device", host=host, rank=rank)
            rank += 1
    for name in wiring.switches:
        graph.add_node(name, kind="switch", host="")
    starred = _find_starred_hosts(wiring)
    for host_index, host in enumerate(wiring.hosts):
        edges = _enumerate_intra_node_edges(wiring, host_index, intra_node, torus, has_switch=not starred[host_index])
        for source, target, rate in edges:
            for name in (source, target):
                if name not in graph:
                    graph.add_node(name, kind=re.sub(r".*/|-\d+$", "", name), host=host)
            _add_edge(graph, source, target, rate, scale_up=True)
    names = wiring.vertex_names
    # hosts are equal: the highest NIC number of any of them gives their NICs
    nic_count = int(wiring.nic_index.max(initial=-1)) + 1
    for link in range(len(wiring.endpoints)):
        for source, target, rate in _enumerate_link_edges(wiring, names, link, nic_count, torus):
            is_scale_up = bool(wiring.scale_up[link]) or int(wiring.endpoints[link].max()) < len(wiring.hosts)
            _add_edge(graph, source, target, rate, scale_up=is_scale_up)
    return graph


def _add_edge(graph: nx.Graph[str], source: str, target: str, bytes_per_s: float, *, scale_up: bool) -> None:
    """An edge; of parallel ones the sum."""
    if graph.has_edge(source, target):
        graph.edges[source, target]["bandwidth_bytes_per_s"] += bytes_per_s
    elif bytes_per_s > 0:
        graph.add_edge(source, target, bandwidth_bytes_per_s=bytes_per_s, scale_up=scale_up)


def _find_starred_hosts(wiring: Wiring) -> Bools:
    """Which hosts' devices are joined by a switch outside of the host, of their own links: [hosts]."""
    is_starred = np.zeros(len(wiring.vertex_names), dtype=np.bool_)
    to_switch = (
        wiring.scale_up & (wiring.endpoints.max(axis=1) >= len(wiring.hosts)) & (wiring.bandwidth_bytes_per_s > 0)
    )
    is_starred[wiring.endpoints[to_switch].ravel()] = True
    return is_starred[: len(wiring.hosts)]


def _enumerate_intra_node_edges(
    wiring: Wiring, host_index: int, intra_node: IntraNodeTopology | None, torus: Torus | None, *, has_switch: bool
) -> Iterator[DeviceEdge]:
    """What joins the devices of one host."""
    host, count = wiring.hosts[host_index], int(wiring.devices[host_index])
    rate = float(wiring.scale_up_bytes_per_s[host_index])
    shares = None if intra_node is None else compute_link_shares(intra_node)
    if count < 2:
        return
    if torus is not None and count == math.prod(torus.block):
        yield from _enumerate_block_edges(host, torus)
    elif intra_node is not None and shares is not None:
        for source, target in np.argwhere(np.triu(shares[:count, :count])).tolist():
            yield f"{host}/{source}", f"{host}/{target}", float(shares[source, target]) * rate
    elif intra_node is not None and intra_node.topology == "pcie":
        yield from _enumerate_pcie_edges(host, count, intra_node, rate)
    elif has_switch:
        for device in range(count):
            yield f"{host}/{device}", f"{host}/nvswitch", rate


def _enumerate_block_edges(host: str, torus: Torus) -> Iterator[DeviceEdge]:
    """Links of a torus between the devices of one node; closed where the whole axis lies in the node."""
    closed_axes = tuple(
        wrap and side == part for wrap, side, part in zip(torus.wrap, torus.shape, torus.block, strict=True)
    )
    for _, pairs in enumerate_grid_neighbours(torus.block, closed_axes):
        for source, target in pairs.tolist():
            yield f"{host}/{source}", f"{host}/{target}", torus.link_bytes_per_s


def _enumerate_pcie_edges(host: str, count: int, intra_node: IntraNodeTopology, rate: float) -> Iterator[DeviceEdge]:
    """A tree: devices, PCIe switches where there are any, host bridges; the bridges are joined with each other."""
    bridges = intra_node.get_bridge(np.arange(count)).tolist()
    for device, bridge in enumerate(bridges):
        switch = f"{host}/pcie-switch-{device // intra_node.switch_devices}"
        if intra_node.switch_devices == 1:
            yield f"{host}/{device}", f"{host}/host-bridge-{bridge}", rate
            continue
        yield f"{host}/{device}", switch, rate
        if device % intra_node.switch_devices == 0:
            yield switch, f"{host}/host-bridge-{bridge}", rate
    for source_bridge in range(bridges[-1] + 1):
        for target_bridge in range(source_bridge):
            yield (
                f"{host}/host-bridge-{target_bridge}",
                f"{host}/host-bridge-{source_bridge}",
                rate * intra_node.bridge_share,
            )


def _enumerate_link_edges(
    wiring: Wiring, names: Sequence[str], link: int, nic_count: int, torus: Torus | None
) -> Iterator[DeviceEdge]:
    """The edges that one link of a wiring stands for; `names` of its vertices; `nic_count`: of a host."""
    source, target = wiring.endpoints[link].tolist()
    rate, hosts = float(wiring.bandwidth_bytes_per_s[link]), len(wiring.hosts)
    if source >= hosts and target >= hosts:
        yield names[source], names[target], rate
        return
    if source >= hosts:
        source, target = target, source
    if target < hosts:
        pairs = _list_facing_devices(names[source], names[target], wiring, (source, target), torus)
        for source_device, target_device in pairs:
            yield f"{names[source]}/{source_device}", f"{names[target]}/{target_device}", rate / len(pairs)
        return
    served_devices = _list_nic_devices(int(wiring.devices[source]), int(wiring.nic_index[link]), nic_count)
    for device in served_devices:
        yield f"{names[source]}/{device}", names[target], rate / len(served_devices)


def _list_nic_devices(devices: int, nic_index: int, nic_count: int) -> list[int]:
    """The devices of a node that use one of its NICs; all, where the link names no NIC."""
    if nic_index < 0:
        return list(range(devices))
    if nic_count >= devices:
        return [nic_index * devices // nic_count]
    return [device for device in range(devices) if device * nic_count // devices == nic_index]


def _list_facing_devices(
    source: str, target: str, wiring: Wiring, host_indices: tuple[int, int], torus: Torus | None
) -> list[list[int]]:
    """Pairs of devices of two hosts that a link between them joins.

    In a torus the end of the first's block with the start of the second's, along the axis on which the hosts are
    neighbours; else the devices of the same number.
    """
    device_count = min(int(wiring.devices[host_indices[0]]), int(wiring.devices[host_indices[1]]))
    if torus is None:
        return [[device, device] for device in range(device_count)]
    grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    numbers = np.array([int(re.sub(r".*-", "", name)) % math.prod(grid) for name in (source, target)])
    behind, ahead = compute_coordinates(numbers, grid)
    axis = int(np.flatnonzero(ahead != behind)[0])
    block = compute_coordinates(np.arange(device_count), torus.block)
    face_devices = np.flatnonzero(block[:, axis] == torus.block[axis] - 1)
    facing_places = block[face_devices].copy()
    facing_places[:, axis] = 0
    pairs: list[list[int]] = np.stack([face_devices, compute_grid_index(facing_places, torus.block)], axis=1).tolist()
    return pairs


def build_tier_graph(cluster: Cluster) -> nx.Graph[str]:
    """The collapsed graph. Of vertices: `kind`, `count`, `devices` (joined below one such part).

    Of edges: `bandwidth_bytes_per_s` (one device, one direction), `latency_s` (what crossing it adds).
    """
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph(name=cluster.name)
    devices = cluster.devices
    graph.add_node(DEVICE_VERTEX, kind="device", count=devices, devices=1)
    scale_up_vertex = nic_vertex = DEVICE_VERTEX
    nic_latency_s = 0.0
    for level in cluster.levels:
        group_devices = min(level.devices or devices, devices)
        graph.add_node(level.name, kind=level.topology, count=-(-devices // group_devices), devices=group_devices)
        rate = level.bandwidth_bytes_per_s
        if not level.through_nic:
            graph.add_edge(DEVICE_VERTEX, level.name, bandwidth_bytes_per_s=rate, latency_s=level.latency_s)
            scale_up_vertex = level.name
            continue
        if nic_vertex == DEVICE_VERTEX:
            graph.add_node("nic", kind="nic", count=devices, devices=1)
            graph.add_edge(DEVICE_VERTEX, "nic", bandwidth_bytes_per_s=rate, latency_s=0.0)
            nic_vertex = "nic"
        graph.add_edge(nic_vertex, level.name, bandwidth_bytes_per_s=rate, latency_s=level.latency_s - nic_latency_s)
        nic_vertex, nic_latency_s = level.name, level.latency_s
    graph.graph["innermost"] = cluster.levels[0].name
    graph.graph["scale_up"] = scale_up_vertex
    graph.graph["levels"] = tuple(level.name for level in cluster.levels)
    return graph
