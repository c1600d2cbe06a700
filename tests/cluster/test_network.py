"""The communication graph and the tiers that are read off it."""

import dataclasses

import networkx as nx
import numpy as np
import pytest

from planner.cluster.analysis.device_graph import DEVICE_VERTEX, build_tier_graph
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.network.build import build_network
from planner.cluster.network.network import compute_level_paths
from tests.examples import lab


def load_preset(name: str, nodes: int) -> Cluster:
    return resolve_cluster(presets.load_cluster_spec(name), name, nodes=nodes)


def test_the_graph_has_a_single_node_for_each_class_whatever_the_size() -> None:
    small, large = build_tier_graph(load_preset("dgx-h100", 64)), build_tier_graph(load_preset("dgx-h100", 16_384))
    assert isinstance(large, nx.Graph)
    assert large.number_of_nodes() <= small.number_of_nodes() + 2 < 10
    assert large.nodes[DEVICE_VERTEX]["count"] == 131_072
    assert nx.is_connected(large)


def test_the_path_up_is_as_wide_as_its_narrowest_edge() -> None:
    paths = compute_level_paths(lab(oversubscription=4.0).levels)
    bandwidth, latency = paths[-1]
    assert bandwidth == pytest.approx(25e9 / 4)
    assert latency == pytest.approx(7e-6)
    assert paths[0][0] == pytest.approx(300e9)


def test_members_of_a_group_below_each_tier() -> None:
    network = build_network(lab())  # 4 devices a node, 2 nodes a leaf, 4 nodes
    group, stride = np.array([2, 8, 16, 4, 4]), np.array([1, 1, 1, 4, 8])
    expected = [[2, 2, 2], [4, 8, 8], [4, 8, 16], [1, 2, 4], [1, 1, 2]]
    assert network.compute_members(group[:, None], stride[:, None]).tolist() == expected
    # two ranks of a node, each with the same two of the next node but one: parts multiply
    assert network.compute_members(np.array([[2, 2]]), np.array([[1, 8]])).tolist() == [[2, 2, 4]]


@pytest.mark.parametrize(("devices", "below"), [(24, 8), (48, 8), (40, 8), (144, 72), (120, 24)])
def test_of_groups_that_do_not_fit_the_parts_the_most_scattered_group_counts(devices: int, below: int) -> None:
    two = dataclasses.replace(build_network(lab()), tier_group_ranks=np.array([below, devices, devices]))
    sizes = [size for size in range(2, devices + 1) if devices % size == 0]
    for size, stride in ((n, s) for n in sizes for s in range(1, devices // n + 1) if devices % (n * s) == 0):
        first = np.arange(devices).reshape(-1, size, stride)
        touched = max(len(set(group)) for group in (first // below).swapaxes(1, 2).reshape(-1, size).tolist())
        counted = two.compute_members(np.array([[size]]), np.array([[stride]]))[0]
        assert counted.tolist() == [size / touched, size, size]
        # a chain of the same ranks leaves a part where one of its groups does
        assert two.compute_slowest_hop(np.array([stride]), np.array([size]))[1][0] == two.latency_s[int(touched > 1)]


def test_a_job_spreads_evenly_over_racks() -> None:
    network = build_network(load_preset("gb200-nvl72", 64))  # 256 devices on racks of 72: 64 of each
    assert 64 in network.tier_group_ranks.tolist()


def test_a_torus_gives_a_group_the_axes_that_it_spans() -> None:
    cluster = load_preset("tpu-v4", 16)  # 64 chips: 4 x 4 x 4
    network = build_network(cluster)
    rates = network.compute_rates_bytes_per_s(np.array([[4], [16], [64]]), np.array([[1], [1], [1]]))[:, -1]
    assert rates / rates[-1] == pytest.approx([1 / 3, 2 / 3, 1])
