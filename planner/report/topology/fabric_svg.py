"""A fabric drawn: switches in rows, nodes with their devices below, a torus as a grid, and the inside of one node.

Of many equal parts the first and the last ones are drawn, below a caption with their number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import find_cluster_torus
from planner.documents.topology import TopologyDocument
from planner.report.topology.node_svg import render_node_topology, render_torus_grid
from planner.report.topology.svg import (
    DRAWING_WIDTH,
    render_arc,
    render_box,
    render_drawing,
    render_label,
    render_line,
    render_text_lines,
    shorten_name,
)
from planner.units import format_counted_noun, format_si

IntArray = NDArray[np.int64]
DrawingPosition = tuple[float, float]
_MAX_SWITCHES, _MAX_HOSTS, _MAX_DEVICES, _MAX_SWITCH_NAMES = 8, 4, 16, 6
_ROW_HEIGHT, _BOX_HEIGHT, _LEFT_MARGIN = 78, 20, 10
_MAX_BOX_WIDTH, _SHORT_NAME_LENGTH, _CHARACTER_WIDTH = 62.0, 7, 6.2
"""Of a switch's box; characters of a name that eight in a row have room for; how wide one is."""


@dataclass(frozen=True)
class _FabricRow:
    """One row of parts: its caption, and the vertices that are drawn."""

    caption: str
    vertices: list[int]
    has_omitted: bool


def render_fabric_drawing(cluster: Cluster, wiring: Wiring | None, document: TopologyDocument) -> str:
    """The picture as SVG text."""
    shapes: list[str] = []
    size = f"{cluster.nodes:,} x {cluster.devices_per_node} {cluster.accelerator.title}"
    y = 20.0
    for text, css_class, max_chars in (
        (cluster.title, "head", 50),
        (size, "", 62),
        (_format_bisection(document), "", 62),
    ):
        y, section_shapes = render_text_lines(y, text, css_class, max_chars)
        shapes += section_shapes
    y += 5
    torus, section_shapes = find_cluster_torus(cluster), []
    if wiring is None:
        y, section_shapes = _render_level_boxes(document, y)
    elif wiring.switches or torus is None:
        y, section_shapes = _render_fabric_rows(wiring, y)
    shapes += section_shapes
    if torus is not None:
        y, section_shapes = render_torus_grid(torus, y, cluster, wiring)
        shapes += section_shapes
    elif wiring is not None and cluster.devices_per_node > 1:
        y, section_shapes = render_node_topology(wiring, cluster, y)
        shapes += section_shapes
    return render_drawing(y + 10, cluster.title, shapes)


def _format_bisection(document: TopologyDocument) -> str:
    bound = "" if document.bisection.exact else "at most "
    bisection_text = bound + format_si(document.bisection.bytes_per_s, "B/s")
    return f"bisection {bisection_text} each way, diameter {format_counted_noun(document.diameter_hops, 'hop')}"


def _render_level_boxes(document: TopologyDocument, y: float) -> tuple[float, list[str]]:
    """One box a level, of a cluster that is too large to be written out."""
    shapes, above = [], 0.0
    for level in reversed(document.levels):
        rate = format_si(level.bandwidth_bytes_per_s, "B/s")
        text = f"{level.parts:,} x {level.name}: {level.topology}, {level.devices:,} devices, {rate} each"
        if above:
            shapes.append(render_line((DRAWING_WIDTH / 2, above), (DRAWING_WIDTH / 2, y), f"{rate} a device"))
        shapes += [
            render_box(_LEFT_MARGIN, y, DRAWING_WIDTH - 2 * _LEFT_MARGIN, 26, text),
            render_label(DRAWING_WIDTH / 2, y + 17, text, "middle"),
        ]
        above, y = y + 26, y + 46
    return y, shapes


def _render_fabric_rows(wiring: Wiring, y: float) -> tuple[float, list[str]]:
    """Switches from the outermost row to the hosts, and the links between what is drawn."""
    rows = [
        *reversed(_build_switch_rows(wiring)),
        _select_row_vertices("nodes", np.arange(len(wiring.hosts)), _MAX_HOSTS),
    ]
    positions: dict[int, DrawingPosition] = {}
    shapes: list[str] = []
    for row in rows:
        shapes.append(render_label(_LEFT_MARGIN, y + 8, row.caption))
        step = (DRAWING_WIDTH - 2 * _LEFT_MARGIN) / max(len(row.vertices) + row.has_omitted, 1)
        max_box_width = min(step - 4, _MAX_BOX_WIDTH)
        for number, vertex in enumerate(row.vertices):
            gap_shift = row.has_omitted and number >= (len(row.vertices) + 1) // 2
            x = _LEFT_MARGIN + (number + gap_shift + 0.5) * step
            positions[vertex] = (x, y + 16)
            if row is rows[-1]:
                shapes += _render_host(wiring, vertex, x, y + 16)
            else:
                shapes += _render_switch(wiring, vertex, x, y + 16, max_box_width)
        if row.has_omitted:
            gap_x = _LEFT_MARGIN + ((len(row.vertices) + 1) // 2 + 0.5) * step
            shapes.append(render_label(gap_x, y + 30, "...", "middle"))
        y += _ROW_HEIGHT
    max_device_rows = -(-min(int(wiring.devices.max()), _MAX_DEVICES) // 4)
    return y + 16 * max_device_rows - 24, _render_links(wiring, positions) + shapes


def _build_switch_rows(wiring: Wiring) -> list[_FabricRow]:
    """Rows from the hosts outwards: switches by their distance from hosts, of a rack first, then by their names
    without numbers.
    """
    count = len(wiring.vertex_names)
    distance = np.where(np.arange(count) < len(wiring.hosts), 0, count)
    for _ in range(count):
        near_distance = np.minimum(distance[wiring.endpoints[:, 0]], distance[wiring.endpoints[:, 1]]) + 1
        new_distance = distance.copy()
        for end in wiring.endpoints.T:
            np.minimum.at(new_distance, end, near_distance)
        if (new_distance == distance).all():
            break
        distance = new_distance
    names = [re.sub(r"[-_.]?\d+$", "", name) for name in wiring.vertex_names]
    if len({*names[len(wiring.hosts) :]}) > _MAX_SWITCH_NAMES:
        names = ["switches"] * count
    is_rack_switch = np.zeros(count, dtype=np.bool_)
    is_rack_switch[wiring.endpoints[wiring.scale_up].ravel()] = True
    switch_groups: dict[tuple[int, bool, str], list[int]] = {}
    for vertex in range(len(wiring.hosts), count):
        key = (int(distance[vertex]), not is_rack_switch[vertex], names[vertex])
        switch_groups.setdefault(key, []).append(vertex)
    return [
        _select_row_vertices(name, np.array(group_vertices), _compute_row_limit(wiring, group_vertices), wiring)
        for (*_, name), group_vertices in sorted(switch_groups.items())
    ]


def _compute_row_limit(wiring: Wiring, vertices: list[int]) -> int:
    """How many of a row are drawn: fewer where their names are long."""
    has_short_names = max(len(wiring.vertex_names[vertex]) for vertex in vertices) <= _SHORT_NAME_LENGTH
    return _MAX_SWITCHES if has_short_names else _MAX_SWITCHES - 2


def _select_row_vertices(name: str, vertices: IntArray, limit: int, wiring: Wiring | None = None) -> _FabricRow:
    """The first and the last of many; where parts of a row are joined with each other, the last that the first are
    joined with.
    """
    count = len(vertices)
    caption = f"{name}: {count:,}"
    if count <= limit:
        return _FabricRow(caption, vertices.tolist(), False)
    first = vertices[: limit // 2]
    last = vertices[limit // 2 :]
    if wiring is not None:
        joined_links = wiring.endpoints[np.isin(wiring.endpoints, first).any(axis=1)]
        joined_last = np.intersect1d(joined_links, last)
        last = joined_last if len(joined_last) >= limit - 1 - len(first) else last
    return _FabricRow(caption, [*first.tolist(), *last[len(last) - (limit - 1 - len(first)) :].tolist()], True)


def _render_switch(wiring: Wiring, vertex: int, x: float, y: float, width: float) -> list[str]:
    name = wiring.vertex_names[vertex]
    short_name = shorten_name(name, int(width / _CHARACTER_WIDTH))
    css_class = "scale-up" if wiring.scale_up[(wiring.endpoints == vertex).any(axis=1)].any() else ""
    return [
        render_box(x - width / 2, y, width, _BOX_HEIGHT, name, css_class),
        render_label(x, y + 14, short_name, "small middle"),
    ]


def _render_host(wiring: Wiring, vertex: int, x: float, y: float) -> list[str]:
    """A node with its devices as small squares, four in a row."""
    name, count = wiring.vertex_names[vertex], int(wiring.devices[vertex])
    drawn_devices = min(count, _MAX_DEVICES)
    device_rows = -(-drawn_devices // 4)
    shapes = [
        render_box(x - 40, y, 80, 18 + 16 * device_rows, f"{name}: {count} devices", "host"),
        render_label(x, y + 12, shorten_name(name, int(80 / _CHARACTER_WIDTH)), "small middle"),
    ]
    for device in range(drawn_devices):
        left, top = x - 34 + device % 4 * 17, y + 17 + device // 4 * 16
        shapes.append(render_box(left, top, 14, 12, f"{name}/{device}", "device"))
    return shapes


def _render_links(wiring: Wiring, positions: dict[int, DrawingPosition]) -> list[str]:
    """Lines between drawn parts, parallel links as one; of parts in the same row as arcs."""
    rate_by_pair: dict[tuple[int, int], float] = {}
    is_drawn = np.isin(wiring.endpoints, list(positions)).all(axis=1)
    # neighbours in a torus are drawn in its grid
    is_drawn &= wiring.endpoints.max(axis=1, initial=0) >= len(wiring.hosts)
    vertex_pairs, rates = wiring.endpoints[is_drawn].tolist(), wiring.bandwidth_bytes_per_s[is_drawn].tolist()
    for (source, target), rate in zip(vertex_pairs, rates, strict=True):
        rate_by_pair[source, target] = rate_by_pair.get((source, target), 0.0) + rate
    shapes = []
    names = wiring.vertex_names
    scale_up = {tuple(pair) for pair in wiring.endpoints[is_drawn & wiring.scale_up].tolist()}
    for (source, target), rate in rate_by_pair.items():
        lower, upper = positions[source], positions[target]
        title = f"{names[source]} - {names[target]}: {format_si(rate, 'B/s')}"
        css_class = "scale-up" if (source, target) in scale_up else ""
        if lower[1] == upper[1]:
            control = ((lower[0] + upper[0]) / 2, lower[1] - 8 - abs(lower[0] - upper[0]) / 8)
            shapes.append(render_arc(lower, upper, control, title, css_class))
        else:
            shapes.append(render_line(lower, (upper[0], upper[1] + _BOX_HEIGHT), title, css_class))
    return shapes
