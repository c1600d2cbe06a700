"""A cluster whose file tells its wiring: which hosts are used, the levels by which it is told, and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.build.power import rated_overhead
from planner.cluster.build.regular_cluster import node_accelerator, node_host, node_inside, regular_cluster
from planner.cluster.model.cluster import Cluster, Level, Sound
from planner.cluster.model.spec import ClusterSpec, FaultSpec, NodeSpec
from planner.cluster.model.wiring import Wiring, switch_parts, way_out
from planner.cluster.network.degraded_network import degraded
from planner.cluster.network.ecmp_routing import Ports, Routes, routes
from planner.cluster.regular.levels import switches_add
from planner.cluster.wired.build_links import expand
from planner.cluster.wired.failed_parts import with_faults, with_hosts
from planner.cluster.wired.wiring_file import wiring_of
from planner.errors import InputError
from planner.hardware.accelerator import Accelerator

Floats = NDArray[np.float64]


Ints = NDArray[np.int64]


_MOST_WRITTEN_OUT = 131_072
"""Nodes of a regular cluster whose faults are told: every host and cable of it is written out."""


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
    if not spec.hosts:
        # what is asked for is taken of what is left
        given = regular_cluster(spec, origin, nodes=nodes, devices=devices)
        if given.nodes > _MOST_WRITTEN_OUT:
            expected = f"at most {_MOST_WRITTEN_OUT:,} nodes"
            raise InputError("too many nodes to tell faults of", origin=origin, value=given.nodes, expected=expected)
        whole = expand(given)
        return degraded(Sound(given, whole), _with_all(whole, spec, origin, faults), origin)
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
    wiring, cards = _with_all(wiring, spec, origin, faults), node.nic is not None
    return _of_wiring(given, wiring, origin, cards, nodes=nodes, devices=devices)


def _with_all(wiring: Wiring, spec: ClusterSpec, origin: str, faults: Sequence[FaultSpec]) -> Wiring:
    """The wiring with the faults of the file, and those told beside it."""
    return with_faults(with_faults(wiring, spec.faults, origin, "faults"), faults, "", "--fault")


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
        levels += _levels(wiring, *routes(wiring, origin), whole, cards, node.in_network)
    return replace(given, nodes=count, devices_per_node=whole, levels=tuple(levels), wiring=wiring)


def so_many(cluster: Cluster, nodes: int) -> Cluster:
    """`nodes` of the hosts of a cluster with a wiring: those with the widest way out, close together.

    Raises InputError where there are not as many.
    """
    wiring = cluster.wiring
    assert wiring is not None
    if cluster.sound is None:
        return _of_wiring(cluster, wiring, cluster.name, cluster.levels[-1].through_nic, nodes=nodes)
    count = _count(wiring, cluster.devices_per_node, nodes, None)
    return degraded(cluster.sound, with_hosts(wiring, _best(wiring, count)), cluster.name)


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
    rest, cards = with_hosts(wiring, np.flatnonzero(~slow)), cluster.levels[-1].through_nic
    if cluster.sound is not None:
        left = degraded(cluster.sound, rest, cluster.name)
    else:
        left = _of_wiring(cluster, rest, cluster.name, cards)
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


def _levels(wiring: Wiring, found: Routes, ports: Ports, whole: int, cards: bool, adds: bool) -> list[Level]:
    """The levels beyond a node: a scale-up rack where there is one, hosts at the same switches, all of them. `adds`:
    whether NVSwitches of the accelerators' generation add; the network does where all of its switches do.
    """
    levels = []
    sharp = bool(wiring.in_network.all()) and len(wiring.switches) > 0
    domain = wiring.domains
    largest = int(np.bincount(domain).max())
    if largest > 1:
        rate = _rack_rate(wiring) / whole
        latency = float(wiring.scale_up_latency_s.max()) + _crossing(wiring)
        levels.append(Level("rack", "nvswitch", largest * whole, rate, latency, in_network=adds))
    if largest == len(wiring.hosts):
        return levels
    share = float(np.median(way_out(wiring))) / whole
    card = float(wiring.card_latency_s.max())
    near = int(np.bincount(switch_parts(wiring)).max())
    if largest < near < len(wiring.hosts):
        step = card + _crossing(wiring)
        levels.append(Level("leaf", "fat-tree", near * whole, share, step, None, cards, sharp))
    farthest = found.farthest()
    latency = card + (farthest + 1) * _crossing(wiring)
    levels.append(Level("fabric", "fat-tree", 0, share, latency, None, cards, sharp))
    return levels


def _rack_rate(wiring: Wiring) -> float:
    """Bytes/s of the narrowest host's links into its rack."""
    into = wiring.rates(wiring.in_rack)
    return float(into[into > 0].min())


def _crossing(wiring: Wiring) -> float:
    return float(wiring.switch_latency_s.max(initial=0.0))
