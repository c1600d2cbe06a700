"""The communication graph of a regular cluster: a networkx graph with one representative of each class.

A cluster of a million equal devices has as many classes of part as one of a hundred: the device, the node's
switch, the NIC, and one switch a level. Each class is one graph node with its `count`; each edge carries the
bandwidth that one device has of it (one direction) and the latency that crossing it adds. For export and drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cluster.model.cluster import Cluster

if TYPE_CHECKING:
    import networkx as nx

DEVICE_VERTEX = "device"


def build_tier_graph(cluster: Cluster) -> nx.Graph[str]:
    """The collapsed graph. Node attributes: `kind`, `count`, `devices` (joined below one such part).

    Edge attributes: `bandwidth_bytes_per_s` per device and direction, `latency_s`.
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
