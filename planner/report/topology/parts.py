"""The parts of a cluster as the topology document tells them: levels with what lies in their parts, and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, joined_devices
from planner.cluster.model.wiring import Wiring, switch_parts
from planner.cluster.network.build import build_network
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cluster.regular.torus import torus_of
from planner.documents.topology import LevelPart, NamesPart

Ints = NDArray[np.int64]


def level_parts_told(cluster: Cluster, wiring: Wiring | None) -> list[LevelPart]:
    """The levels from the node outwards; `wiring`: what is in use, None where it is not written out."""
    torus, parts, rates = torus_of(cluster), _parts(cluster), _rates(cluster)
    switches = None if wiring is None else _switches(cluster, wiring)
    before = None if cluster.sound is None or cluster.nodes == 1 else joined_devices(cluster.sound.cluster)
    inner: dict[bool, float] = {}
    found = []
    for number, level in enumerate(cluster.levels):
        rate, inward = rates[number], inner.get(level.through_nic, rates[number])
        held = np.unique(parts[number], return_counts=True)[1] * cluster.devices_per_node
        inside = _inside(parts, number) if number else np.array([cluster.devices_per_node])
        # of a torus with holes the shape is what it was
        whole = int(held.max()) if before is None else before[number]
        told = level.axes is not None and torus is not None and torus.devices == whole
        found.append(
            LevelPart(
                name=level.name,
                topology=level.topology,
                devices=int(held.max()),
                fewest_devices=int(held.min()),
                parts=len(held),
                most_inside=int(inside.max()),
                fewest_inside=int(inside.min()),
                switches=None if switches is None else switches[level.name],
                bandwidth_bytes_per_s=rate,
                # what a slow host has of its own links is no oversubscription
                oversubscription=inward / rate if cluster.wiring is None or level.through_nic else 1.0,
                latency_s=level.latency_s,
                network_cards=level.through_nic,
                shape=list(torus.shape) if told and torus is not None else [],
                wrap=list(torus.wrap) if told and torus is not None else [],
            )
        )
        inner[level.through_nic] = rate
    return found


def _parts(cluster: Cluster) -> Ints:
    """The part of each level that a node lies in, shape [levels, nodes]."""
    network = build_network(cluster)
    if isinstance(network, RoutedNetwork):
        return network.parts
    joined = np.array(joined_devices(cluster))[:, None]
    node = np.arange(cluster.nodes)[None, :]
    return np.where(joined > cluster.devices_per_node, node * cluster.devices_per_node // joined, node)


def _rates(cluster: Cluster) -> list[float]:
    """Bytes/s of one device on the way up to each level. Of a cluster that is described cable by cable the outermost
    level's is that of the leaf with the least.
    """
    rates = [level.bandwidth_bytes_per_s for level in cluster.levels]
    wiring = cluster.wiring
    if wiring is None or cluster.sound is not None or "leaf" not in [level.name for level in cluster.levels]:
        return rates
    hosts = switch_parts(wiring)
    part = np.concatenate([hosts, np.full(len(wiring.switches), -1)])
    for end, other in ((0, 1), (1, 0)):
        up = (wiring.ends[:, end] < len(hosts)) & (wiring.bandwidth_bytes_per_s > 0) & ~wiring.in_rack
        part[wiring.ends[up, other]] = part[wiring.ends[up, end]]
    one, two = part[wiring.ends].T
    leaving = (one != two) & ~wiring.in_rack
    out = np.zeros(len(hosts))
    for side in (one, two):
        counts = leaving & (side >= 0)
        np.add.at(out, side[counts], wiring.bandwidth_bytes_per_s[counts])
    devices = np.bincount(hosts, wiring.devices, len(hosts))
    there = np.unique(hosts)
    return [*rates[:-1], min(rates[-1], float((out[there] / devices[there]).min()))]


def _inside(parts: Ints, number: int) -> Ints:
    """How many parts of the next inner level each part of a level has, shape [parts]."""
    pairs = np.unique(parts[[number, number - 1]], axis=1)
    return np.unique(pairs[0], return_counts=True)[1]


def _switches(cluster: Cluster, wiring: Wiring) -> Counter[str]:
    """Switches of each level. Of a wiring of one's own: those of racks, those that hosts are wired to, the others."""
    if cluster.wiring is None or cluster.sound is not None:
        return Counter(name.rsplit("-", 1)[0] for name in wiring.switches)
    there = [level.name for level in cluster.levels]
    hosts = len(wiring.hosts)
    kind = np.full(len(wiring.vertices), "fabric", dtype="<U6")
    if "leaf" in there:
        kind[wiring.ends[(wiring.ends < hosts).any(axis=1) & ~wiring.in_rack]] = "leaf"
    kind[wiring.ends[wiring.in_rack]] = "rack"
    return Counter(kind[hosts:].tolist())


def names_told(wiring: Wiring) -> list[NamesPart]:
    """Names of hosts and switches, those that count on together."""
    return [*_names("node", wiring.hosts), *_names("switch", wiring.switches)]


def _names(kind: Literal["node", "switch"], names: Sequence[str]) -> Iterator[NamesPart]:
    """Names of each kind in the order of their numbers, a part for each run of numbers without a gap."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        number = re.search(r"[0-9]{0,18}$", name)
        told = number.group() if number else ""
        found.setdefault(name.removesuffix(told) if told else name, []).append((int(told or 0), name))
    for held in found.values():
        run: list[tuple[int, str]] = []
        for one in sorted(held):
            if run and one[0] != run[-1][0] + 1:
                yield NamesPart(kind=kind, first=run[0][1], last=run[-1][1], count=len(run))
                run = []
            run.append(one)
        yield NamesPart(kind=kind, first=run[0][1], last=run[-1][1], count=len(run))
