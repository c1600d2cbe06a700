"""The communication graph with every accelerator: what the collapsed graph stands for, for drawing, export and flows.

A device is `node-3/0`. Inside a node it is joined to the others as the node is built: a star around the NVSwitches
(`node-3/nvswitch`), a mesh, PCIe switches and host bridges, a torus. A network card belongs to the devices it serves,
so that a cable leads from them to the switch; one that several share is split between them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.intra_node import Inside, link_shares
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus, coordinates, index_of, neighbours

if TYPE_CHECKING:
    import networkx as nx

Ints = NDArray[np.int64]
Edge = tuple[str, str, float]
"""Two vertices, and bytes/s between them in one direction."""


def device_graph(wiring: Wiring, inside: Inside | None = None, torus: Torus | None = None) -> nx.Graph[str]:
    """The graph of all devices and switches of a wiring.

    `inside`: how a node's devices are joined (None: by one switch); `torus`: the torus that nodes are blocks of. Of
    vertices: `kind` (device, switch, nvswitch, pcie-switch, host-bridge), `host`, of devices `rank`. Of edges:
    `bandwidth_bytes_per_s` (one direction, parallel cables together), `scale_up`.
    """
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    rank = 0
    for host, count in zip(wiring.hosts, wiring.devices.tolist(), strict=True):
        for device in range(count):
            graph.add_node(f"{host}/{device}", kind="device", host=host, rank=rank)
            rank += 1
    for name in wiring.switches:
        graph.add_node(name, kind="switch", host="")
    starred = _starred(wiring)
    for place, host in enumerate(wiring.hosts):
        edges = _inside_edges(wiring, place, inside, torus, star=not starred[place])
        for one, other, rate in edges:
            for name in (one, other):
                if name not in graph:
                    graph.add_node(name, kind=re.sub(r".*/|-\d+$", "", name), host=host)
            _add(graph, one, other, rate, scale_up=True)
    names = wiring.vertices
    # hosts are of one kind: what cards one of them lacks the others tell
    cards = int(wiring.card.max(initial=-1)) + 1
    for link in range(len(wiring.ends)):
        for one, other, rate in _cable_edges(wiring, names, link, cards, torus):
            direct = bool(wiring.scale_up[link]) or int(wiring.ends[link].max()) < len(wiring.hosts)
            _add(graph, one, other, rate, scale_up=direct)
    return graph


def _add(graph: nx.Graph[str], one: str, other: str, rate: float, *, scale_up: bool) -> None:
    """An edge; of parallel ones the sum."""
    if graph.has_edge(one, other):
        graph.edges[one, other]["bandwidth_bytes_per_s"] += rate
    elif rate > 0:
        graph.add_edge(one, other, bandwidth_bytes_per_s=rate, scale_up=scale_up)


def _starred(wiring: Wiring) -> NDArray[np.bool_]:
    """Which hosts' devices are joined by a switch outside of the host, of their own links: [hosts]."""
    found = np.zeros(len(wiring.vertices), dtype=np.bool_)
    to_switch = wiring.scale_up & (wiring.ends.max(axis=1) >= len(wiring.hosts)) & (wiring.bandwidth_bytes_per_s > 0)
    found[wiring.ends[to_switch].ravel()] = True
    return found[: len(wiring.hosts)]


def _inside_edges(
    wiring: Wiring, place: int, inside: Inside | None, torus: Torus | None, *, star: bool
) -> Iterator[Edge]:
    """What joins the devices of one host."""
    host, count = wiring.hosts[place], int(wiring.devices[place])
    rate = float(wiring.scale_up_bytes_per_s[place])
    shares = None if inside is None else link_shares(inside)
    if count < 2:
        return
    if torus is not None and count == math.prod(torus.block):
        yield from _block_edges(host, torus)
    elif inside is not None and shares is not None:
        for one, other in np.argwhere(np.triu(shares[:count, :count])).tolist():
            yield f"{host}/{one}", f"{host}/{other}", float(shares[one, other]) * rate
    elif inside is not None and inside.topology == "pcie":
        yield from _pcie_edges(host, count, inside, rate)
    elif star:
        for device in range(count):
            yield f"{host}/{device}", f"{host}/nvswitch", rate


def _block_edges(host: str, torus: Torus) -> Iterator[Edge]:
    """Links of a torus between the devices of one node; closed where the whole axis lies in the node."""
    whole = tuple(
        wrap and side == part for wrap, side, part in zip(torus.wrap, torus.shape, torus.block, strict=True)
    )
    for _, pairs in neighbours(torus.block, whole):
        for one, other in pairs.tolist():
            yield f"{host}/{one}", f"{host}/{other}", torus.link_bytes_per_s


def _pcie_edges(host: str, count: int, inside: Inside, rate: float) -> Iterator[Edge]:
    """A tree: devices, PCIe switches where there are any, host bridges; the bridges are joined with each other."""
    bridges = inside.bridge_of(np.arange(count)).tolist()
    for device, bridge in enumerate(bridges):
        switch = f"{host}/pcie-switch-{device // inside.switch_devices}"
        if inside.switch_devices == 1:
            yield f"{host}/{device}", f"{host}/host-bridge-{bridge}", rate
            continue
        yield f"{host}/{device}", switch, rate
        if device % inside.switch_devices == 0:
            yield switch, f"{host}/host-bridge-{bridge}", rate
    for one in range(bridges[-1] + 1):
        for other in range(one):
            yield f"{host}/host-bridge-{other}", f"{host}/host-bridge-{one}", rate * inside.bridge_share


def _cable_edges(wiring: Wiring, names: Sequence[str], link: int, cards: int, torus: Torus | None) -> Iterator[Edge]:
    """The edges that one link of a wiring stands for; `names` of its vertices; `cards`: of a host."""
    one, other = wiring.ends[link].tolist()
    rate, hosts = float(wiring.bandwidth_bytes_per_s[link]), len(wiring.hosts)
    if one >= hosts and other >= hosts:
        yield names[one], names[other], rate
        return
    if one >= hosts:
        one, other = other, one
    if other < hosts:
        pairs = _facing(names[one], names[other], wiring, (one, other), torus)
        for here, there in pairs:
            yield f"{names[one]}/{here}", f"{names[other]}/{there}", rate / len(pairs)
        return
    served = _served(int(wiring.devices[one]), int(wiring.card[link]), cards)
    for device in served:
        yield f"{names[one]}/{device}", names[other], rate / len(served)


def _served(devices: int, card: int, cards: int) -> list[int]:
    """The devices of a node that use one of its cards; all, where no card is told."""
    if card < 0:
        return list(range(devices))
    if cards >= devices:
        return [card * devices // cards]
    return [device for device in range(devices) if device * cards // devices == card]


def _facing(one: str, other: str, wiring: Wiring, places: tuple[int, int], torus: Torus | None) -> list[list[int]]:
    """Pairs of devices of two hosts that a link between them joins.

    In a torus the end of the first's block with the start of the second's, along the axis on which the hosts are
    neighbours; else the devices of the same number.
    """
    fewest = min(int(wiring.devices[places[0]]), int(wiring.devices[places[1]]))
    if torus is None:
        return [[device, device] for device in range(fewest)]
    grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    numbers = np.array([int(re.sub(r".*-", "", name)) % math.prod(grid) for name in (one, other)])
    behind, ahead = coordinates(numbers, grid)
    axis = int(np.flatnonzero(ahead != behind)[0])
    block = coordinates(np.arange(fewest), torus.block)
    here = np.flatnonzero(block[:, axis] == torus.block[axis] - 1)
    facing = block[here].copy()
    facing[:, axis] = 0
    pairs: list[list[int]] = np.stack([here, index_of(facing, torus.block)], axis=1).tolist()
    return pairs
