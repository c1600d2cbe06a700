"""Bisection and diameter: the closed forms of the regular fabrics are what flows over the written-out graph reach."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.cluster.analysis.bisection import (
    compute_bisection,
    compute_regular_bisection,
    count_half_devices,
    is_single_torus,
)
from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.analysis.diameter import compute_diameter_hops
from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.regular.torus import compute_coordinates, find_cluster_torus
from planner.cluster.wired.build_links import build_regular_wiring
from tests.cluster.fabrics import build_fabric, build_node_cluster, build_tori, build_torus, level, load_preset
from tests.cluster.max_flow import compute_max_flow_bytes_per_s
from tests.cluster.test_bisection_wired import compute_bisection_by_brute_force
from tests.cluster.test_wired_diameter import compute_graph_diameter

GB = 1e9
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def build_graph(cluster: Cluster) -> nx.Graph[str]:
    return build_device_graph(build_regular_wiring(cluster), cluster.intra_node, find_cluster_torus(cluster))


def list_devices(graph: nx.Graph[str]) -> list[str]:
    return [name for name, vertex in graph.nodes(data=True) if vertex["kind"] == "device"]


def compute_flow_between_halves(cluster: Cluster, graph: nx.Graph[str]) -> float:
    """Between the first half and the second; of a torus of the halves across each axis between which it is least."""
    names, whole = np.array(list_devices(graph)), find_cluster_torus(cluster)
    if whole is None or not is_single_torus(cluster):
        halves = [np.arange(len(names)) < count_half_devices(cluster)]
    else:
        grid = tuple(side // part for side, part in zip(whole.shape, whole.block, strict=True))
        host, local = np.divmod(np.arange(len(names)), cluster.devices_per_node)
        places = compute_coordinates(host, grid) * np.array(whole.block) + compute_coordinates(local, whole.block)
        halves = list(enumerate_halves(places, whole.shape, tuple(range(len(whole.shape)))))
    flows = []
    for half in halves:
        assert half.sum() == count_half_devices(cluster)
        flows.append(compute_max_flow_bytes_per_s(graph, set(names[half]), set(names[~half])))
    return min(flows)


def enumerate_halves(places: Ints, shape: tuple[int, ...], axes: tuple[int, ...]) -> Iterator[Bools]:
    """Across each axis; the middle row of an odd one is halved across each of the others as well."""
    for axis in axes:
        side = shape[axis]
        middle = (places[:, axis] == side // 2) & (side % 2 == 1)
        rest = tuple(other for other in axes if other != axis)
        within = (
            enumerate_halves(places, shape, rest) if side % 2 and rest else [np.zeros(len(places), dtype=np.bool_)]
        )
        for half in within:
            yield (places[:, axis] < side // 2) | (middle & half)


def check(cluster: Cluster, *, hops: bool = True) -> None:
    """The figure is at least what flows between the halves, and no more where it is said to be exact."""
    graph, wiring = build_graph(cluster), build_regular_wiring(cluster)
    cut, flow = compute_regular_bisection(cluster), compute_flow_between_halves(cluster, graph)
    assert cut.bytes_per_s >= flow * (1 - 1e-7)
    assert not cut.is_exact or cut.bytes_per_s == pytest.approx(flow, rel=1e-7)
    middle = compute_bisection(cluster, wiring)
    assert middle.bytes_per_s <= cut.bytes_per_s * (1 + 1e-9)
    if 2 <= cluster.nodes <= 8 and not is_single_torus(cluster):
        narrowest = compute_bisection_by_brute_force(wiring)
        assert middle.bytes_per_s >= narrowest * (1 - 1e-7)
        assert not middle.is_exact or middle.bytes_per_s == pytest.approx(narrowest, rel=1e-7)
    if hops:
        assert compute_diameter_hops(cluster) == compute_graph_diameter(graph)


@pytest.mark.parametrize(
    ("cluster", "expected", "hops"),
    [
        # k-ary n-cube: 2 k^(n-1) links of 10 GB/s where it is closed, k^(n-1) where it is open; n k / 2 or n (k - 1)
        (build_torus([4, 4]), 2 * 4 * 10, 4),
        (build_torus([8, 8, 8]), 2 * 64 * 10, 12),
        (build_torus([4, 4, 4], "false"), 16 * 10, 9),
        (build_torus([16, 16, 2], devices=4), 2 * 32 * 10, 17),
        (build_torus([4, 8], "[true, false]"), 4 * 10, 9),
        (build_torus([3, 4]), 2 * 3 * 10, 3),
        # sides that are odd: two rows and half of the third; a plane of an axis of five, and half of that in turn
        (build_torus([3, 3]), (2 * 3 + 2) * 10, 2),
        (build_torus([5, 2], "false"), (2 + 1) * 10, 5),
        (build_torus([4, 4, 5], "[true, true, false]"), (16 + 2 * 4) * 10, 8),
        # complete graph: (n / 2)^2 links of 1 / (n - 1) of a device
        (build_node_cluster("fully-connected"), 16 * 10, 1),
        # DGX-1: 2 + 2 + 1 + 1 of 6 links between the quads
        (build_node_cluster("hybrid-cube-mesh"), 70, 2),
        (build_node_cluster("nvswitch"), 4 * 70, 2),
        (build_node_cluster("pcie", 4), 2 * 70, 2),
        (build_node_cluster("pcie", bridges=2, switch_devices=2, bridge='"50GB/s"'), 50, 5),
        (build_node_cluster("pcie", switch_devices=2), 2 * 70, 4),
        # half the devices, through a top level that gives 25 GB/s a device, or a quarter of it
        (build_fabric(level("leaf", "fat-tree"), nodes=4), 16 * 25, 2),
        (
            build_fabric(level("leaf", "rail", 4), level("top", "fat-tree", oversubscription=4), nodes=16),
            64 * 25 / 4,
            4,
        ),
        # of six groups of a dragonfly+ three and three: 9 of each group's 5 / 5 uplinks
        (
            build_fabric(level("leaf", "fat-tree", 2), level("x", "fat-tree", 4), level("g", "dragonfly+"), nodes=24),
            9 * (32 * 25) / 5,
            5,
        ),
    ],
)
def test_closed_forms(cluster: Cluster, expected: float, hops: int) -> None:
    assert compute_regular_bisection(cluster).bytes_per_s == pytest.approx(expected * GB)
    assert compute_diameter_hops(cluster) == hops
    check(cluster, hops=cluster.devices < 300)


@pytest.mark.parametrize("nodes", [1, 2, 9, 24, 64])
@pytest.mark.parametrize("name", ["dgx-h100", "dgx-v100", "gb200-nvl72", "mi300x", "tpu-v4", "gaudi2"])
def test_a_preset_has_the_bisection_of_its_written_out_graph(name: str, nodes: int) -> None:
    check(load_preset(name, nodes), hops=nodes < 24)


TOPOLOGIES = st.sampled_from(["fat-tree", "rail"])
TAPER = st.sampled_from([1, 1.5, 2, 4])


@settings(max_examples=40)
@given(
    nodes=st.integers(2, 40),
    devices=st.sampled_from([1, 2, 4, 8]),
    sizes=st.lists(st.integers(2, 4), min_size=0, max_size=2),
    first=TOPOLOGIES,
    top=st.sampled_from(["fat-tree", "dragonfly+"]),
    tapers=st.tuples(TAPER, TAPER, TAPER),
)
def test_any_tree_of_switches_has_the_bisection_of_its_graph(
    nodes: int, devices: int, sizes: list[int], first: str, top: str, tapers: tuple[float, float, float]
) -> None:
    joined = list(itertools.accumulate(sizes, lambda below, size: below * size))
    levels = [
        level(f"l{n}", "fat-tree" if n else first, size, oversubscription=tapers[n]) for n, size in enumerate(joined)
    ]
    topology = top if levels else first
    cluster = build_fabric(
        *levels, level("top", topology, oversubscription=tapers[-1]), nodes=nodes, devices=devices, nics=devices
    )
    check(cluster, hops=cluster.devices <= 64)


@settings(max_examples=25)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    wrap=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_any_torus_has_the_bisection_and_the_diameter_of_its_graph(shape: list[int], wrap: list[bool]) -> None:
    axes = ", ".join(str(closed).lower() for closed in wrap[: len(shape)])
    cluster = build_torus(shape, f"[{axes}]")
    if cluster.devices > 1:
        check(cluster, hops=cluster.devices <= 64)


@pytest.mark.parametrize(
    "cluster",
    [
        build_node_cluster("hybrid-cube-mesh"),
        build_node_cluster("hybrid-cube-mesh", used=5),
        build_node_cluster("fully-connected", 6),
        build_node_cluster("pcie", 8, bridges=2, switch_devices=2, used=6),
        build_node_cluster("pcie", 8, bridges=2, switch_devices=2),
        build_torus([2, 4]),
        build_torus([8], "false"),
    ],
)
def test_no_two_halves_are_joined_by_less(cluster: Cluster) -> None:
    graph = build_graph(cluster)
    names = list_devices(graph)
    cuts = [
        compute_max_flow_bytes_per_s(graph, set(half), set(names) - set(half))
        for half in itertools.combinations(names, len(names) // 2)
    ]
    bisection = compute_bisection(cluster, build_regular_wiring(cluster))
    assert bisection.is_exact or cluster.devices == 6
    assert min(cuts) == pytest.approx(bisection.bytes_per_s)


@pytest.mark.parametrize(
    ("cluster", "is_exact"),
    [
        (build_fabric(level("leaf", "fat-tree", 4), level("top", "fat-tree", oversubscription=4), nodes=9), False),
        (build_fabric(level("leaf", "fat-tree", 4), level("top", "fat-tree", oversubscription=4), nodes=8), True),
        (build_tori([4], "false", nodes=7), False),
        (build_tori([3], "true", nodes=8), False),
        (build_tori([2, 2], "true", nodes=8), True),
        (build_tori([4], "true", nodes=12), False),
    ],
)
def test_uneven_groups_have_a_bound(cluster: Cluster, is_exact: bool) -> None:
    cut, narrowest = (
        compute_bisection(cluster, build_regular_wiring(cluster)),
        compute_bisection_by_brute_force(build_regular_wiring(cluster)),
    )
    assert cut.is_exact == is_exact
    assert narrowest * (1 - 1e-9) <= cut.bytes_per_s <= 1.5 * narrowest
    assert not is_exact or cut.bytes_per_s == pytest.approx(narrowest)


def test_groups_that_cannot_be_alike_take_whole_groups_of_the_level_below() -> None:
    # leaves of three nodes each, two of them below the first spine: none is below both
    cluster = build_fabric(
        level("leaf", "fat-tree", 4), level("spine", "fat-tree", 8), level("core", "fat-tree"), nodes=9
    )
    assert compute_group_devices(cluster) == (8, 24, 48, 72)
    check(cluster)


def test_a_part_of_a_node_has_a_part_of_its_links() -> None:
    cluster = build_node_cluster("fully-connected", used=4)
    assert compute_regular_bisection(cluster).bytes_per_s == pytest.approx(4 * 10 * GB)
    check(cluster)


def test_the_ranks_of_the_graph_are_in_the_order_of_its_devices() -> None:
    graph = build_graph(load_preset("dgx-h100", 2))
    ranks = [graph.nodes[name]["rank"] for name in list_devices(graph)]
    assert ranks == np.arange(16).tolist()
    assert graph.nodes["node-1/3"]["rank"] == 11
