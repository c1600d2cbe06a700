"""Bisection of a wiring: an upper bound of the narrowest of all halves, and equal to it on common fabrics."""

from __future__ import annotations

import itertools
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.analysis.bisection import compute_regular_bisection, compute_wiring_bisection
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model.cluster import WiredCluster
from planner.cluster.model.spec import parse_cluster_spec
from planner.cluster.model.wiring import Wiring
from planner.cluster.wired.build_links import build_regular_wiring
from tests.cluster.fabrics import load_preset
from tests.cluster.max_flow import compute_max_flow_bytes_per_s

GB = 1e9


def build_wiring(hosts: int, switches: int, links: list[tuple[int, int, int]]) -> Wiring:
    """So many hosts and switches, and links of so many GB/s between vertices."""
    full, link_count = np.ones(hosts), len(links)
    return Wiring(
        hosts=tuple(f"h{number}" for number in range(hosts)),
        switches=tuple(f"s{number}" for number in range(switches)),
        devices=np.full(hosts, 2),
        scale_up_bytes_per_s=100 * GB * full,
        scale_up_latency_s=0 * full,
        nic_latency_s=0 * full,
        switch_latency_s=np.zeros(switches),
        in_network=np.zeros(switches, dtype=np.bool_),
        endpoints=np.array([link[:2] for link in links], dtype=np.int64).reshape(-1, 2),
        nic_index=np.full(link_count, -1),
        bandwidth_bytes_per_s=np.array([GB * rate for *_, rate in links], dtype=np.float64),
        scale_up=np.zeros(link_count, dtype=np.bool_),
    )


def compute_bisection_by_brute_force(fabric: Wiring) -> float:
    """The least maximum flow of all halvings."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(fabric.vertex_names)
    for (low, high), rate in zip(fabric.endpoints.tolist(), fabric.bandwidth_bytes_per_s.tolist(), strict=True):
        names = fabric.vertex_names[low], fabric.vertex_names[high]
        before = graph.get_edge_data(*names, {"bandwidth_bytes_per_s": 0.0})["bandwidth_bytes_per_s"]
        graph.add_edge(*names, bandwidth_bytes_per_s=before + rate)
    hosts = set(fabric.hosts)
    halves = itertools.combinations(fabric.hosts, len(hosts) // 2)
    return min(compute_max_flow_bytes_per_s(graph, set(half), hosts - set(half)) for half in halves)


@st.composite
def draw_wirings(draw: st.DrawFn) -> Wiring:
    """Any graph: hosts on several switches, hosts on hosts, parallel links, parts that nothing joins."""
    hosts, switches = draw(st.integers(2, 7)), draw(st.integers(0, 5))
    vertex = st.integers(0, hosts + switches - 1)
    links = draw(st.lists(st.tuples(vertex, vertex, st.integers(0, 4)), max_size=18))
    return build_wiring(hosts, switches, [(min(a, b), max(a, b), rate) for a, b, rate in links if a != b])


@st.composite
def draw_tree_wirings(draw: st.DrawFn) -> Wiring:
    """Uneven leaves, and switches above them in any order."""
    hosts, switches = draw(st.integers(2, 8)), draw(st.integers(1, 5))
    links = [(host, hosts + draw(st.integers(0, switches - 1)), draw(st.integers(1, 4))) for host in range(hosts)]
    links += [
        (hosts + draw(st.integers(0, switch - 1)), hosts + switch, draw(st.integers(1, 9)))
        for switch in range(1, switches)
    ]
    return build_wiring(hosts, switches, links)


@settings(max_examples=60, deadline=None)
@given(fabric=st.one_of(draw_wirings(), draw_tree_wirings()))
def test_the_bound_is_at_least_the_narrowest_of_all_halves(fabric: Wiring) -> None:
    middle, narrowest = compute_wiring_bisection(fabric), compute_bisection_by_brute_force(fabric)
    assert middle.bytes_per_s >= narrowest * (1 - 1e-9)
    assert not middle.is_exact or narrowest == 0


@pytest.mark.parametrize("oversubscription", [1.0, 4.0])
def test_a_tree_is_halved_between_its_leaves(oversubscription: float) -> None:
    text = 'name = "w"\nnode = "dgx-h100"\n[[hosts]]\nname = "h[0-7]"\n[[switches]]\nname = "leaf[0-3],spine"\n'
    for leaf in range(4):
        # neighbours in the file are never at one leaf
        text += f'[[links]]\nends = ["h[{leaf},{leaf + 4}]", "leaf{leaf}"]\nbandwidth = "400Gb/s"\ncables = 8\n'
        text += f'[[links]]\nends = ["leaf{leaf}", "spine"]\nbandwidth = "{6400 / oversubscription}Gb/s"\n'
    cluster = resolve_cluster(parse_cluster_spec(text, "toml", "w"), "w")
    assert isinstance(cluster, WiredCluster)
    assert compute_wiring_bisection(cluster.wiring).bytes_per_s == pytest.approx(2 * 6400e9 / 8 / oversubscription)


def test_hosts_at_a_single_switch_are_cut_off_it() -> None:
    links = [(host, 5, 400 - 100 * (host % 2)) for host in range(5)]
    assert compute_wiring_bisection(build_wiring(5, 1, links)).bytes_per_s == 600 * GB


@pytest.mark.parametrize("name", ["dgx-h100", "gb200-nvl72", "mi300x", "frontier"])
@pytest.mark.parametrize("nodes", [4, 24])
def test_the_narrowest_halves_of_a_preset_are_those_of_its_levels(name: str, nodes: int) -> None:
    cluster = load_preset(name, nodes)
    assert compute_wiring_bisection(build_regular_wiring(cluster)).bytes_per_s == pytest.approx(
        compute_regular_bisection(cluster).bytes_per_s
    )


def test_a_large_fabric_with_failed_links_has_a_slightly_lower_bisection() -> None:
    whole = build_regular_wiring(load_preset("dgx-h100", 512))
    works = ~np.isin(np.arange(len(whole.endpoints)), [5, 1000, len(whole.endpoints) - 7])
    lost = replace(whole, bandwidth_bytes_per_s=whole.bandwidth_bytes_per_s * works)
    middle, less = compute_wiring_bisection(whole), compute_wiring_bisection(lost)
    assert middle.bytes_per_s == 256 * 8 * 50 * GB
    assert middle.bytes_per_s * 0.98 < less.bytes_per_s < middle.bytes_per_s
