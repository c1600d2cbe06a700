"""Place ranks on the hosts of a wired cluster: find an order of the hosts that makes the step short.

Ranks are assigned to the hosts in order. Candidates are the order of the cluster file and the hosts sorted by common
switches; then, for the best plan of these, hosts in blocks that fill switches, all rank orders of the parallel
dimensions, and swaps of two hosts that shorten the step. The order of the file competes to the end, so the result
is never worse than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from planner.cluster.network.routed_network import RoutedNetwork
from planner.cost.arrays import Ints
from planner.cost.scenario import Scenario
from planner.cost.settings import RANK_ORDERS
from planner.cost.strategies import Strategies
from planner.progress import track_steps
from planner.search.orders import MIN_RELATIVE_GAIN, compute_plan_step_time_s, select_better_result, take_first_plan
from planner.search.program_rules import accepts_plan
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space

_MAX_HOST_SWAPS = 160
_MAX_EVALUATED_RANKS = 200_000
"""The most swaps of hosts that are tried, and the most ranks that are evaluated in all of them."""
_SEED = 20_200_511


@dataclass(frozen=True)
class RankPlacement:
    """Hosts in the order of the ranks, and the best plan's step time with the hosts in the order of the file."""

    hosts: Ints
    listed_step_time_s: float


def search_placed_plans(
    scenarios: Sequence[Scenario], space: Space, target: SearchTarget, rank_orders: Sequence[str] = RANK_ORDERS
) -> SearchResult:
    """Search with the ranks placed on a wired cluster; for a regular cluster the ordinary search.

    `rank_orders`: the rank orders of the dimensions that are allowed.
    """
    result = search_plans(scenarios, space, target)
    network = _find_routed_network(result)
    if network is None or not result.stats.feasible:
        return result
    nearness_order = sort_hosts_by_nearness(network)
    if (nearness_order != network.host_order).any():
        result = select_better_result(
            result, search_plans(_place_scenarios(scenarios, nearness_order), space, target)
        )
    scenario, strategy = take_first_plan(result)
    host_order, rank_order = _refine_placement(scenario, strategy, rank_orders)
    if rank_order == scenario.rank_order and (host_order == _get_routed_network(scenario).host_order).all():
        return result
    moved_scenarios = [
        replace(scenario_on_hosts, rank_order=rank_order)
        for scenario_on_hosts in _place_scenarios(scenarios, host_order)
    ]
    return select_better_result(result, search_plans(moved_scenarios, space, target))


def compute_rank_placement(result: SearchResult) -> RankPlacement | None:
    """The placement of the first plan's ranks; None for a regular cluster."""
    network = _find_routed_network(result)
    if network is None:
        return None
    scenario, strategy = take_first_plan(result)
    listed_scenario = replace(scenario, network=network.place_ranks(np.arange(len(network.host_order))))
    return RankPlacement(network.host_order, compute_plan_step_time_s(listed_scenario, strategy))


def sort_hosts_by_nearness(network: RoutedNetwork) -> Ints:
    """The hosts sorted so that hosts of the same part of a tier are adjacent, outermost tier first; shape [hosts]."""
    hosts = network.tier_parts.shape[1]
    # parts are numbered by their first host, which keeps the order of the file as far as possible
    return np.lexsort((np.arange(hosts), *network.tier_parts[1:]))


def order_hosts_in_blocks(network: RoutedNetwork, block_size: int) -> Ints:
    """The hosts in blocks, each within one part; the remaining hosts come last, by nearness. Shape [hosts]."""
    order = sort_hosts_by_nearness(network)
    part = network.tier_parts[-2 if len(network.tier_parts) > 1 else -1][order]
    is_left_over = np.zeros(len(order), dtype=bool)
    for part_index in np.unique(part):
        members = np.flatnonzero(part == part_index)
        is_left_over[members[len(members) // block_size * block_size :]] = True
    return np.concatenate([order[~is_left_over], order[is_left_over]])


def _refine_placement(scenario: Scenario, strategy: Strategies, rank_orders: Sequence[str]) -> tuple[Ints, str]:
    """The order of hosts and the rank order in which the plan's step is shortest, of those that are tried."""
    network = _get_routed_network(scenario)
    host_order, rank_order = network.host_order, scenario.rank_order
    least_step_time_s = compute_plan_step_time_s(scenario, strategy)

    @cache
    def is_accepted(tried_ranks: str) -> bool:
        """Whether a program runs the plan in a rank order; on which hosts makes no difference to it."""
        return accepts_plan(replace(scenario, rank_order=tried_ranks), strategy)

    def try_orders(orders: Iterable[tuple[Ints, str]]) -> None:
        """Take an order of hosts and a rank order with a shorter step than any before."""
        nonlocal host_order, rank_order, least_step_time_s
        for tried_hosts, tried_ranks in orders:
            if not is_accepted(tried_ranks):
                continue
            moved_scenario = replace(scenario, network=network.place_ranks(tried_hosts), rank_order=tried_ranks)
            step_time_s = compute_plan_step_time_s(moved_scenario, strategy)
            if step_time_s < least_step_time_s * (1 - MIN_RELATIVE_GAIN):
                host_order, rank_order, least_step_time_s = tried_hosts, tried_ranks, step_time_s

    hosts = len(host_order)
    blocks = [block for block in range(2, hosts // 2 + 1) if hosts % block == 0]
    host_orders = [host_order, *(order_hosts_in_blocks(network, block) for block in blocks)]
    try_orders(_enumerate_distinct_orders(host_orders, (rank_order, *rank_orders)))
    best_rank_order = rank_order
    try_orders((swapped, best_rank_order) for swapped in _enumerate_host_swaps(network, host_order))
    return host_order, rank_order


def _enumerate_distinct_orders(host_orders: Sequence[Ints], rank_orders: Sequence[str]) -> Iterator[tuple[Ints, str]]:
    """All orders of hosts with the first rank order, then all other rank orders with the first order of hosts."""
    seen: set[bytes] = set()
    for host_order in host_orders:
        if host_order.tobytes() not in seen:
            seen.add(host_order.tobytes())
            yield host_order, rank_orders[0]
    for rank_order in dict.fromkeys(rank_orders[1:]):
        yield host_orders[0], rank_order


def _enumerate_host_swaps(network: RoutedNetwork, host_order: Ints) -> Iterator[Ints]:
    """The order with two hosts swapped, one of them with low uplink bandwidth; each once; deterministic."""
    hosts = len(host_order)
    slow = np.flatnonzero(network.uplink_bytes_per_s[host_order] < np.median(network.uplink_bytes_per_s))
    if not len(slow):
        return
    rng = np.random.default_rng(_SEED)
    seen = {host_order.tobytes()}
    for _ in track_steps(
        "placing ranks", range(min(_MAX_HOST_SWAPS, max(8, _MAX_EVALUATED_RANKS // network.devices)))
    ):
        swapped = host_order.copy()
        slow_position, partner_position = int(rng.choice(slow)), int(rng.integers(hosts))
        swapped[[slow_position, partner_position]] = swapped[[partner_position, slow_position]]
        # of few hosts there are fewer pairs than draws
        if swapped.tobytes() not in seen:
            seen.add(swapped.tobytes())
            yield swapped


def compute_first_step_time_s(result: SearchResult) -> float:
    """Seconds of the best plan's step."""
    return compute_plan_step_time_s(*take_first_plan(result))


def _find_routed_network(result: SearchResult) -> RoutedNetwork | None:
    network = result.scenarios[0].network
    if not isinstance(network, RoutedNetwork):
        return None
    return _get_routed_network(take_first_plan(result)[0]) if len(result.best) else network


def _get_routed_network(scenario: Scenario) -> RoutedNetwork:
    assert isinstance(scenario.network, RoutedNetwork)
    return scenario.network


def _place_scenarios(scenarios: Sequence[Scenario], host_order: Ints) -> list[Scenario]:
    return [
        replace(scenario, network=_get_routed_network(scenario).place_ranks(host_order)) for scenario in scenarios
    ]
