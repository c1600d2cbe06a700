"""Merges several descriptions of the same cluster, such as one of its links and one of its hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.cluster.importers.imported_cluster import (
    ParsedCluster,
    ParsedHost,
    build_description_error,
    check_import_size,
)


def merge_descriptions(descriptions: Sequence[tuple[str, ParsedCluster]]) -> ParsedCluster:
    """The merged content of all files, each with its file's name. Raises InputError where they contradict each other.

    Of a host, the first file that states a figure counts; a host is unavailable where any file says so.
    """
    hosts: dict[str, ParsedHost] = {}
    for origin, parsed in descriptions:
        host_names = {host.name for host in parsed.hosts}
        if hosts and host_names and not host_names & hosts.keys():
            raise build_description_error(
                "shares no host with the other files", origin, expected="descriptions of the same cluster"
            )
        for host in parsed.hosts:
            previous = hosts.get(host.name)
            hosts[host.name] = host if previous is None else _merge_hosts(previous, host)
    switches = {switch.name: switch for _, parsed in descriptions for switch in parsed.switches}
    shared_name = next((name for name in switches if name in hosts), None)
    if shared_name is not None:
        raise build_description_error(
            "a host and a switch have the same name", descriptions[0][0], value=shared_name, expected="distinct names"
        )
    nodes = [(origin, parsed.node) for origin, parsed in descriptions if parsed.node is not None]
    if len(nodes) > 1:
        raise build_description_error(
            "describes a node a second time", nodes[1][0], expected="a single description of a node"
        )
    links = tuple(link for _, parsed in descriptions for link in parsed.links)
    check_import_size(len(hosts), len(links), descriptions[0][0])
    return ParsedCluster(
        hosts=tuple(hosts.values()),
        switches=tuple(switches.values()),
        links=links,
        node=nodes[0][1] if nodes else None,
        levels=next((parsed.levels for _, parsed in descriptions if parsed.levels), ()),
        notes=tuple(dict.fromkeys(note for _, parsed in descriptions for note in parsed.notes)),
    )


def _merge_hosts(first: ParsedHost, second: ParsedHost) -> ParsedHost:
    devices = second.devices if first.devices is None else first.devices
    return replace(
        first,
        devices=devices,
        accelerator_label=first.accelerator_label or second.accelerator_label,
        unavailable_reason=first.unavailable_reason or second.unavailable_reason,
    )
