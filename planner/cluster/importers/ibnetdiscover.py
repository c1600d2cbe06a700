"""The output of `ibnetdiscover`: switches and adapters of an InfiniBand subnet; it lists a link at both ends."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    assign_distinct_names,
    assign_vertex_names,
    build_line_error,
    check_import_size,
    format_left_out,
    format_nic_note,
    number_nics,
)
from planner.cluster.importers.link_speeds import parse_infiniband_bytes_per_s
from planner.errors import InputError

_VERTEX_PATTERN = re.compile(r'(Switch|Ca|Rt)\s*[0-9]+\s*"([^"\s]{1,40})"\s*#\s*"([^"]*)"')
_LINK_PATTERN = re.compile(
    r'\[([0-9]{1,4})\](?:\([0-9a-fA-Fx]*\))?\s*"([^"\s]{1,40})"\s*\[([0-9]{1,4})\]([^#]*)(?:#(.*))?'
)
_SPEED_PATTERN = re.compile(r"\b([0-9]{1,2}x[A-Z]{3}[0-9]*)\s*$")
_DESCRIPTION_PATTERN = re.compile(r'"([^"]*)"')
_NIC_PATTERN = re.compile(r"(?:HCA-[0-9]{1,3}|(?:mlx|bnxt_re|hfi|qib|ib|roce)[\w.]*)", re.IGNORECASE)
_AGGREGATION_LABEL = "Aggregation Node"
_NAMELESS_PATTERN = re.compile(r"Mellanox|ConnectX|Technologies|Quantum|InfiniScale|Voltaire|NVIDIA", re.IGNORECASE)
_EXPECTED_LINES = '`Switch 40 "S-..." # "leaf1"` and `[1] "H-..."[1] # "a01 HCA-1" lid 5 4xHDR`'

PortId = tuple[str, int]
"""A vertex's identifier and the number of its port."""


@dataclass
class _Subnet:
    """The parsed lines: descriptions by identifier, and the speed of a link (None: not stated) by its two ports."""

    descriptions: dict[str, str] = field(default_factory=dict)
    links: dict[tuple[PortId, PortId], float | None] = field(default_factory=dict)


def looks_like_ibnetdiscover(text: str) -> bool:
    """Whether a line declares a switch or an adapter as ibnetdiscover writes it."""
    return any(_VERTEX_PATTERN.match(line) for line in text[:200_000].splitlines())


def read_ibnetdiscover(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts by the names of their adapters, switches, and a link for each pair of ports. Raises InputError."""
    subnet = _parse_subnet(text)
    # identifiers of switches begin with S, those of routers with R
    adapters = {key: text for key, text in subnet.descriptions.items() if key[0] not in "SR"}
    aggregation_nodes = {key for key, text in adapters.items() if _AGGREGATION_LABEL in text}
    owners = {key: _parse_owner(text) for key, text in adapters.items() if key not in aggregation_nodes}
    named_owners = {key: owner for key, owner in owners.items() if owner[0]}
    kept_owners = {key: owner for key, owner in named_owners.items() if host_patterns.keep_host(owner[0])}
    if not kept_owners:
        raise InputError("no adapter names a host", expected=_EXPECTED_LINES)
    nic_numbers = number_nics(label for _, label in kept_owners.values() if label)
    host_names = assign_distinct_names(host for host, _ in kept_owners.values())
    switch_labels = {key: _parse_switch_name(key, text) for key, text in subnet.descriptions.items() if key[0] == "S"}
    switch_names = assign_vertex_names(switch_labels, taken_names=host_names.values())
    links, aggregating_switches = [], set()
    for (first, second), rate in subnet.links.items():
        lower, upper = (first[0], second[0]) if first[0] not in switch_names else (second[0], first[0])
        if upper not in switch_names:
            continue
        if lower in aggregation_nodes:
            aggregating_switches.add(upper)
        elif lower in switch_names:
            links.append(ParsedLink(switch_names[lower], switch_names[upper], rate))
        elif lower in kept_owners:
            host, label = kept_owners[lower]
            links.append(ParsedLink(host_names[host], switch_names[upper], rate, nic_index=nic_numbers.get(label)))
    nameless_note = format_left_out(len(owners) - len(named_owners), "adapter", "whose host has no name")
    dropped_note = format_left_out(len(named_owners) - len(kept_owners), "adapter", "of other hosts")
    return ParsedCluster(
        hosts=tuple(ParsedHost(name) for name in host_names.values()),
        switches=tuple(ParsedSwitch(name, key in aggregating_switches) for key, name in switch_names.items()),
        links=tuple(links),
        notes=nameless_note + dropped_note + format_nic_note(nic_numbers),
    )


def _parse_subnet(text: str) -> _Subnet:
    subnet, current = _Subnet(), ""
    for number, line in enumerate(text.splitlines(), 1):
        vertex = _VERTEX_PATTERN.match(line)
        if vertex is not None:
            current = vertex[2]
            subnet.descriptions[current] = vertex[3]
            continue
        if not line.startswith("["):
            continue
        link = _LINK_PATTERN.match(line)
        if link is None or not current:
            raise build_line_error("not a line of ibnetdiscover's output", number, line, _EXPECTED_LINES)
        other = link[2]
        comment = link[5] or ""
        description = _DESCRIPTION_PATTERN.search(comment)
        subnet.descriptions.setdefault(other, description[1] if description else "")
        speed = _SPEED_PATTERN.search(comment)
        ports = sorted([(current, int(link[1])), (other, int(link[3]))])
        rate = parse_infiniband_bytes_per_s(speed[1]) if speed else None
        subnet.links[ports[0], ports[1]] = rate or subnet.links.get((ports[0], ports[1]))
        check_import_size(0, len(subnet.links))
    if not subnet.links:
        raise InputError("no line describes a link", expected=_EXPECTED_LINES)
    check_import_size(len(subnet.descriptions), 0)
    return subnet


def _parse_owner(description: str) -> tuple[str, str]:
    """The host of an adapter (empty: not stated), and the label of the NIC in it."""
    words = description.replace("'", " ").split()
    if not words or _NAMELESS_PATTERN.search(description) or words[0] in ("localhost", "localhost.localdomain"):
        return "", ""
    label = words[1] if len(words) > 1 else ""
    return words[0], label if _NIC_PATTERN.fullmatch(label) else ""


def _parse_switch_name(key: str, description: str) -> str:
    """A switch's name: `leaf1` for `MF0;leaf1:MQM9701/U1`, with the chip where a chassis has several; else its
    identifier.
    """
    system, _, chip = description.rpartition(":")
    name = system.rpartition(";")[2]
    if not name or _NAMELESS_PATTERN.search(name):
        return key if not description or _NAMELESS_PATTERN.search(description) else description
    chassis_position = chip.split("/")[1:]
    return name if chassis_position in ([], ["U1"]) else "-".join([name, *chassis_position])
