"""A fabric as a file: GraphML and DOT of its graph, SVG and HTML of its drawing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from planner.cluster.analysis.device_graph import build_device_graph, build_tier_graph
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import find_cluster_torus
from planner.documents.topology import TopologyDocument
from planner.report.console import strip_nonprintable

if TYPE_CHECKING:
    import networkx as nx

MAX_GRAPH_DEVICES = 4_096
"""Devices of the largest cluster whose graph is written with every one of them."""


def render_topology_file(
    suffix: str, cluster: Cluster, wiring: Wiring | None, document: TopologyDocument
) -> tuple[str, str]:
    """The text of a file with this ending, and a note on what it leaves out; empty where that is nothing."""
    if suffix in (".svg", ".html"):
        from planner.report.formats.html_page import render_html_page
        from planner.report.topology.fabric_svg import render_fabric_drawing
        from planner.report.views.topology_report import build_topology_report

        picture = render_fabric_drawing(cluster, wiring, document)
        if suffix == ".svg":
            return picture, ""
        return render_html_page(build_topology_report(document), [("The fabric", picture)]), ""
    graph, note = _build_fabric_graph(cluster, wiring)
    return (render_graphml(graph) if suffix == ".graphml" else render_dot(graph)), note


def _build_fabric_graph(cluster: Cluster, wiring: Wiring | None) -> tuple[nx.Graph[str], str]:
    """The graph with every device, or the collapsed one of a large cluster."""
    if wiring is not None and cluster.devices <= MAX_GRAPH_DEVICES:
        return build_device_graph(wiring, cluster.intra_node, find_cluster_torus(cluster)), ""
    note = f"more than {MAX_GRAPH_DEVICES:,} devices: the graph has one of each kind of part, with its count"
    return build_tier_graph(cluster), note


def render_graphml(graph: nx.Graph[str]) -> str:
    """GraphML, with all attributes of vertices and edges. Names keep no control characters."""
    import networkx as nx

    out = io.BytesIO()
    clean_graph: nx.Graph[str] = nx.Graph()
    for name, attributes in graph.nodes(data=True):
        texts = {key: strip_nonprintable(value) for key, value in attributes.items() if isinstance(value, str)}
        clean_graph.add_node(strip_nonprintable(name), **(attributes | texts))
    for source, target, attributes in graph.edges(data=True):
        clean_graph.add_edge(strip_nonprintable(source), strip_nonprintable(target), **attributes)
    nx.write_graphml_xml(clean_graph, out)
    return out.getvalue().decode() + "\n"


def render_dot(graph: nx.Graph[str]) -> str:
    """DOT, for Graphviz: an edge's label is its bandwidth in GB/s."""
    lines = ["graph fabric {", "  node [shape=box];"]
    for name, attributes in graph.nodes(data=True):
        shape: Literal["ellipse", "box"] = "ellipse" if attributes["kind"] == "device" else "box"
        lines.append(f"  {_quote_dot_name(name)} [kind={_quote_dot_name(str(attributes['kind']))}, shape={shape}];")
    for source, target, attributes in graph.edges(data=True):
        rate = attributes["bandwidth_bytes_per_s"] / 1e9
        lines.append(f'  {_quote_dot_name(source)} -- {_quote_dot_name(target)} [label="{rate:.6g}"];')
    return "\n".join([*lines, "}", ""])


def _quote_dot_name(name: str) -> str:
    escaped = strip_nonprintable(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
