"""The closed forms of the algorithms against a simulation of every link, alone and side by side."""

from dataclasses import replace

import numpy as np
import pytest

from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cluster.regular.shares import BandwidthShares
from planner.cluster.regular.torus import Torus
from planner.cost.collectives import algorithms
from planner.cost.collectives.algorithms import compute_tier_crossing
from planner.cost.rank_groups import RankGroup
from tests.cost import link_simulation as links
from tests.examples import lab

SIZE = 1.6e9
TOLERANCE = 0.02
SHAPES = [{}, {"oversubscription": 4.0}, {"link": 40}, {"nodes": 8, "oversubscription": 2.0}, {"nodes": 2}]


def build_group(size: int, stride: int = 1) -> RankGroup:
    return RankGroup(np.array([[size]]), np.array([[stride]]))


def free(network: Network) -> Network:
    return replace(network, latency_s=0 * network.latency_s)


def test_water_filling_gives_every_flow_its_fair_share() -> None:
    # two flows on a link of 10, one of them also on a link of 3: 7 and 3
    uses = np.array([[True, False], [True, True]])
    assert links.max_min(uses, np.array([10.0, 3.0])) == pytest.approx([7.0, 3.0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_ring_takes_the_time_of_its_links(shape: dict[str, float], stride: int) -> None:
    cluster = lab(**shape)
    fabric, network = links.switched(cluster), build_network(cluster)
    every = [list(range(first, cluster.devices, stride)) for first in range(stride)]
    at = compute_tier_crossing(network, build_group(len(every[0]), stride))
    formula = algorithms.build_ring_gather(at, np.array([SIZE])).link_time_s[0]
    # all groups at once, as they are in a training step: each has its share of every tier
    simulated = fabric.seconds(*(links.ring_gather(fabric, ranks, 4, SIZE) for ranks in every))
    assert max(simulated) == pytest.approx(formula, rel=TOLERANCE)


@pytest.mark.parametrize("shape", [{}, {"link": 20}, {"nodes": 8}, {"nodes": 2}])
def test_trees_take_the_time_of_their_busiest_links(shape: dict[str, float]) -> None:
    cluster = lab(**shape)
    fabric, network = links.switched(cluster), build_network(cluster)
    formula = algorithms.build_tree_all_reduce(
        compute_tier_crossing(network, build_group(cluster.devices)), np.array([SIZE])
    ).link_time_s[0]
    (simulated,) = fabric.seconds(links.tree_reduce(fabric, range(cluster.devices), 4, SIZE))
    assert simulated == pytest.approx(formula, rel=TOLERANCE)


@pytest.mark.parametrize("link", [30, 300])
def test_a_ring_a_tier_takes_the_sum_of_the_tiers(link: float) -> None:
    cluster = lab(link=link, nodes=2)
    fabric, at = links.switched(cluster), compute_tier_crossing(build_network(cluster), build_group(8))
    formula = algorithms.build_hierarchical_gather(at, np.array([SIZE])).link_time_s[0]
    (simulated,) = fabric.seconds(links.hierarchical_gather(fabric, 2, 4, SIZE))
    assert simulated == pytest.approx(formula, rel=TOLERANCE)


@pytest.mark.parametrize("oversubscription", [1.0, 4.0])
@pytest.mark.parametrize("stride", [1, 4])
def test_doubling_takes_the_sum_of_its_rounds(oversubscription: float, stride: int) -> None:
    cluster = lab(oversubscription=oversubscription)
    fabric, network = links.switched(cluster), build_network(cluster)
    every = [list(range(first, 16, stride)) for first in range(stride)]
    at = compute_tier_crossing(network, build_group(len(every[0]), stride))
    formula = algorithms.build_halving_gather(at, np.array([SIZE]), single_rank_per_node=False).link_time_s[0]
    simulated = fabric.seconds(*(links.doubling_gather(fabric, ranks, SIZE) for ranks in every))
    assert max(simulated) == pytest.approx(formula, rel=TOLERANCE)


@pytest.mark.parametrize("oversubscription", [1.0, 4.0])
@pytest.mark.parametrize(("size", "stride"), [(16, 1), (4, 1), (8, 2), (4, 4)])
def test_an_all_to_all_takes_the_time_of_the_traffic_that_leaves(
    oversubscription: float, size: int, stride: int
) -> None:
    cluster = lab(oversubscription=oversubscription)
    fabric, network = links.switched(cluster), build_network(cluster)
    starts = [block + first for block in range(0, 16, size * stride) for first in range(stride)]
    at = compute_tier_crossing(network, build_group(size, stride), "all-to-all")
    formula = algorithms.build_all_to_all(at, np.array([SIZE])).link_time_s[0]
    every = [range(start, start + size * stride, stride) for start in starts]
    simulated = fabric.seconds(*(links.all_to_all(fabric, list(ranks), SIZE) for ranks in every))
    assert max(simulated) == pytest.approx(formula, rel=TOLERANCE)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_torus_works_along_all_axes_at_once(axes: int) -> None:
    side, rate = 4, 300e9
    bounds = np.array([[side**a, side ** (a + 1)] for a in range(axes)], dtype=float)
    whole = Torus((side,) * axes, (True,) * axes, (1,) * axes, rate / (2 * axes))
    network = Network(
        tier_group_ranks=np.array([side**axes]),
        bandwidth_bytes_per_s=np.array([rate]),
        latency_s=np.zeros(1),
        through_nic=np.array([False]),
        torus_axes=(bounds,),
        shares=BandwidthShares(None, whole, np.array([True]), 0),
    )
    fabric, at = links.torus(side, axes, rate), compute_tier_crossing(network, build_group(side**axes))
    (gather_s,) = fabric.seconds(links.torus_gather(fabric, side, axes, SIZE))
    assert gather_s == pytest.approx(
        algorithms.build_torus_gather(at, np.array([SIZE])).link_time_s[0], rel=TOLERANCE
    )
    assert algorithms.build_torus_gather(at, np.array([SIZE])).steps[0, 0] == (side - 1) * axes
    (all_to_all_s,) = fabric.seconds(links.torus_all_to_all(fabric, side, axes, SIZE))
    everyone = compute_tier_crossing(network, build_group(side**axes), "all-to-all")
    formula = algorithms.build_all_to_all(everyone, np.array([SIZE])).link_time_s[0]
    assert all_to_all_s == pytest.approx(formula, rel=TOLERANCE)


def test_collectives_on_different_links_do_not_meet() -> None:
    cluster = lab()
    fabric = links.switched(cluster)
    inside = [links.ring_gather(fabric, range(n, n + 4), 4, SIZE) for n in range(0, 16, 4)]
    across = [links.ring_gather(fabric, range(i, 16, 4), 4, SIZE) for i in range(4)]
    alone = fabric.seconds(*inside)[0], fabric.seconds(*across)[0]
    together = fabric.seconds(*inside, *across)
    assert (together[0], together[-1]) == pytest.approx(alone)


def test_collectives_on_the_same_links_take_as_long_as_in_sequence() -> None:
    # overlapped communication on a tier is no time for the data-parallel collective beside it (data_parallel.py)
    fabric = links.switched(lab())
    context = [links.ring_gather(fabric, (i, i + 4), 4, SIZE) for i in (0, 1, 2, 3, 8, 9, 10, 11)]
    data = [links.ring_gather(fabric, range(i, 16, 4), 4, SIZE) for i in range(4)]
    context_s, data_s = max(fabric.seconds(*context)), max(fabric.seconds(*data))
    assert max(fabric.seconds(*context, *data)) == pytest.approx(context_s + data_s, rel=TOLERANCE)
