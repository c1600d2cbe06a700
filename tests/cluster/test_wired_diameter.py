"""The diameter of a wiring, against all pairs of devices; and what of it is in use, against all shortest paths."""

from __future__ import annotations

import itertools
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.analysis.diameter import compute_wiring_diameter_hops
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import WiredCluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import find_cluster_torus
from planner.cluster.wired.failed_parts import parse_failed_part
from planner.cluster.wired.prune_unused_links import prune_unused_links
from tests.cluster.test_bisection_wired import build_wiring


def compute_graph_diameter(graph: nx.Graph[str]) -> int:
    """Links between the two farthest devices of a device graph."""
    devices = [name for name, vertex in graph.nodes(data=True) if vertex["kind"] == "device"]
    hops = (nx.single_source_shortest_path_length(graph, source) for source in devices)
    return max(distances[device] for distances in hops for device in devices)


@pytest.mark.parametrize(
    ("name", "nodes", "parts"),
    [
        ("dgx-h100", 4, ["node-3:2"]),
        ("dgx-h100", 5, ["node-3:2", "node-1:4", "node-0:2"]),
        ("tpu-v5e", 6, ["node-2"]),
        ("tpu-v5p", 8, ["node-0 - node-1"]),
        ("gb200-nvl72", 20, ["node-3 - nvl72-0", "node-7:1"]),
        ("a100-pcie", 3, ["node-1"]),
    ],
)
def test_the_farthest_devices_are_reached_from_a_host_of_each_place(name: str, nodes: int, parts: list[str]) -> None:
    cluster = resolve_cluster(
        presets.load_cluster_spec(name), name, nodes=nodes, failed_parts=tuple(map(parse_failed_part, parts))
    )
    assert isinstance(cluster, WiredCluster)
    torus = find_cluster_torus(cluster)
    graph = build_device_graph(cluster.wiring, cluster.intra_node, torus)
    assert compute_wiring_diameter_hops(cluster.wiring, cluster.intra_node, torus) == compute_graph_diameter(graph)


def test_no_host_forwards_traffic_of_others() -> None:
    # h0 and h2 are at leaves of their own, h1 at both: between h0 and h2 lie three switches above them
    links = [(0, 3, 1), (1, 3, 1), (1, 4, 1), (2, 4, 1), (3, 5, 1), (5, 6, 1), (6, 7, 1), (7, 4, 1)]
    assert compute_wiring_diameter_hops(build_wiring(3, 5, links), None) == 6


def test_two_hosts_at_the_same_switch_that_lack_different_nics_are_both_starting_points() -> None:
    # two devices and two NICs each; h0 has only the first NIC, h1 only the second, h2 both
    links = [(0, 3, 1), (1, 3, 1), (2, 3, 1), (2, 3, 1)]
    fabric = replace(build_wiring(3, 1, links), nic_index=np.array([0, 1, 0, 1]))
    graph = build_device_graph(fabric)
    assert compute_wiring_diameter_hops(fabric, None) == compute_graph_diameter(graph) == 6


@st.composite
def draw_joined_switches(draw: st.DrawFn) -> Wiring:
    """Hosts at some switches each, switches joined in a line and beside it."""
    hosts, switches = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    links = [(hosts + switch, hosts + switch + 1, 1) for switch in range(switches - 1)]
    vertex = st.integers(0, switches - 1)
    for host in range(hosts):
        links += [(host, hosts + at, 1) for at in draw(st.sets(vertex, min_size=1, max_size=2))]
    more = draw(st.lists(st.tuples(vertex, vertex), max_size=4))
    return build_wiring(
        hosts, switches, links + [(hosts + min(a, b), hosts + max(a, b), 1) for a, b in more if a != b]
    )


def build_switch_graph(fabric: Wiring) -> nx.Graph[int]:
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(fabric.hosts), len(fabric.vertex_names)))
    graph.add_edges_from(pair for pair in fabric.endpoints.tolist() if min(pair) >= len(fabric.hosts))
    return graph


def at(fabric: Wiring, host: int) -> list[int]:
    return [upper for lower, upper in fabric.endpoints.tolist() if lower == host]


@settings(max_examples=60, deadline=None)
@given(fabric=draw_joined_switches())
def test_every_pair_of_devices_is_as_near_as_its_switches(fabric: Wiring) -> None:
    hops = dict(nx.all_pairs_shortest_path_length(build_switch_graph(fabric)))
    pairs = itertools.combinations(range(len(fabric.hosts)), 2)
    # no NICs are given: every device of a host is wired to each of its switches
    apart = [min(hops[a][b] for a in at(fabric, first) for b in at(fabric, second)) + 2 for first, second in pairs]
    assert compute_wiring_diameter_hops(fabric, None) == max([2, *apart])


@settings(max_examples=60, deadline=None)
@given(fabric=draw_joined_switches())
def test_switches_in_use_lie_on_a_shortest_path(fabric: Wiring) -> None:
    graph = build_switch_graph(fabric)
    entered = [(host, switch) for host in range(len(fabric.hosts)) for switch in at(fabric, host)]
    used = {
        switch
        for (first, here), (second, there) in itertools.combinations(entered, 2)
        if first != second or here != there
        for path in nx.all_shortest_paths(graph, here, there)
        for switch in path
    }
    left = prune_unused_links(fabric)
    assert set(left.switches) == {fabric.vertex_names[switch] for switch in used}
    assert left.hosts == fabric.hosts
    kept = [pair for pair in fabric.endpoints.tolist() if all(end < len(fabric.hosts) or end in used for end in pair)]
    assert len(left.endpoints) == len(kept)
    assert compute_wiring_diameter_hops(left, None) == compute_wiring_diameter_hops(fabric, None)


def test_dead_parts_are_not_in_use() -> None:
    # three hosts at one leaf, which leads to a spine; behind that a leaf whose only host has lost its link
    fabric = build_wiring(4, 3, [(0, 4, 1), (1, 4, 1), (2, 4, 1), (3, 5, 0), (3, 4, 1), (4, 6, 1), (5, 6, 1)])
    left = prune_unused_links(fabric)
    assert left.switches == ("s0",)
    assert left.endpoints.tolist() == [[0, 4], [1, 4], [2, 4], [3, 4]]
