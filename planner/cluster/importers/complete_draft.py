"""A parsed description, completed to a whole cluster by the user's options; assumptions are listed in notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from planner.cluster.importers.cluster_file import ClusterDraft, HostDraft, LevelDraft
from planner.cluster.importers.imported_cluster import (
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    format_left_out,
)
from planner.cluster.importers.infer_fabric import (
    LinkSizer,
    add_top_switch,
    choose_network_name,
    classify_scale_up_links,
    drop_reversed_links,
    prune_stub_switches,
)
from planner.cluster.importers.node_types import (
    ImportDefaults,
    ImportNotes,
    NodeType,
    assign_node_types,
    build_node_draft,
)
from planner.cluster.wired.hostlist import compress_names
from planner.errors import InputError
from planner.units import format_counted_noun


def complete_cluster_draft(
    parsed: ParsedCluster, defaults: ImportDefaults, title: str
) -> tuple[ClusterDraft, tuple[str, ...]]:
    """The cluster, and notes on what was left out or assumed. Raises InputError for a figure that is missing."""
    notes = ImportNotes(dict.fromkeys(parsed.notes))
    hosts = tuple(host for host in parsed.hosts if host.devices != 0)
    for note in format_left_out(len(parsed.hosts) - len(hosts), "host", "without accelerators"):
        notes.add_note(note)
    if not hosts and parsed.node is None:
        expected = "hosts that all state their accelerators, or none of them"
        raise InputError("no host has accelerators", expected=expected)
    if parsed.node is not None:
        node = build_node_draft(parsed.node, defaults, notes)
        node_type = NodeType(
            "", node.accelerator, node.devices, node.bandwidth_bytes_per_s, node.nic_count, node.nic_bytes_per_s
        )
        node_types = [node_type] * len(hosts)
    else:
        hosts, node_types = assign_node_types(hosts, defaults, notes)
    _check_devices(hosts, node_types)
    common_type = Counter(node_types).most_common(1)[0][0] if node_types else node_type
    draft = ClusterDraft(defaults.name, title, common_type.preset or node)
    is_uniform = all(
        host_type == common_type and host.devices in (None, host_type.devices)
        for host, host_type in zip(hosts, node_types, strict=True)
    )
    if not parsed.links and (is_uniform or not hosts):
        return _build_regular_draft(draft, hosts, parsed, common_type, defaults, notes), tuple(notes.texts)
    if defaults.nodes is not None:
        expected = "no --nodes; it is for a description of a single node"
        raise InputError("the description lists the hosts", key="--nodes", value=defaults.nodes, expected=expected)
    if len(set(node_types)) > 1:
        preset_list = ", ".join(sorted({host_type.preset for host_type in node_types}))
        notes.add_note(f"hosts have several node types ({preset_list}): for a plan select one type by --hosts")
    return _build_wired_draft(draft, parsed, hosts, node_types, common_type, defaults, notes), tuple(notes.texts)


def _check_devices(hosts: Sequence[ParsedHost], node_types: Sequence[NodeType]) -> None:
    for host, node_type in zip(hosts, node_types, strict=True):
        if host.devices is not None and host.devices > node_type.devices:
            problem = f"the host has more accelerators than {node_type.preset or 'the described node'}"
            expected = f"at most {node_type.devices}; --node names another node"
            raise InputError(problem, key=host.name, value=host.devices, expected=expected)


def _build_regular_draft(
    draft: ClusterDraft,
    hosts: Sequence[ParsedHost],
    parsed: ParsedCluster,
    node_type: NodeType,
    defaults: ImportDefaults,
    notes: ImportNotes,
) -> ClusterDraft:
    """A cluster of equal nodes: without a described network, or with the levels of a torus."""
    available_hosts = [host for host in hosts if not host.unavailable_reason]
    _note_unavailable_hosts([host for host in hosts if host.unavailable_reason], notes)
    if hosts and not available_hosts:
        raise InputError("every host is unavailable", expected="at least one host that is up")
    if hosts and defaults.nodes is not None and defaults.nodes != len(available_hosts):
        problem, expected = "the description lists another number of hosts", f"no --nodes, or {len(available_hosts)}"
        raise InputError(problem, key="--nodes", value=defaults.nodes, expected=expected)
    levels = []
    for level in parsed.levels:
        rate = node_type.link_bytes_per_s if level.topology == "torus" else defaults.nic_link_bytes_per_s
        if rate is None and node_type.nic_bytes_per_s is None:
            expected = "--link-bandwidth with the bandwidth per device and direction, such as 50Gb/s"
            raise InputError("the network's bandwidth is unknown", key="--link-bandwidth", expected=expected)
        levels.append(LevelDraft(level.name, level.topology, level.nodes, rate, level.shape))
    nodes = len(available_hosts) or defaults.nodes or 1
    if nodes > 1 and not levels:
        notes.add_note("no network is described: all nodes are assumed to be joined without oversubscription")
    return ClusterDraft(draft.name, draft.title, draft.node, nodes=nodes, levels=tuple(levels))


def _build_wired_draft(
    draft: ClusterDraft,
    parsed: ParsedCluster,
    hosts: Sequence[ParsedHost],
    node_types: Sequence[NodeType],
    common_type: NodeType,
    defaults: ImportDefaults,
    notes: ImportNotes,
) -> ClusterDraft:
    """A wired cluster: every host, switch and link."""
    type_by_host = {host.name: node_type for host, node_type in zip(hosts, node_types, strict=True)}
    switch_names = {switch.name for switch in parsed.switches}
    links = [link for link in parsed.links if link.lower in type_by_host or link.lower in switch_names]
    network = choose_network_name({*type_by_host, *switch_names})
    links = drop_reversed_links(links, type_by_host)
    links = add_top_switch(classify_scale_up_links(links, type_by_host, notes), list(type_by_host), network, notes)
    if not links:
        notes.add_note(f"no network is described: one switch, {network}, is assumed to join all hosts")
        links = [ParsedLink(name, network, link_count=None) for name in type_by_host]
    links = prune_stub_switches(links, type_by_host)
    linked_names = {vertex for link in links for vertex in (link.lower, link.upper)}
    unlinked_names = [host.name for host in hosts if host.name not in linked_names]
    if unlinked_names:
        notes.add_note(f"left out, as no switch is linked to them: {_format_first_names(unlinked_names)}")
    linked = [host for host in hosts if host.name in linked_names]
    if not linked:
        raise InputError("no link leads to a host", expected="links between hosts and switches")
    devices_by_host = {
        host.name: type_by_host[host.name].devices if host.devices is None else host.devices for host in linked
    }
    sizer = LinkSizer(type_by_host, devices_by_host, defaults, notes)
    link_drafts = sizer.size_links(_drop_unknown_nics(links, type_by_host, notes))
    linked_names = {vertex for link in link_drafts for vertex in (link.lower, link.upper)}
    dropped_count = len(switch_names - linked_names)
    if dropped_count:
        notes.add_note(f"left out: {format_counted_noun(dropped_count, 'switch', 'switches')} without hosts below")
    switch_by_name = {switch.name: switch for switch in parsed.switches} | {network: ParsedSwitch(network)}
    unavailable_hosts = [host for host in linked if host.unavailable_reason]
    _note_unavailable_hosts(unavailable_hosts, notes)
    return ClusterDraft(
        draft.name,
        draft.title,
        draft.node,
        hosts=tuple(_build_host_draft(host, type_by_host[host.name], common_type) for host in linked),
        switches=tuple(
            switch for name, switch in switch_by_name.items() if name in linked_names and name not in type_by_host
        ),
        links=tuple(link_drafts),
        unavailable_hosts=tuple(host.name for host in unavailable_hosts),
    )


def _drop_unknown_nics(
    links: Sequence[ParsedLink], type_by_host: dict[str, NodeType], notes: ImportNotes
) -> list[ParsedLink]:
    """The links; where a NIC number exceeds the NICs of the host's node, the link loses the number."""
    kept_links = []
    for link in links:
        node_type = type_by_host.get(link.lower)
        if node_type is not None and link.nic_index is not None and link.nic_index >= node_type.nic_count:
            name = node_type.preset or "the node described"
            notes.add_note(f"NIC numbers from {node_type.nic_count} on are left out: {name} has no more")
            link = replace(link, nic_index=None)
        kept_links.append(link)
    return kept_links


def _build_host_draft(host: ParsedHost, node_type: NodeType, common_type: NodeType) -> HostDraft:
    device_count = host.devices if host.devices != node_type.devices else None
    return HostDraft(host.name, node_type.preset if node_type != common_type else "", device_count)


def _note_unavailable_hosts(unavailable_hosts: Sequence[ParsedHost], notes: ImportNotes) -> None:
    """Note the hosts that do not count, by the reason."""
    for reason in dict.fromkeys(host.unavailable_reason for host in unavailable_hosts):
        names = [host.name for host in unavailable_hosts if host.unavailable_reason == reason]
        notes.add_note(f"unavailable ({reason}): {_format_first_names(names)}")


def _format_first_names(names: Sequence[str]) -> str:
    """The first five ranges of some names, and the count of the others."""
    name_ranges = compress_names(names)
    return ", ".join(name_ranges[:5]) + (f" and {len(name_ranges) - 5} more" if len(name_ranges) > 5 else "")
