"""A wiring while it is being laid: switches by level, links in arrays, and the trees and groups of switches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class Cables:
    """What is cabled so far: names and latencies of switches, links in blocks of arrays. Hosts are vertices 0 to
    `hosts` - 1, switches follow.
    """

    hosts: int
    switches: list[str] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    ends: list[Ints] = field(default_factory=list)
    card: list[Ints] = field(default_factory=list)
    bandwidth_bytes_per_s: list[Floats] = field(default_factory=list)
    scale_up: list[NDArray[np.bool_]] = field(default_factory=list)

    def add_switches(self, name: str, count: int, latency_s: float) -> Ints:
        """So many switches of a level; their vertices."""
        first = self.hosts + len(self.switches)
        self.switches += [f"{name}-{number}" for number in range(count)]
        self.latency_s += [max(0.0, latency_s)] * count
        return np.arange(first, first + count)

    def link(self, ends: Ints, bandwidth: Floats | float, *, card: Ints | int = -1, scale_up: bool = False) -> None:
        """Links between the pairs `ends`, shape [links, 2]; `bandwidth` and `card` of each, or of all."""
        count = len(ends)
        self.ends.append(ends)
        self.card.append(np.broadcast_to(np.asarray(card, dtype=np.int64), count))
        self.bandwidth_bytes_per_s.append(np.broadcast_to(np.asarray(bandwidth, dtype=np.float64), count))
        self.scale_up.append(np.full(count, scale_up))


@dataclass(frozen=True)
class Tops:
    """The highest switches of a network so far.

    `switches`: their vertices, shape [groups, switches of a group]; `devices` of each group; `cable`: bytes/s of one
    cable; `down`: cables down from one leaf of a full group; `ports`: all cables of one (0 while only leaves are
    there).
    """

    switches: Ints
    devices: Ints
    cable: float
    down: float
    ports: float = 0.0


def add_spines(
    cables: Cables, name: str, below: Tops, group: Ints, rate: float, taper: float | None, latency_s: float
) -> Tops:
    """Switches above others, as large as a leaf.

    `group`: the new group that each group below belongs to; `rate`: bytes/s up of one device; `taper`: bandwidth
    down over bandwidth up of the new switches, None where nothing is above them and all ports look down. Over leaves
    every switch of a group is cabled to each; higher up only to the switch of its own plane in each group below.
    """
    lower = below.switches.shape[1]
    up = below.devices * rate / lower  # of one lower switch
    cables_up = float(up.max()) / below.cable
    ports = below.ports or below.down + cables_up
    planes = lower if below.ports else 1
    arriving = int(np.bincount(group).max()) * (lower // planes) * cables_up
    looking_down = ports if taper is None else ports * taper / (1 + taper)
    count = max(1, min(int(np.ceil(arriving / looking_down - 1e-9)), int(cables_up + 1e-9)))
    above = cables.add_switches(name, int(group[-1] + 1) * planes * count, latency_s).reshape(-1, planes, count)
    # every lower switch with each of its plane's: shape [groups below, lower switches, count]
    plane = np.arange(lower) % planes
    uppers = above[group][:, plane, :]
    lowers = np.broadcast_to(below.switches[:, :, None], uppers.shape)
    bandwidth = np.broadcast_to((up / count)[:, None, None], uppers.shape)
    cables.link(np.stack([lowers.ravel(), uppers.ravel()], axis=1), bandwidth.ravel())
    devices = np.bincount(group, weights=below.devices).astype(np.int64)
    return Tops(above.reshape(len(devices), -1), devices, below.cable, below.down, ports)


def join_groups(cables: Cables, below: Tops, rate: float) -> None:
    """Every group directly with every other: switch i of the one with switch i of the other (Dragonfly+, Shpiner et
    al. 2017). `rate`: bytes/s of one device out of its group; a group spends it evenly on all others.
    """
    groups, switches = below.switches.shape
    first, second = np.triu_indices(groups, 1)
    leaving = below.devices * rate / (groups - 1)
    each = np.minimum(leaving[first], leaving[second]) / switches
    ends = np.stack([below.switches[first].ravel(), below.switches[second].ravel()], axis=1)
    cables.link(ends, np.repeat(each, switches))
