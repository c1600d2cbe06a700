"""The inside of one node drawn, and a torus as a grid of devices."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.cluster.analysis.device_graph import build_device_graph
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus, compute_coordinates, enumerate_grid_neighbours
from planner.cluster.wired.failed_parts import select_hosts
from planner.report.topology.svg import (
    DRAWING_WIDTH,
    render_arc,
    render_box,
    render_label,
    render_line,
    shorten_name,
)
from planner.units import format_si

if TYPE_CHECKING:
    import networkx as nx

DrawingPosition = tuple[float, float]
IntArray = NDArray[np.int64]
_MAX_TORUS_SIDE = 8
_CIRCLE_RADIUS = 74


def render_node_topology(wiring: Wiring, cluster: Cluster, y: float) -> tuple[float, list[str]]:
    """The first node's devices and what joins them."""
    graph = build_device_graph(_select_first_host(wiring), cluster.intra_node)
    graph.remove_nodes_from([name for name in list(graph) if not _is_inside_node(graph, name)])
    inner_level = cluster.levels[0]
    caption = f"inside a node: {inner_level.topology}, {format_si(inner_level.bandwidth_bytes_per_s, 'B/s')} a device"
    positions = _place_in_tree(graph, y + 30) if inner_level.topology == "pcie" else _place_in_circle(graph, y + 110)
    shapes = [render_label(10, y + 8, caption)]
    for vertex, other, edge in graph.edges(data=True):
        rate = format_si(edge["bandwidth_bytes_per_s"], "B/s")
        shapes.append(render_line(positions[vertex], positions[other], f"{vertex} - {other}: {rate}", "scale-up"))
    for name, position in positions.items():
        is_device = graph.nodes[name]["kind"] == "device"
        short_name = name.rsplit("/", 1)[-1]
        row_size = sum(other[1] == position[1] for other in positions.values())
        box_width = 24 if is_device else min(84.0, DRAWING_WIDTH / row_size - 4)
        x, middle = position
        css_class, label = (
            "device" if is_device else "scale-up",
            shorten_name(short_name, max(int(box_width / 6.2), 3)),
        )
        shapes.append(render_box(x - box_width / 2, middle - 9, box_width, 18, name, css_class))
        shapes.append(render_label(x, middle + 4, label, "small middle"))
    return max(position[1] for position in positions.values()) + 24, shapes


def _select_first_host(wiring: Wiring) -> Wiring:
    """The first host alone, with its own links."""
    first_host = select_hosts(wiring, np.array([0]))
    is_own_link = (first_host.endpoints == 0).any(axis=1)
    return replace(
        first_host,
        endpoints=first_host.endpoints[is_own_link],
        nic_index=first_host.nic_index[is_own_link],
        bandwidth_bytes_per_s=first_host.bandwidth_bytes_per_s[is_own_link],
        scale_up=first_host.scale_up[is_own_link],
    )


def _is_inside_node(graph: nx.Graph[str], name: str) -> bool:
    """Devices and what joins them, not the switches of the network."""
    if graph.nodes[name]["kind"] != "switch":
        return True
    return any(edge["scale_up"] for *_, edge in graph.edges(name, data=True))


def _place_in_circle(graph: nx.Graph[str], center_y: float) -> dict[str, DrawingPosition]:
    """Devices around, switches in the middle."""
    devices = [name for name, attributes in graph.nodes(data=True) if attributes["kind"] == "device"]
    others = [name for name in graph if name not in set(devices)]
    positions = {}
    for number, name in enumerate(devices):
        angle = 2 * math.pi * number / len(devices) - math.pi / 2
        x, y = 1.6 * _CIRCLE_RADIUS * math.cos(angle), _CIRCLE_RADIUS * math.sin(angle)
        positions[name] = (DRAWING_WIDTH / 2 + x, center_y + y)
    for number, name in enumerate(others):
        positions[name] = (DRAWING_WIDTH / 2 + 70 * (number - (len(others) - 1) / 2), center_y)
    return positions


def _place_in_tree(graph: nx.Graph[str], top: float) -> dict[str, DrawingPosition]:
    """Host bridges above PCIe switches above devices."""
    positions = {}
    present_types = {str(attributes["kind"]) for _, attributes in graph.nodes(data=True)}
    rows = [vertex_type for vertex_type in ("host-bridge", "pcie-switch", "device") if vertex_type in present_types]
    for depth, vertex_type in enumerate(rows):
        names = [name for name, attributes in graph.nodes(data=True) if attributes["kind"] == vertex_type]
        for number, name in enumerate(names):
            positions[name] = ((number + 0.5) * DRAWING_WIDTH / len(names), top + 50 * depth)
    return positions


def render_torus_grid(torus: Torus, y: float, cluster: Cluster, wiring: Wiring | None) -> tuple[float, list[str]]:
    """The first two axes of a torus, a part of them where they are long, with a caption. Failed devices are drawn
    empty, failed links are missing.
    """
    remaining_torus = _RemainingTorus(torus, cluster, wiring)
    sides = (*torus.shape, 1)[:2]
    drawn_sides = tuple(min(side, _MAX_TORUS_SIDE) for side in sides)
    step = min(44.0, (DRAWING_WIDTH - 80) / drawn_sides[0])
    left, top = (DRAWING_WIDTH - step * (drawn_sides[0] - 1)) / 2, y + 50
    shape, rate = " x ".join(map(str, torus.shape)), format_si(torus.link_bytes_per_s, "B/s")
    shapes = [render_label(10, y + 8, f"torus {shape}, {rate} a link each way")]
    if drawn_sides != sides or len(torus.shape) > 2:
        planes = "" if len(torus.shape) < 3 else f", one of {math.prod(torus.shape[2:])} such planes"
        drawn = f"drawn: {drawn_sides[0]} x {drawn_sides[1]} of {sides[0]} x {sides[1]}{planes}"
        shapes.append(render_label(10, y + 22, drawn, "small"))
    cells = compute_coordinates(np.arange(math.prod(drawn_sides)), drawn_sides)
    positions = [(left + step * float(column), top + step * float(row)) for column, row in cells.tolist()]
    wrap = (*torus.wrap, False)[:2]
    title = f"{rate} each way"
    for axis, pairs in enumerate_grid_neighbours(drawn_sides, wrap):
        for source, target in pairs.tolist():
            if remaining_torus.is_joined(cells[source], cells[target]):
                shapes.append(_render_torus_link(positions[source], positions[target], axis, step, title))
    for (x, row), cell in zip(positions, cells, strict=True):
        is_present = remaining_torus.is_joined(cell, cell)
        gone_note = "" if is_present else ", gone"
        tooltip = f"device at {tuple(cell.tolist())}{gone_note}"
        shapes.append(render_box(x - 7, row - 6, 14, 12, tooltip, "device" if is_present else "outline"))
    shapes += _render_node_outlines(torus, drawn_sides, (left, top), step)
    return top + step * drawn_sides[1] + 14, shapes


class _RemainingTorus:
    """The first torus of a cluster without its failed parts."""

    def __init__(self, torus: Torus, cluster: Cluster, wiring: Wiring | None) -> None:
        """`wiring`: what is in use of it."""
        self.block = np.array((*torus.block, 1)[:2])
        self.node_grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
        self.is_complete = not cluster.has_failed_parts or wiring is None or math.prod(self.node_grid) == 1
        self.joined_pairs: set[tuple[str, str]] = set()
        if not self.is_complete and wiring is not None:
            names = wiring.vertex_names
            self.joined_pairs = {(name, name) for name in wiring.hosts}
            self.joined_pairs |= {(names[source], names[target]) for source, target in wiring.endpoints.tolist()}

    def is_joined(self, first: IntArray, second: IntArray) -> bool:
        """Whether the nodes of two devices, at these places in the first plane, are there and joined."""
        pair = self._format_node_name(first), self._format_node_name(second)
        return self.is_complete or pair in self.joined_pairs or pair[::-1] in self.joined_pairs

    def _format_node_name(self, cell: IntArray) -> str:
        column, row = (cell // self.block).tolist()
        return f"node-{column + row * self.node_grid[0]}"


def _render_torus_link(start: DrawingPosition, end: DrawingPosition, axis: int, step: float, title: str) -> str:
    """A link to the next device, or round from the last to the first."""
    if start[axis] < end[axis]:
        return render_line(start, end, title, "scale-up")
    if axis == 0:
        control = ((start[0] + end[0]) / 2, start[1] - 0.7 * step)
    else:
        control = (start[0] - 0.7 * step, (start[1] + end[1]) / 2)
    return render_arc(start, end, control, f"{title}, round the end", "scale-up")


def _render_node_outlines(
    torus: Torus, drawn_sides: tuple[int, ...], corner: DrawingPosition, step: float
) -> list[str]:
    """A line around the devices of each node."""
    block_columns, block_rows = (*torus.block, 1)[:2]
    shapes = []
    for column in range(0, drawn_sides[0] - block_columns + 1, block_columns):
        for row in range(0, drawn_sides[1] - block_rows + 1, block_rows):
            x, y = corner[0] + step * column - 11, corner[1] + step * row - 10
            width, height = step * (block_columns - 1) + 22, step * (block_rows - 1) + 20
            shapes.append(render_box(x, y, width, height, "one node", "outline"))
    return shapes
