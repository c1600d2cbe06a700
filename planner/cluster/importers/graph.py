"""Any graph of hosts and switches: GraphML, or networkx's node-link JSON.

Attributes of a vertex: `kind` or `type` (host, server, node, compute; switch, leaf, spine, core, router), `name` or
`label`, `devices` or `gpus`, `part` or `accelerator`, `in_network`. Of an edge: `bandwidth` (with its unit),
`speed` as in lists of links, `bandwidth_gbps`, `LinkSpeedRaw` (b/s, the Internet Topology Zoo's); `cables` or
`count`, `kind` (network, scale-up), `card`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    assign_distinct_names,
    build_description_error,
    check_import_size,
    clean_name,
)
from planner.cluster.importers.link_speeds import parse_link_bytes_per_s
from planner.cluster.importers.xmltree import XmlElement, parse_xml
from planner.decode import parse_mapping
from planner.errors import InputError
from planner.units import format_counted_noun, parse_quantity

_HOST_TYPES = frozenset({"host", "server", "node", "compute", "computer", "machine", "gpu-node", "ca", "hca"})
_SWITCH_TYPES = frozenset({"switch", "leaf", "spine", "core", "router", "tor", "fabric", "nvswitch", "superspine"})
_MAX_LINKS_PER_EDGE = 100_000

GraphAttributes = dict[str, str]
"""The attributes of a vertex or an edge as text, with keys in lower case."""


@dataclass(frozen=True, slots=True)
class _ParsedGraph:
    """Vertices by identifier, and edges between two of them."""

    vertices: dict[str, GraphAttributes]
    edges: list[tuple[str, str, GraphAttributes]]


def read_graph(text: str, origin: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts, switches and links of a graph; each parallel edge is a cable. Raises InputError."""
    graph = (
        _parse_graphml(text, origin) if text.lstrip("\ufeff \t\r\n")[:1] == "<" else _parse_node_link(text, origin)
    )
    check_import_size(0, len(graph.edges), origin)
    is_host_by_key = {
        key: _is_host(key, attributes, host_patterns, origin) for key, attributes in graph.vertices.items()
    }
    check_import_size(sum(is_host_by_key.values()), 0, origin)
    if not any(is_host_by_key.values()):
        raise build_description_error(
            "no vertex is a host", origin, expected="vertices of kind host, or --hosts with a pattern of their names"
        )
    labels = {
        key: attributes.get("name") or attributes.get("label") or key for key, attributes in graph.vertices.items()
    }
    # labels may repeat: then the identifier makes them distinct
    label_counts: dict[str, int] = {}
    for label in labels.values():
        label_counts[label] = label_counts.get(label, 0) + 1
    unique_labels = {key: label if label_counts[label] == 1 else f"{label}-{key}" for key, label in labels.items()}
    clean_names = assign_distinct_names(
        unique_labels[key] for key in sorted(unique_labels, key=lambda key: not is_host_by_key[key])
    )
    names = {key: clean_names[label] for key, label in unique_labels.items()}
    links, dropped_count = [], 0
    for source, target, attributes in graph.edges:
        if (is_host_by_key[source] and is_host_by_key[target]) or source == target:
            dropped_count += 1
            continue
        lower, upper = (source, target) if not is_host_by_key[target] else (target, source)
        links.append(_build_link(names[lower], names[upper], attributes, is_host_by_key[lower], origin))
    parsed_hosts = [
        _build_host(names[key], attributes, origin)
        for key, attributes in graph.vertices.items()
        if is_host_by_key[key]
    ]
    switches = [
        ParsedSwitch(names[key], attributes.get("in_network", "").casefold() in ("true", "1", "yes"))
        for key, attributes in graph.vertices.items()
        if not is_host_by_key[key]
    ]
    notes = (
        (f"left out: {format_counted_noun(dropped_count, 'edge')} between hosts, or from a vertex to itself",)
        if dropped_count
        else ()
    )
    return ParsedCluster(tuple(parsed_hosts), tuple(switches), tuple(links), notes=notes)


def _is_host(key: str, attributes: GraphAttributes, host_patterns: HostPatterns, origin: str) -> bool:
    """Whether a vertex is a host. Raises InputError where neither its attributes nor `hosts` decide it."""
    name = attributes.get("name") or attributes.get("label") or key
    if host_patterns:
        return host_patterns.match_name(name)
    vertex_type = (attributes.get("kind") or attributes.get("type") or "").strip().casefold()
    if vertex_type in _HOST_TYPES:
        return True
    if vertex_type in _SWITCH_TYPES:
        return False
    expected = "a `kind` of host or switch on each vertex, or --hosts with a pattern of the hosts' names"
    raise InputError(
        "the type of a vertex is unknown",
        origin=origin,
        key=clean_name(name),
        value=vertex_type or None,
        expected=expected,
    )


def _build_host(name: str, attributes: GraphAttributes, origin: str) -> ParsedHost:
    devices = attributes.get("devices") or attributes.get("gpus")
    accelerator_label = attributes.get("part") or attributes.get("accelerator") or ""
    return ParsedHost(
        name, None if devices is None else _parse_bounded_count(devices, "devices", 4096, origin), accelerator_label
    )


def _build_link(lower: str, upper: str, attributes: GraphAttributes, is_host: bool, origin: str) -> ParsedLink:
    """The edge as a link. Raises InputError for an invalid bandwidth, count or kind."""
    link_type = (attributes.get("kind") or attributes.get("type") or "network").strip().casefold().replace("_", "-")
    if link_type not in ("network", "scale-up", "nvlink"):
        raise build_description_error("unknown kind of link", origin, value=link_type, expected="network or scale-up")
    link_count = attributes.get("cables") or attributes.get("count") or "1"
    nic_index = attributes.get("card") if is_host else None
    return ParsedLink(
        lower,
        upper,
        _parse_bandwidth_bytes_per_s(attributes, f"{lower} - {upper}", origin),
        _parse_bounded_count(link_count, "cables", _MAX_LINKS_PER_EDGE, origin) or 1,
        None if nic_index is None else _parse_bounded_count(nic_index, "card", 4096, origin),
        link_type != "network",
    )


def _parse_bandwidth_bytes_per_s(attributes: GraphAttributes, key: str, origin: str) -> float | None:
    """Bandwidth of a cable in bytes/s, None where no attribute states it. Raises InputError for a missing unit."""
    try:
        if "bandwidth" in attributes:
            return parse_quantity(attributes["bandwidth"][:100], "bytes_per_s", allow_bare=False)
        if "bandwidth_gbps" in attributes:
            return parse_quantity(f"{attributes['bandwidth_gbps'][:60]}Gb/s", "bytes_per_s")
        if "linkspeedraw" in attributes:
            return parse_quantity(f"{attributes['linkspeedraw'][:60]}b/s", "bytes_per_s")
        return parse_link_bytes_per_s(attributes.get("speed", ""), attributes.get("width", ""))
    except InputError as error:
        raise InputError(
            error.problem, origin=origin, key=f"bandwidth of {key}", value=error.value, expected=error.expected
        ) from None


def _parse_bounded_count(text: str, key: str, maximum: int, origin: str) -> int:
    number = text.strip().removesuffix(".0")
    if not re.fullmatch(r"[0-9]{1,9}", number) or int(number) > maximum:
        expected = f"a whole number of at most {maximum:,}"
        raise InputError("not a count", origin=origin, key=key, value=text[:100], expected=expected)
    return int(number)


def _parse_graphml(text: str, origin: str) -> _ParsedGraph:
    root = parse_xml(text, origin)
    if root.name != "graphml":
        raise build_description_error(
            "contains no graph", origin, value=root.name, expected="GraphML: <graphml> at the top"
        )
    keys = {key.attributes.get("id", ""): key.attributes.get("attr.name", "") for key in root.find_all("key")}
    vertices = {node.attributes.get("id", ""): _read_data(node, keys) for node in root.find_all("node")}
    edges = [
        (edge.attributes.get("source", ""), edge.attributes.get("target", ""), edge) for edge in root.find_all("edge")
    ]
    return _check_graph(
        vertices, [(source, target, _read_data(edge, keys)) for source, target, edge in edges], origin
    )


def _read_data(element: XmlElement, keys: dict[str, str]) -> GraphAttributes:
    texts = {
        keys.get(child.attributes.get("key", ""), ""): child.text.strip()
        for child in element.children
        if child.name == "data"
    }
    return {key.casefold(): value for key, value in texts.items() if key and value}


def _parse_node_link(text: str, origin: str) -> _ParsedGraph:
    document = parse_mapping(text, "json", origin)
    nodes, edges = document.get("nodes"), document.get("links", document.get("edges"))
    if not isinstance(nodes, list) or not isinstance(edges, list):
        raise build_description_error(
            "contains no graph", origin, expected="node-link JSON: `nodes` and `links` (or `edges`)"
        )
    check_import_size(len(nodes) // 2, len(edges), origin)  # half of the vertices may be switches
    vertices = {}
    for node in nodes:
        attributes = _read_attributes(node)
        vertices[attributes.pop("id", "")] = attributes
    edge_list = []
    for edge in edges:
        attributes = _read_attributes(edge)
        edge_list.append((attributes.pop("source", ""), attributes.pop("target", ""), attributes))
    return _check_graph(vertices, edge_list, origin)


def _read_attributes(value: object) -> GraphAttributes:
    if not isinstance(value, dict):
        return {}
    return {
        str(key).casefold(): str(item)
        for key, item in value.items()
        if isinstance(item, str | int | float) and item != ""
    }


def _check_graph(
    vertices: dict[str, GraphAttributes], edges: Iterable[tuple[str, str, GraphAttributes]], origin: str
) -> _ParsedGraph:
    """The graph, with its edges checked. Raises InputError for an edge to an unknown vertex."""
    edge_list = list(edges)
    if not vertices or "" in vertices:
        raise build_description_error(
            "has a vertex without an id" if vertices else "has no vertices", origin, expected="vertices with ids"
        )
    unknown_vertex = next((vertex for edge in edge_list for vertex in edge[:2] if vertex not in vertices), None)
    if unknown_vertex is not None:
        raise build_description_error(
            "an edge names an unknown vertex", origin, value=unknown_vertex, expected="the id of a vertex"
        )
    return _ParsedGraph(vertices, edge_list)
