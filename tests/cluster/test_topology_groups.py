"""What a group of ranks gets of a fabric is what flows over the graph of its devices can reach."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linprog

from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.model.cluster import Cluster
from planner.cluster.network.build import build_network
from planner.cluster.regular.shares import compute_dragonfly_share
from planner.cluster.regular.torus import compute_coordinates, compute_grid_index, find_cluster_torus
from planner.cluster.wired.build_links import build_regular_wiring
from tests.cluster.fabrics import build_fabric, build_node_cluster, build_torus, level, load_preset
from tests.cluster.max_flow import compute_max_flow_bytes_per_s

GB = 1e9


def build_graph(cluster: Cluster) -> nx.Graph[str]:
    return build_device_graph(build_regular_wiring(cluster), cluster.intra_node, find_cluster_torus(cluster))


def rate(cluster: Cluster, size: int, stride: int, pattern: str = "ring") -> float:
    """Bytes/s of the slowest tier that the group crosses, with all its uplinks."""
    network = build_network(cluster)
    sizes, strides = np.array([[size]]), np.array([[stride]])
    members = network.compute_members(sizes, strides)[0]
    below = np.concatenate([[1.0], members[:-1]])
    rates = network.compute_rates_bytes_per_s(sizes, strides, pattern)[0]  # type: ignore[arg-type]
    return float(min(rates[members > below] * below[members > below]))


def list_group_devices(cluster: Cluster, size: int, stride: int, first: int = 0) -> list[str]:
    """Names of the devices of one group; ranks of a torus count along its axes."""
    ranks = first + stride * np.arange(size)
    shape = find_cluster_torus(cluster)
    if shape is not None:
        grid = tuple(side // part for side, part in zip(shape.shape, shape.block, strict=True))
        places = compute_coordinates(ranks, shape.shape)
        host, local = (
            compute_grid_index(places // shape.block, grid),
            compute_grid_index(places % shape.block, shape.block),
        )
        ranks = host * cluster.devices_per_node + local
    return [f"node-{rank // cluster.devices_per_node}/{rank % cluster.devices_per_node}" for rank in ranks.tolist()]


def can_gather(graph: nx.Graph[str], group: list[str], rate: float) -> bool:
    """Whether a group can gather at so many bytes/s: each rank's part reaches all others over trees that share no
    link. A source that feeds every rank x must reach each of them with g x (Zhao et al. 2024, arXiv 2402.06787).
    """
    fed, part = graph.copy(), rate / (len(group) - 1)
    for rank in group:
        fed.add_edge("source", rank, bandwidth_bytes_per_s=part)
    wanted = len(group) * part * (1 - 1e-7)
    return all(compute_max_flow_bytes_per_s(fed, {"source"}, {rank}) >= wanted for rank in group)


def select_group(graph: nx.Graph[str], group: list[str]) -> nx.Graph[str]:
    """The graph without other devices, of which switches' links keep the group's share."""
    share = {}
    for name, vertex in graph.nodes(data=True):
        below = {low for low in nx.descendants_at_distance(graph, name, 1) if graph.nodes[low]["kind"] == "device"}
        share[name] = len(below & set(group)) / len(below) if vertex["kind"] != "device" and below else 1.0
    kept = graph.subgraph(
        [n for n, vertex in graph.nodes(data=True) if vertex["kind"] != "device" or n in group]
    ).copy()
    for low, high, edge in kept.edges(data=True):
        if low not in group and high not in group:
            edge["bandwidth_bytes_per_s"] *= min(share[low], share[high])
    return kept


LEAF, SPINE = level("leaf", "fat-tree", 2), level("spine", "fat-tree", oversubscription=2)


@pytest.mark.parametrize(
    ("cluster", "size", "stride"),
    [
        (load_preset("dgx-h100", 2), 8, 1),
        (load_preset("dgx-h100", 2), 2, 4),
        (load_preset("dgx-h100", 4), 4, 8),
        (load_preset("gb200-nvl72", 4), 16, 1),
        (build_fabric(LEAF, SPINE, nodes=4), 4, 8),
        (build_node_cluster("fully-connected"), 2, 1),
        (build_node_cluster("fully-connected"), 4, 1),
        (build_node_cluster("fully-connected"), 4, 2),
        (build_node_cluster("fully-connected"), 8, 1),
        (build_node_cluster("hybrid-cube-mesh"), 2, 1),
        (build_node_cluster("hybrid-cube-mesh"), 4, 1),
        (build_node_cluster("hybrid-cube-mesh"), 4, 2),
        (build_node_cluster("hybrid-cube-mesh"), 8, 1),
        (build_torus([4, 4]), 4, 1),
        (build_torus([4, 4]), 4, 4),
        (build_torus([4, 4], devices=4), 16, 1),
        (build_torus([4, 4]), 2, 1),
        (build_torus([4, 4]), 8, 1),
        (build_torus([4, 4], "false"), 16, 1),
        (build_torus([5, 2], "[true, false]"), 10, 1),
    ],
)
def test_a_group_gathers_as_fast_as_trees_over_its_links_allow(cluster: Cluster, size: int, stride: int) -> None:
    graph = build_graph(cluster)
    # the slowest of the groups side by side sets the pace
    starts = range(0, cluster.devices, size) if stride == 1 else range(min(stride, cluster.devices // size))
    groups = [list_group_devices(cluster, size, stride, first) for first in list(starts)[:2]]
    bytes_per_s = rate(cluster, size, stride)
    assert all(can_gather(select_group(graph, group), group, bytes_per_s) for group in groups)
    assert not all(can_gather(select_group(graph, group), group, 1.001 * bytes_per_s) for group in groups)


def compute_concurrent_flow(graph: nx.Graph[str], demands: dict[str, dict[str, float]]) -> float:
    """The largest factor by which all demands at once can be sent over any paths: a linear program."""
    arcs = [(a, b, rate) for low, high, rate in graph.edges(data="bandwidth_bytes_per_s")  # type: ignore[arg-type]
            for a, b in ((low, high), (high, low))]  # fmt: skip
    place = {name: index for index, name in enumerate(graph)}
    sources, count = list(demands), len(arcs)
    balance = np.zeros((len(sources) * len(place), len(sources) * count + 1))
    for index, source in enumerate(sources):
        for number, (tail, head, _) in enumerate(arcs):
            balance[index * len(place) + place[tail], index * count + number] = 1
            balance[index * len(place) + place[head], index * count + number] = -1
        balance[index * len(place) + place[source], -1] = -sum(demands[source].values())
        for target, amount in demands[source].items():
            balance[index * len(place) + place[target], -1] += amount
    full = np.concatenate([np.tile(np.eye(count), len(sources)), np.zeros((count, 1))], axis=1)
    cost = np.zeros(full.shape[1])
    cost[-1] = -1
    capacity = np.array([rate for *_, rate in arcs]) / GB
    done = linprog(cost, A_ub=full, b_ub=capacity, A_eq=balance, b_eq=np.zeros(len(balance)))
    return float(-done.fun) * GB


@pytest.mark.parametrize(
    ("cluster", "size", "stride"),
    [
        (build_node_cluster("fully-connected"), 8, 1),
        (build_node_cluster("fully-connected"), 2, 1),
        (build_node_cluster("hybrid-cube-mesh"), 8, 1),
        (build_node_cluster("pcie", bridges=2, switch_devices=2, bridge='"50GB/s"'), 8, 1),
        (build_node_cluster("pcie", bridges=2, switch_devices=2, bridge='"50GB/s"'), 4, 2),
        (build_node_cluster("pcie", switch_devices=2), 2, 4),
        (build_node_cluster("pcie", bridges=2), 4, 1),
        (build_torus([4]), 4, 1),
        (build_torus([5]), 5, 1),
        (build_torus([4], "false"), 4, 1),
        (build_torus([4, 2], "[true, false]"), 8, 1),
        (build_torus([4, 4]), 4, 4),
        (build_torus([2, 3], "false"), 6, 1),
    ],
)
def test_all_to_alls_are_as_fast_as_concurrent_flows_allow(cluster: Cluster, size: int, stride: int) -> None:
    block = size * stride
    firsts = [base + offset for base in range(0, cluster.devices, block) for offset in range(stride)]
    groups = [list_group_devices(cluster, size, stride, first) for first in firsts]
    graph = build_graph(cluster)
    if cluster.levels[0].topology != "pcie":
        groups = groups[:1]  # on links of its own
        graph = graph.subgraph(groups[0])
    demands = {
        source: {target: 1 / (size - 1) for target in group if target != source}
        for group in groups
        for source in group
    }
    assert rate(cluster, size, stride, "all-to-all") == pytest.approx(
        compute_concurrent_flow(graph, demands), rel=1e-6
    )


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (4, 2), (2, 4), (4, 1), (2, 1)])
def test_rings_share_the_uplinks_of_a_pcie_node(size: int, stride: int) -> None:
    cluster = build_node_cluster("pcie", bridges=2, switch_devices=2, bridge='"50GB/s"')
    block = size * stride
    demands = {}
    for first in [base + offset for base in range(0, 8, block) for offset in range(stride)]:
        group = list_group_devices(cluster, size, stride, first)
        demands |= {source: {target: 1.0} for source, target in zip(group, group[1:] + group[:1], strict=True)}
    assert rate(cluster, size, stride) == pytest.approx(
        compute_concurrent_flow(build_graph(cluster), demands), rel=1e-6
    )


@pytest.mark.parametrize("groups", [3, 4, 5, 6])
def test_a_ring_over_the_groups_of_a_dragonfly_passes_other_groups(groups: int) -> None:
    graph: nx.Graph[str] = nx.complete_graph([f"g{n}" for n in range(groups)])
    nx.set_edge_attributes(graph, GB / (groups - 1), "bandwidth_bytes_per_s")
    demands = {f"g{n}": {f"g{(n + 1) % groups}": 1.0} for n in range(groups)}
    assert compute_concurrent_flow(graph, demands) == pytest.approx(compute_dragonfly_share(groups) * GB)


def test_a_point_to_point_message_has_a_single_link() -> None:
    for cluster, share in (
        (build_node_cluster("fully-connected"), 1 / 7),
        (build_node_cluster("hybrid-cube-mesh"), 1 / 6),
        (build_node_cluster("nvswitch"), 1.0),
        (build_torus([4, 4]), 1 / 4),
    ):
        network = build_network(cluster)
        bytes_per_s = network.compute_slowest_hop(np.array([1]), np.array([2]))[0][0]
        assert bytes_per_s == pytest.approx(share * cluster.levels[0].bandwidth_bytes_per_s)


def test_paths_over_other_devices_are_taken_where_no_links_join_a_group() -> None:
    cluster = build_node_cluster("hybrid-cube-mesh")  # 3 and 4 have no link
    assert 0 < rate(cluster, 3, 1) < 70 * GB / 6
