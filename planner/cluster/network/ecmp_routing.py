"""Flows over a wiring: where devices enter the network, the ways between, and what each cable carries.

A flow takes all shortest ways, at each hop split by the bandwidth of the cables that lie on one, as adaptive routing
does (InfiniBand, Spectrum-X; Kim et al. 2007, Adaptive Routing in High-Radix Clos Network). Hosts carry no traffic of
others unless they are wired to each other (a torus). Arrays throughout: thousands of flows are pushed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.wiring import Wiring
from planner.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_ROUTERS = 8_192
_FAR = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Flows:
    """Flows from port to port, in bytes for each byte that is asked about: `source`, `target`, `amount`, [flows].

    A flow may stand for those of other ports of the same kind (`Ports.kind`): what each port itself sends and takes
    in is `leaving` and `arriving`, shape [ports].
    """

    source: Ints
    target: Ints
    amount: Floats
    leaving: Floats
    arriving: Floats


def summed(of: Ints, weights: Floats | Ints, count: int) -> Floats:
    """The sum of the weights of each number below `count`, shape [count]."""
    found: Floats = np.bincount(of, weights=weights, minlength=count).astype(np.float64)
    return found


def flows_between(source: Ints, target: Ints, amount: Floats, ports: int) -> Flows:
    """Flows that stand for themselves."""
    leaving, arriving = (summed(one, amount, ports) for one in (source, target))
    return Flows(source, target, amount, leaving, arriving)


@dataclass(frozen=True)
class Routes:
    """Routers (switches, and hosts that pass traffic on), the cables between them, and the ports of hosts.

    Cables, one row for each direction, ordered by `tail`: `tail`, `head` (routers), `cable_bytes_per_s`; `first` is
    where each router's cables begin, shape [routers + 1]. Ways in, ordered by port: `way_router`,
    `way_bytes_per_s`; `first_way`, shape [ports + 1]; a host that is a router itself has one of no limit.
    `distance`: hops from router to router, shape [routers, routers].
    """

    tail: Ints
    head: Ints
    cable_bytes_per_s: Floats
    first: Ints
    way_router: Ints
    way_bytes_per_s: Floats
    first_way: Ints
    distance: NDArray[np.int16]

    def farthest(self) -> int:
        """Cables between the routers that are the farthest from each other, of those that are joined at all."""
        used = np.unique(self.way_router)
        far = self.distance[np.ix_(used, used)]
        return int(far[far < _FAR].max(initial=0))

    def scarcest(self, flows: Flows) -> float:
        """Bytes/s that one unit of the flows can have where they are thickest; infinite where there are none."""
        out = np.add.reduceat(self.way_bytes_per_s, self.first_way[:-1])
        source, target, amount = self._pairs(flows)
        if (self.distance[self.way_router[source], self.way_router[target]] == _FAR).any():
            raise InputError(
                "hosts have no cards on a common network", key="links", expected="a way between all hosts"
            )
        load = self._pushed(self.way_router[source], self.way_router[target], amount)
        crowded = (flows.leaving / out, flows.arriving / out, load / self.cable_bytes_per_s)
        worst = max(float(one.max(initial=0.0)) for one in crowded)
        return 1.0 / worst if worst else np.inf

    def _pairs(self, flows: Flows) -> tuple[Ints, Ints, Floats]:
        """Each flow's shortest pairs of ways in and out, and what goes by each."""
        counts = np.diff(self.first_way)
        if (counts == 1).all():
            return self.first_way[flows.source], self.first_way[flows.target], flows.amount
        ways_out, ways_in = counts[flows.source], counts[flows.target]
        of = np.repeat(np.arange(len(flows.source)), ways_out * ways_in)
        nth = np.arange(len(of)) - np.repeat(np.cumsum(ways_out * ways_in) - ways_out * ways_in, ways_out * ways_in)
        source = self.first_way[flows.source][of] + nth // ways_in[of]
        target = self.first_way[flows.target][of] + nth % ways_in[of]
        far = self.distance[self.way_router[source], self.way_router[target]]
        least = np.full(len(flows.source), _FAR, dtype=np.int16)
        np.minimum.at(least, of, far)
        weight = np.where(far == least[of], self.way_bytes_per_s[source] * self.way_bytes_per_s[target], 0.0)
        whole = summed(of, weight, len(flows.source))
        amount = flows.amount[of] * weight / whole[of]
        used = amount > 0
        return source[used], target[used], amount[used]

    def _pushed(self, at: Ints, target: Ints, amount: Floats) -> Floats:
        """Load of every cable: all flows together go one hop nearer at a time, those to one router as one."""
        routers = len(self.first) - 1
        load = np.zeros(len(self.tail))
        at, target, amount = _merged(at, target, amount, routers)
        while len(at):
            degree = np.diff(self.first)[at]
            of = np.repeat(np.arange(len(at)), degree)
            cable = self.first[at][of] + np.arange(len(of)) - np.repeat(np.cumsum(degree) - degree, degree)
            nearer = self.distance[self.head[cable], target[of]] < self.distance[at, target][of]
            of, cable = of[nearer], cable[nearer]
            weight = self.cable_bytes_per_s[cable]
            part = amount[of] * weight / summed(of, weight, len(at))[of]
            load += summed(cable, part, len(load))
            at, target, amount = _merged(self.head[cable], target[of], part, routers)
        return load


def _merged(at: Ints, target: Ints, amount: Floats, routers: int) -> tuple[Ints, Ints, Floats]:
    """Flows with the same place and target as one; those that have arrived are left out."""
    key = at * routers + target
    keys, of = np.unique(key[at != target], return_inverse=True)
    return keys // routers, keys % routers, summed(of, amount[at != target], len(keys))


@dataclass(frozen=True)
class Ports:
    """Where devices enter: one port a network card that works, or one a host where cards are not told apart.

    `of_device`: the port of each device, in the order of the wiring's hosts, shape [devices]. Of ports: `card`, the
    card that one stands for, `host`, and `kind`, the first port with the same ways in; shape [ports]. `host_first`:
    where each host's ports begin, shape [hosts + 1].
    """

    of_device: Ints
    card: Ints
    host: Ints
    kind: Ints
    host_first: Ints

    def __len__(self) -> int:
        return len(self.card)

    @cached_property
    def by_card(self) -> Ints:
        """The port of each host's card, -1 where it has none, shape [hosts, cards + 1]: the first has no number."""
        table = np.full((len(self.host_first) - 1, int(self.card.max(initial=-1)) + 2), -1)
        table[self.host, self.card + 1] = np.arange(len(self))
        return table

    def common(self, host: Ints, other: Ints, card: Ints) -> tuple[Ints, Ints]:
        """Ports of two hosts with the same card, the one wanted or the nearest that both have, the lower of two.

        Where they have none in common, the first port of each. All arguments broadcast together.
        """
        host, other, card = np.broadcast_arrays(host, other, card)
        one, two = self.host_first[host], self.host_first[other]
        found = np.zeros(host.shape, dtype=bool)
        cards = self.by_card.shape[1]
        for step in sorted(range(-cards, cards + 1), key=lambda step: (abs(step), step)):
            if found.all():
                break
            place = np.clip(card + 1 + step, 0, cards - 1)
            ports = self.by_card[host, place], self.by_card[other, place]
            fresh = ~found & (ports[0] >= 0) & (ports[1] >= 0)
            one, two = np.where(fresh, ports[0], one), np.where(fresh, ports[1], two)
            found = found | fresh
        return one, two


@lru_cache(maxsize=8)
def routes(wiring: Wiring, origin: str) -> tuple[Routes, Ports]:
    """Read a wiring for routing. Raises InputError for hosts without a way out or to each other, and for networks
    that are too large to be routed.
    """
    hosts = len(wiring.hosts)
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    ends, rate = wiring.ends[network], wiring.bandwidth_bytes_per_s[network]
    card = wiring.card[network]
    passing = np.zeros(hosts, dtype=bool)
    passing[ends[(ends < hosts).all(axis=1)]] = True
    router_of = np.full(len(wiring.vertices), -1)
    routers = np.concatenate([np.flatnonzero(passing), np.arange(hosts, len(wiring.vertices))])
    router_of[routers] = np.arange(len(routers))
    if len(routers) > _MOST_ROUTERS:
        raise InputError(
            "too many switches to be routed one by one",
            origin=origin,
            key="switches",
            value=len(routers),
            expected=f"at most {_MOST_ROUTERS:,}; a regular cluster is told by [[fabric]] levels",
        )
    inner = (router_of[ends] >= 0).all(axis=1)
    entered = np.concatenate([router_of[ends[~inner].ravel()], router_of[np.flatnonzero(passing)]])
    alike = _alike(router_of[ends[inner]], rate[inner], np.unique(entered[entered >= 0]), len(routers))
    router_of[routers] = alike[router_of[routers]]
    tail, head, cable, first = _directed(router_of[ends[inner]], rate[inner], len(routers))
    ports, ways = _ports(wiring, passing, ends[~inner], card[~inner], rate[~inner], router_of, origin)
    distance = _distances(tail, head, first)
    found = Routes(tail, head, cable, first, *ways, distance)
    _check_reach(wiring, found, ports, origin)
    return found, ports


def _alike(ends: Ints, rate: Floats, entered: Ints, routers: int) -> Ints:
    """For each router the first one with the same cables to the same others, itself where devices enter it.

    All flows split over such routers by their cables, so that one with the cables of all carries the same share of
    each: the spines of a plane are as one. Shape [routers].
    """
    _tail, head, cable, first = _directed(ends, rate, routers)
    found, seen = np.arange(routers), dict[bytes, int]()
    single = np.ones(routers, dtype=bool)
    single[entered] = False
    for router in np.flatnonzero(single & (np.diff(first) > 0)).tolist():
        own = slice(first[router], first[router + 1])
        found[router] = seen.setdefault(head[own].tobytes() + cable[own].tobytes(), router)
    return found


def _directed(ends: Ints, rate: Floats, routers: int) -> tuple[Ints, Ints, Floats, Ints]:
    """Every cable in both directions, several between the same two as one, ordered by tail."""
    key = np.concatenate([ends[:, 0] * routers + ends[:, 1], ends[:, 1] * routers + ends[:, 0]])
    keys, of = np.unique(key, return_inverse=True)
    cable = summed(of, np.tile(rate, 2), len(keys))
    tail = keys // max(routers, 1)
    return tail, keys % max(routers, 1), cable, np.searchsorted(tail, np.arange(routers + 1))


def _ports(
    wiring: Wiring, passing: Bools, ends: Ints, card: Ints, rate: Floats, router_of: Ints, origin: str
) -> tuple[Ports, tuple[Ints, Floats, Ints]]:
    """The ports, and their ways in; `ends` joins a host (the first end) with a switch."""
    host, router = ends[:, 0], router_of[ends[:, 1]]
    # a host that passes traffic on is its own way in
    own = np.flatnonzero(passing)
    host, router = np.concatenate([host, own]), np.concatenate([router, router_of[own]])
    card, rate = np.concatenate([card, np.full(len(own), -1)]), np.concatenate([rate, np.full(len(own), np.inf)])
    card = np.where(passing[host], -1, card)
    shape = int(card.max(initial=0)) + 2
    keys, port = np.unique(host * shape + card + 1, return_inverse=True)
    port_host, port_card = keys // shape, keys % shape - 1
    host_first = np.searchsorted(port_host, np.arange(len(wiring.hosts) + 1))
    alone = np.flatnonzero(np.diff(host_first) == 0)
    if len(alone) and not _in_one_rack(wiring):
        raise InputError(
            "has no way out",
            origin=origin,
            key="links",
            value=wiring.hosts[int(alone[0])],
            expected="a link to a switch or to another host",
        )
    of_device = _device_ports(wiring, port_card, host_first)
    order = np.lexsort((router, port))
    first_way = np.searchsorted(port[order], np.arange(len(keys) + 1))
    ways = (router[order], rate[order], first_way)
    return Ports(of_device, port_card, port_host, _kinds(*ways), host_first), ways


def _in_one_rack(wiring: Wiring) -> bool:
    """Whether all hosts are below one scale-up switch: they need no way out."""
    return bool((wiring.domains == 0).all())


def _kinds(way_router: Ints, way_rate: Floats, first_way: Ints) -> Ints:
    """For each port the first one that has the same ways in, shape [ports]."""
    seen: dict[bytes, int] = {}
    found = []
    for port, (start, end) in enumerate(zip(first_way[:-1].tolist(), first_way[1:].tolist(), strict=True)):
        told = way_router[start:end].tobytes() + way_rate[start:end].tobytes()
        found.append(seen.setdefault(told, port))
    return np.array(found, dtype=np.int64)


def _device_ports(wiring: Wiring, card: Ints, host_first: Ints) -> Ints:
    """Each device's port: that of its own card, of as many as hosts have; of the nearest one where that is gone."""
    host = np.repeat(np.arange(len(wiring.hosts)), wiring.devices)
    if not len(card):
        return np.zeros(len(host), dtype=np.int64)
    local = np.arange(len(host)) - np.repeat(np.cumsum(wiring.devices) - wiring.devices, wiring.devices)
    wanted = local * max(int(card.max()) + 1, 1) // wiring.devices[host]
    return _nearest(card, host_first, host, wanted)


def _nearest(card: Ints, host_first: Ints, host: Ints, wanted: Ints) -> Ints:
    """The port of each host whose card is nearest to the wanted one, the lower of two."""
    host, wanted = np.broadcast_arrays(host, wanted)
    first, last = host_first[host], host_first[host + 1] - 1
    best = first
    for nth in range(1, int(np.diff(host_first).max())):
        here = np.minimum(first + nth, last)
        best = np.where(np.abs(card[here] - wanted) < np.abs(card[best] - wanted), here, best)
    return best


def _distances(tail: Ints, head: Ints, first: Ints) -> NDArray[np.int16]:
    """Hops between all routers, by breadth-first search from all at once over packed bits."""
    routers = len(first) - 1
    distance = np.full((routers, routers), _FAR, dtype=np.int16)
    reached = np.eye(routers, dtype=bool)
    packed = np.packbits(reached, axis=1)
    distance[reached] = 0
    starts = first[:-1][np.diff(first) > 0]
    joined = np.flatnonzero(np.diff(first) > 0)
    for hops in range(1, routers):
        grown = packed.copy()
        if len(starts):
            grown[joined] |= np.bitwise_or.reduceat(packed[head], starts, axis=0)
        fresh = np.unpackbits(grown & ~packed, axis=1, count=routers).astype(bool)
        if not fresh.any():
            break
        distance[fresh] = hops
        packed = grown
    return distance


def _check_reach(wiring: Wiring, found: Routes, ports: Ports, origin: str) -> None:
    """Every host reaches the first one, by some of its ports."""
    if _in_one_rack(wiring):
        return
    ways = found.first_way[ports.host_first[:1]], found.first_way[ports.host_first[1:2]]
    near = found.distance[:, found.way_router[ways[0][0] : ways[1][0]]].min(axis=1)
    reach = np.minimum.reduceat(near[found.way_router], found.first_way[ports.host_first[:-1]])
    cut_off = np.flatnonzero(reach == _FAR)
    if len(cut_off):
        raise InputError(
            f"cannot reach {wiring.hosts[0]}",
            origin=origin,
            key="links",
            value=wiring.hosts[int(cut_off[0])],
            expected="a way between all hosts",
        )
