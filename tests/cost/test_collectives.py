"""Collectives equal their closed forms, take the fastest algorithm and protocol, and keep their invariants."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cost import collectives
from planner.cost.arrays import Floats
from planner.cost.collectives import algorithms, compute_fastest_s
from planner.cost.collectives.algorithms import CollectiveSchedule, TierCrossing, compute_tier_crossing
from planner.cost.collectives.library import LibrarySpec, load_collective_library
from planner.cost.rank_groups import RankGroup
from planner.cost.rank_groups import build_rank_group as evenly
from planner.decode import decode_text
from planner.errors import InputError
from planner.hardware import database
from tests.examples import bulk_only, lab

NETWORK = build_network(lab())
FREE = replace(NETWORK, latency_s=np.zeros(3))
ALL = (
    collectives.compute_all_gather_s,
    collectives.compute_reduce_scatter_s,
    collectives.compute_all_reduce_s,
    collectives.compute_all_to_all_s,
)


def build_preset_network(name: str, nodes: int) -> Network:
    return build_network(resolve_cluster(presets.load_cluster_spec(name), name, nodes=nodes))


DGX = build_preset_network("dgx-h100", 4)
NCCL = load_collective_library("nccl")
HOPPER = NCCL.find_generation(DGX.architecture)
NVLS_SHARE = HOPPER.in_network / HOPPER.link_share


def compute_seconds(collective, size: float, group: int, stride: int = 1, network=NETWORK) -> float:
    return float(collective(network, np.array([size]), evenly(np.array([group]), np.array([stride])))[0])


def compute_bare_seconds(collective, size: float, group: int, stride: int = 1, network=FREE) -> float:
    """Without latency, with one protocol, bulk copies, that reaches all of the bandwidth."""
    with patch.object(collectives, "find_collective_library", return_value=bulk_only()):
        return compute_seconds(collective, size, group, stride, network)


def build_in_network_schedule(crossing: TierCrossing, size_bytes: Floats) -> CollectiveSchedule:
    return algorithms.build_in_network_all_reduce(crossing, size_bytes, NVLS_SHARE, NCCL.switch_reduction_share)


def test_a_ring_inside_the_node_runs_at_the_links_rate() -> None:
    assert compute_bare_seconds(collectives.compute_all_gather_s, 4e9, 4) == pytest.approx(0.75 * 4e9 / 300e9)
    assert compute_bare_seconds(collectives.compute_all_reduce_s, 4e9, 4) == pytest.approx(1.5 * 4e9 / 300e9)


def test_a_ring_over_nodes_leaves_by_every_members_nic() -> None:
    # 16 ranks, 4 a node: four NICs of 25 GB/s carry the rings out of a node, less than the links' 300
    assert compute_bare_seconds(collectives.compute_all_gather_s, 16e9, 16) == pytest.approx(15e9 / 100e9)
    # one rank a node: a single NIC
    assert compute_bare_seconds(collectives.compute_all_gather_s, 4e9, 4, 4) == pytest.approx(3e9 / 25e9)


def test_rings_leave_a_rack_by_a_few_members_nics() -> None:
    racks, size = build_preset_network("gb200-nvl72", 36), 64e9
    nics = NCCL.nic_bandwidth_share * racks.bandwidth_bytes_per_s[racks.through_nic][0]
    crossed = 143 / 144 * size / (NCCL.rails * nics)
    assert compute_seconds(collectives.compute_all_gather_s, size, 144, network=racks) == pytest.approx(
        crossed, rel=0.02
    )
    # eight members of each rack have a NIC each, as in a node
    spread = compute_seconds(collectives.compute_all_gather_s, size, 16, 9, network=racks)
    assert spread == pytest.approx(15 / 16 * size / (8 * nics), rel=0.02)


def test_latency_counts_every_step_of_the_ring() -> None:
    with patch.object(collectives, "find_collective_library", return_value=bulk_only()):
        assert compute_seconds(collectives.compute_all_gather_s, 0.0, 4) == pytest.approx(3 * 3e-6)
        # four nodes: 12 steps inside, 2 between the nodes of a leaf, 1 over the spine... of 15 in all
        assert compute_seconds(collectives.compute_all_gather_s, 0.0, 16) == pytest.approx(
            12 * 3e-6 + 2 * 6e-6 + 1 * 7e-6
        )


def test_small_messages_go_by_ll_and_large_messages_in_bulk() -> None:
    fast, _, bulk = NCCL.algorithms["ring"]
    # one device after another, 7 steps on one node
    alpha = HOPPER.latency * DGX.latency_s[0]
    assert compute_seconds(collectives.compute_all_gather_s, 8.0, 8, network=DGX) == pytest.approx(
        HOPPER.latency * fast.base_s + 7 * fast.link_step_ratio * alpha, rel=1e-3
    )
    size = 8e9
    # each member also moves its own part
    moved = (7 + NCCL.own_part) / 8 * size / (HOPPER.link_share * DGX.bandwidth_bytes_per_s[0])
    expected = HOPPER.latency * bulk.base_s + 7 * bulk.link_step_ratio * alpha + moved
    assert compute_seconds(collectives.compute_all_gather_s, size, 8, network=DGX) == pytest.approx(expected)


@given(st.sampled_from(ALL), st.sampled_from([2, 4, 8]), st.floats(1, 1e11))
def test_nothing_is_faster_than_the_links_rated_bandwidth(collective, ranks, size) -> None:
    sent = (1 if collective is collectives.compute_all_reduce_s else (ranks - 1) / ranks) * size
    assert compute_seconds(collective, size, ranks, network=DGX) >= sent / DGX.bandwidth_bytes_per_s[0]


def test_a_small_all_reduce_over_many_nodes_takes_the_tree() -> None:
    many = build_preset_network("dgx-a100", 64)
    ring = 2 * compute_seconds(collectives.compute_all_gather_s, 8.0, 512, network=many)
    assert compute_seconds(collectives.compute_all_reduce_s, 8.0, 512, network=many) < ring / 4


def test_reducing_switches_speed_up_a_large_all_reduce() -> None:
    plain = replace(DGX, in_network=np.zeros(DGX.tier_count, dtype=bool))
    assert DGX.in_network.tolist() == [True, False]
    assert not build_preset_network("dgx-a100", 4).in_network.any()
    # NVLS over a ring, which moves 2 (r-1)/r and each member's own part
    ratio = compute_seconds(collectives.compute_all_reduce_s, 16e9, 8, network=plain) / compute_seconds(
        collectives.compute_all_reduce_s, 16e9, 8, network=DGX
    )
    assert ratio == pytest.approx((14 + NCCL.own_part) / 8 * NVLS_SHARE, rel=0.01)
    # of two ranks a ring moves less
    assert compute_seconds(collectives.compute_all_reduce_s, 16e9, 2, network=plain) == compute_seconds(
        collectives.compute_all_reduce_s, 16e9, 2, network=DGX
    )
    sharp = replace(build_preset_network("dgx-h100", 64), in_network=np.ones(3, dtype=bool))
    assert compute_seconds(collectives.compute_all_reduce_s, 16e9, 512, network=sharp) < 0.8 * compute_seconds(
        collectives.compute_all_reduce_s, 16e9, 512, network=build_preset_network("dgx-h100", 64)
    )

    # a network that adds is nothing to a group inside a node, nor a node's switches to ranks of different nodes
    outside = compute_tier_crossing(
        replace(DGX, in_network=np.array([False, True])), RankGroup(np.array([[8], [4]]), np.array([[1], [8]]))
    )
    assert build_in_network_schedule(outside, np.ones(2)).is_available.tolist() == [False, True]
    inside = compute_tier_crossing(DGX, RankGroup(np.array([[8], [4]]), np.array([[1], [8]])))
    assert build_in_network_schedule(inside, np.ones(2)).is_available.tolist() == [True, False]


def test_where_only_the_network_reduces_a_node_reduces_first() -> None:
    at = compute_tier_crossing(DGX, RankGroup(np.array([[16], [2]]), np.array([[1], [8]])))
    size, share = np.full(2, 16e9), NCCL.switch_reduction_share

    def parts(*adds: bool) -> list[float]:
        network = replace(DGX, in_network=np.array(adds))
        return build_in_network_schedule(replace(at, network=network), size).link_time_s.tolist()

    links, nics = at.device_bytes_per_s[:, 0], at.device_bytes_per_s[:, 1]
    chain = 2 * 7 / 8 * size[0] / links[0]
    through = size[0] / share / at.inner_members[0, 1] / nics[0]
    nvls = size[0] / NVLS_SHARE / links[0]
    alone = size[1] / share / nics[1]
    assert parts(False, True) == pytest.approx([chain + through, alone])
    assert parts(True, True) == pytest.approx([max(nvls, through), alone])


def test_an_unavailable_algorithm_is_not_taken() -> None:
    at = compute_tier_crossing(DGX, RankGroup(np.array([[8], [16]]), np.array([[1], [1]])))
    size = np.full(2, 1e9)
    slow = algorithms.build_ring_gather(at, size)
    quick = replace(slow, link_time_s=slow.link_time_s / 10, is_available=np.array([True, False]))
    both, fast_only, slow_only = (
        compute_fastest_s(at, NCCL, candidates, size, "all-gather") for candidates in ([slow, quick], [quick], [slow])
    )
    assert both[0] == fast_only[0] < slow_only[0]
    assert both[1] == slow_only[1] < fast_only[1] == np.inf


def test_doubling_is_for_powers_of_two_with_a_single_rank_a_node() -> None:
    sizes, size = np.array([[4], [4], [3]]), np.full(3, 1e3)
    at = compute_tier_crossing(DGX, RankGroup(sizes, np.array([[8], [1], [8]])))
    assert algorithms.build_halving_gather(at, size, single_rank_per_node=True).is_available.tolist() == [
        True,
        False,
        False,
    ]


def test_a_torus_has_neither_trees_nor_reducing_switches() -> None:
    pod = build_preset_network("tpu-v4", 16)
    at = compute_tier_crossing(pod, evenly(np.array([64]), np.array([1])))
    assert not algorithms.build_tree_all_reduce(at, np.ones(1)).is_available[0]
    assert not build_in_network_schedule(at, np.ones(1)).is_available[0]
    # 4 x 4 x 4: nine steps, not 63
    assert algorithms.build_torus_gather(at, np.ones(1)).steps.sum() == 9
    # beyond the pod (1,024 nodes of 4) by the data centre's network: the pod's rings, then one between the pods
    pods = build_preset_network("tpu-v4", 2048)
    whole = compute_seconds(collectives.compute_all_gather_s, 1e9, 8192, network=pods)
    within = compute_seconds(collectives.compute_all_gather_s, 1e9, 4096, network=pods)
    assert whole > within


def test_all_to_all_carries_only_traffic_for_others_out_of_a_node() -> None:
    # 16 ranks: 12 of 16 parts leave the node by the device's own NIC
    assert compute_bare_seconds(collectives.compute_all_to_all_s, 16e9, 16) == pytest.approx(12e9 / 25e9)


def test_all_to_all_on_a_torus_takes_longer_paths_than_a_ring() -> None:
    # 8 x 8 x 8 of chips: half of all that is sent passes the middle of the longest side
    pod, ranks = build_preset_network("tpu-v4", 128), evenly(np.array([512]), np.array([1]))
    size, reached = 64e9, load_collective_library("xla").other_generations.link_share
    all_to_all, ring = (
        compute_tier_crossing(pod, ranks, pattern).device_bytes_per_s for pattern in ("all-to-all", "ring")
    )
    assert all_to_all[0, 0] < ring[0, 0]
    for collective, moved in (
        (lambda: collectives.compute_all_to_all_s(pod, np.array([size]), ranks), 511 / 512 * size),
        # of one copy each rank keeps its own share; a token to 8 experts of 512 ranks goes to nearly as many
        (
            lambda: collectives.compute_expert_all_to_all_s(pod, np.array([size / 8]), 8, ranks),
            size / 8 * 511 * (1 - (511 / 512) ** 8),
        ),
    ):
        assert float(collective()[0]) == pytest.approx(moved / reached / all_to_all[0, 0], rel=1e-3)


def test_many_partners_cost_their_messages() -> None:
    few, many = (
        compute_seconds(collectives.compute_all_to_all_s, 8.0, ranks, network=build_preset_network("dgx-h100", 64))
        for ranks in (64, 512)
    )
    assert many - few == pytest.approx(448 * NCCL.message.network, rel=0.05)


def test_a_point_to_point_message_takes_the_innermost_tier() -> None:
    sizes = np.full(3, 1e9)
    times = collectives.compute_point_to_point_s(FREE, sizes, np.array([1, 4, 8]), np.array([2, 2, 2]))
    links, nics = 300e9 * NCCL.other_generations.link_share, 25e9 * NCCL.nic_bandwidth_share
    assert times == pytest.approx([1e9 / links, 1e9 / nics, 1e9 / nics])


networks = st.sampled_from(
    [
        NETWORK,
        DGX,
        build_preset_network("dgx-a100", 4),
        build_preset_network("gaudi2", 4),
        build_preset_network("tpu-v4", 16),
    ]
)
groups = st.sampled_from([(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (2, 4), (4, 4), (2, 8), (4, 2), (8, 2)])


@given(st.sampled_from(ALL), networks, st.floats(0, 1e11), groups, st.floats(1, 10))
def test_more_bandwidth_and_less_latency_never_slow_a_collective(collective, network, size, group, factor) -> None:
    before = compute_seconds(collective, size, *group, network=network)
    wider = replace(network, bandwidth_bytes_per_s=network.bandwidth_bytes_per_s * factor)
    quicker = replace(network, latency_s=network.latency_s / factor)
    assert compute_seconds(collective, size, *group, network=wider) <= before * (1 + 1e-12)
    assert compute_seconds(collective, size, *group, network=quicker) <= before * (1 + 1e-12)
    assert (before == 0) == (group[0] == 1)


@given(st.sampled_from(ALL), networks, st.floats(1, 1e11), groups, st.floats(1, 10))
def test_more_data_never_takes_less_time(collective, network, size, group, factor) -> None:
    before = compute_seconds(collective, size, *group, network=network)
    assert compute_seconds(collective, size * factor, *group, network=network) >= before * (1 - 1e-12)


@given(networks, st.lists(st.tuples(groups, st.floats(1, 1e10)), min_size=2, max_size=8))
def test_a_collective_takes_the_same_time_alone_and_among_others(network, many) -> None:
    sizes, strides = (np.array([group[i] for group, _ in many]) for i in (0, 1))
    size = np.array([bytes_sent for _, bytes_sent in many])
    for collective in ALL:
        together = collective(network, size, evenly(sizes, strides))
        alone = [compute_seconds(collective, bytes_sent, *group, network=network) for group, bytes_sent in many]
        assert together.tolist() == alone


@pytest.mark.parametrize(
    ("correct", "misspelt", "key", "suggestion"),
    [
        ("algorithms.tree.", "algorithms.treee.", "algorithms", "tree"),
        ('one_rank_a_node = ["halving"]', 'one_rank_a_node = ["halvin"]', "one_rank_a_node[0]", "halving"),
    ],
)
def test_an_unknown_algorithm_of_a_library_is_refused(correct: str, misspelt: str, key: str, suggestion: str) -> None:
    text = (database.find_database_path() / "collectives" / "nccl.toml").read_text("utf-8")
    with pytest.raises(InputError) as refusal:
        decode_text(text.replace(correct, misspelt), "toml", LibrarySpec, "nccl.toml")
    assert (refusal.value.origin, refusal.value.key, refusal.value.suggestion) == ("nccl.toml", key, suggestion)
