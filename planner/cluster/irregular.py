"""A cluster with a wiring of its own: which hosts are used, the levels by which it is told, and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.accelerator import Accelerator
from planner.cluster.cluster import (
    Cluster,
    Level,
    node_accelerator,
    node_host,
    node_inside,
    regular_cluster,
    switches_add,
)
from planner.cluster.expand import expand
from planner.cluster.faults import with_faults, with_hosts
from planner.cluster.network import Network
from planner.cluster.patterns import Layout
from planner.cluster.power import rated_overhead
from planner.cluster.routed import RoutedNetwork
from planner.cluster.routing import routes
from planner.cluster.spec import ClusterSpec, FaultSpec, NodeSpec
from planner.cluster.wired import wiring_of
from planner.cluster.wiring import Wiring
from planner.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def irregular_cluster(
    spec: ClusterSpec,
    origin: str,
    faults: Sequence[FaultSpec] = (),
    *,
    nodes: int | None = None,
    devices: int | None = None,
) -> Cluster:
    """The cluster whose file tells its wiring, or a regular one written out, with all faults.

    Hosts with fewer devices than the others are not used. `nodes` or `devices` of those that work are taken: those
    with the widest way out, close together. Raises InputError where there are not as many as asked for, where a
    fault's part is not there, and where hosts cannot reach each other.
    """
    if spec.hosts:
        wiring, node = wiring_of(spec, origin)
        part = node_accelerator(node, origin)
        given = Cluster(
            name=spec.name,
            title=spec.title or spec.name,
            accelerator=part,
            nodes=len(wiring.hosts),
            devices_per_node=node.devices,
            levels=(Level("node", node.link.topology, node.devices, 0.0, 0.0, in_network=_node_adds(node, part)),),
            host=node_host(node.host, origin),
            inside=node_inside(node, origin),
            node_overhead_w=rated_overhead(node, part, origin),
        )
        cards = node.nic is not None
    else:
        # what is asked for is taken of what is left
        given = regular_cluster(spec, origin, nodes=nodes, devices=devices)
        nodes = devices = None
        wiring, cards = expand(given), all(level.through_nic for level in given.levels[-1:])
    for some, told, key in ((spec.faults, origin, "faults"), (faults, "", "--fault")):
        wiring = with_faults(wiring, some, told, key)
    try:
        return _of_wiring(given, wiring, origin, cards, nodes=nodes, devices=devices)
    except InputError as error:
        if not faults or error.key != "links":
            raise
        expected = "faults that leave a way between all hosts"
        raise InputError(error.problem, key="--fault", value=error.value, expected=expected) from error


def _of_wiring(
    given: Cluster,
    wiring: Wiring,
    origin: str,
    cards: bool,
    *,
    nodes: int | None = None,
    devices: int | None = None,
) -> Cluster:
    """`given` with the usable hosts of a wiring, or so many; `cards`: whether the way out is by network cards."""
    whole = int(wiring.devices.max())
    wiring = with_hosts(wiring, np.flatnonzero(wiring.devices == whole))
    count = _count(wiring, whole, nodes, devices)
    if count < len(wiring.hosts):
        wiring = with_hosts(wiring, _best(wiring, count))
    inside, latency = float(wiring.scale_up_bytes_per_s.min()), float(wiring.scale_up_latency_s.max())
    node = given.levels[0]
    levels = [Level("node", node.topology, whole, inside, latency, in_network=node.in_network)]
    if count > 1:
        levels += _levels(wiring, origin, whole, cards, node.in_network)
    return replace(given, nodes=count, devices_per_node=whole, levels=tuple(levels), wiring=wiring)


def without_slow_hosts(cluster: Cluster) -> tuple[Cluster, tuple[str, ...]] | None:
    """The cluster without the hosts whose way out is narrower than most hosts', and their names; None where all are
    alike.
    """
    wiring = cluster.wiring
    if wiring is None or cluster.nodes < 2:
        return None
    rate = way_out(wiring)
    slow = rate < np.median(rate) * (1 - 1e-9)
    if not slow.any():
        return None
    cards = cluster.levels[-1].through_nic
    left = _of_wiring(cluster, with_hosts(wiring, np.flatnonzero(~slow)), cluster.name, cards)
    return left, tuple(name for name, is_slow in zip(wiring.hosts, slow.tolist(), strict=True) if is_slow)


def _count(wiring: Wiring, per_host: int, nodes: int | None, devices: int | None) -> int:
    """How many hosts are used."""
    if nodes is not None and devices is not None:
        raise InputError("give one of the two", key="--nodes, --devices", expected="either --nodes or --devices")
    there = len(wiring.hosts)
    if devices is not None and (devices < 1 or devices % per_host):
        expected = f"a multiple of {per_host}, up to {there * per_host:,}"
        raise InputError("not a whole number of nodes", key="--devices", value=devices, expected=expected)
    count = nodes if devices is None else devices // per_host
    if count is None:
        return there
    if not 1 <= count <= there:
        key = "--nodes" if devices is None else "--devices"
        expected = f"from 1 to {there:,} nodes ({there * per_host:,} devices)"
        raise InputError("there are not as many", key=key, value=nodes or devices, expected=expected)
    return count


def way_out(wiring: Wiring) -> Floats:
    """Bytes/s of each host's links to the network together, shape [hosts]."""
    return _rates(wiring, ~wiring.in_rack)


def _rates(wiring: Wiring, links: NDArray[np.bool_]) -> Floats:
    """Bytes/s of those of each host's links together, shape [hosts]."""
    out = np.zeros(len(wiring.vertices))
    for end in wiring.ends[links].T:
        np.add.at(out, end, wiring.bandwidth_bytes_per_s[links])
    return out[: len(wiring.hosts)]


def joined_parts(wiring: Wiring, links: NDArray[np.bool_]) -> Ints:
    """For each host the first one that the given links join it to, directly or through switches; shape [hosts]."""
    part = np.arange(len(wiring.vertices))
    ends = wiring.ends[links]
    while True:
        low = np.minimum(part[ends[:, 0]], part[ends[:, 1]])
        grown = part.copy()
        for end in ends.T:
            np.minimum.at(grown, end, low)
        grown = grown[grown]
        if (grown == part).all():
            return grown[: len(wiring.hosts)]
        part = grown


def switch_parts(wiring: Wiring) -> Ints:
    """For each host the first one that is wired to the same switches, shape [hosts]."""
    seen: dict[tuple[int, ...], int] = {}
    neighbours: list[set[int]] = [set() for _ in wiring.hosts]
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    for one, other in wiring.ends[network].tolist():
        if one < len(neighbours):
            neighbours[one].add(other)
        if other < len(neighbours):
            neighbours[other].add(one)
    hosts = len(wiring.hosts)
    # a host that is wired to others passes their traffic on: it stands alone
    told = [
        tuple(sorted(found)) if min(found, default=hosts) >= hosts else (-1, place)
        for place, found in enumerate(neighbours)
    ]
    return np.array([seen.setdefault(one, place) for place, one in enumerate(told)], dtype=np.int64)


def leaf_parts(wiring: Wiring) -> Ints:
    """For each host the first one that it can reach by switches that hosts are wired to, not crossing others.

    A card or a rail that is gone leaves a host with the others of its leaf. Shape [hosts].
    """
    hosts = len(wiring.hosts)
    network = ~wiring.in_rack & (wiring.bandwidth_bytes_per_s > 0)
    # a host that is wired to others passes their traffic on: it stands alone
    passing = np.zeros(len(wiring.vertices), dtype=np.bool_)
    passing[wiring.ends[network & (wiring.ends < hosts).all(axis=1)]] = True
    up = network & ((wiring.ends < hosts).sum(axis=1) == 1) & ~passing[wiring.ends].any(axis=1)
    return joined_parts(wiring, up)


def level_parts(cluster: Cluster) -> Ints:
    """The part of each level that a host lies below, by the first host of each part; shape [levels, hosts]."""
    wiring = cluster.wiring
    assert wiring is not None
    hosts = len(wiring.hosts)
    parts = {
        "node": np.arange(hosts),
        "rack": joined_parts(wiring, wiring.in_rack),
        "leaf": leaf_parts(wiring),
        "fabric": np.zeros(hosts, dtype=np.int64),
    }
    return np.stack([parts[level.name] for level in cluster.levels]).astype(np.int64)


def _best(wiring: Wiring, count: int) -> Ints:
    """So many hosts: of those with the widest way out, whole groups below the same switches first."""
    rate, part = way_out(wiring), switch_parts(wiring)
    good = np.argsort(-rate, kind="stable")
    worst = rate[good[count - 1]]
    _, of = np.unique(np.where(rate >= worst, part, -1 - np.arange(len(rate))), return_inverse=True)
    size = np.bincount(of)[of]
    chosen = np.lexsort((np.arange(len(rate)), part, -size, rate < worst))[:count]
    return np.sort(chosen)


def _node_adds(node: NodeSpec, part: Accelerator) -> bool:
    return switches_add(node.link.in_network, node.link.topology, part.architecture)


def _levels(wiring: Wiring, origin: str, whole: int, cards: bool, adds: bool) -> list[Level]:
    """The levels beyond a node: a scale-up rack where there is one, hosts at the same switches, all of them. `adds`:
    whether NVSwitches of the accelerators' generation add; the network does where all of its switches do.
    """
    levels = []
    sharp = bool(wiring.in_network.all()) and len(wiring.switches) > 0
    domain = joined_parts(wiring, wiring.in_rack)
    largest = int(np.bincount(domain).max())
    if largest > 1:
        rate = _rack_rate(wiring) / whole
        latency = float(wiring.scale_up_latency_s.max()) + _crossing(wiring)
        levels.append(Level("rack", "nvswitch", largest * whole, rate, latency, in_network=adds))
    if largest == len(wiring.hosts):
        return levels
    found, _ = routes(wiring, origin)
    share = float(np.median(way_out(wiring))) / whole
    card = float(wiring.card_latency_s.max())
    near = int(np.bincount(leaf_parts(wiring)).max())
    if largest < near < len(wiring.hosts):
        step = card + _crossing(wiring)
        levels.append(Level("leaf", "fat-tree", near * whole, share, step, None, cards, sharp))
    farthest = found.farthest()
    latency = card + (farthest + 1) * _crossing(wiring)
    levels.append(Level("fabric", "fat-tree", 0, share, latency, None, cards, sharp))
    return levels


def _rack_rate(wiring: Wiring) -> float:
    """Bytes/s of the narrowest host's links into its rack."""
    into = _rates(wiring, wiring.in_rack)
    return float(into[into > 0].min())


def _crossing(wiring: Wiring) -> float:
    return float(wiring.switch_latency_s.max(initial=0.0))


def routed_network(cluster: Cluster, network: Network) -> Network:
    """The network of a cluster with a wiring; `network`: its tiers as the levels tell them, which say all within one
    rack.
    """
    wiring = cluster.wiring
    assert wiring is not None
    if cluster.levels[-1].name == "rack":
        return network
    found, ports = routes(wiring, cluster.name)
    hosts = len(wiring.hosts)
    domain = joined_parts(wiring, wiring.in_rack)
    return RoutedNetwork(
        **{name: getattr(network, name) for name in Network.__dataclass_fields__},
        routes=found,
        layout=Layout(ports, domain, cluster.devices_per_node),
        parts=level_parts(cluster),
        scale_up=sum(level.name in ("node", "rack") for level in cluster.levels) - 1,
        order=np.arange(hosts),
        share_of_card=float(np.median(way_out(wiring))) / cluster.devices_per_node,
        way_out=way_out(wiring),
    )
