"""The hosts of a wired cluster that ranks are placed on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import parse_cluster_spec
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cost.rank_groups import build_data_group
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.settings import RANK_ORDERS
from planner.search.placement import compute_rank_placement, search_placed_plans, sort_hosts_by_nearness
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space
from tests.examples import DEFAULTS, LAB, tiny

NIC = 25e9


def build_fat_tree(leaf_of: list[int], oversubscription: float, slow: dict[int, float] | None = None) -> Cluster:
    """Hosts of four devices, each below its leaf of `leaf_of`, in this order."""
    leaves = max(leaf_of) + 1
    text = LAB.format(**DEFAULTS).partition("[[fabric]]")[0].replace("nodes = 4", "")
    text += f'[[hosts]]\nname = "h[0-{len(leaf_of) - 1}]"\n'
    text += f'[[switches]]\nname = "leaf[0-{leaves - 1}]"\n[[switches]]\nname = "spine"\n'
    for host, leaf in enumerate(leaf_of):
        text += f'[[links]]\nends = ["h{host}", "leaf{leaf}"]\nbandwidth = "200Gb/s"\ncables = 4\n'
    for leaf in range(leaves):
        up = leaf_of.count(leaf) * 800 / oversubscription
        text += f'[[links]]\nends = ["leaf{leaf}", "spine"]\nbandwidth = "{up}Gb/s"\n'
    for host, rate in (slow or {}).items():
        text += f'[[faults]]\npart = "h{host}"\nrate = {rate}\n'
    return resolve_cluster(parse_cluster_spec(text, "toml", "tree.toml"), "tree.toml")


def bind_tiny(cluster: Cluster, batch: int = 64) -> Scenario:
    return build_scenario(tiny(), cluster, global_batch=batch)


def search_placed(cluster: Cluster, **pins: int) -> SearchResult:
    scenario = bind_tiny(cluster)
    space = Space(cluster.devices, scenario.global_batch, {name: (value,) for name, value in pins.items()})
    return search_placed_plans([scenario], space, SearchTarget(top=1))


def compute_ring_rate(result: SearchResult, *, as_listed: bool = False) -> float:
    """Bytes/s at which the data-parallel rings of the best plan run."""
    scenario = result.scenarios[0]
    network = scenario.network
    assert isinstance(network, RoutedNetwork)
    if as_listed:
        network = network.place_ranks(np.arange(len(network.host_order)))
    group = build_data_group(scenario.rank_layout, result.best)
    members = network.compute_members(group.sizes, group.strides)[0]
    below = np.concatenate([[1.0], members[:-1]])
    return float(
        np.where(
            members > below, network.compute_rates_bytes_per_s(group.sizes, group.strides)[0] * below, np.inf
        ).min()
    )


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_rings_of_all_data_parallel_ranks_reach_the_bandwidth_of_a_4_to_1_tree(tp: int) -> None:
    """Of four leaves of four hosts, each ring enters and leaves a leaf once: 4/tp rings a host on 4 NICs, and all
    rings of a leaf on uplinks worth 16/4 NICs: both allow 4/tp NICs for the rings of a group together.
    """
    shuffled = [host % 4 for host in range(16)]  # neighbours in the file are never at one leaf
    result = search_placed(build_fat_tree(shuffled, 4.0), tp=tp, pp=1, cp=1, dp=64 // tp)
    optimum = NIC * 4 / tp * result.scenarios[0].calibration.nic_efficiency
    assert compute_ring_rate(result) == pytest.approx(optimum)
    # in the order of the file every ring leaves its leaf at every host, over a quarter of the uplinks
    assert compute_ring_rate(result, as_listed=True) == pytest.approx(optimum / 4)


@settings(max_examples=2, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=6, max_size=6).filter(lambda leaves: max(leaves) >= 1),
    st.dictionaries(st.integers(0, 5), st.sampled_from([0.25, 0.5]), max_size=2),
    st.sampled_from([1.0, 4.0]),
)
def test_placing_is_never_worse_than_the_order_of_the_file(
    leaf_of: list[int], slow: dict[int, float], oversubscription: float
) -> None:
    used = {leaf: place for place, leaf in enumerate(sorted(set(leaf_of)))}
    cluster = build_fat_tree([used[leaf] for leaf in leaf_of], oversubscription, slow)
    scenario = bind_tiny(cluster, 48)
    space = Space(cluster.devices, 48, {"vpp": (1,), "micro_batch": (1, 2), "zero_stage": (0, 1), "recompute": (0,)})
    as_listed, result = (
        search_plans(scenario, space, SearchTarget(top=1)),
        search_placed_plans([scenario], space, SearchTarget(top=1)),
    )
    assert result.figures[0, 0] <= as_listed.figures[0, 0]
    placement = compute_rank_placement(result)
    assert placement is not None
    assert sorted(placement.hosts.tolist()) == list(range(6))
    assert placement.listed_step_time_s >= result.figures[0, 0] * (1 - 1e-12)


def test_hosts_at_the_same_switch_are_neighbours() -> None:
    network = bind_tiny(build_fat_tree([0, 1, 0, 2, 1, 2], 1.0)).network
    assert isinstance(network, RoutedNetwork)
    assert sort_hosts_by_nearness(network).tolist() == [0, 2, 1, 4, 3, 5]


def test_orders_that_are_not_allowed_are_not_used() -> None:
    cluster = build_fat_tree([0, 1, 0, 1], 4.0)
    scenario = bind_tiny(cluster)
    for order in ("tp-cp-dp-pp", "tp-pp-dp-cp"):
        pinned = [Scenario(**{**vars(scenario), "rank_order": order})]
        result = search_placed_plans(pinned, Space(cluster.devices, 64), SearchTarget(top=1), [order])
        assert {placed.rank_order for placed in result.scenarios} == {order}


def search_listed_and_placed(
    leaves: list[int], oversubscription: float, orders: tuple[str, ...] = RANK_ORDERS, top: int = 3, **pins: int
) -> tuple[SearchResult, SearchResult]:
    """As listed, and placed."""
    scenario = bind_tiny(build_fat_tree(leaves, oversubscription))
    space = Space(scenario.devices, scenario.global_batch, {name: (value,) for name, value in pins.items()})
    wanted = SearchTarget(top=top)
    return search_plans([scenario], space, wanted), search_placed_plans([scenario], space, wanted, orders)


def test_hosts_go_in_blocks_where_that_is_better_than_side_by_side() -> None:
    leaves = [1, 0, 2, 2, 0, 1, 2, 1]
    listed, result = search_listed_and_placed(leaves, 8.0, tp=2, pp=4, cp=1)
    placement = compute_rank_placement(result)
    network = listed.scenarios[0].network
    assert isinstance(network, RoutedNetwork)
    assert placement is not None
    assert sorted(placement.hosts.tolist()) == list(range(8))
    assert placement.hosts.tolist() not in (list(range(8)), sort_hosts_by_nearness(network).tolist())
    assert result.figures[0, 0] < 0.99 * listed.figures[0, 0]
    assert placement.listed_step_time_s == listed.figures[0, 0]
    # as many plans as were wanted, all of them on the placement of the first
    assert len(result.best) == len(listed.best) == 3
    assert len({id(result.scenarios[int(number)].network) for number in result.scenario_index}) == 1


def test_the_order_of_dimensions_changes_where_it_may() -> None:
    leaves = [0, 1, 2, 0, 1, 2, 0, 1]
    usual, result = search_listed_and_placed(leaves, 2.0, tp=1, pp=4, cp=1)
    assert result.scenarios[0].rank_order != usual.scenarios[0].rank_order
    assert result.figures[0, 0] < 0.99 * usual.figures[0, 0]
    _, kept = search_listed_and_placed(leaves, 1.0, (usual.scenarios[0].rank_order,), tp=1, pp=4, cp=1)
    assert kept.scenarios[0].rank_order == usual.scenarios[0].rank_order
    assert result.figures[0, 0] <= kept.figures[0, 0] <= usual.figures[0, 0]
