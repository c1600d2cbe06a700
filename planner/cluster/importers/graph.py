"""Any graph of hosts and switches: GraphML, or networkx's node-link JSON.

Understood of a vertex: `kind` or `type` (host, server, node, compute; switch, leaf, spine, core, router), `name` or
`label`, `devices` or `gpus`, `part` or `accelerator`, `in_network`. Of an edge: `bandwidth` (a text with its unit),
`speed` as in lists of links, `bandwidth_gbps`, `LinkSpeedRaw` (b/s, the Internet Topology Zoo's); `cables` or
`count`, `kind` (network, scale-up), `card`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    Found,
    FoundHost,
    FoundLink,
    FoundSwitch,
    HostPatterns,
    broken,
    check_size,
    clean_name,
    distinct,
)
from planner.cluster.importers.link_speeds import link_rate
from planner.cluster.importers.xmltree import Element, parse_xml
from planner.decode import parse_mapping
from planner.errors import InputError
from planner.units import format_counted_noun, parse_quantity

_HOSTS = frozenset({"host", "server", "node", "compute", "computer", "machine", "gpu-node", "ca", "hca"})
_SWITCHES = frozenset({"switch", "leaf", "spine", "core", "router", "tor", "fabric", "nvswitch", "superspine"})
_MOST_CABLES = 100_000

Attributes = dict[str, str]
"""What is written on a vertex or an edge, as text, keys in small letters."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """Vertices by identifier, and edges as two of them."""

    vertices: dict[str, Attributes]
    edges: list[tuple[str, str, Attributes]]


def read_graph(text: str, origin: str, hosts: HostPatterns) -> Found:
    """Hosts, switches and links of a graph; parallel edges are cables of their own. Raises InputError."""
    graph = _graphml(text, origin) if text.lstrip("\ufeff \t\r\n")[:1] == "<" else _node_link(text, origin)
    check_size(0, len(graph.edges), origin)
    kinds = {key: _is_host(key, told, hosts, origin) for key, told in graph.vertices.items()}
    check_size(sum(kinds.values()), 0, origin)
    if not any(kinds.values()):
        raise broken(
            "has no host", origin, expected="vertices of kind host, or --hosts with a pattern of their names"
        )
    labels = {key: told.get("name") or told.get("label") or key for key, told in graph.vertices.items()}
    # two vertices may have one label: the identifier tells them apart
    count: dict[str, int] = {}
    for label in labels.values():
        count[label] = count.get(label, 0) + 1
    wanted = {key: label if count[label] == 1 else f"{label}-{key}" for key, label in labels.items()}
    clean = distinct(wanted[key] for key in sorted(wanted, key=lambda key: not kinds[key]))
    names = {key: clean[label] for key, label in wanted.items()}
    links, loose = [], 0
    for one, other, told in graph.edges:
        if (kinds[one] and kinds[other]) or one == other:
            loose += 1
            continue
        lower, upper = (one, other) if not kinds[other] else (other, one)
        links.append(_link(names[lower], names[upper], told, kinds[lower], origin))
    found = [_host(names[key], told, origin) for key, told in graph.vertices.items() if kinds[key]]
    switches = [
        FoundSwitch(names[key], told.get("in_network", "").casefold() in ("true", "1", "yes"))
        for key, told in graph.vertices.items()
        if not kinds[key]
    ]
    notes = (
        (f"left out: {format_counted_noun(loose, 'edge')} between hosts, or from a vertex to itself",)
        if loose
        else ()
    )
    return Found(tuple(found), tuple(switches), tuple(links), notes=notes)


def _is_host(key: str, told: Attributes, hosts: HostPatterns, origin: str) -> bool:
    """Whether a vertex is a host. Raises InputError where nothing tells it."""
    name = told.get("name") or told.get("label") or key
    if hosts:
        return hosts.match(name)
    kind = (told.get("kind") or told.get("type") or "").strip().casefold()
    if kind in _HOSTS:
        return True
    if kind in _SWITCHES:
        return False
    expected = "a `kind` of host or switch on each vertex, or --hosts with a pattern of the hosts' names"
    raise InputError(
        "does not tell hosts from switches",
        origin=origin,
        key=clean_name(name),
        value=kind or None,
        expected=expected,
    )


def _host(name: str, told: Attributes, origin: str) -> FoundHost:
    devices = told.get("devices") or told.get("gpus")
    part = told.get("part") or told.get("accelerator") or ""
    return FoundHost(name, None if devices is None else _count(devices, "devices", 4096, origin), part)


def _link(lower: str, upper: str, told: Attributes, is_host: bool, origin: str) -> FoundLink:
    """The edge as a link. Raises InputError for a bandwidth, a count or a kind that is none."""
    kind = (told.get("kind") or told.get("type") or "network").strip().casefold().replace("_", "-")
    if kind not in ("network", "scale-up", "nvlink"):
        raise broken("unknown kind of link", origin, value=kind, expected="network or scale-up")
    cables = told.get("cables") or told.get("count") or "1"
    card = told.get("card") if is_host else None
    return FoundLink(
        lower,
        upper,
        _bandwidth(told, f"{lower} - {upper}", origin),
        _count(cables, "cables", _MOST_CABLES, origin) or 1,
        None if card is None else _count(card, "card", 4096, origin),
        kind != "network",
    )


def _bandwidth(told: Attributes, key: str, origin: str) -> float | None:
    """One cable's bytes/s, None where no attribute tells it. A number without a unit is refused."""
    try:
        if "bandwidth" in told:
            return parse_quantity(told["bandwidth"][:100], "bytes_per_s", allow_bare=False)
        if "bandwidth_gbps" in told:
            return parse_quantity(f"{told['bandwidth_gbps'][:60]}Gb/s", "bytes_per_s")
        if "linkspeedraw" in told:
            return parse_quantity(f"{told['linkspeedraw'][:60]}b/s", "bytes_per_s")
        return link_rate(told.get("speed", ""), told.get("width", ""))
    except InputError as error:
        raise InputError(
            error.problem, origin=origin, key=f"bandwidth of {key}", value=error.value, expected=error.expected
        ) from None


def _count(text: str, key: str, most: int, origin: str) -> int:
    number = text.strip().removesuffix(".0")
    if not re.fullmatch(r"[0-9]{1,9}", number) or int(number) > most:
        expected = f"a whole number of at most {most:,}"
        raise InputError("not a count", origin=origin, key=key, value=text[:100], expected=expected)
    return int(number)


def _graphml(text: str, origin: str) -> _Graph:
    root = parse_xml(text, origin)
    if root.name != "graphml":
        raise broken("holds no graph", origin, value=root.name, expected="GraphML: <graphml> at the top")
    keys = {key.attributes.get("id", ""): key.attributes.get("attr.name", "") for key in root.all("key")}
    vertices = {node.attributes.get("id", ""): _data(node, keys) for node in root.all("node")}
    ends = [(edge.attributes.get("source", ""), edge.attributes.get("target", ""), edge) for edge in root.all("edge")]
    return _checked(vertices, [(one, other, _data(edge, keys)) for one, other, edge in ends], origin)


def _data(element: Element, keys: dict[str, str]) -> Attributes:
    told = {
        keys.get(one.attributes.get("key", ""), ""): one.text.strip()
        for one in element.children
        if one.name == "data"
    }
    return {key.casefold(): value for key, value in told.items() if key and value}


def _node_link(text: str, origin: str) -> _Graph:
    document = parse_mapping(text, "json", origin)
    nodes, edges = document.get("nodes"), document.get("links", document.get("edges"))
    if not isinstance(nodes, list) or not isinstance(edges, list):
        raise broken("holds no graph", origin, expected="node-link JSON: `nodes` and `links` (or `edges`)")
    check_size(len(nodes) // 2, len(edges), origin)  # half of the vertices may be switches
    vertices = {}
    for node in nodes:
        told = _attributes(node)
        vertices[told.pop("id", "")] = told
    pairs = []
    for edge in edges:
        told = _attributes(edge)
        pairs.append((told.pop("source", ""), told.pop("target", ""), told))
    return _checked(vertices, pairs, origin)


def _attributes(value: object) -> Attributes:
    if not isinstance(value, dict):
        return {}
    return {
        str(key).casefold(): str(one)
        for key, one in value.items()
        if isinstance(one, str | int | float) and one != ""
    }


def _checked(vertices: dict[str, Attributes], edges: Iterable[tuple[str, str, Attributes]], origin: str) -> _Graph:
    """The graph, each end of an edge being a vertex. Raises InputError."""
    told = list(edges)
    if not vertices or "" in vertices:
        raise broken(
            "has a vertex without an id" if vertices else "has no vertices", origin, expected="vertices with ids"
        )
    lost = next((end for edge in told for end in edge[:2] if end not in vertices), None)
    if lost is not None:
        raise broken("an edge leads to no vertex", origin, value=lost, expected="the id of a vertex")
    return _Graph(vertices, told)
