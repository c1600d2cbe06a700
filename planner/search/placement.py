"""Which rank sits on which host, where the wiring is told: an order of the hosts that keeps heavy groups together.

Ranks are laid on the hosts in order. The candidates are the order of the file, the hosts at the same switches beside
each other, and from the best plan of these: hosts in blocks that leave no switch in vain, ranks' dimensions in all
orders, and exchanges of two hosts, as long as the step gets shorter. The order of the file competes to the end, so
that the answer is never worse than it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cluster.network.routed_network import RoutedNetwork
from planner.cost.arrays import Ints
from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.progress import track_steps
from planner.search.orders import GAIN, better, first_plan, seconds
from planner.search.search import Found, Wanted, search
from planner.search.space import Space

_EVALUATIONS = 160
_RANKS = 200_000
"""How many exchanges of hosts are tried at most, and how many ranks are looked at in all of them."""
_SEED = 20_200_511


@dataclass(frozen=True)
class Placement:
    """Hosts in the order of the ranks, and what the best plan's step takes in the order of the file."""

    hosts: Ints
    as_listed_s: float


def placed_search(
    questions: Sequence[Training], space: Space, wanted: Wanted, layouts: Sequence[str] = ORDERS
) -> Found:
    """The search, with the ranks of an irregular cluster placed; of a regular one as they are.

    `layouts`: the orders of dimensions that may be taken.
    """
    found = search(questions, space, wanted)
    network = _routed(found)
    if network is None or not found.tally.feasible:
        return found
    near = by_nearness(network)
    if (near != network.order).any():
        found = better(found, search(_placed(questions, near), space, wanted))
    training, plan = first_plan(found)
    order, layout = _refined(training, plan, layouts)
    if layout == training.order and (order == _network(training).order).all():
        return found
    moved = [replace(one, order=layout) for one in _placed(questions, order)]
    return better(found, search(moved, space, wanted))


def placement(found: Found) -> Placement | None:
    """Where the first plan's ranks are; None for a regular cluster."""
    network = _routed(found)
    if network is None:
        return None
    training, plan = first_plan(found)
    listed = replace(training, network=network.placed(np.arange(len(network.order))))
    return Placement(network.order, seconds(listed, plan))


def by_nearness(network: RoutedNetwork) -> Ints:
    """The hosts with those of one part of a tier beside each other, from the outermost tier in; shape [hosts]."""
    hosts = network.parts.shape[1]
    # parts are named by their first host: the order of the file is kept as far as it can be
    return np.lexsort((np.arange(hosts), *network.parts[1:]))


def in_blocks(network: RoutedNetwork, block: int) -> Ints:
    """The hosts in blocks of one part each; what is left of the parts comes last, by nearness. Shape [hosts]."""
    order = by_nearness(network)
    part = network.parts[-2 if len(network.parts) > 1 else -1][order]
    left = np.zeros(len(order), dtype=bool)
    for one in np.unique(part):
        mine = np.flatnonzero(part == one)
        left[mine[len(mine) // block * block :]] = True
    return np.concatenate([order[~left], order[left]])


def _refined(training: Training, plan: Strategies, layouts: Sequence[str]) -> tuple[Ints, str]:
    """The order of hosts and of dimensions in which the plan's step is shortest, of those that are tried."""
    network = _network(training)
    best, layout, least = network.order, training.order, seconds(training, plan)
    hosts = len(best)
    blocks = [block for block in range(2, hosts // 2 + 1) if hosts % block == 0]
    orders = [best, *(in_blocks(network, block) for block in blocks)]
    for order, dimensions in _distinct(orders, (layout, *layouts)):
        here = seconds(replace(training, network=network.placed(order), order=dimensions), plan)
        if here < least * (1 - GAIN):
            best, layout, least = order, dimensions, here
    for order in _exchanges(network, best):
        here = seconds(replace(training, network=network.placed(order), order=layout), plan)
        if here < least * (1 - GAIN):
            best, least = order, here
    return best, layout


def _distinct(orders: Sequence[Ints], layouts: Sequence[str]) -> Iterator[tuple[Ints, str]]:
    """Every order of hosts in the usual order of dimensions, and every order of dimensions with the first hosts."""
    seen: set[bytes] = set()
    for order in orders:
        if order.tobytes() not in seen:
            seen.add(order.tobytes())
            yield order, layouts[0]
    for layout in dict.fromkeys(layouts[1:]):
        yield orders[0], layout


def _exchanges(network: RoutedNetwork, order: Ints) -> Iterator[Ints]:
    """The order with two hosts exchanged, hosts with less of a way out first; always the same ones."""
    hosts = len(order)
    slow = np.flatnonzero(network.way_out[order] < np.median(network.way_out))
    if not len(slow):
        return
    draw = np.random.default_rng(_SEED)
    for _ in track_steps("placing ranks", range(min(_EVALUATIONS, max(8, _RANKS // network.devices)))):
        moved = order.copy()
        one, other = int(draw.choice(slow)), int(draw.integers(hosts))
        moved[[one, other]] = moved[[other, one]]
        yield moved


def first_step_time_s(found: Found) -> float:
    """Seconds of the best plan's step."""
    return seconds(*first_plan(found))


def _routed(found: Found) -> RoutedNetwork | None:
    network = found.questions[0].network
    if not isinstance(network, RoutedNetwork):
        return None
    return _network(first_plan(found)[0]) if len(found.best) else network


def _network(training: Training) -> RoutedNetwork:
    assert isinstance(training.network, RoutedNetwork)
    return training.network


def _placed(questions: Sequence[Training], order: Ints) -> list[Training]:
    return [replace(one, network=_network(one).placed(order)) for one in questions]
