"""The narrowest halves of a wiring, against all halves by maximum flow."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster import database
from planner.cluster.bisection import bisection_bytes_per_s, wiring_bisection
from planner.cluster.cluster import resolve_cluster
from planner.cluster.device_graph import device_graph
from planner.cluster.diameter import graph_diameter, wiring_diameter_hops
from planner.cluster.expand import expand
from planner.cluster.faults import read_fault
from planner.cluster.halving import narrowest_halves
from planner.cluster.torus import torus_of
from planner.cluster.wiring import Wiring


def wiring(hosts: int, switches: int, links: list[tuple[int, int, float]]) -> Wiring:
    ends = np.array([link[:2] for link in links], dtype=np.int64).reshape(-1, 2)
    return Wiring(
        hosts=tuple(f"h{n}" for n in range(hosts)),
        switches=tuple(f"s{n}" for n in range(switches)),
        devices=np.ones(hosts, dtype=np.int64),
        scale_up_bytes_per_s=np.ones(hosts),
        scale_up_latency_s=np.zeros(hosts),
        card_latency_s=np.zeros(hosts),
        switch_latency_s=np.zeros(switches),
        in_network=np.zeros(switches, dtype=bool),
        ends=ends,
        card=np.full(len(links), -1),
        bandwidth_bytes_per_s=np.array([link[2] for link in links]),
        scale_up=np.zeros(len(links), dtype=bool),
    )


def slow_halves(one: Wiring) -> float:
    """The least maximum flow of all halves."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(one.vertices)))
    for (a, b), rate in zip(one.ends.tolist(), one.bandwidth_bytes_per_s.tolist(), strict=True):
        held = graph.get_edge_data(a, b, {"capacity": 0.0})["capacity"]
        graph.add_edge(a, b, capacity=held + rate)
    hosts, least = range(len(one.hosts)), float("inf")
    for half in itertools.combinations(hosts, len(one.hosts) // 2):
        ends = graph.copy()
        for host in hosts:
            ends.add_edge(host, "from" if host in half else "to", capacity=1e12)
        least = min(least, nx.maximum_flow_value(ends, "from", "to"))
    return least


rates = st.sampled_from([1.0, 2.0, 3.0, 5.0])


@st.composite
def trees(draw: st.DrawFn) -> Wiring:
    hosts, switches = draw(st.integers(2, 8)), draw(st.integers(1, 5))
    links = [(hosts + draw(st.integers(0, n - 1)), hosts + n, draw(rates)) for n in range(1, switches)]
    links += [(host, hosts + draw(st.integers(0, switches - 1)), draw(rates)) for host in range(hosts)]
    return wiring(hosts, switches, links)


@st.composite
def graphs(draw: st.DrawFn) -> Wiring:
    hosts, switches = draw(st.integers(2, 7)), draw(st.integers(0, 4))
    pairs = list(itertools.combinations(range(hosts + switches), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=14))
    return wiring(hosts, switches, [(*pair, draw(rates)) for pair in chosen])


@settings(max_examples=60, deadline=None)
@given(st.one_of(trees(), graphs()))
def test_no_halves_are_narrower(one: Wiring) -> None:
    found = narrowest_halves(one)
    assert found.exact
    assert found.bytes_per_s == pytest.approx(slow_halves(one))


def test_a_host_on_a_leaf_of_its_own_counts_to_either_half() -> None:
    # four hosts at one leaf, the fifth at another behind a thin cable
    links = [(host, 5, 4.0) for host in range(4)] + [(4, 6, 4.0), (5, 7, 8.0), (6, 7, 1.0)]
    assert narrowest_halves(wiring(5, 3, links)).bytes_per_s == 4.0 + 1.0


@pytest.mark.parametrize("name", ["dgx-h100", "dgx-a100", "gb200-nvl72", "mi300x", "frontier", "aws-p5"])
@pytest.mark.parametrize("nodes", [4, 24, 60])
def test_the_narrowest_halves_of_a_preset_are_those_of_its_levels(name: str, nodes: int) -> None:
    cluster = resolve_cluster(database.cluster_spec(name), name, nodes=nodes)
    found = narrowest_halves(expand(cluster))
    assert found.exact
    # by levels the halves are taken in the order of ranks: others can be narrower where these cut a leaf in two
    assert found.bytes_per_s <= bisection_bytes_per_s(cluster) * (1 + 1e-9)
    if nodes != 60:
        assert found.bytes_per_s == pytest.approx(bisection_bytes_per_s(cluster))


def test_what_is_too_large_to_be_halved_for_certain_is_told_as_a_bound() -> None:
    spec = database.cluster_spec("dgx-h100")
    faults = tuple(read_fault(f"node-{32 * group}:{group % 8}=0.5") for group in range(16))
    cut = wiring_bisection(expand_with(spec, faults))
    assert not cut.exact
    assert 0 < cut.bytes_per_s <= bisection_bytes_per_s(resolve_cluster(spec, "dgx-h100", nodes=512))


def expand_with(spec, faults) -> Wiring:
    found = resolve_cluster(spec, "dgx-h100", nodes=512, faults=faults).wiring
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "nodes", "faults"),
    [
        ("dgx-h100", 4, ["node-3:2"]),
        ("tpu-v5e", 6, ["node-2"]),
        ("tpu-v5p", 8, ["node-0 - node-1"]),
        ("gb200-nvl72", 20, ["node-3 - nvl72-0", "node-7:1"]),
        ("a100-pcie", 3, ["node-1"]),
    ],
)
def test_the_farthest_devices_are_found_from_a_host_of_each_place(name: str, nodes: int, faults: list[str]) -> None:
    cluster = resolve_cluster(database.cluster_spec(name), name, nodes=nodes, faults=tuple(map(read_fault, faults)))
    assert cluster.wiring is not None
    torus = torus_of(cluster)
    graph = device_graph(cluster.wiring, cluster.inside, torus)
    assert wiring_diameter_hops(cluster.wiring, cluster.inside, torus) == graph_diameter(graph)
