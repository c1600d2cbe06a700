"""A fabric drawn: switches in rows, nodes with their devices below, a torus as a grid, and the inside of one node.

Of many equal parts the first and the last ones are drawn, and how many there are is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import torus_of
from planner.documents.topology import TopologyDocument
from planner.report.charts.svg import (
    WIDTH,
    arc,
    box,
    in_lines,
    label,
    line,
    sheet,
    shortened,
)
from planner.report.topology.node_svg import grid, inside_of_a_node
from planner.units import format_counted_noun, format_si

Ints = NDArray[np.int64]
Place = tuple[float, float]
_SHOWN, _HOSTS_SHOWN, _DEVICES_SHOWN, _NAMES_SHOWN = 8, 4, 16, 6
_ROW, _BOX_HEIGHT, _LEFT = 78, 20, 10
_WIDEST, _SHORT, _CHARACTER = 62.0, 7, 6.2
"""Of a switch's box; characters of a name that eight in a row have room for; how wide one is."""


@dataclass(frozen=True)
class _Row:
    """One row of parts: what is said of it, and the vertices that are drawn."""

    words: str
    vertices: list[int]
    left_out: bool


def drawing(cluster: Cluster, wiring: Wiring | None, document: TopologyDocument) -> str:
    """The picture as SVG text."""
    shapes: list[str] = []
    size = f"{cluster.nodes:,} x {cluster.devices_per_node} {cluster.accelerator.title}"
    y = 20.0
    for words, kind, most in ((cluster.title, "head", 50), (size, "", 62), (_middle(document), "", 62)):
        y, more = in_lines(y, words, kind, most)
        shapes += more
    y += 5
    if wiring is None:
        y, more = _collapsed(document, y)
    else:
        y, more = _rows(wiring, y) if wiring.switches or torus_of(cluster) is None else (y, [])
    shapes += more
    torus = torus_of(cluster)
    if torus is not None:
        y, more = grid(torus, y, cluster, wiring)
        shapes += more
    elif wiring is not None and cluster.devices_per_node > 1:
        y, more = inside_of_a_node(wiring, cluster, y)
        shapes += more
    return sheet(y + 10, cluster.title, shapes)


def _middle(document: TopologyDocument) -> str:
    bound = "" if document.bisection.exact else "at most "
    cut = bound + format_si(document.bisection.bytes_per_s, "B/s")
    return f"bisection {cut} each way, diameter {format_counted_noun(document.diameter_hops, 'hop')}"


def _collapsed(document: TopologyDocument, y: float) -> tuple[float, list[str]]:
    """One box a level, of a cluster that is too large to be written out."""
    shapes, above = [], 0.0
    for level in reversed(document.levels):
        rate = format_si(level.bandwidth_bytes_per_s, "B/s")
        words = f"{level.parts:,} x {level.name}: {level.topology}, {level.devices:,} devices, {rate} each"
        if above:
            shapes.append(line((WIDTH / 2, above), (WIDTH / 2, y), f"{rate} a device"))
        shapes += [box(_LEFT, y, WIDTH - 2 * _LEFT, 26, words), label(WIDTH / 2, y + 17, words, "middle")]
        above, y = y + 26, y + 46
    return y, shapes


def _rows(wiring: Wiring, y: float) -> tuple[float, list[str]]:
    """Switches from the outermost row to the hosts, and the links between what is drawn."""
    rows = [*reversed(_switch_rows(wiring)), _chosen("nodes", np.arange(len(wiring.hosts)), _HOSTS_SHOWN)]
    place: dict[int, Place] = {}
    shapes: list[str] = []
    for row in rows:
        shapes.append(label(_LEFT, y + 8, row.words))
        step = (WIDTH - 2 * _LEFT) / max(len(row.vertices) + row.left_out, 1)
        widest = min(step - 4, _WIDEST)
        for number, vertex in enumerate(row.vertices):
            after = row.left_out and number >= (len(row.vertices) + 1) // 2
            x = _LEFT + (number + after + 0.5) * step
            place[vertex] = (x, y + 16)
            shapes += (
                _host(wiring, vertex, x, y + 16) if row is rows[-1] else _switch(wiring, vertex, x, y + 16, widest)
            )
        if row.left_out:
            shapes.append(label(_LEFT + ((len(row.vertices) + 1) // 2 + 0.5) * step, y + 30, "...", "middle"))
        y += _ROW
    deepest = -(-min(int(wiring.devices.max()), _DEVICES_SHOWN) // 4)
    return y + 16 * deepest - 24, _links(wiring, place) + shapes


def _switch_rows(wiring: Wiring) -> list[_Row]:
    """Rows from the hosts outwards: switches by their distance from hosts, of a rack first, then by their names
    without numbers.
    """
    count = len(wiring.vertices)
    far = np.where(np.arange(count) < len(wiring.hosts), 0, count)
    for _ in range(count):
        near = np.minimum(far[wiring.ends[:, 0]], far[wiring.ends[:, 1]]) + 1
        further = far.copy()
        for end in wiring.ends.T:
            np.minimum.at(further, end, near)
        if (further == far).all():
            break
        far = further
    names = [re.sub(r"[-_.]?\d+$", "", name) for name in wiring.vertices]
    if len({*names[len(wiring.hosts) :]}) > _NAMES_SHOWN:
        names = ["switches"] * count
    rack = np.zeros(count, dtype=np.bool_)
    rack[wiring.ends[wiring.scale_up].ravel()] = True
    kinds: dict[tuple[int, bool, str], list[int]] = {}
    for vertex in range(len(wiring.hosts), count):
        kinds.setdefault((int(far[vertex]), not rack[vertex], names[vertex]), []).append(vertex)
    return [_chosen(name, np.array(held), _most(wiring, held), wiring) for (*_, name), held in sorted(kinds.items())]


def _most(wiring: Wiring, vertices: list[int]) -> int:
    """How many of a row are drawn: fewer where their names are long."""
    return _SHOWN if max(len(wiring.vertices[vertex]) for vertex in vertices) <= _SHORT else _SHOWN - 2


def _chosen(name: str, vertices: Ints, most: int, wiring: Wiring | None = None) -> _Row:
    """The first and the last of many; where parts of a row are joined with each other, the last that the first are
    joined with.
    """
    count = len(vertices)
    words = f"{name}: {count:,}"
    if count <= most:
        return _Row(words, vertices.tolist(), False)
    first = vertices[: most // 2]
    last = vertices[most // 2 :]
    if wiring is not None:
        joined = wiring.ends[np.isin(wiring.ends, first).any(axis=1)]
        beside = np.intersect1d(joined, last)
        last = beside if len(beside) >= most - 1 - len(first) else last
    return _Row(words, [*first.tolist(), *last[len(last) - (most - 1 - len(first)) :].tolist()], True)


def _switch(wiring: Wiring, vertex: int, x: float, y: float, width: float) -> list[str]:
    name = wiring.vertices[vertex]
    short = shortened(name, int(width / _CHARACTER))
    kind = "scale-up" if wiring.scale_up[(wiring.ends == vertex).any(axis=1)].any() else ""
    return [box(x - width / 2, y, width, _BOX_HEIGHT, name, kind), label(x, y + 14, short, "small middle")]


def _host(wiring: Wiring, vertex: int, x: float, y: float) -> list[str]:
    """A node with its devices as small squares, four in a row."""
    name, count = wiring.vertices[vertex], int(wiring.devices[vertex])
    shown = min(count, _DEVICES_SHOWN)
    deep = -(-shown // 4)
    shapes = [
        box(x - 40, y, 80, 18 + 16 * deep, f"{name}: {count} devices", "host"),
        label(x, y + 12, shortened(name, int(80 / _CHARACTER)), "small middle"),
    ]
    for device in range(shown):
        left, top = x - 34 + device % 4 * 17, y + 17 + device // 4 * 16
        shapes.append(box(left, top, 14, 12, f"{name}/{device}", "device"))
    return shapes


def _links(wiring: Wiring, place: dict[int, Place]) -> list[str]:
    """Lines between drawn parts, parallel links as one; of parts in the same row as arcs."""
    together: dict[tuple[int, int], float] = {}
    drawn = np.isin(wiring.ends, list(place)).all(axis=1)
    # neighbours in a torus are drawn in its grid
    drawn &= wiring.ends.max(axis=1, initial=0) >= len(wiring.hosts)
    ends, rates = wiring.ends[drawn].tolist(), wiring.bandwidth_bytes_per_s[drawn].tolist()
    for (one, other), rate in zip(ends, rates, strict=True):
        together[one, other] = together.get((one, other), 0.0) + rate
    shapes = []
    names, scale_up = wiring.vertices, {tuple(pair) for pair in wiring.ends[drawn & wiring.scale_up].tolist()}
    for (one, other), rate in together.items():
        lower, upper = place[one], place[other]
        title = f"{names[one]} - {names[other]}: {format_si(rate, 'B/s')}"
        kind = "scale-up" if (one, other) in scale_up else ""
        if lower[1] == upper[1]:
            bend = ((lower[0] + upper[0]) / 2, lower[1] - 8 - abs(lower[0] - upper[0]) / 8)
            shapes.append(arc(lower, upper, bend, title, kind))
        else:
            shapes.append(line(lower, (upper[0], upper[1] + _BOX_HEIGHT), title, kind))
    return shapes
