"""From what was found and what the user says to a whole cluster; what had to be assumed is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from planner.cluster.importers.draft import Draft, HostDraft, LevelDraft
from planner.cluster.importers.imported_cluster import Found, FoundHost, FoundLink, FoundSwitch
from planner.cluster.importers.infer_fabric import (
    free_name,
    one_way,
    prune,
    scale_up_or_not,
    size,
    with_network,
)
from planner.cluster.importers.node_types import Given, Kind, Notes, kinds_of, node_draft
from planner.cluster.wired.hostlist import compress
from planner.errors import InputError
from planner.units import format_counted_noun


def complete(found: Found, given: Given, title: str) -> tuple[Draft, tuple[str, ...]]:
    """The cluster, and what was left out or assumed. Raises InputError that says what is missing."""
    notes = Notes(dict.fromkeys(found.notes))
    hosts = tuple(host for host in found.hosts if host.devices != 0)
    if len(hosts) < len(found.hosts):
        notes.add(f"left out: {format_counted_noun(len(found.hosts) - len(hosts), 'host')} without accelerators")
    if not hosts and found.node is None:
        raise InputError(
            "has no host with accelerators", expected="hosts whose accelerators are told, or none told at all"
        )
    if found.node is not None:
        node = node_draft(found.node, given, notes)
        kind = Kind("", node.accelerator, node.devices, node.bandwidth_bytes_per_s, node.nics, node.nic_bytes_per_s)
        kinds = [kind] * len(hosts)
    else:
        hosts, kinds = kinds_of(hosts, given, notes)
    _check_devices(hosts, kinds)
    common = Counter(kinds).most_common(1)[0][0] if kinds else kind
    draft = Draft(given.name, title, common.preset or node)
    alike = all(one == common and host.devices in (None, one.devices) for host, one in zip(hosts, kinds, strict=True))
    if not found.links and (alike or not hosts):
        return _regular(draft, hosts, found, common, given, notes), tuple(notes.told)
    if given.nodes is not None:
        raise InputError(
            "the hosts are told one by one", key="--nodes", expected="no --nodes, or a node's description alone"
        )
    if len(set(kinds)) > 1:
        named = ", ".join(sorted({one.preset for one in kinds}))
        notes.add(f"hosts are of several nodes ({named}): for a plan take those of one, by --hosts")
    return _wired(draft, found, hosts, kinds, common, given, notes), tuple(notes.told)


def _check_devices(hosts: Sequence[FoundHost], kinds: Sequence[Kind]) -> None:
    for host, kind in zip(hosts, kinds, strict=True):
        if host.devices is not None and host.devices > kind.devices:
            name = kind.preset or "the node described"
            raise InputError(
                f"a host has more accelerators than {name}",
                key=host.name,
                value=host.devices,
                expected=f"at most {kind.devices}; --node names another node",
            )


def _regular(draft: Draft, hosts: Sequence[FoundHost], found: Found, kind: Kind, given: Given, notes: Notes) -> Draft:
    """Equal nodes of whose network nothing is told, or the levels of a torus."""
    there = [host for host in hosts if not host.gone]
    _note_gone([host for host in hosts if host.gone], notes)
    if hosts and not there:
        raise InputError("every host is gone", expected="a host that is up")
    if hosts and given.nodes is not None and given.nodes != len(there):
        raise InputError("the hosts are told one by one", key="--nodes", value=given.nodes, expected=f"{len(there)}")
    levels = []
    for level in found.levels:
        rate = kind.link_bytes_per_s if level.topology == "torus" else given.link_bytes_per_s
        if rate is None and kind.nic_bytes_per_s is None:
            expected = "--link-bandwidth with one device's, in one direction, such as 50Gb/s"
            raise InputError("nothing tells the network's bandwidth", key="--link-bandwidth", expected=expected)
        levels.append(LevelDraft(level.name, level.topology, level.nodes, rate, level.shape))
    nodes = len(there) or given.nodes or 1
    if nodes > 1 and not levels:
        notes.add("nothing tells the network: all nodes are joined without oversubscription")
    return Draft(draft.name, draft.title, draft.node, nodes=nodes, levels=tuple(levels))


def _wired(
    draft: Draft,
    found: Found,
    hosts: Sequence[FoundHost],
    kinds: Sequence[Kind],
    common: Kind,
    given: Given,
    notes: Notes,
) -> Draft:
    """Hosts, switches and links one by one."""
    kind_of = {host.name: kind for host, kind in zip(hosts, kinds, strict=True)}
    switch_names = {switch.name for switch in found.switches}
    links = [link for link in found.links if link.lower in kind_of or link.lower in switch_names]
    network = free_name({*kind_of, *switch_names})
    links = one_way(links, kind_of)
    links = with_network(scale_up_or_not(links, kind_of, notes), list(kind_of), network, notes)
    if not links:
        notes.add(f"nothing tells the network: one switch, {network}, joins all hosts")
        links = [FoundLink(name, network, cables=None) for name in kind_of]
    links = prune(links, kind_of)
    ends = {end for link in links for end in (link.lower, link.upper)}
    lost = [host.name for host in hosts if host.name not in ends]
    if lost:
        notes.add(f"left out, as no switch leads there: {_few(lost)}")
    linked = [host for host in hosts if host.name in ends]
    if not linked:
        raise InputError("no link leads to a host", expected="links between hosts and switches")
    devices = {host.name: kind_of[host.name].devices if host.devices is None else host.devices for host in linked}
    sized = size(_of_known_cards(links, kind_of, notes), kind_of, devices, given, notes)
    ends = {end for link in sized for end in (link.lower, link.upper)}
    dropped = len(switch_names - ends)
    if dropped:
        notes.add(f"left out: {format_counted_noun(dropped, 'switch', 'switches')} with no host beyond")
    told = {switch.name: switch for switch in found.switches} | {network: FoundSwitch(network)}
    gone = [host for host in linked if host.gone]
    _note_gone(gone, notes)
    return Draft(
        draft.name,
        draft.title,
        draft.node,
        hosts=tuple(_host(host, kind_of[host.name], common) for host in linked),
        switches=tuple(told[name] for name in told if name in ends and name not in kind_of),
        links=tuple(sized),
        gone=tuple(host.name for host in gone),
    )


def _of_known_cards(links: Sequence[FoundLink], kind_of: dict[str, Kind], notes: Notes) -> list[FoundLink]:
    """Links of cards that a host's node has not lose the number, not the cable."""
    kept = []
    for link in links:
        kind = kind_of.get(link.lower)
        if kind is not None and link.card is not None and link.card >= kind.nics:
            name = kind.preset or "the node described"
            notes.add(f"numbers of network cards from {kind.nics} on are left out: {name} has no more")
            link = replace(link, card=None)
        kept.append(link)
    return kept


def _host(host: FoundHost, kind: Kind, common: Kind) -> HostDraft:
    fewer = host.devices if host.devices != kind.devices else None
    return HostDraft(host.name, kind.preset if kind != common else "", fewer)


def _note_gone(gone: Sequence[FoundHost], notes: Notes) -> None:
    """Tell which hosts do not count, by the reason."""
    for reason in dict.fromkeys(host.gone for host in gone):
        notes.add(f"gone ({reason}): {_few([host.name for host in gone if host.gone == reason])}")


def _few(names: Sequence[str]) -> str:
    """The first of some names, compressed."""
    told = compress(names)
    return ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")
