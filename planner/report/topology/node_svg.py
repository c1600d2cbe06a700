"""The inside of one node drawn, and a torus as a grid of devices."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.cluster.analysis.device_graph import device_graph
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus, coordinates, neighbours
from planner.cluster.wired.failed_parts import with_hosts
from planner.report.charts.svg import (
    WIDTH,
    arc,
    box,
    label,
    line,
    shortened,
)
from planner.units import format_si

if TYPE_CHECKING:
    import networkx as nx

Place = tuple[float, float]
Ints = NDArray[np.int64]
_SIDE_SHOWN = 8
_RADIUS = 74


def inside_of_a_node(wiring: Wiring, cluster: Cluster, y: float) -> tuple[float, list[str]]:
    """The first node's devices and what joins them."""
    graph = device_graph(_first_host(wiring), cluster.inside)
    graph.remove_nodes_from([name for name in list(graph) if not _of_the_inside(graph, name)])
    told = cluster.levels[0]
    words = f"inside a node: {told.topology}, {format_si(told.bandwidth_bytes_per_s, 'B/s')} a device"
    place = _in_tree(graph, y + 30) if told.topology == "pcie" else _in_circle(graph, y + 110)
    shapes = [label(10, y + 8, words)]
    for one, other, edge in graph.edges(data=True):
        rate = format_si(edge["bandwidth_bytes_per_s"], "B/s")
        shapes.append(line(place[one], place[other], f"{one} - {other}: {rate}", "scale-up"))
    for name, at in place.items():
        device = graph.nodes[name]["kind"] == "device"
        short = name.rsplit("/", 1)[-1]
        beside = sum(other[1] == at[1] for other in place.values())
        wide = 24 if device else min(84.0, WIDTH / beside - 4)
        shapes.append(box(at[0] - wide / 2, at[1] - 9, wide, 18, name, "device" if device else "scale-up"))
        shapes.append(label(at[0], at[1] + 4, shortened(short, max(int(wide / 6.2), 3)), "small middle"))
    return max(at[1] for at in place.values()) + 24, shapes


def _first_host(wiring: Wiring) -> Wiring:
    """The first host alone, with its own links."""
    alone = with_hosts(wiring, np.array([0]))
    own = (alone.ends == 0).any(axis=1)
    return replace(
        alone,
        ends=alone.ends[own],
        card=alone.card[own],
        bandwidth_bytes_per_s=alone.bandwidth_bytes_per_s[own],
        scale_up=alone.scale_up[own],
    )


def _of_the_inside(graph: nx.Graph[str], name: str) -> bool:
    """Devices and what joins them, not the switches of the network."""
    if graph.nodes[name]["kind"] != "switch":
        return True
    return any(edge["scale_up"] for *_, edge in graph.edges(name, data=True))


def _in_circle(graph: nx.Graph[str], middle: float) -> dict[str, Place]:
    """Devices around, switches in the middle."""
    devices = [name for name, told in graph.nodes(data=True) if told["kind"] == "device"]
    others = [name for name in graph if name not in set(devices)]
    place = {}
    for number, name in enumerate(devices):
        angle = 2 * math.pi * number / len(devices) - math.pi / 2
        place[name] = (WIDTH / 2 + 1.6 * _RADIUS * math.cos(angle), middle + _RADIUS * math.sin(angle))
    for number, name in enumerate(others):
        place[name] = (WIDTH / 2 + 70 * (number - (len(others) - 1) / 2), middle)
    return place


def _in_tree(graph: nx.Graph[str], top: float) -> dict[str, Place]:
    """Host bridges above PCIe switches above devices."""
    place = {}
    there = {str(told["kind"]) for _, told in graph.nodes(data=True)}
    rows = [kind for kind in ("host-bridge", "pcie-switch", "device") if kind in there]
    for depth, kind in enumerate(rows):
        names = [name for name, told in graph.nodes(data=True) if told["kind"] == kind]
        for number, name in enumerate(names):
            place[name] = ((number + 0.5) * WIDTH / len(names), top + 50 * depth)
    return place


def grid(torus: Torus, y: float, cluster: Cluster, wiring: Wiring | None) -> tuple[float, list[str]]:
    """The first two axes of a torus, a part of them where they are long; words say what is not drawn. Of what faults
    took, devices stand empty and links are missing.
    """
    kept = _Left(torus, cluster, wiring)
    sides = (*torus.shape, 1)[:2]
    shown = tuple(min(side, _SIDE_SHOWN) for side in sides)
    step = min(44.0, (WIDTH - 80) / shown[0])
    left, top = (WIDTH - step * (shown[0] - 1)) / 2, y + 50
    told = " x ".join(map(str, torus.shape))
    shapes = [label(10, y + 8, f"torus {told}, {format_si(torus.link_bytes_per_s, 'B/s')} a link each way")]
    if shown != sides or len(torus.shape) > 2:
        further = "" if len(torus.shape) < 3 else f", one of {math.prod(torus.shape[2:])} such planes"
        shapes.append(
            label(10, y + 22, f"drawn: {shown[0]} x {shown[1]} of {sides[0]} x {sides[1]}{further}", "small")
        )
    places = coordinates(np.arange(math.prod(shown)), shown)
    at = [(left + step * float(column), top + step * float(row)) for column, row in places.tolist()]
    wrap = (*torus.wrap, False)[:2]
    title = f"{format_si(torus.link_bytes_per_s, 'B/s')} each way"
    for axis, pairs in neighbours(shown, wrap):
        for one, other in pairs.tolist():
            if kept.joined(places[one], places[other]):
                shapes.append(_joined(at[one], at[other], axis, step, title))
    for (x, row), place in zip(at, places, strict=True):
        there = kept.joined(place, place)
        gone = "" if there else ", gone"
        words = f"device at {tuple(place.tolist())}{gone}"
        shapes.append(box(x - 7, row - 6, 14, 12, words, "device" if there else "outline"))
    shapes += _blocks(torus, shown, (left, top), step)
    return top + step * shown[1] + 14, shapes


class _Left:
    """What is left of the first torus of a cluster with faults."""

    def __init__(self, torus: Torus, cluster: Cluster, wiring: Wiring | None) -> None:
        """`wiring`: what is in use of it."""
        self.block = np.array((*torus.block, 1)[:2])
        self.nodes = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
        self.whole = cluster.sound is None or wiring is None or math.prod(self.nodes) == 1
        self.pairs: set[tuple[str, str]] = set()
        if not self.whole and wiring is not None:
            names = wiring.vertices
            self.pairs = {(name, name) for name in wiring.hosts}
            self.pairs |= {(names[one], names[other]) for one, other in wiring.ends.tolist()}

    def joined(self, one: Ints, other: Ints) -> bool:
        """Whether the nodes of two devices, at these places in the first plane, are there and joined."""
        here, there = self._name(one), self._name(other)
        return self.whole or (here, there) in self.pairs or (there, here) in self.pairs

    def _name(self, place: Ints) -> str:
        column, row = (place // self.block).tolist()
        return f"node-{column + row * self.nodes[0]}"


def _joined(one: Place, other: Place, axis: int, step: float, title: str) -> str:
    """A link to the next device, or round from the last to the first."""
    if one[axis] < other[axis]:
        return line(one, other, title, "scale-up")
    out = 0.7 * step
    bend = ((one[0] + other[0]) / 2, one[1] - out) if axis == 0 else (one[0] - out, (one[1] + other[1]) / 2)
    return arc(one, other, bend, f"{title}, round the end", "scale-up")


def _blocks(torus: Torus, shown: tuple[int, ...], corner: Place, step: float) -> list[str]:
    """A line around the devices of each node."""
    across, down = (*torus.block, 1)[:2]
    shapes = []
    for column in range(0, shown[0] - across + 1, across):
        for row in range(0, shown[1] - down + 1, down):
            x, y = corner[0] + step * column - 11, corner[1] + step * row - 10
            wide, high = step * (across - 1) + 22, step * (down - 1) + 20
            shapes.append(box(x, y, wide, high, "one node", "outline"))
    return shapes
