"""A wiring while it is being laid: switches by level, links in arrays, and the trees and groups of switches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class WiringBuilder:
    """What is linked so far: names and latencies of switches, links in blocks of arrays. Hosts are vertices 0 to
    `hosts` - 1, switches follow.
    """

    hosts: int
    switches: list[str] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    endpoints: list[Ints] = field(default_factory=list)
    nic_index: list[Ints] = field(default_factory=list)
    bandwidth_bytes_per_s: list[Floats] = field(default_factory=list)
    scale_up: list[NDArray[np.bool_]] = field(default_factory=list)

    def add_switches(self, name: str, count: int, latency_s: float) -> Ints:
        """So many switches of a level; their vertices."""
        first_vertex = self.hosts + len(self.switches)
        self.switches += [f"{name}-{number}" for number in range(count)]
        self.latency_s += [max(0.0, latency_s)] * count
        return np.arange(first_vertex, first_vertex + count)

    def add_links(
        self,
        endpoints: Ints,
        bandwidth_bytes_per_s: Floats | float,
        *,
        nic_index: Ints | int = -1,
        scale_up: bool = False,
    ) -> None:
        """Links between the pairs `endpoints`, shape [links, 2]; `bandwidth_bytes_per_s` and `nic_index` of each, or
        of all.
        """
        count = len(endpoints)
        self.endpoints.append(endpoints)
        self.nic_index.append(np.broadcast_to(np.asarray(nic_index, dtype=np.int64), count))
        self.bandwidth_bytes_per_s.append(np.broadcast_to(np.asarray(bandwidth_bytes_per_s, dtype=np.float64), count))
        self.scale_up.append(np.full(count, scale_up))


@dataclass(frozen=True)
class TopSwitches:
    """The highest switches of a network so far.

    `switches`: their vertices, shape [groups, switches of a group]; `devices` of each group; `link_bytes_per_s`:
    bytes/s of one link; `leaf_downlinks`: links down from one leaf of a full group; `switch_ports`: all links of
    one (0 while only leaves are there).
    """

    switches: Ints
    devices: Ints
    link_bytes_per_s: float
    leaf_downlinks: float
    switch_ports: float = 0.0


def add_spines(
    builder: WiringBuilder,
    name: str,
    top_switches: TopSwitches,
    group: Ints,
    device_bytes_per_s: float,
    oversubscription: float | None,
    latency_s: float,
) -> TopSwitches:
    """Switches above others, as large as a leaf.

    `group`: the new group that each group below belongs to; `device_bytes_per_s`: bytes/s up of one device;
    `oversubscription`: bandwidth down over bandwidth up of the new switches, None where nothing is above them and all
    ports look down. Over leaves every switch of a group is linked to each; higher up only to the switch of its own
    plane in each group below.
    """
    lower = top_switches.switches.shape[1]
    switch_uplink_bytes_per_s = top_switches.devices * device_bytes_per_s / lower  # of one lower switch
    uplinks = float(switch_uplink_bytes_per_s.max()) / top_switches.link_bytes_per_s
    ports = top_switches.switch_ports or top_switches.leaf_downlinks + uplinks
    planes = lower if top_switches.switch_ports else 1
    arriving_links = int(np.bincount(group).max()) * (lower // planes) * uplinks
    down_ports = ports if oversubscription is None else ports * oversubscription / (1 + oversubscription)
    count = max(1, min(int(np.ceil(arriving_links / down_ports - 1e-9)), int(uplinks + 1e-9)))
    above = builder.add_switches(name, int(group[-1] + 1) * planes * count, latency_s).reshape(-1, planes, count)
    # every lower switch with each of its plane's: shape [groups below, lower switches, count]
    plane = np.arange(lower) % planes
    uppers = above[group][:, plane, :]
    lowers = np.broadcast_to(top_switches.switches[:, :, None], uppers.shape)
    bandwidth = np.broadcast_to((switch_uplink_bytes_per_s / count)[:, None, None], uppers.shape)
    builder.add_links(np.stack([lowers.ravel(), uppers.ravel()], axis=1), bandwidth.ravel())
    devices = np.bincount(group, weights=top_switches.devices).astype(np.int64)
    return TopSwitches(
        above.reshape(len(devices), -1), devices, top_switches.link_bytes_per_s, top_switches.leaf_downlinks, ports
    )


def add_dragonfly_links(builder: WiringBuilder, top_switches: TopSwitches, device_bytes_per_s: float) -> None:
    """Every group directly with every other: switch i of the one with switch i of the other (Dragonfly+, Shpiner et
    al. 2017). `device_bytes_per_s`: bytes/s of one device out of its group; a group spends it evenly on all others.
    """
    groups, switches = top_switches.switches.shape
    first, second = np.triu_indices(groups, 1)
    pair_bytes_per_s = top_switches.devices * device_bytes_per_s / (groups - 1)
    link_bytes_per_s = np.minimum(pair_bytes_per_s[first], pair_bytes_per_s[second]) / switches
    endpoints = np.stack([top_switches.switches[first].ravel(), top_switches.switches[second].ravel()], axis=1)
    builder.add_links(endpoints, np.repeat(link_bytes_per_s, switches))
