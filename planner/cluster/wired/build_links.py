"""A regular cluster written out cable by cable.

Names are stable. Hosts are `node-0`, `node-1`, ... in the order of ranks. A switch has its level's name and a number
that counts group by group: `leaf-0`, `leaf-1`, ... In a rail-optimised level each group has one switch a network
card, so that in nodes of eight cards `leaf-0` to `leaf-7` are the rails of the first group, and card 2 of `node-3`
is on `leaf-2`. Above the first level a group has as many switches of the size of a leaf as it needs, and every leaf
is cabled to each of them; further up the i-th switches of all groups form a plane with switches of its own
(Al-Fares, Loukissas, Vahdat 2008, A scalable, commodity data center network architecture).

Cables up from one part of a level carry together what its devices have of that level: oversubscription is in the
bandwidth of cables. A switch's latency is what its level adds to a step, counted once on the way up. Links of nodes
without a switch between them (a torus) lead from the end of the first node's block to the start of the second's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.cluster import Cluster, Level, joined_devices
from planner.cluster.model.wiring import Wiring
from planner.cluster.regular.torus import Torus, neighbours, torus_of
from planner.cluster.wired.fat_tree_builder import Cables, Tops, add_spines, join_groups

Ints = NDArray[np.int64]


def expand(cluster: Cluster) -> Wiring:
    """Hosts, switches and links of a regular cluster."""
    cables = Cables(cluster.nodes)
    torus, joined = torus_of(cluster), joined_devices(cluster)
    for level, devices in list(zip(cluster.levels, joined, strict=True))[1:]:
        if level.axes and torus is not None and devices == torus.devices:
            _torus_links(cables, cluster, torus)
        elif not level.axes and not level.through_nic:
            _star(cables, cluster, level, devices)
    _network(cables, cluster, joined)
    return _wiring(cluster, cables)


def _groups(cluster: Cluster, devices: int) -> Ints:
    """The group of each host where a level's groups have so many devices."""
    return np.arange(cluster.nodes) * cluster.devices_per_node // devices


def _star(cables: Cables, cluster: Cluster, level: Level, devices: int) -> None:
    """A switch that each host of a group reaches by links of its own: an NVLink rack, a data-centre network."""
    group = _groups(cluster, devices)
    inside = cluster.levels[0].latency_s
    switches = cables.add_switches(level.name, int(group[-1]) + 1, level.latency_s - inside)
    ends = np.stack([np.arange(cluster.nodes), switches[group]], axis=1)
    rate = cluster.devices_per_node * level.bandwidth_bytes_per_s
    cables.link(ends, rate, scale_up=level.topology == "nvswitch")


def _torus_links(cables: Cables, cluster: Cluster, torus: Torus) -> None:
    """Links between the faces of neighbouring nodes' blocks, in every torus."""
    grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    nodes = int(np.prod(grid))
    first = np.arange(0, cluster.nodes, nodes)
    for axis, pairs in neighbours(grid, torus.wrap):
        face = cluster.devices_per_node // torus.block[axis]
        ends = (first[:, None, None] + pairs).reshape(-1, 2)
        cables.link(ends[(ends < cluster.nodes).all(axis=1)], face * torus.link_bytes_per_s)


def _network(cables: Cables, cluster: Cluster, joined: tuple[int, ...]) -> None:
    """What network cards reach: leaves, spines, cores; or groups that are joined directly."""
    network = [(level, devices) for level, devices in zip(cluster.levels, joined, strict=True) if level.through_nic]
    if not network or cluster.cards is None:
        return
    level, devices = network[0]
    tops = _leaves(cables, cluster, level, devices)
    for (below, _), (level, devices), above in zip(
        network, network[1:], [*(level for level, _ in network[2:]), None], strict=False
    ):
        if level.topology == "dragonfly+":
            join_groups(cables, tops, level.bandwidth_bytes_per_s)
            return
        rate = level.bandwidth_bytes_per_s
        taper = None if above is None else rate / above.bandwidth_bytes_per_s
        first = np.cumsum(tops.devices) - tops.devices
        added = level.latency_s - below.latency_s
        tops = add_spines(cables, level.name, tops, first // devices, rate, taper, added)


def _leaves(cables: Cables, cluster: Cluster, level: Level, devices: int) -> Tops:
    """The switches that network cards are plugged into: one a group, or one a group and card where rail-optimised."""
    assert cluster.cards is not None
    cards = cluster.cards.count
    group = _groups(cluster, devices)
    groups, rails = int(group[-1]) + 1, cards if level.topology == "rail" else 1
    switches = cables.add_switches(level.name, groups * rails, level.latency_s - cluster.cards.latency_s)
    switches = switches.reshape(groups, rails)
    host, card = (one.ravel() for one in np.mgrid[: cluster.nodes, :cards])
    cable = cluster.devices_per_node * level.bandwidth_bytes_per_s / cards
    cables.link(np.stack([host, switches[group[host], card % rails]], axis=1), cable, card=card)
    held = np.bincount(group) * cluster.devices_per_node
    return Tops(switches, held, cable, down=int(np.bincount(group).max()) * cards / rails)


def _wiring(cluster: Cluster, cables: Cables) -> Wiring:
    inside = cluster.levels[0]
    reached = min((level.latency_s for level in cluster.levels if level.through_nic), default=0.0)
    card_latency = 0.0 if cluster.cards is None else min(cluster.cards.latency_s, reached)
    none = np.zeros((0, 2), dtype=np.int64)
    adding = {level.name for level in cluster.levels if level.in_network}
    return Wiring(
        hosts=tuple(f"node-{number}" for number in range(cluster.nodes)),
        switches=tuple(cables.switches),
        devices=np.full(cluster.nodes, cluster.devices_per_node),
        scale_up_bytes_per_s=np.full(cluster.nodes, inside.bandwidth_bytes_per_s),
        scale_up_latency_s=np.full(cluster.nodes, inside.latency_s),
        card_latency_s=np.full(cluster.nodes, card_latency),
        switch_latency_s=np.array(cables.latency_s),
        in_network=np.array([name.rpartition("-")[0] in adding for name in cables.switches], dtype=np.bool_),
        ends=np.concatenate([none, *cables.ends]),
        card=np.concatenate([none[:, 0], *cables.card]),
        bandwidth_bytes_per_s=np.concatenate([np.zeros(0), *cables.bandwidth_bytes_per_s]),
        scale_up=np.concatenate([np.zeros(0, dtype=np.bool_), *cables.scale_up]),
    )
