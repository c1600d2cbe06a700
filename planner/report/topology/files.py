"""A fabric as a file: GraphML and DOT of its graph, SVG and HTML of its drawing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from planner.cluster.analysis.device_graph import device_graph
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.tier_graph import build_graph
from planner.cluster.regular.torus import torus_of
from planner.documents.topology import TopologyDocument
from planner.report.console import printable

if TYPE_CHECKING:
    import networkx as nx

MOST_DEVICES = 4_096
"""Devices of the largest cluster whose graph is written with every one of them."""


def exported(ending: str, cluster: Cluster, wiring: Wiring | None, document: TopologyDocument) -> tuple[str, str]:
    """The text of a file with this ending, and what is to be said about it; empty where nothing is."""
    if ending in (".svg", ".html"):
        from planner.report.topology.fabric_svg import drawing
        from planner.report.topology.page import page

        picture = drawing(cluster, wiring, document)
        return (picture, "") if ending == ".svg" else (page(picture, document), "")
    graph, note = _graph(cluster, wiring)
    return (to_graphml(graph) if ending == ".graphml" else to_dot(graph)), note


def _graph(cluster: Cluster, wiring: Wiring | None) -> tuple[nx.Graph[str], str]:
    """The graph with every device, or the collapsed one of a large cluster."""
    if wiring is not None and cluster.devices <= MOST_DEVICES:
        return device_graph(wiring, cluster.inside, torus_of(cluster)), ""
    note = f"more than {MOST_DEVICES:,} devices: the graph has one of each kind of part, with its count"
    return build_graph(cluster), note


def to_graphml(graph: nx.Graph[str]) -> str:
    """GraphML, with all attributes of vertices and edges. Names keep no control characters."""
    import networkx as nx

    out = io.BytesIO()
    plain: nx.Graph[str] = nx.Graph()
    for name, told in graph.nodes(data=True):
        plain.add_node(printable(name), **{key: _plain(value) for key, value in told.items()})
    for one, other, told in graph.edges(data=True):
        plain.add_edge(printable(one), printable(other), **told)
    nx.write_graphml_xml(plain, out)
    return out.getvalue().decode() + "\n"


def to_dot(graph: nx.Graph[str]) -> str:
    """DOT, for Graphviz: an edge's label is its bandwidth in GB/s."""
    lines = ["graph fabric {", "  node [shape=box];"]
    for name, told in graph.nodes(data=True):
        shape: Literal["ellipse", "box"] = "ellipse" if told["kind"] == "device" else "box"
        lines.append(f"  {_quoted(name)} [kind={_quoted(str(told['kind']))}, shape={shape}];")
    for one, other, told in graph.edges(data=True):
        rate = told["bandwidth_bytes_per_s"] / 1e9
        lines.append(f'  {_quoted(one)} -- {_quoted(other)} [label="{rate:.6g}"];')
    return "\n".join([*lines, "}", ""])


def _plain(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _quoted(name: str) -> str:
    escaped = printable(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
