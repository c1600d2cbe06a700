"""A cluster whose file tells its wiring cable by cable: hosts, switches and links as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from planner.cluster.model import presets
from planner.cluster.model.spec import CableSpec, ClusterSpec, MachineSpec, NodeSpec
from planner.cluster.model.wiring import Wiring
from planner.cluster.wired.hostlist import expand_at
from planner.errors import InputError, find_nearest_name
from planner.hardware.figures import number, positive

_MOST_LINKS = 1_000_000
_MOST_NAMES = 262_144
"""Of hosts, and of switches."""
_PORTS = 2
"""Cables that lead to one network card at most."""


def wiring_of(spec: ClusterSpec, origin: str) -> tuple[Wiring, NodeSpec]:
    """The wiring that a file tells, and the node that all its hosts are.

    Raises InputError for a name that stands twice or nowhere, for hosts of several kinds, and for figures that make
    no sense.
    """
    node = _node(spec, {_kind(spec, host, origin) for host in spec.hosts}, origin)
    hosts, devices = _hosts(spec, node, origin)
    switches, latency, adds = _switches(spec, origin)
    places = _places(hosts, switches, origin)
    cards = node.nic.count if node.nic is not None else 0
    ends, card, rate, scale_up = _links(spec.links, places, len(hosts), cards, origin)
    inside = positive(node.link.bandwidth, "bytes_per_s", origin=origin, key="node.link.bandwidth")
    inside_latency = number(node.link.latency, "s", origin=origin, key="node.link.latency")
    nic = number(node.nic.latency, "s", origin=origin, key="node.nic.latency") if node.nic else inside_latency
    count = len(hosts)
    return Wiring(
        hosts=hosts,
        switches=switches,
        devices=np.array(devices, dtype=np.int64),
        scale_up_bytes_per_s=np.full(count, inside),
        scale_up_latency_s=np.full(count, inside_latency),
        card_latency_s=np.full(count, nic),
        switch_latency_s=np.array(latency),
        in_network=np.array(adds, dtype=bool),
        ends=np.array(ends, dtype=np.int64).reshape(-1, 2),
        card=np.array(card, dtype=np.int64),
        bandwidth_bytes_per_s=np.array(rate, dtype=np.float64),
        scale_up=np.array(scale_up, dtype=bool),
    ), node


def _kind(spec: ClusterSpec, host: MachineSpec, origin: str) -> str:
    """The name of a host's node; empty for the inline node of the cluster."""
    named = host.node or (spec.node if isinstance(spec.node, str) else "")
    if not named and spec.node is None:
        expected = "a node of hardware_db, here or as the cluster's node"
        raise InputError("is missing", origin=origin, key="hosts.node", value=host.name, expected=expected)
    return named


def _node(spec: ClusterSpec, kinds: set[str], origin: str) -> NodeSpec:
    if len(kinds) > 1:
        told = ", ".join(sorted(kind or "the inline node" for kind in kinds))
        expected = "hosts of one kind; several kinds are told as [[pools]]"
        raise InputError("hosts of several kinds", origin=origin, key="hosts.node", value=told, expected=expected)
    (kind,) = kinds
    if not kind and isinstance(spec.node, NodeSpec):
        return spec.node
    return presets.node_spec(kind, origin=origin, key="hosts.node" if kind else "node")


def _hosts(spec: ClusterSpec, node: NodeSpec, origin: str) -> tuple[tuple[str, ...], list[int]]:
    """Names and devices of all hosts."""
    names: list[str] = []
    devices: list[int] = []
    for index, host in enumerate(spec.hosts):
        count = host.devices or node.devices
        if count > node.devices:
            key, expected = f"hosts[{index}].devices", f"at most the node's {node.devices}"
            raise InputError("more than the node has", origin=origin, key=key, value=count, expected=expected)
        found = expand_at(host.name, origin, f"hosts[{index}].name", _MOST_NAMES - len(names))
        names += found
        devices += [count] * len(found)
    return tuple(names), devices


def _switches(spec: ClusterSpec, origin: str) -> tuple[tuple[str, ...], list[float], list[bool]]:
    """Names and latencies of all switches, and whether they add up what passes through."""
    names: list[str] = []
    latency: list[float] = []
    adds: list[bool] = []
    for index, switch in enumerate(spec.switches):
        found = expand_at(switch.name, origin, f"switches[{index}].name", _MOST_NAMES - len(names))
        names += found
        latency += [number(switch.latency, "s", origin=origin, key=f"switches[{index}].latency")] * len(found)
        adds += [switch.in_network] * len(found)
    return tuple(names), latency, adds


def _places(hosts: Sequence[str], switches: Sequence[str], origin: str) -> dict[str, int]:
    """The vertex of each name. Raises InputError for a name that stands twice."""
    places: dict[str, int] = {}
    for place, name in enumerate(itertools.chain(hosts, switches)):
        if name in places:
            key = "hosts" if place < len(hosts) else "switches"
            raise InputError("stands twice", origin=origin, key=key, value=name, expected="a name for one part only")
        places[name] = place
    return places


def _links(
    links: Sequence[CableSpec], places: dict[str, int], hosts: int, cards: int, origin: str
) -> tuple[list[tuple[int, int]], list[int], list[float], list[bool]]:
    """Every pair of ends, a host first, with its card, bandwidth and kind.

    As many cables as a node has network cards lead one to each.
    """
    ends: list[tuple[int, int]] = []
    card: list[int] = []
    rate: list[float] = []
    scale_up: list[bool] = []
    plugged = [0] * hosts
    for index, link in enumerate(links):
        key = f"links[{index}]"
        each = positive(link.bandwidth, "bytes_per_s", origin=origin, key=f"{key}.bandwidth")
        left, right = (
            [_end(name, places, hosts, cards, origin, key) for name in expand_at(end, origin, f"{key}.ends")]
            for end in link.ends
        )
        one_a_card = link.cables == cards and link.kind == "network"
        if len(ends) + len(left) * len(right) * (cards if one_a_card else 1) > _MOST_LINKS:
            expected = f"at most {_MOST_LINKS:,} in all"
            raise InputError("too many links", origin=origin, key=f"{key}.ends", expected=expected)
        for one, other in itertools.product(left, right):
            (first, told), (second, _) = sorted((one, other))
            if first == second:
                raise InputError("joins a part with itself", origin=origin, key=f"{key}.ends", value=link.ends[0])
            if link.kind == "network":
                for host, its_card in (one, other):
                    if host < hosts:
                        plugged[host] += link.cables
                        _check_plugged(plugged[host], link.cables, its_card, cards, origin, f"{key}.cables")
            to_switch = first < hosts <= second
            several = one_a_card and to_switch and told < 0
            for nth in range(cards) if several else [told if to_switch else -1]:
                ends.append((first, second))
                card.append(nth)
                rate.append(each if several else each * link.cables)
                scale_up.append(link.kind == "scale-up")
    return ends, card, rate, scale_up


def _check_plugged(plugged: int, cables: int, card: int, cards: int, origin: str, key: str) -> None:
    """More cables than a host's cards, or the one card that is named, have ports. A node without cards has none to
    count.
    """
    ports, of = (
        (_PORTS, "of one network card") if card >= 0 else (_PORTS * cards, f"of a host's {cards} network cards")
    )
    if cards and max(cables, 0 if card >= 0 else plugged) > ports:
        told = cables if cables > ports else f"{plugged} on one host"
        raise InputError(
            "more than there are ports", origin=origin, key=key, value=told, expected=f"at most {ports} {of}"
        )


def _end(name: str, places: dict[str, int], hosts: int, cards: int, origin: str, key: str) -> tuple[int, int]:
    """The vertex and the card that an end of a link names; -1: no card in particular."""
    if name in places:
        return places[name], -1
    part, _, told = name.rpartition(":")
    if part in places and told.isdecimal() and told.isascii() and len(told) < 5:
        if places[part] >= hosts:
            raise InputError(
                "a switch's ports are not told", origin=origin, key=f"{key}.ends", value=name, expected=part
            )
        if int(told) >= cards:
            expected = f"a card from 0 to {cards - 1}" if cards else "no card: [node.nic] tells of none"
            raise InputError("has no such card", origin=origin, key=f"{key}.ends", value=name, expected=expected)
        return places[part], int(told)
    raise InputError(
        "no host or switch has this name",
        origin=origin,
        key=f"{key}.ends",
        value=name,
        expected="a name of [[hosts]] or [[switches]], or a host's card such as a01:3",
        suggestion=find_nearest_name(part or name, places) if len(places) < 20_000 else "",
    )
