"""A regular cluster written out link by link.

Names are stable. Hosts are `node-0`, `node-1`, ... in the order of ranks. A switch has its level's name and a number
that counts group by group: `leaf-0`, `leaf-1`, ... In a rail-optimised level each group has one switch a network
NIC, so that in nodes of eight NICs `leaf-0` to `leaf-7` are the rails of the first group, and NIC 2 of `node-3`
is on `leaf-2`. Above the first level a group has as many switches of the size of a leaf as it needs, and every leaf
is linked to each of them; further up the i-th switches of all groups form a plane with switches of its own
(Al-Fares, Loukissas, Vahdat 2008, A scalable, commodity data center network architecture).

Links up from one part of a level carry together what its devices have of that level: oversubscription is in the
bandwidth of links. A switch's latency is what its level adds to a step, counted once on the way up. Links of nodes
without a switch between them (a torus) lead from the end of the first node's block to the start of the second's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from planner.cluster.model.cluster import Cluster, FabricLevel, compute_group_devices
from planner.cluster.model.wiring import Bools, Floats, Ints, Wiring
from planner.cluster.regular.torus import Torus, enumerate_grid_neighbours, find_cluster_torus


@dataclass
class _WiringBuilder:
    """What is linked so far: names and latencies of switches, links in blocks of arrays. Hosts are vertices 0 to
    `hosts` - 1, switches follow.
    """

    hosts: int
    switches: list[str] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    endpoints: list[Ints] = field(default_factory=list)
    nic_index: list[Ints] = field(default_factory=list)
    bandwidth_bytes_per_s: list[Floats] = field(default_factory=list)
    scale_up: list[Bools] = field(default_factory=list)

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
class _TopSwitches:
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


def build_regular_wiring(cluster: Cluster) -> Wiring:
    """Hosts, switches and links of a regular cluster."""
    builder = _WiringBuilder(cluster.nodes)
    torus, group_devices = find_cluster_torus(cluster), compute_group_devices(cluster)
    for level, devices in list(zip(cluster.levels, group_devices, strict=True))[1:]:
        if level.axes and torus is not None and devices == torus.devices:
            _add_torus_links(builder, cluster, torus)
        elif not level.axes and not level.through_nic:
            _add_star_links(builder, cluster, level, devices)
    _add_network_links(builder, cluster, group_devices)
    return _build_wiring(cluster, builder)


def _compute_host_groups(cluster: Cluster, devices: int) -> Ints:
    """The group of each host where a group of a level has `devices` devices."""
    return np.arange(cluster.nodes) * cluster.devices_per_node // devices


def _add_star_links(builder: _WiringBuilder, cluster: Cluster, level: FabricLevel, devices: int) -> None:
    """A switch that each host of a group reaches by links of its own: an NVLink rack, a data-centre network."""
    group = _compute_host_groups(cluster, devices)
    node_latency_s = cluster.levels[0].latency_s
    switches = builder.add_switches(level.name, int(group[-1]) + 1, level.latency_s - node_latency_s)
    endpoints = np.stack([np.arange(cluster.nodes), switches[group]], axis=1)
    host_bytes_per_s = cluster.devices_per_node * level.bandwidth_bytes_per_s
    builder.add_links(endpoints, host_bytes_per_s, scale_up=level.topology == "nvswitch")


def _add_torus_links(builder: _WiringBuilder, cluster: Cluster, torus: Torus) -> None:
    """Links between the faces of neighbouring nodes' blocks, in every torus."""
    grid = tuple(side // part for side, part in zip(torus.shape, torus.block, strict=True))
    nodes = int(np.prod(grid))
    first_nodes = np.arange(0, cluster.nodes, nodes)
    for axis, pairs in enumerate_grid_neighbours(grid, torus.wrap):
        links_per_face = cluster.devices_per_node // torus.block[axis]
        endpoints = (first_nodes[:, None, None] + pairs).reshape(-1, 2)
        builder.add_links(endpoints[(endpoints < cluster.nodes).all(axis=1)], links_per_face * torus.link_bytes_per_s)


def _add_network_links(builder: _WiringBuilder, cluster: Cluster, group_devices: tuple[int, ...]) -> None:
    """What NICs reach: leaves, spines, cores; or groups that are joined directly."""
    network = [
        (level, devices) for level, devices in zip(cluster.levels, group_devices, strict=True) if level.through_nic
    ]
    if not network or cluster.nics is None:
        return
    level, devices = network[0]
    top_switches = _add_leaf_switches(builder, cluster, level, devices)
    for (lower_level, _), (level, devices), upper_level in zip(
        network, network[1:], [*(level for level, _ in network[2:]), None], strict=False
    ):
        if level.topology == "dragonfly+":
            _add_dragonfly_links(builder, top_switches, level.bandwidth_bytes_per_s)
            return
        device_bytes_per_s = level.bandwidth_bytes_per_s
        oversubscription = None if upper_level is None else device_bytes_per_s / upper_level.bandwidth_bytes_per_s
        first_devices = np.cumsum(top_switches.devices) - top_switches.devices
        added_latency_s = level.latency_s - lower_level.latency_s
        group = first_devices // devices
        top_switches = _add_spines(
            builder, level.name, top_switches, group, device_bytes_per_s, oversubscription, added_latency_s
        )


def _add_leaf_switches(builder: _WiringBuilder, cluster: Cluster, level: FabricLevel, devices: int) -> _TopSwitches:
    """The switches that NICs are plugged into: one a group, or one a group and NIC where rail-optimised."""
    assert cluster.nics is not None
    nic_count = cluster.nics.count
    group = _compute_host_groups(cluster, devices)
    groups, rails = int(group[-1]) + 1, nic_count if level.topology == "rail" else 1
    switches = builder.add_switches(level.name, groups * rails, level.latency_s - cluster.nics.latency_s)
    switches = switches.reshape(groups, rails)
    host, nic_index = (axis.ravel() for axis in np.mgrid[: cluster.nodes, :nic_count])
    link_bytes_per_s = cluster.devices_per_node * level.bandwidth_bytes_per_s / nic_count
    builder.add_links(
        np.stack([host, switches[group[host], nic_index % rails]], axis=1), link_bytes_per_s, nic_index=nic_index
    )
    group_devices = np.bincount(group) * cluster.devices_per_node
    return _TopSwitches(
        switches, group_devices, link_bytes_per_s, leaf_downlinks=int(np.bincount(group).max()) * nic_count / rails
    )


def _build_wiring(cluster: Cluster, builder: _WiringBuilder) -> Wiring:
    node_level = cluster.levels[0]
    least_network_latency_s = min((level.latency_s for level in cluster.levels if level.through_nic), default=0.0)
    nic_latency_s = 0.0 if cluster.nics is None else min(cluster.nics.latency_s, least_network_latency_s)
    no_endpoints = np.zeros((0, 2), dtype=np.int64)
    reducing_levels = {level.name for level in cluster.levels if level.in_network}
    return Wiring(
        hosts=tuple(f"node-{number}" for number in range(cluster.nodes)),
        switches=tuple(builder.switches),
        devices=np.full(cluster.nodes, cluster.devices_per_node),
        scale_up_bytes_per_s=np.full(cluster.nodes, node_level.bandwidth_bytes_per_s),
        scale_up_latency_s=np.full(cluster.nodes, node_level.latency_s),
        nic_latency_s=np.full(cluster.nodes, nic_latency_s),
        switch_latency_s=np.array(builder.latency_s),
        in_network=np.array(
            [name.rpartition("-")[0] in reducing_levels for name in builder.switches], dtype=np.bool_
        ),
        endpoints=np.concatenate([no_endpoints, *builder.endpoints]),
        nic_index=np.concatenate([no_endpoints[:, 0], *builder.nic_index]),
        bandwidth_bytes_per_s=np.concatenate([np.zeros(0), *builder.bandwidth_bytes_per_s]),
        scale_up=np.concatenate([np.zeros(0, dtype=np.bool_), *builder.scale_up]),
    )


def _add_spines(
    builder: _WiringBuilder,
    name: str,
    top_switches: _TopSwitches,
    group: Ints,
    device_bytes_per_s: float,
    oversubscription: float | None,
    latency_s: float,
) -> _TopSwitches:
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
    return _TopSwitches(
        above.reshape(len(devices), -1), devices, top_switches.link_bytes_per_s, top_switches.leaf_downlinks, ports
    )


def _add_dragonfly_links(builder: _WiringBuilder, top_switches: _TopSwitches, device_bytes_per_s: float) -> None:
    """Every group directly with every other: switch i of the one with switch i of the other (Dragonfly+, Shpiner et
    al. 2017). `device_bytes_per_s`: bytes/s of one device out of its group; a group spends it evenly on all others.
    """
    groups, switches = top_switches.switches.shape
    first, second = np.triu_indices(groups, 1)
    pair_bytes_per_s = top_switches.devices * device_bytes_per_s / (groups - 1)
    link_bytes_per_s = np.minimum(pair_bytes_per_s[first], pair_bytes_per_s[second]) / switches
    endpoints = np.stack([top_switches.switches[first].ravel(), top_switches.switches[second].ravel()], axis=1)
    builder.add_links(endpoints, np.repeat(link_bytes_per_s, switches))
