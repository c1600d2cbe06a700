"""Wiring made whole: links that only say what is below what get cables, and what leads nowhere is left out."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from planner.cluster.importers.draft import LinkDraft
from planner.cluster.importers.imported_cluster import FoundLink, depths
from planner.cluster.importers.node_types import Given, Kind, Notes
from planner.cluster.wired.hostlist import natural
from planner.errors import InputError

LEAST, MOST = 1e6, 1e15
"""Bytes/s of a cable that a cluster file can hold (`planner.hardware.figures`)."""


def free_name(taken: Container[str]) -> str:
    """A name for the switch that is assumed where a description has none above all hosts."""
    return next(name for name in (f"network{'-' * dashes}" for dashes in itertools.count()) if name not in taken)


def scale_up_or_not(links: Sequence[FoundLink], kinds: Mapping[str, Kind], notes: Notes) -> list[FoundLink]:
    """Links with the blocks of nodes that their accelerators cannot join made network ones, or left out."""
    networked = {link.lower for link in links if not link.scale_up}
    kept = []
    for link in links:
        kind = kinds.get(link.lower)
        if not link.scale_up or kind is None or kind.rack_scale or link.cables is not None:
            kept.append(link)
        elif link.lower in networked:
            notes.add(f"{kind.accelerator} has no links beyond its node: its NVLink domains are left out")
        else:
            notes.add(f"{kind.accelerator} has no links beyond its node: blocks are taken as network switches")
            kept.append(replace(link, scale_up=False))
    return kept


def with_network(links: Sequence[FoundLink], hosts: Sequence[str], network: str, notes: Notes) -> list[FoundLink]:
    """The links with a switch above all of the network, where places are told but nothing that joins them."""
    lowers = {link.lower for link in links if not link.scale_up}
    places = {link.upper for link in links if link.cables is None and not link.scale_up}
    loose = [host for host in hosts if host not in lowers]
    tops = sorted(place for place in places if place not in lowers)
    domains = any(link.scale_up for link in links)
    if (loose and domains and not lowers) or len(tops) > 1:
        below = loose if not lowers else tops
        what = f"the {len(tops)} topmost" if lowers else "all hosts"
        notes.add(f"nothing tells what joins {what}: one switch, {network}, does")
        return [*links, *(FoundLink(one, network, cables=None) for one in below)]
    return list(links)


def one_way(links: Sequence[FoundLink], hosts: Iterable[str]) -> list[FoundLink]:
    """The links, switches that name each other as below counted once: the one that is nearer to hosts is below."""
    told = {(link.lower, link.upper) for link in links if link.cables is None}
    both = {pair for pair in told if pair[::-1] in told}
    if not both:
        return list(links)
    depth = depths(hosts, told)
    upside_down = {
        (low, up) for low, up in both if (depth.get(low, 0), natural(low)) > (depth.get(up, 0), natural(up))
    }
    return [link for link in links if (link.lower, link.upper) not in upside_down]


def prune(links: Sequence[FoundLink], hosts: Mapping[str, Kind]) -> list[FoundLink]:
    """The links without those to switches that lead to no second host or switch, again and again."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for link in links:
        neighbours[link.lower].add(link.upper)
        neighbours[link.upper].add(link.lower)
    dead: set[str] = set()
    left = [name for name in neighbours if name not in hosts]
    while left:
        name = left.pop()
        around = neighbours[name] - dead
        if name in dead or len(around) > 1 or around & hosts.keys():
            continue
        dead.add(name)
        left += [one for one in around if one not in hosts]
    return [link for link in links if link.lower not in dead and link.upper not in dead]


def size(
    links: Sequence[FoundLink], kinds: Mapping[str, Kind], devices: Mapping[str, int], given: Given, notes: Notes
) -> list[LinkDraft]:
    """Every link with its cables and their bandwidth; equal ones between the same ends joined.

    Where cables are not told, a host has all its cards on the switches above it, and a switch passes up all that
    comes from below, divided by the oversubscription and shared evenly between the switches above it. Raises
    InputError where nothing tells a bandwidth, and where switches are above each other in a circle.
    """
    above: dict[tuple[str, bool], list[FoundLink]] = defaultdict(list)
    below: dict[tuple[str, bool], int] = defaultdict(int)
    for link in links:
        if link.cables is None:
            above[link.lower, link.scale_up].append(link)
            below[link.upper, link.scale_up] += 1
    ready = [key for key in above if key[0] in kinds or not below[key]]
    passing: dict[tuple[str, bool], float] = defaultdict(float)
    sized, done = [], 0
    while ready:
        key = ready.pop()
        done += 1
        for link in above[key]:
            up = link.upper, link.scale_up
            if link.lower in kinds or passing[key]:  # a switch with no host below passes nothing up
                one = _sized(link, len(above[key]), kinds.get(link.lower), devices, passing[key], given, notes)
                sized.append(one)
                passing[up] += one.bandwidth_bytes_per_s * one.cables
            below[up] -= 1
            if not below[up] and up in above:
                ready.append(up)
    if done < len(above):
        raise InputError("switches are above each other in a circle", expected="a tree, or several above one switch")
    told = [_told(link, kinds.get(link.lower), given) for link in links if link.cables is not None]
    return _joined([*sized, *told])


def _sized(
    link: FoundLink,
    shared: int,
    kind: Kind | None,
    devices: Mapping[str, int],
    passing: float,
    given: Given,
    notes: Notes,
) -> LinkDraft:
    """A link whose cables are not told."""
    if kind is None:
        over = f"divided by {given.oversubscription:g}" if given.oversubscription > 1 else "undivided"
        notes.add(f"switches pass up what comes from below, {over}")
        return _draft(link, passing / given.oversubscription / shared, 1)
    if link.scale_up:
        return _draft(link, kind.link_bytes_per_s * devices[link.lower] / shared, 1)
    rate = _card_rate(kind, given, link.lower)
    cards = kind.nics or 1
    if shared > 1 and cards % shared == 0:
        return _draft(link, rate, cards // shared)
    return _draft(link, rate / shared, cards)


def _told(link: FoundLink, kind: Kind | None, given: Given) -> LinkDraft:
    """A link whose cables are told."""
    if link.bandwidth_bytes_per_s is not None:
        return _draft(link, link.bandwidth_bytes_per_s, link.cables or 1)
    if kind is not None and link.scale_up:
        return _draft(link, kind.link_bytes_per_s, link.cables or 1)
    if kind is not None:
        return _draft(link, _card_rate(kind, given, link.lower), link.cables or 1)
    if given.link_bytes_per_s is None:
        raise _missing(f"{link.lower} - {link.upper}")
    return _draft(link, given.link_bytes_per_s, link.cables or 1)


def _card_rate(kind: Kind, given: Given, host: str) -> float:
    rate = given.link_bytes_per_s or kind.nic_bytes_per_s
    if rate is None:
        raise _missing(host)
    return rate


def _missing(where: str) -> InputError:
    expected = "--link-bandwidth with one cable's, in one direction, such as 400Gb/s"
    return InputError("nothing tells the bandwidth of a link", key=where, expected=expected)


def _draft(link: FoundLink, rate: float, cables: int) -> LinkDraft:
    if not LEAST <= rate <= MOST:
        where, expected = f"{link.lower} - {link.upper}", "a cable's bandwidth from 1MB/s to 1PB/s"
        raise InputError("is not possible", key=where, value=f"{rate:.6g} bytes/s", expected=expected)
    return LinkDraft(link.lower, link.upper, rate, cables, link.card, link.scale_up)


def _joined(links: Iterable[LinkDraft]) -> list[LinkDraft]:
    """Equal links between the same ends as one with their cables together."""
    cables: dict[tuple[str, str, float, int | None, bool], int] = defaultdict(int)
    for one in links:
        cables[one.lower, one.upper, one.bandwidth_bytes_per_s, one.card, one.scale_up] += one.cables
    return [LinkDraft(low, up, rate, n, card, inside) for (low, up, rate, card, inside), n in cables.items()]
