"""Completes a network: links without stated cables get them; switches without hosts are removed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from planner.cluster.importers.cluster_file import LinkDraft
from planner.cluster.importers.imported_cluster import ParsedLink, compute_host_distances
from planner.cluster.importers.node_types import ImportDefaults, ImportNotes, NodeType
from planner.cluster.wired.hostlist import build_natural_key
from planner.errors import InputError

MIN_LINK_BYTES_PER_S, MAX_LINK_BYTES_PER_S = 1e6, 1e15
"""Bounds of a cable's bandwidth in a cluster file, as in `planner.hardware.figures`."""


def choose_network_name(taken_names: Container[str]) -> str:
    """An unused name for the assumed switch above all hosts."""
    return next(
        name for name in (f"network{'-' * dashes}" for dashes in itertools.count()) if name not in taken_names
    )


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
        elif link.lower in networked_hosts:
            notes.add_note(f"{node_type.accelerator} has no links beyond its node: its NVLink domains are left out")
        else:
            notes.add_note(
                f"{node_type.accelerator} has no links beyond its node: blocks are taken as network switches"
            )
            kept_links.append(replace(link, scale_up=False))
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


def size_links(
    links: Sequence[ParsedLink],
    type_by_host: Mapping[str, NodeType],
    devices_by_host: Mapping[str, int],
    defaults: ImportDefaults,
    notes: ImportNotes,
) -> list[LinkDraft]:
    """Every link with its number of cables and their bandwidth; equal links between the same ends are merged.

    Where cables are not stated, a host spreads its NICs over the switches above it, and the uplinks of a switch have
    the bandwidth of its downlinks, divided by the oversubscription and split evenly between the switches above it.
    Raises InputError for an unknown bandwidth, and for switches above each other in a circle.
    """
    upward_links: dict[tuple[str, bool], list[ParsedLink]] = defaultdict(list)
    pending_below: dict[tuple[str, bool], int] = defaultdict(int)
    for link in links:
        if link.link_count is None:
            upward_links[link.lower, link.scale_up].append(link)
            pending_below[link.upper, link.scale_up] += 1
    ready_keys = [key for key in upward_links if key[0] in type_by_host or not pending_below[key]]
    passed_up_bytes_per_s: dict[tuple[str, bool], float] = defaultdict(float)
    drafts, done_count = [], 0
    while ready_keys:
        key = ready_keys.pop()
        done_count += 1
        for link in upward_links[key]:
            upper_key = link.upper, link.scale_up
            if (
                link.lower in type_by_host or passed_up_bytes_per_s[key]
            ):  # a switch with no host below has no uplink bandwidth
                draft = _size_unspecified_link(
                    link,
                    len(upward_links[key]),
                    type_by_host.get(link.lower),
                    devices_by_host,
                    passed_up_bytes_per_s[key],
                    defaults,
                    notes,
                )
                drafts.append(draft)
                passed_up_bytes_per_s[upper_key] += draft.bandwidth_bytes_per_s * draft.link_count
            pending_below[upper_key] -= 1
            if not pending_below[upper_key] and upper_key in upward_links:
                ready_keys.append(upper_key)
    if done_count < len(upward_links):
        raise InputError(
            "switches are above each other in a circle",
            expected="a tree; a switch may have several switches above it",
        )
    counted_drafts = [
        _size_counted_link(link, type_by_host.get(link.lower), defaults)
        for link in links
        if link.link_count is not None
    ]
    return _merge_equal_links([*drafts, *counted_drafts])


def _size_unspecified_link(
    link: ParsedLink,
    uplink_count: int,
    node_type: NodeType | None,
    devices_by_host: Mapping[str, int],
    passed_up_bytes_per_s: float,
    defaults: ImportDefaults,
    notes: ImportNotes,
) -> LinkDraft:
    """A link whose description states no cables."""
    if node_type is None:
        divisor_text = f"divided by {defaults.oversubscription:g}" if defaults.oversubscription > 1 else "undivided"
        notes.add_note(f"uplinks of a switch have the bandwidth of its downlinks, {divisor_text}")
        return _build_link_draft(link, passed_up_bytes_per_s / defaults.oversubscription / uplink_count, 1)
    if link.scale_up:
        return _build_link_draft(link, node_type.link_bytes_per_s * devices_by_host[link.lower] / uplink_count, 1)
    nic_bytes_per_s = _get_nic_bytes_per_s(node_type, defaults, link.lower)
    nic_count = node_type.nic_count or 1
    if uplink_count > 1 and nic_count % uplink_count == 0:
        return _build_link_draft(link, nic_bytes_per_s, nic_count // uplink_count)
    return _build_link_draft(link, nic_bytes_per_s / uplink_count, nic_count)


def _size_counted_link(link: ParsedLink, node_type: NodeType | None, defaults: ImportDefaults) -> LinkDraft:
    """A link whose description states its cables."""
    if link.bandwidth_bytes_per_s is not None:
        return _build_link_draft(link, link.bandwidth_bytes_per_s, link.link_count or 1)
    if node_type is not None and link.scale_up:
        return _build_link_draft(link, node_type.link_bytes_per_s, link.link_count or 1)
    if node_type is not None:
        return _build_link_draft(link, _get_nic_bytes_per_s(node_type, defaults, link.lower), link.link_count or 1)
    if defaults.nic_link_bytes_per_s is None:
        raise _build_missing_bandwidth_error(f"{link.lower} - {link.upper}")
    return _build_link_draft(link, defaults.nic_link_bytes_per_s, link.link_count or 1)


def _get_nic_bytes_per_s(node_type: NodeType, defaults: ImportDefaults, host: str) -> float:
    nic_bytes_per_s = defaults.nic_link_bytes_per_s or node_type.nic_bytes_per_s
    if nic_bytes_per_s is None:
        raise _build_missing_bandwidth_error(host)
    return nic_bytes_per_s


def _build_missing_bandwidth_error(location: str) -> InputError:
    expected = "--link-bandwidth with the bandwidth per cable and direction, such as 400Gb/s"
    return InputError("the bandwidth of a link is unknown", key=location, expected=expected)


def _build_link_draft(link: ParsedLink, rate_bytes_per_s: float, link_count: int) -> LinkDraft:
    if not MIN_LINK_BYTES_PER_S <= rate_bytes_per_s <= MAX_LINK_BYTES_PER_S:
        location, expected = f"{link.lower} - {link.upper}", "a cable's bandwidth from 1MB/s to 1PB/s"
        raise InputError("out of range", key=location, value=f"{rate_bytes_per_s:.6g} bytes/s", expected=expected)
    return LinkDraft(link.lower, link.upper, rate_bytes_per_s, link_count, link.nic_index, link.scale_up)


def _merge_equal_links(links: Iterable[LinkDraft]) -> list[LinkDraft]:
    """Links with equal ones between the same ends merged: their cables are added."""
    link_counts: dict[tuple[str, str, float, int | None, bool], int] = defaultdict(int)
    for link in links:
        link_counts[link.lower, link.upper, link.bandwidth_bytes_per_s, link.nic_index, link.scale_up] += (
            link.link_count
        )
    return [
        LinkDraft(low, up, rate, n, nic_index, scale_up)
        for (low, up, rate, nic_index, scale_up), n in link_counts.items()
    ]
