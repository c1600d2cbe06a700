"""Several descriptions of one cluster as one: wiring from the one, states and devices of hosts from the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.cluster.importers.imported_cluster import Found, FoundHost, broken, check_size


def merge(found: Sequence[tuple[str, Found]]) -> Found:
    """What all files tell together; each comes with its name. Raises InputError where they do not fit.

    Of a host, the first file that tells something counts, and a host that one file says is gone is gone.
    """
    hosts: dict[str, FoundHost] = {}
    for origin, one in found:
        named = {host.name for host in one.hosts}
        if hosts and named and not named & hosts.keys():
            raise broken("names no host of the other files", origin, expected="descriptions of the same cluster")
        for host in one.hosts:
            before = hosts.get(host.name)
            hosts[host.name] = host if before is None else _both(before, host)
    switches = {switch.name: switch for _, one in found for switch in one.switches}
    same = next((name for name in switches if name in hosts), None)
    if same is not None:
        raise broken("a host and a switch have one name", found[0][0], value=same, expected="names of their own")
    nodes = [(origin, one.node) for origin, one in found if one.node is not None]
    if len(nodes) > 1:
        raise broken("is a second description of a node", nodes[1][0], expected="one node's")
    links = tuple(link for _, one in found for link in one.links)
    check_size(len(hosts), len(links), found[0][0])
    return Found(
        hosts=tuple(hosts.values()),
        switches=tuple(switches.values()),
        links=links,
        node=nodes[0][1] if nodes else None,
        levels=next((one.levels for _, one in found if one.levels), ()),
        notes=tuple(dict.fromkeys(note for _, one in found for note in one.notes)),
    )


def _both(first: FoundHost, second: FoundHost) -> FoundHost:
    devices = second.devices if first.devices is None else first.devices
    return replace(first, devices=devices, part=first.part or second.part, gone=first.gone or second.gone)
