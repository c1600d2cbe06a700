"""Collectives equal their closed forms and keep their invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster.network import build_network
from planner.cost import collectives
from planner.cost.ranks import group as evenly
from tests.examples import lab

NETWORK = build_network(lab())
FREE = replace(NETWORK, latency_s=np.zeros(3))
ONE = np.ones(1, dtype=np.int64)
ALL = (collectives.all_gather, collectives.reduce_scatter, collectives.all_reduce, collectives.all_to_all)


def seconds(collective, size: float, group: int, stride: int = 1, network=NETWORK) -> float:
    return float(collective(network, np.array([size]), evenly(np.array([group]), np.array([stride])))[0])


def test_a_ring_inside_the_node_runs_at_the_links_rate() -> None:
    assert seconds(collectives.all_gather, 4e9, 4, network=FREE) == pytest.approx(0.75 * 4e9 / 300e9)
    assert seconds(collectives.all_reduce, 4e9, 4, network=FREE) == pytest.approx(1.5 * 4e9 / 300e9)


def test_a_ring_over_nodes_leaves_by_every_members_card() -> None:
    # 16 ranks, 4 a node: four cards of 25 GB/s carry the rings out of a node, less than the links' 300
    assert seconds(collectives.all_gather, 16e9, 16, network=FREE) == pytest.approx(15e9 / 100e9)
    # one rank a node: a single card
    assert seconds(collectives.all_gather, 4e9, 4, 4, network=FREE) == pytest.approx(3e9 / 25e9)


def test_latency_counts_every_step_of_the_ring() -> None:
    assert seconds(collectives.all_gather, 0.0, 4) == pytest.approx(3 * 3e-6)
    # four nodes: 12 steps inside, 2 between the nodes of a leaf, 1 over the spine... of 15 in all
    assert seconds(collectives.all_gather, 0.0, 16) == pytest.approx(12 * 3e-6 + 2 * 6e-6 + 1 * 7e-6)


def test_a_small_all_reduce_takes_the_tree() -> None:
    ring = 2 * seconds(collectives.all_gather, 0.0, 16)
    assert seconds(collectives.all_reduce, 0.0, 16) < ring / 2


def test_all_to_all_carries_out_what_is_for_others() -> None:
    # 16 ranks: 12 of 16 parts leave the node by the device's own card
    assert seconds(collectives.all_to_all, 16e9, 16, network=FREE) == pytest.approx(12e9 / 25e9)


def test_a_send_takes_the_innermost_tier() -> None:
    sizes = np.full(3, 1e9)
    times = collectives.send(FREE, sizes, np.array([1, 4, 8]), np.array([2, 2, 2]))
    assert times == pytest.approx([1e9 / 300e9, 1e9 / 25e9, 1e9 / 25e9])


groups = st.sampled_from([(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (2, 4), (4, 4), (2, 8), (4, 2), (8, 2)])


@given(st.sampled_from(ALL), st.floats(0, 1e11), groups, st.floats(1, 10))
def test_more_bandwidth_and_less_latency_never_slow_a_collective(collective, size, group, factor) -> None:
    before = seconds(collective, size, *group)
    wider = replace(NETWORK, bandwidth_bytes_per_s=NETWORK.bandwidth_bytes_per_s * factor)
    quicker = replace(NETWORK, latency_s=NETWORK.latency_s / factor)
    assert seconds(collective, size, *group, network=wider) <= before * (1 + 1e-12)
    assert seconds(collective, size, *group, network=quicker) <= before * (1 + 1e-12)
    assert (before == 0) == (group[0] == 1)


@given(st.sampled_from(ALL), st.floats(1, 1e11), groups, st.floats(1, 10))
def test_more_data_never_takes_less_time(collective, size, group, factor) -> None:
    assert seconds(collective, size * factor, *group) >= seconds(collective, size, *group)
