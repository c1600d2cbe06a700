"""Flows over a wiring: where devices enter the network, the paths between, and what each link carries.

A flow takes all shortest paths, at each hop split by the bandwidth of the links that lie on one, as adaptive routing
does (InfiniBand, Spectrum-X; Kim et al. 2007, Adaptive Routing in High-Radix Clos Network). Hosts carry no traffic of
others unless they are wired to each other (a torus). Arrays throughout: thousands of flows are pushed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.wiring import Bools, Floats, Ints, Wiring, compute_hops
from planner.errors import InputError

_MAX_ROUTERS = 8_192
_UNREACHABLE = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Flows:
    """Flows from port to port, in bytes per byte of the collective: `source`, `target`, `amount`, [flows].

    A flow may stand for those of other ports of the same kind (`NetworkPorts.kind`): what each port itself sends and
    takes in is `leaving` and `arriving`, shape [ports].
    """

    source: Ints
    target: Ints
    amount: Floats
    leaving: Floats
    arriving: Floats


def sum_by_index(index: Ints, weights: Floats | Ints, count: int) -> Floats:
    """The sum of the weights at each index below `count`, shape [count]. `index`, `weights`: shape [values]."""
    sums: Floats = np.bincount(index, weights=weights, minlength=count).astype(np.float64)
    return sums


def enumerate_runs(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """`count` numbers from each `first` on, one run after the other: the run of each number, and the number.

    `first`, `count`: shape [runs]; the result: shape [numbers].
    """
    run_index = np.repeat(np.arange(len(count)), count)
    return run_index, first[run_index] + np.arange(len(run_index)) - (np.cumsum(count) - count)[run_index]


def build_port_flows(source: Ints, target: Ints, amount: Floats, ports: int) -> Flows:
    """Flows between `source` and `target` ports, each of which stands for itself alone.

    `source`, `target`, `amount`: shape [flows]; `ports`: how many ports the network has.
    """
    leaving, arriving = (sum_by_index(port_side, amount, ports) for port_side in (source, target))
    return Flows(source, target, amount, leaving, arriving)


@dataclass(frozen=True)
class Routes:
    """Routers (switches, and hosts that pass traffic on), the links between them, and the ports of hosts.

    Links, one row for each direction, ordered by `tail`: `tail`, `head` (routers), `link_bytes_per_s`; `first_link`
    is where each router's links begin, shape [routers + 1]. Uplinks, ordered by port: `uplink_router`,
    `uplink_bytes_per_s`; `first_uplink`, shape [ports + 1]; a host that is a router itself has one of no limit.
    `router_hops`: hops from router to router, shape [routers, routers].
    """

    tail: Ints
    head: Ints
    link_bytes_per_s: Floats
    first_link: Ints
    uplink_router: Ints
    uplink_bytes_per_s: Floats
    first_uplink: Ints
    router_hops: NDArray[np.int16]

    def compute_max_hops(self) -> int:
        """Links between the two farthest routers that hosts are linked to, of those that are joined at all."""
        used_routers = np.unique(self.uplink_router)
        hops = self.router_hops[np.ix_(used_routers, used_routers)]
        return int(hops[hops < _UNREACHABLE].max(initial=0))

    def compute_bottleneck_bytes_per_s(self, flows: Flows) -> float:
        """Bytes/s of one unit of the flows, limited by the most loaded port or link; infinite without flows.

        Raises InputError where no path joins two of the ports.
        """
        port_bytes_per_s = np.add.reduceat(self.uplink_bytes_per_s, self.first_uplink[:-1])
        source, target, amount = self._split_over_uplinks(flows)
        if (self.router_hops[self.uplink_router[source], self.uplink_router[target]] == _UNREACHABLE).any():
            problem = "hosts have no NICs on a common network"
            raise InputError(problem, key="links", expected="a path between all hosts")
        load = self._compute_link_load(self.uplink_router[source], self.uplink_router[target], amount)
        port_seconds = flows.leaving / port_bytes_per_s, flows.arriving / port_bytes_per_s
        worst = max(float(times.max(initial=0.0)) for times in (*port_seconds, load / self.link_bytes_per_s))
        return 1.0 / worst if worst else np.inf

    def _split_over_uplinks(self, flows: Flows) -> tuple[Ints, Ints, Floats]:
        """The uplinks that each flow leaves and arrives by, and its amount there; shape [pairs of uplinks in use].

        A flow is split over the pairs that are the fewest hops apart, by the product of their bandwidths.
        """
        counts = np.diff(self.first_uplink)
        if (counts == 1).all():
            return self.first_uplink[flows.source], self.first_uplink[flows.target], flows.amount
        source_uplinks, target_uplinks = counts[flows.source], counts[flows.target]
        flow_index, pair_index = enumerate_runs(np.zeros_like(flows.source), source_uplinks * target_uplinks)
        source = self.first_uplink[flows.source][flow_index] + pair_index // target_uplinks[flow_index]
        target = self.first_uplink[flows.target][flow_index] + pair_index % target_uplinks[flow_index]
        hops = self.router_hops[self.uplink_router[source], self.uplink_router[target]]
        least_hops = np.full(len(flows.source), _UNREACHABLE, dtype=np.int16)
        np.minimum.at(least_hops, flow_index, hops)
        weight = np.where(
            hops == least_hops[flow_index], self.uplink_bytes_per_s[source] * self.uplink_bytes_per_s[target], 0.0
        )
        total_weight = sum_by_index(flow_index, weight, len(flows.source))
        amount = flows.amount[flow_index] * weight / total_weight[flow_index]
        is_used = amount > 0
        return source[is_used], target[is_used], amount[is_used]

    def _compute_link_load(self, router: Ints, target: Ints, amount: Floats) -> Floats:
        """What every link carries, in the unit of `amount`, shape [links].

        `router`, `target`, `amount`: where flows enter, where they leave, how much; shape [flows]. All flows are
        moved one hop nearer at a time, split by the bandwidth of the links that lead nearer; flows with the same
        place and target are one.
        """
        routers = len(self.first_link) - 1
        load = np.zeros(len(self.tail))
        router, target, amount = _merge_flows(router, target, amount, routers)
        while len(router):
            flow_index, link = enumerate_runs(self.first_link[router], np.diff(self.first_link)[router])
            next_hops = self.router_hops[self.head[link], target[flow_index]]
            is_nearer = next_hops < self.router_hops[router, target][flow_index]
            flow_index, link = flow_index[is_nearer], link[is_nearer]
            weight = self.link_bytes_per_s[link]
            part = amount[flow_index] * weight / sum_by_index(flow_index, weight, len(router))[flow_index]
            load += sum_by_index(link, part, len(load))
            router, target, amount = _merge_flows(self.head[link], target[flow_index], part, routers)
        return load


def _merge_flows(router: Ints, target: Ints, amount: Floats, routers: int) -> tuple[Ints, Ints, Floats]:
    """Flows with the same place and target added; those that have arrived are left out. Shape [flows]."""
    key = router * routers + target
    keys, key_index = np.unique(key[router != target], return_inverse=True)
    return keys // routers, keys % routers, sum_by_index(key_index, amount[router != target], len(keys))


@dataclass(frozen=True)
class NetworkPorts:
    """Where devices enter: one port a NIC that works, or one a host where NICs are not distinguished.

    `device_port`: the port of each device, in the order of the wiring's hosts, shape [devices]. Of ports:
    `nic_index`, the NIC that one stands for, `host`, and `port_class`, the first port with the same uplinks; shape
    [ports]. `first_port`: where each host's ports begin, shape [hosts + 1].
    """

    device_port: Ints
    nic_index: Ints
    host: Ints
    port_class: Ints
    first_port: Ints

    def __len__(self) -> int:
        return len(self.nic_index)

    @cached_property
    def port_by_nic(self) -> Ints:
        """The port of each host's NIC, -1 where it has none, shape [hosts, NICs + 1]: the first has no number."""
        table = np.full((len(self.first_port) - 1, int(self.nic_index.max(initial=-1)) + 2), -1)
        table[self.host, self.nic_index + 1] = np.arange(len(self))
        return table

    def find_common_ports(self, host: Ints, other_host: Ints, nic_index: Ints) -> tuple[Ints, Ints]:
        """Ports of two hosts with the same NIC, the preferred one or the nearest that both have, the lower of two.

        Where they have none in common, the first port of each. All arguments broadcast together.
        """
        host, other_host, nic_index = np.broadcast_arrays(host, other_host, nic_index)
        host_port, other_port = self.first_port[host], self.first_port[other_host]
        is_matched = np.zeros(host.shape, dtype=bool)
        nic_columns = self.port_by_nic.shape[1]
        for step in sorted(range(-nic_columns, nic_columns + 1), key=lambda step: (abs(step), step)):
            if is_matched.all():
                break
            column = np.clip(nic_index + 1 + step, 0, nic_columns - 1)
            ports = self.port_by_nic[host, column], self.port_by_nic[other_host, column]
            is_new = ~is_matched & (ports[0] >= 0) & (ports[1] >= 0)
            host_port, other_port = np.where(is_new, ports[0], host_port), np.where(is_new, ports[1], other_port)
            is_matched = is_matched | is_new
        return host_port, other_port


@lru_cache(maxsize=8)
def build_routes(wiring: Wiring) -> tuple[Routes, NetworkPorts]:
    """Routers, links and ports of a wiring.

    Equal routers that no host is linked to are one router with the links of all. Raises InputError for a host without
    an uplink, for hosts that cannot reach each other, and for more than 8,192 routers.
    """
    hosts = len(wiring.hosts)
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    endpoints, rate = wiring.endpoints[network], wiring.bandwidth_bytes_per_s[network]
    nic_index = wiring.nic_index[network]
    is_forwarding = np.zeros(hosts, dtype=bool)
    is_forwarding[endpoints[(endpoints < hosts).all(axis=1)]] = True
    router_of = np.full(len(wiring.vertex_names), -1)
    routers = np.concatenate([np.flatnonzero(is_forwarding), np.arange(hosts, len(wiring.vertex_names))])
    router_of[routers] = np.arange(len(routers))
    if len(routers) > _MAX_ROUTERS:
        expected = f"at most {_MAX_ROUTERS:,}; a regular cluster is described by [[fabric]] levels"
        problem = "too many switches to be routed one by one"
        raise InputError(problem, key="switches", value=len(routers), expected=expected)
    is_uplink = (router_of[endpoints] < 0).any(axis=1)
    router_links, link_rate = endpoints[~is_uplink], rate[~is_uplink]
    entry_routers = np.concatenate(
        [router_of[endpoints[is_uplink].ravel()], router_of[np.flatnonzero(is_forwarding)]]
    )
    entry_routers = np.unique(entry_routers[entry_routers >= 0])
    equivalent_router = _find_equivalent_routers(router_of[router_links], link_rate, entry_routers, len(routers))
    router_of[routers] = equivalent_router[router_of[routers]]
    tail, head, link_bytes_per_s, first_link = _build_directed_links(router_of[router_links], link_rate, len(routers))
    ports, uplinks = _build_ports(
        wiring, is_forwarding, endpoints[is_uplink], nic_index[is_uplink], rate[is_uplink], router_of
    )
    router_hops = compute_hops(head, first_link, np.arange(len(routers)), np.int16)
    network_routes = Routes(tail, head, link_bytes_per_s, first_link, *uplinks, router_hops)
    _check_reachability(wiring, network_routes, ports)
    return network_routes, ports


def _find_equivalent_routers(endpoints: Ints, rate: Floats, entry_routers: Ints, routers: int) -> Ints:
    """For each router the first one with the same links to the same others, itself where devices enter it: [routers].

    `endpoints`: routers of each link, shape [links, 2]; `rate`: bytes/s, shape [links]; `entry_routers`: those that
    hosts are linked to. All flows split over equal routers by their links, so that one with the links of all carries
    the same share of each: the spines of a plane are as one.
    """
    _tail, head, link_bytes_per_s, first_link = _build_directed_links(endpoints, rate, routers)
    equivalent_router, router_by_links = np.arange(routers), dict[bytes, int]()
    is_mergeable = np.ones(routers, dtype=bool)
    is_mergeable[entry_routers] = False
    for router in np.flatnonzero(is_mergeable & (np.diff(first_link) > 0)).tolist():
        row = slice(first_link[router], first_link[router + 1])
        equivalent_router[router] = router_by_links.setdefault(
            head[row].tobytes() + link_bytes_per_s[row].tobytes(), router
        )
    return equivalent_router


def _build_directed_links(endpoints: Ints, rate: Floats, routers: int) -> tuple[Ints, Ints, Floats, Ints]:
    """Every link in both directions, parallel ones as one, ordered by tail: `tail`, `head`, bytes/s and `first_link`
    as `Routes` has them.
    """
    key = np.concatenate([endpoints[:, 0] * routers + endpoints[:, 1], endpoints[:, 1] * routers + endpoints[:, 0]])
    keys, key_index = np.unique(key, return_inverse=True)
    link_bytes_per_s = sum_by_index(key_index, np.tile(rate, 2), len(keys))
    tail = keys // max(routers, 1)
    return tail, keys % max(routers, 1), link_bytes_per_s, np.searchsorted(tail, np.arange(routers + 1))


def _build_ports(
    wiring: Wiring, is_forwarding: Bools, endpoints: Ints, nic_index: Ints, rate: Floats, router_of: Ints
) -> tuple[NetworkPorts, tuple[Ints, Floats, Ints]]:
    """The ports, and `uplink_router`, `uplink_bytes_per_s`, `first_uplink` as `Routes` has them.

    Of links from a host (the first end) to a switch: `endpoints`, shape [links, 2], `nic_index` and `rate` (bytes/s),
    shape [links]. `is_forwarding`: hosts that pass traffic on, shape [hosts]; `router_of`: the router of each vertex.
    Raises InputError for a host without an uplink.
    """
    host, router = endpoints[:, 0], router_of[endpoints[:, 1]]
    # a host that passes traffic on is its own entry
    forwarding_hosts = np.flatnonzero(is_forwarding)
    host, router = np.concatenate([host, forwarding_hosts]), np.concatenate([router, router_of[forwarding_hosts]])
    nic_index = np.concatenate([nic_index, np.full(len(forwarding_hosts), -1)])
    rate = np.concatenate([rate, np.full(len(forwarding_hosts), np.inf)])
    nic_index = np.where(is_forwarding[host], -1, nic_index)
    nic_columns = int(nic_index.max(initial=0)) + 2
    keys, port = np.unique(host * nic_columns + nic_index + 1, return_inverse=True)
    port_host, port_nic = keys // nic_columns, keys % nic_columns - 1
    first_port = np.searchsorted(port_host, np.arange(len(wiring.hosts) + 1))
    hosts_without_port = np.flatnonzero(np.diff(first_port) == 0)
    if len(hosts_without_port) and not _has_single_rack(wiring):
        host_name = wiring.hosts[int(hosts_without_port[0])]
        expected = "a link to a switch or to another host"
        raise InputError("has no uplink", key="links", value=host_name, expected=expected)
    device_port = _assign_device_ports(wiring, port_nic, first_port)
    order = np.lexsort((router, port))
    first_uplink = np.searchsorted(port[order], np.arange(len(keys) + 1))
    uplinks = (router[order], rate[order], first_uplink)
    return NetworkPorts(device_port, port_nic, port_host, _find_port_classes(*uplinks), first_port), uplinks


def _has_single_rack(wiring: Wiring) -> bool:
    """Whether all hosts are below one scale-up switch: they need no uplink."""
    return bool((wiring.scale_up_domains == 0).all())


def _find_port_classes(uplink_router: Ints, uplink_bytes_per_s: Floats, first_uplink: Ints) -> Ints:
    """For each port the first one that has the same uplinks, shape [ports]."""
    class_by_signature: dict[bytes, int] = {}
    port_classes = []
    for port, (start, end) in enumerate(zip(first_uplink[:-1].tolist(), first_uplink[1:].tolist(), strict=True)):
        signature = uplink_router[start:end].tobytes() + uplink_bytes_per_s[start:end].tobytes()
        port_classes.append(class_by_signature.setdefault(signature, port))
    return np.array(port_classes, dtype=np.int64)


def _assign_device_ports(wiring: Wiring, port_nic: Ints, first_port: Ints) -> Ints:
    """The port of each device, shape [devices]: devices are spread evenly over the NIC numbers in use, and where a
    host lacks that NIC, the nearest one of the host is taken.
    """
    host, local = enumerate_runs(np.zeros_like(wiring.devices), wiring.devices)
    if not len(port_nic):
        return np.zeros(len(host), dtype=np.int64)
    preferred_nic = local * max(int(port_nic.max()) + 1, 1) // wiring.devices[host]
    return _find_nearest_port(port_nic, first_port, host, preferred_nic)


def _find_nearest_port(port_nic: Ints, first_port: Ints, host: Ints, preferred_nic: Ints) -> Ints:
    """The port of each host whose NIC is nearest to the preferred one, the lower of two."""
    host, preferred_nic = np.broadcast_arrays(host, preferred_nic)
    first, last = first_port[host], first_port[host + 1] - 1
    best = first
    for offset in range(1, int(np.diff(first_port).max())):
        candidate = np.minimum(first + offset, last)
        best = np.where(
            np.abs(port_nic[candidate] - preferred_nic) < np.abs(port_nic[best] - preferred_nic), candidate, best
        )
    return best


def _check_reachability(wiring: Wiring, network_routes: Routes, ports: NetworkPorts) -> None:
    """Raise InputError for a host that reaches the first one by none of its ports."""
    if _has_single_rack(wiring):
        return
    first_uplink = network_routes.first_uplink[ports.first_port]  # of each host
    first_routers = network_routes.uplink_router[first_uplink[0] : first_uplink[1]]
    hops_to_first_host = network_routes.router_hops[:, first_routers].min(axis=1)
    host_hops = np.minimum.reduceat(hops_to_first_host[network_routes.uplink_router], first_uplink[:-1])
    cut_off = np.flatnonzero(host_hops == _UNREACHABLE)
    if len(cut_off):
        problem, host_name = f"cannot reach {wiring.hosts[0]}", wiring.hosts[int(cut_off[0])]
        raise InputError(problem, key="links", value=host_name, expected="a path between all hosts")
