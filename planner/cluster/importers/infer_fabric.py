"""Completes a network: links get the number and the bandwidth that are not stated; switches without hosts are
removed.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.cluster.importers.cluster_file import LinkDraft
from planner.cluster.importers.imported_cluster import ParsedLink, compute_host_distances
from planner.cluster.importers.node_types import ImportDefaults, ImportNotes, NodeType
from planner.cluster.wired.hostlist import build_natural_key
from planner.errors import InputError

MIN_LINK_BYTES_PER_S, MAX_LINK_BYTES_PER_S = 1e6, 1e15
"""Bounds of a link's bandwidth in a cluster file, as in `planner.hardware.figures`."""


def choose_network_name(taken_names: Container[str]) -> str:
    """An unused name for the assumed switch above all hosts."""
    names = (f"network{'-' * dashes}" for dashes in itertools.count())
    return next(name for name in names if name not in taken_names)


def classify_scale_up_links(
    links: Sequence[ParsedLink], node_types: Mapping[str, NodeType], notes: ImportNotes
) -> list[ParsedLink]:
    """The links; blocks of nodes become network switches, or are left out, where the accelerators have no scale-up
    links beyond the node.
    """
    networked_hosts = {link.lower for link in links if not link.scale_up}
    kept_links = []
    for link in links:
        node_type = node_types.get(link.lower)
        if not link.scale_up or node_type is None or node_type.is_rack_scale or link.link_count is not None:
            kept_links.append(link)
            continue
        outcome = "its NVLink domains are left out"
        if link.lower not in networked_hosts:
            outcome = "blocks are taken as network switches"
            kept_links.append(replace(link, scale_up=False))
        notes.add_note(f"{node_type.accelerator} has no links beyond its node: {outcome}")
    return kept_links


def add_top_switch(
    links: Sequence[ParsedLink], hosts: Sequence[str], network: str, notes: ImportNotes
) -> list[ParsedLink]:
    """The links, and those of an assumed switch above the topmost switches where nothing described joins them."""
    lowers = {link.lower for link in links if not link.scale_up}
    switches_above = {link.upper for link in links if link.link_count is None and not link.scale_up}
    unlinked_hosts = [host for host in hosts if host not in lowers]
    top_switches = sorted(switch for switch in switches_above if switch not in lowers)
    has_domains = any(link.scale_up for link in links)
    if (unlinked_hosts and has_domains and not lowers) or len(top_switches) > 1:
        lower_names = unlinked_hosts if not lowers else top_switches
        joined_text = f"the {len(top_switches)} topmost switches" if lowers else "all hosts"
        notes.add_note(f"no link joins {joined_text}: one switch, {network}, is assumed to")
        return [*links, *(ParsedLink(lower, network, link_count=None) for lower in lower_names)]
    return list(links)


def drop_reversed_links(links: Sequence[ParsedLink], hosts: Iterable[str]) -> list[ParsedLink]:
    """The links, one for each pair of switches that name each other as lower: the lower is nearer to hosts."""
    pairs = {(link.lower, link.upper) for link in links if link.link_count is None}
    mutual_pairs = {pair for pair in pairs if pair[::-1] in pairs}
    if not mutual_pairs:
        return list(links)
    host_distances = compute_host_distances(hosts, pairs)
    reversed_pairs = {
        (low, up)
        for low, up in mutual_pairs
        if (host_distances.get(low, 0), build_natural_key(low)) > (host_distances.get(up, 0), build_natural_key(up))
    }
    return [link for link in links if (link.lower, link.upper) not in reversed_pairs]


def prune_stub_switches(links: Sequence[ParsedLink], type_by_host: Mapping[str, NodeType]) -> list[ParsedLink]:
    """The links without those to switches that join fewer than two hosts or switches, repeated until none is left."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for link in links:
        neighbours[link.lower].add(link.upper)
        neighbours[link.upper].add(link.lower)
    pruned: set[str] = set()
    pending = [name for name in neighbours if name not in type_by_host]
    while pending:
        name = pending.pop()
        live_neighbours = neighbours[name] - pruned
        if name in pruned or len(live_neighbours) > 1 or live_neighbours & type_by_host.keys():
            continue
        pruned.add(name)
        pending += [neighbour for neighbour in live_neighbours if neighbour not in type_by_host]
    return [link for link in links if link.lower not in pruned and link.upper not in pruned]


_SwitchKey = tuple[str, bool]
"""A host or switch, and whether its scale-up links are meant or those of the network."""


@dataclass(frozen=True)
class LinkSizer:
    """Gives every connection its number of links and their bandwidth.

    `type_by_host`, `devices_by_host`: of the hosts by name; `notes` gets the assumptions.
    """

    type_by_host: Mapping[str, NodeType]
    devices_by_host: Mapping[str, int]
    defaults: ImportDefaults
    notes: ImportNotes

    def size_links(self, links: Sequence[ParsedLink]) -> list[LinkDraft]:
        """The links; equal ones between the same ends are merged.

        Where their number is not stated, a host spreads its NICs over the switches above it, and the uplinks of a
        switch have the bandwidth of its downlinks, divided by the oversubscription and split evenly between the
        switches above it. Raises InputError for an unknown bandwidth, and for switches above each other in a circle.
        """
        upward_links: dict[_SwitchKey, list[ParsedLink]] = defaultdict(list)
        pending_below: dict[_SwitchKey, int] = defaultdict(int)
        for link in links:
            if link.link_count is None:
                upward_links[link.lower, link.scale_up].append(link)
                pending_below[link.upper, link.scale_up] += 1
        ready_keys = [key for key in upward_links if key[0] in self.type_by_host or not pending_below[key]]
        passed_up_bytes_per_s: dict[_SwitchKey, float] = defaultdict(float)
        drafts, done_count = [], 0
        while ready_keys:
            key = ready_keys.pop()
            done_count += 1
            for link in upward_links[key]:
                upper_key = link.upper, link.scale_up
                # a switch with no host below has no uplink bandwidth
                if link.lower in self.type_by_host or passed_up_bytes_per_s[key]:
                    draft = self._size_unspecified_link(link, len(upward_links[key]), passed_up_bytes_per_s[key])
                    drafts.append(draft)
                    passed_up_bytes_per_s[upper_key] += draft.bandwidth_bytes_per_s * draft.link_count
                pending_below[upper_key] -= 1
                if not pending_below[upper_key] and upper_key in upward_links:
                    ready_keys.append(upper_key)
        if done_count < len(upward_links):
            expected = "a tree; a switch may have several switches above it"
            raise InputError("switches are above each other in a circle", expected=expected)
        drafts += [self._size_counted_link(link) for link in links if link.link_count is not None]
        return _merge_equal_links(drafts)

    def _size_unspecified_link(self, link: ParsedLink, uplink_count: int, passed_up_bytes_per_s: float) -> LinkDraft:
        """A link whose number is not stated, one of `uplink_count` of its lower end."""
        node_type, oversubscription = self.type_by_host.get(link.lower), self.defaults.oversubscription
        if node_type is None:
            divisor_text = f"divided by {oversubscription:g}" if oversubscription > 1 else "undivided"
            self.notes.add_note(f"uplinks of a switch have the bandwidth of its downlinks, {divisor_text}")
            return _build_link_draft(link, passed_up_bytes_per_s / oversubscription / uplink_count, 1)
        if link.scale_up:
            host_bytes_per_s = node_type.link_bytes_per_s * self.devices_by_host[link.lower]
            return _build_link_draft(link, host_bytes_per_s / uplink_count, 1)
        nic_bytes_per_s, nic_count = self._get_link_bytes_per_s(link), node_type.nic_count or 1
        if uplink_count > 1 and nic_count % uplink_count == 0:
            return _build_link_draft(link, nic_bytes_per_s, nic_count // uplink_count)
        return _build_link_draft(link, nic_bytes_per_s / uplink_count, nic_count)

    def _size_counted_link(self, link: ParsedLink) -> LinkDraft:
        """A link whose number is stated."""
        node_type, rate = self.type_by_host.get(link.lower), link.bandwidth_bytes_per_s
        if rate is None:
            is_scale_up = node_type is not None and link.scale_up
            rate = node_type.link_bytes_per_s if node_type and is_scale_up else self._get_link_bytes_per_s(link)
        return _build_link_draft(link, rate, link.link_count or 1)

    def _get_link_bytes_per_s(self, link: ParsedLink) -> float:
        """Bytes/s of a network link of the lower end: the user's figure, else that of the host's NICs."""
        node_type = self.type_by_host.get(link.lower)
        rate = self.defaults.nic_link_bytes_per_s or (node_type.nic_bytes_per_s if node_type else None)
        if rate is None:
            key = link.lower if node_type else f"{link.lower} - {link.upper}"
            expected = "--link-bandwidth with the bandwidth per link and direction, such as 400Gb/s"
            raise InputError("the bandwidth of a link is unknown", key=key, expected=expected)
        return rate


def _build_link_draft(link: ParsedLink, rate_bytes_per_s: float, link_count: int) -> LinkDraft:
    if not MIN_LINK_BYTES_PER_S <= rate_bytes_per_s <= MAX_LINK_BYTES_PER_S:
        location, expected = f"{link.lower} - {link.upper}", "a link's bandwidth from 1MB/s to 1PB/s"
        raise InputError("out of range", key=location, value=f"{rate_bytes_per_s:.6g} bytes/s", expected=expected)
    return LinkDraft(link.lower, link.upper, rate_bytes_per_s, link_count, link.nic_index, link.scale_up)


def _merge_equal_links(links: Iterable[LinkDraft]) -> list[LinkDraft]:
    """Links with equal ones between the same ends merged: their numbers are added."""
    link_counts: dict[LinkDraft, int] = defaultdict(int)
    for link in links:
        link_counts[replace(link, link_count=0)] += link.link_count
    return [replace(link, link_count=link_count) for link, link_count in link_counts.items()]
