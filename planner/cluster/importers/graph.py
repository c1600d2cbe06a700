"""Any graph of hosts and switches: GraphML, or networkx's node-link JSON.

Attributes of a vertex: `kind` or `type` (host, server, node, compute; switch, leaf, spine, core, router), `name` or
`label`, `devices` or `gpus`, `part` or `accelerator`, `in_network`. Of an edge: `bandwidth` (with its unit),
`speed` as in lists of links, `bandwidth_gbps`, `LinkSpeedRaw` (b/s, the Internet Topology Zoo's); `cables` or
`count`, `kind` (network, scale-up), `card`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    assign_vertex_names,
    check_import_size,
    clean_name,
    format_left_out,
)
from planner.cluster.importers.link_speeds import parse_link_bytes_per_s
from planner.cluster.importers.xmltree import XmlElement, parse_xml
from planner.decode import parse_mapping
from planner.errors import InputError
from planner.units import parse_quantity

_HOST_TYPES = frozenset({"host", "server", "node", "compute", "computer", "machine", "gpu-node", "ca", "hca"})
_SWITCH_TYPES = frozenset({"switch", "leaf", "spine", "core", "router", "tor", "fabric", "nvswitch", "superspine"})
_MAX_LINKS_PER_EDGE = 100_000

GraphAttributes = dict[str, str]
"""The attributes of a vertex or an edge as text, with keys in lower case."""
GraphEdge = tuple[str, str, GraphAttributes]


@dataclass(frozen=True, slots=True)
class _ParsedGraph:
    """Vertices by identifier, and edges between two of them."""

    vertices: dict[str, GraphAttributes]
    edges: list[GraphEdge]


def read_graph(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts, switches and links of a graph; each parallel edge is a link of its own. Raises InputError."""
    graph = _parse_graphml(text) if text.lstrip("\ufeff \t\r\n")[:1] == "<" else _parse_node_link(text)
    check_import_size(0, len(graph.edges))
    is_host_by_key = {key: _is_host(key, attributes, host_patterns) for key, attributes in graph.vertices.items()}
    check_import_size(sum(is_host_by_key.values()), 0)
    if not any(is_host_by_key.values()):
        expected = "vertices of kind host, or --hosts with a pattern of their names"
        raise InputError("no vertex is a host", expected=expected)
    # hosts first: they keep their names where a switch has the same
    keys = sorted(graph.vertices, key=lambda key: not is_host_by_key[key])
    names = assign_vertex_names({key: _get_label(key, graph.vertices[key]) for key in keys})
    links, dropped_count = [], 0
    for source, target, attributes in graph.edges:
        if (is_host_by_key[source] and is_host_by_key[target]) or source == target:
            dropped_count += 1
            continue
        lower, upper = (source, target) if not is_host_by_key[target] else (target, source)
        links.append(_build_link(names[lower], names[upper], attributes, is_host_by_key[lower]))
    parsed_hosts = [
        _build_host(names[key], attributes) for key, attributes in graph.vertices.items() if is_host_by_key[key]
    ]
    switches = [
        ParsedSwitch(names[key], attributes.get("in_network", "").casefold() in ("true", "1", "yes"))
        for key, attributes in graph.vertices.items()
        if not is_host_by_key[key]
    ]
    notes = format_left_out(dropped_count, "edge", "between hosts, or from a vertex to itself")
    return ParsedCluster(tuple(parsed_hosts), tuple(switches), tuple(links), notes=notes)


def _get_label(key: str, attributes: GraphAttributes) -> str:
    return attributes.get("name") or attributes.get("label") or key


def _is_host(key: str, attributes: GraphAttributes, host_patterns: HostPatterns) -> bool:
    """Whether a vertex is a host. Raises InputError where neither its attributes nor `hosts` decide it."""
    name = _get_label(key, attributes)
    if host_patterns:
        return host_patterns.match_name(name)
    vertex_type = (attributes.get("kind") or attributes.get("type") or "").strip().casefold()
    if vertex_type in _HOST_TYPES:
        return True
    if vertex_type in _SWITCH_TYPES:
        return False
    expected = "a `kind` of host or switch on each vertex, or --hosts with a pattern of the hosts' names"
    raise InputError(
        "the type of a vertex is unknown", key=clean_name(name), value=vertex_type or None, expected=expected
    )


def _build_host(name: str, attributes: GraphAttributes) -> ParsedHost:
    devices = attributes.get("devices") or attributes.get("gpus")
    accelerator_label = attributes.get("part") or attributes.get("accelerator") or ""
    device_count = None if devices is None else _parse_bounded_count(devices, "devices", 4096)
    return ParsedHost(name, device_count, accelerator_label)


def _build_link(lower: str, upper: str, attributes: GraphAttributes, is_host: bool) -> ParsedLink:
    """The edge as a link. Raises InputError for an invalid bandwidth, count or kind."""
    link_type = (attributes.get("kind") or attributes.get("type") or "network").strip().casefold().replace("_", "-")
    if link_type not in ("network", "scale-up", "nvlink"):
        raise InputError("unknown kind of link", value=link_type, expected="network or scale-up")
    link_count = attributes.get("cables") or attributes.get("count") or "1"
    nic_index = attributes.get("card") if is_host else None
    return ParsedLink(
        lower,
        upper,
        _parse_bandwidth_bytes_per_s(attributes, f"{lower} - {upper}"),
        _parse_bounded_count(link_count, "cables", _MAX_LINKS_PER_EDGE) or 1,
        None if nic_index is None else _parse_bounded_count(nic_index, "card", 4096),
        link_type != "network",
    )


def _parse_bandwidth_bytes_per_s(attributes: GraphAttributes, key: str) -> float | None:
    """Bandwidth of a link in bytes/s, None where no attribute states it. Raises InputError for a missing unit."""
    try:
        if "bandwidth" in attributes:
            return parse_quantity(attributes["bandwidth"][:100], "bytes_per_s", allow_bare=False)
        if "bandwidth_gbps" in attributes:
            return parse_quantity(f"{attributes['bandwidth_gbps'][:60]}Gb/s", "bytes_per_s")
        if "linkspeedraw" in attributes:
            return parse_quantity(f"{attributes['linkspeedraw'][:60]}b/s", "bytes_per_s")
        return parse_link_bytes_per_s(attributes.get("speed", ""), attributes.get("width", ""))
    except InputError as error:
        raise error.relocate("", f"bandwidth of {key}") from None


def _parse_bounded_count(text: str, key: str, maximum: int) -> int:
    number = text.strip().removesuffix(".0")
    if not re.fullmatch(r"[0-9]{1,9}", number) or int(number) > maximum:
        expected = f"a whole number of at most {maximum:,}"
        raise InputError("not a count", key=key, value=text[:100], expected=expected)
    return int(number)


def _parse_graphml(text: str) -> _ParsedGraph:
    root = parse_xml(text)
    if root.name != "graphml":
        raise InputError("contains no graph", value=root.name, expected="GraphML: <graphml> at the top")
    keys = {key.attributes.get("id", ""): key.attributes.get("attr.name", "") for key in root.find_all("key")}
    vertices = {node.attributes.get("id", ""): _read_data(node, keys) for node in root.find_all("node")}
    edges = [
        (edge.attributes.get("source", ""), edge.attributes.get("target", ""), _read_data(edge, keys))
        for edge in root.find_all("edge")
    ]
    return _check_graph(vertices, edges)


def _read_data(element: XmlElement, keys: dict[str, str]) -> GraphAttributes:
    texts = {
        keys.get(child.attributes.get("key", ""), ""): child.text.strip()
        for child in element.children
        if child.name == "data"
    }
    return {key.casefold(): value for key, value in texts.items() if key and value}


def _parse_node_link(text: str) -> _ParsedGraph:
    document = parse_mapping(text, "json", "")
    nodes, edges = document.get("nodes"), document.get("links", document.get("edges"))
    if not isinstance(nodes, list) or not isinstance(edges, list):
        raise InputError("contains no graph", expected="node-link JSON: `nodes` and `links` (or `edges`)")
    check_import_size(len(nodes) // 2, len(edges))  # half of the vertices may be switches
    vertices = {node.get("id", ""): node for node in map(_read_attributes, nodes)}
    edge_list = [(edge.get("source", ""), edge.get("target", ""), edge) for edge in map(_read_attributes, edges)]
    return _check_graph(vertices, edge_list)


def _read_attributes(value: object) -> GraphAttributes:
    if not isinstance(value, dict):
        return {}
    return {
        str(key).casefold(): str(item)
        for key, item in value.items()
        if isinstance(item, str | int | float) and item != ""
    }


def _check_graph(vertices: dict[str, GraphAttributes], edges: list[GraphEdge]) -> _ParsedGraph:
    """The graph, with its edges checked. Raises InputError for an edge to an unknown vertex."""
    if not vertices or "" in vertices:
        problem = "has a vertex without an id" if vertices else "has no vertices"
        raise InputError(problem, expected="vertices with ids")
    unknown_vertex = next((vertex for edge in edges for vertex in edge[:2] if vertex not in vertices), None)
    if unknown_vertex is not None:
        raise InputError("an edge names an unknown vertex", value=unknown_vertex, expected="the id of a vertex")
    return _ParsedGraph(vertices, edges)
