"""A regular cluster with faults: what its levels tell, less what the faults take, counted cable by cable.

Its levels, its latencies and the links inside its nodes stay as they were. What a group of ranks gets beyond its node
is what it got, times the bandwidth of its routed flows with the faults over that without: a fault that takes nothing
changes nothing, and none makes anything faster.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, Level, Sound
from planner.cluster.model.wiring import Wiring
from planner.cluster.network.ecmp_routing import routes
from planner.cluster.network.network import Network
from planner.cluster.network.routed_network import RoutedNetwork, routed

Ints = NDArray[np.int64]


def degraded(sound: Sound, wiring: Wiring, origin: str) -> Cluster:
    """The cluster that is left of a sound one. Raises InputError for hosts that cannot reach each other."""
    count, levels = len(wiring.hosts), sound.cluster.levels
    if count > 1:
        routes(wiring, origin)
    left = 1.0 if count == 1 else _rack_share(sound.wiring, wiring)
    # where a node's links are those that lead to its rack, the devices of a node have no others
    rates = {level.bandwidth_bytes_per_s for level in levels if _is_rack(level)}
    levels = tuple(
        replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s * left)
        if _is_rack(level) or (level is levels[0] and level.bandwidth_bytes_per_s in rates)
        else level
        for level in (levels[:1] if count == 1 else levels)
    )
    return replace(sound.cluster, nodes=count, levels=levels, wiring=wiring, sound=sound)


def degraded_network(sound: Sound, wiring: Wiring, network: Network, origin: str) -> RoutedNetwork:
    """Its network; `network`: that of the sound cluster, with the levels of what is left."""
    levels, per_node = sound.cluster.levels, sound.cluster.devices_per_node
    number = {name: place for place, name in enumerate(sound.wiring.hosts)}
    place = np.array([number[name] for name in wiring.hosts], dtype=np.int64)
    scale_up = sum(_is_rack(level) for level in levels)

    def parts(wiring: Wiring, place: Ints) -> Ints:
        own = (np.arange(len(place)), *[place * per_node // joined for joined in network.joined[1:].tolist()])
        return np.stack([wiring.domains if _is_rack(level) else one for level, one in zip(levels, own, strict=True)])

    was = routed(
        network,
        sound.wiring,
        origin,
        parts=parts(sound.wiring, np.arange(len(sound.wiring.hosts))),
        scale_up=scale_up,
        hosts=len(place),
    )
    return routed(network, wiring, origin, parts=parts(wiring, place), scale_up=scale_up, sound=was)


def _is_rack(level: Level) -> bool:
    """Whether a level joins the devices of several hosts as if they were one host's."""
    return level.name != "node" and level.topology == "nvswitch" and not level.through_nic


def _rack_share(sound: Wiring, left: Wiring) -> float:
    """Of the sound hosts' links into their racks, what the narrowest one that is joined to one has."""
    into, whole = left.rates(left.in_rack), sound.rates(sound.in_rack)
    return float(into[into > 0].min() / whole.max()) if (into > 0).any() else 1.0
