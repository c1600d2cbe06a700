"""The output of `ibnetdiscover`: each switch and adapter of an InfiniBand subnet, each link from both its ends."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from planner.cluster.importers.imported_cluster import (
    Found,
    FoundHost,
    FoundLink,
    FoundSwitch,
    HostPatterns,
    broken,
    card_note,
    cards,
    check_size,
    distinct,
)
from planner.cluster.importers.link_speeds import infiniband_rate
from planner.units import format_counted_noun

_VERTEX = re.compile(r'(Switch|Ca|Rt)\s*[0-9]+\s*"([^"\s]{1,40})"\s*#\s*"([^"]*)"')
_LINK = re.compile(r'\[([0-9]{1,4})\](?:\([0-9a-fA-Fx]*\))?\s*"([^"\s]{1,40})"\s*\[([0-9]{1,4})\]([^#]*)(?:#(.*))?')
_SPEED = re.compile(r"\b([0-9]{1,2}x[A-Z]{3}[0-9]*)\s*$")
_DESCRIPTION = re.compile(r'"([^"]*)"')
_CARD = re.compile(r"(?:HCA-[0-9]{1,3}|(?:mlx|bnxt_re|hfi|qib|ib|roce)[\w.]*)", re.IGNORECASE)
_AGGREGATION = "Aggregation Node"
_NAMELESS = re.compile(r"Mellanox|ConnectX|Technologies|Quantum|InfiniScale|Voltaire|NVIDIA", re.IGNORECASE)
_EXPECTED = '`Switch 40 "S-..." # "leaf1"` and `[1] "H-..."[1] # "a01 HCA-1" lid 5 4xHDR`'

Port = tuple[str, int]
"""A vertex's identifier and the number of its port."""


@dataclass
class _Subnet:
    """What the lines say: descriptions by identifier, and the speed (None: not told) of a link by its two ports."""

    descriptions: dict[str, str] = field(default_factory=dict)
    links: dict[tuple[Port, Port], float | None] = field(default_factory=dict)


def looks_like_ibnetdiscover(text: str) -> bool:
    """Whether a switch or an adapter stands in it as ibnetdiscover writes them."""
    return any(_VERTEX.match(line) for line in text[:200_000].splitlines())


def read_ibnetdiscover(text: str, origin: str, hosts: HostPatterns) -> Found:
    """Hosts by the names of their adapters, switches, and one link for each two ports. Raises InputError."""
    subnet = _subnet(text, origin)
    adapters = {key: told for key, told in subnet.descriptions.items() if key[0] not in "SR"}  # switches, routers
    aggregation = {key for key, told in adapters.items() if _AGGREGATION in told}
    owners = {key: _owner(told) for key, told in adapters.items() if key not in aggregation}
    nameless = [key for key, (host, _) in owners.items() if not host]
    kept = {key: one for key, one in owners.items() if one[0] and (not hosts or hosts.match(one[0]))}
    left_out = len(owners) - len(nameless) - len(kept)
    if not kept:
        raise broken("names no host", origin, expected=_EXPECTED)
    numbers = cards(label for _, label in kept.values() if label)
    host_names = distinct(host for host, _ in kept.values())
    told = {key: _switch_name(key, text) for key, text in subnet.descriptions.items() if key.startswith("S")}
    switch_names = _switch_names(told, host_names)
    links, sharp = [], set()
    for (one, other), rate in subnet.links.items():
        lower, upper = (one[0], other[0]) if one[0] not in switch_names else (other[0], one[0])
        if upper not in switch_names:
            continue
        if lower in aggregation:
            sharp.add(upper)
        elif lower in switch_names:
            links.append(FoundLink(switch_names[lower], switch_names[upper], rate))
        elif lower in kept:
            host, label = kept[lower]
            links.append(FoundLink(host_names[host], switch_names[upper], rate, card=numbers.get(label)))
    notes = [f"left out: {format_counted_noun(len(nameless), 'adapter')} whose host has no name"] if nameless else []
    notes += [f"left out: {format_counted_noun(left_out, 'adapter')} of other hosts"] if left_out else []
    notes += card_note(numbers)
    return Found(
        hosts=tuple(FoundHost(name) for name in host_names.values()),
        switches=tuple(FoundSwitch(name, key in sharp) for key, name in switch_names.items()),
        links=tuple(links),
        notes=tuple(notes),
    )


def _subnet(text: str, origin: str) -> _Subnet:
    subnet, current = _Subnet(), ""
    for number, line in enumerate(text.splitlines(), 1):
        vertex = _VERTEX.match(line)
        if vertex is not None:
            current = vertex[2]
            subnet.descriptions[current] = vertex[3]
            continue
        if not line.startswith("["):
            continue
        link = _LINK.match(line)
        if link is None or not current:
            raise broken("not a line of ibnetdiscover's output", origin, number, line, _EXPECTED)
        other = link[2]
        about = link[5] or ""
        described = _DESCRIPTION.search(about)
        subnet.descriptions.setdefault(other, described[1] if described else "")
        speed = _SPEED.search(about)
        ends = sorted([(current, int(link[1])), (other, int(link[3]))])
        rate = infiniband_rate(speed[1]) if speed else None
        subnet.links[ends[0], ends[1]] = rate or subnet.links.get((ends[0], ends[1]))
        check_size(0, len(subnet.links), origin)
    if not subnet.links:
        raise broken("tells no link", origin, expected=_EXPECTED)
    check_size(len(subnet.descriptions), 0, origin)
    return subnet


def _owner(description: str) -> tuple[str, str]:
    """The host that an adapter belongs to (empty: not told), and which of its cards it is."""
    words = description.replace("'", " ").split()
    if not words or _NAMELESS.search(description) or words[0] in ("localhost", "localhost.localdomain"):
        return "", ""
    label = words[1] if len(words) > 1 else ""
    return words[0], label if _CARD.fullmatch(label) else ""


def _switch_name(key: str, description: str) -> str:
    """`leaf1` of `MF0;leaf1:MQM9701/U1`, a chip's own name where a chassis has several; else the identifier."""
    system, _, chip = description.rpartition(":")
    name = system.rpartition(";")[2]
    if not name or _NAMELESS.search(name):
        return key if not description or _NAMELESS.search(description) else description
    inside = chip.split("/")[1:]
    return name if inside in ([], ["U1"]) else "-".join([name, *inside])


def _switch_names(told: dict[str, str], hosts: dict[str, str]) -> dict[str, str]:
    """A clean name of its own for each switch; switches of one name keep their identifiers."""
    count: dict[str, int] = {}
    for name in told.values():
        count[name] = count.get(name, 0) + 1
    wanted = {key: name if count[name] == 1 else f"{name}-{key}" for key, name in told.items()}
    clean = distinct(wanted.values(), taken=hosts.values())
    return {key: clean[name] for key, name in wanted.items()}
