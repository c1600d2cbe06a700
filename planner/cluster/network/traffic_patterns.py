"""Traffic of groups of ranks as flows between ports: rings, all-to-all, neighbours.

Devices below one part of the scale-up network (a host, a rack of NVLink) reach each other inside; what goes between
two parts leaves by the sender's own port and arrives by the port of the same rail, from where the scale-up network
takes it on (NCCL's PXN; DeepSeek-V3, arXiv 2412.19437, section 3.2.2). Amounts are in bytes per byte of the
collective on one device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cluster.model.wiring import Floats, Ints
from planner.cluster.network.ecmp_routing import Flows, NetworkPorts, build_port_flows, enumerate_runs, sum_by_index

_MAX_EXPLICIT_PAIRS = 2_000_000
"""Most pairs of an all-to-all that are listed singly; those of larger ones are summed by classes of ports."""


@dataclass(frozen=True)
class DeviceLayout:
    """Devices on hosts: the `ports` by which they reach the network, and the scale-up part of each host.

    `scale_up_domain`: the first host of the part, shape [hosts]. Every host has `devices_per_host` devices; they are
    counted host by host.
    """

    ports: NetworkPorts
    scale_up_domain: Ints
    devices_per_host: int

    def get_host(self, device: Ints) -> Ints:
        """The host of each device."""
        return device // self.devices_per_host

    def get_scale_up_domain(self, device: Ints) -> Ints:
        """The scale-up part of each device."""
        return self.scale_up_domain[self.get_host(device)]

    def build_device_flows(self, device: Ints, target: Ints, amount: Floats) -> Flows:
        """Flows of `amount` from each device to its target: [flows]; none where both are in one scale-up part."""
        leaves_domain = self.get_scale_up_domain(device) != self.get_scale_up_domain(target)
        nic_index = self.ports.nic_index[self.ports.device_port[device[leaves_domain]]]
        port_pair = self.ports.find_common_ports(
            self.get_host(device[leaves_domain]), self.get_host(target[leaves_domain]), nic_index
        )
        return build_port_flows(*port_pair, amount[leaves_domain], len(self.ports))


def build_ring_flows(layout: DeviceLayout, groups: Ints) -> Flows:
    """Rings through every group, one for each of its members in a part, each with as large a share of the bytes.

    Of a part with m members the k-th sends 1/m to the k-th of the next part, in proportion where sizes differ.
    `groups`: devices in the order of their ranks, shape [groups, size].
    """
    # a ring goes through all of a part before it leaves it
    order = np.argsort(_find_first_positions(layout.get_scale_up_domain(groups)), axis=1, kind="stable")
    groups = np.take_along_axis(groups, order, axis=1)
    domain = layout.get_scale_up_domain(groups)
    is_run_start = np.ones(groups.shape, dtype=bool)
    is_run_start[:, 1:] = domain[:, 1:] != domain[:, :-1]
    run_starts = np.flatnonzero(is_run_start)
    run_sizes = np.diff(np.append(run_starts, groups.size))
    group = run_starts // groups.shape[1]
    next_run = np.append(np.arange(1, len(run_starts)), 0)
    is_last_run = np.append(group[1:] != group[:-1], True)
    next_run[is_last_run] = np.searchsorted(group, np.arange(len(groups)))
    run_index = np.repeat(np.arange(len(run_starts)), run_sizes)
    position = np.arange(groups.size) - run_starts[run_index]
    target = run_starts[next_run[run_index]] + position * run_sizes[next_run[run_index]] // run_sizes[run_index]
    devices = groups.ravel()
    return layout.build_device_flows(devices, devices[target], 1.0 / run_sizes[run_index])


def build_neighbour_flows(layout: DeviceLayout, device: Ints, next_device: Ints) -> Flows:
    """One unit from each device to the next one of its chain: `device`, `next_device`, shape [flows]."""
    return layout.build_device_flows(device, next_device, np.ones(len(device)))


def build_all_to_all_flows(layout: DeviceLayout, groups: Ints) -> Flows:
    """Every device of a group sends 1 / size of a unit to every device of it. `groups`: shape [groups, size].

    Where there are more than `_MAX_EXPLICIT_PAIRS` pairs, flows are between classes of ports with the same uplinks.
    """
    size = groups.shape[1]
    if groups.size * size <= _MAX_EXPLICIT_PAIRS:
        sources, targets = np.repeat(groups, size, axis=1).ravel(), np.tile(groups, (1, size)).ravel()
        return layout.build_device_flows(sources, targets, np.full(len(sources), 1.0 / size))
    ports = len(layout.ports)
    leaving, arriving = np.zeros(ports), np.zeros(ports)
    pairs: Ints = np.zeros(0, dtype=np.int64)
    amounts: Floats = np.zeros(0)
    for group in groups:
        group_pairs, group_amounts = _sum_group_all_to_all(layout, group, leaving, arriving)
        pairs, pair_index = np.unique(np.concatenate([pairs, group_pairs]), return_inverse=True)
        amounts = sum_by_index(pair_index, np.concatenate([amounts, group_amounts]), len(pairs))
    # what stays inside was added and subtracted again: a remainder of rounding is no flow
    is_real = np.flatnonzero(amounts > 1e-9)
    return Flows(pairs[is_real] // ports, pairs[is_real] % ports, amounts[is_real], leaving, arriving)


def _sum_group_all_to_all(
    layout: DeviceLayout, group: Ints, leaving: Floats, arriving: Floats
) -> tuple[Ints, Floats]:
    """The all-to-all of one group: pairs of classes of ports as source * ports + target, and their amounts.

    `group`: devices, shape [size]. Devices of one host with one NIC are `devices_per_port` together; each sends
    `devices_on_host` / size of its bytes to every host outside its own part. What each port sends and receives is
    added to `leaving` and `arriving`, shape [ports].
    """
    ports, size = layout.ports, len(group)
    own_ports, devices_per_port = np.unique(ports.device_port[group], return_counts=True)
    host, devices_on_host = np.unique(layout.get_host(group), return_counts=True)
    pairs, amounts = [], []
    for nic_index in np.unique(ports.nic_index[own_ports]).tolist():
        own_indices = np.flatnonzero(ports.nic_index[own_ports] == nic_index)
        own_domain = layout.scale_up_domain[ports.host[own_ports[own_indices]]]
        source = _PortBlock(own_ports[own_indices], devices_per_port[own_indices], own_domain)
        port = ports.port_by_nic[host, nic_index + 1]
        has_nic = port >= 0
        target = _PortBlock(port[has_nic], devices_on_host[has_nic], layout.scale_up_domain[host[has_nic]])
        blocks = [_sum_cross_domain(ports, source, target, size, leaving, arriving)]
        # hosts without this NIC are reached by the nearest one that both ends have
        index_grid = np.meshgrid(own_indices, np.flatnonzero(~has_nic), indexing="ij")
        port_index, host_index = (index.ravel() for index in index_grid)
        port_domain = layout.scale_up_domain[ports.host[own_ports[port_index]]]
        differs_in_domain = port_domain != layout.scale_up_domain[host[host_index]]
        port_index, host_index = port_index[differs_in_domain], host_index[differs_in_domain]
        port_pair = ports.find_common_ports(ports.host[own_ports[port_index]], host[host_index], np.array(nic_index))
        amount = devices_per_port[port_index] * devices_on_host[host_index] / size
        for end_port, port_total in zip(port_pair, (leaving, arriving), strict=True):
            np.add.at(port_total, end_port, amount)
        blocks.append((ports.port_class[port_pair[0]] * len(ports) + ports.port_class[port_pair[1]], amount))
        for block_pairs, block_amounts in blocks:
            pairs.append(block_pairs)
            amounts.append(block_amounts)
    return np.concatenate(pairs), np.concatenate(amounts)


@dataclass(frozen=True)
class _PortBlock:
    """Ports, how many devices each stands for, and the scale-up part of each; arrays of one shape."""

    port: Ints
    count: Ints
    scale_up_domain: Ints


def _sum_cross_domain(
    ports: NetworkPorts, source: _PortBlock, target: _PortBlock, size: int, leaving: Floats, arriving: Floats
) -> tuple[Ints, Floats]:
    """Amounts from every source to every target of another part, by classes of ports; shape [pairs of classes].

    `size`: devices of the group. What ports send and receive is added to `leaving` and `arriving`, shape [ports]. All
    pairs are added at first, and what stays inside a part is subtracted again.
    """
    domain_order = np.argsort(target.scale_up_domain, kind="stable")
    ordered = target.scale_up_domain[domain_order]
    first, end = (np.searchsorted(ordered, source.scale_up_domain, side=side) for side in ("left", "right"))
    source_index, sorted_index = enumerate_runs(first, end - first)
    target_index = domain_order[sorted_index]
    inside_amount = source.count[source_index] * target.count[target_index] / size
    sent = source.count * target.count.sum() / size - sum_by_index(source_index, inside_amount, len(source.port))
    received = target.count * source.count.sum() / size - sum_by_index(target_index, inside_amount, len(target.port))
    np.add.at(leaving, source.port, sent)
    np.add.at(arriving, target.port, received)
    sources, source_class = np.unique(ports.port_class[source.port], return_inverse=True)
    targets, target_class = np.unique(ports.port_class[target.port], return_inverse=True)
    source_counts = sum_by_index(source_class, source.count, len(sources))
    class_amounts = np.outer(source_counts, sum_by_index(target_class, target.count, len(targets))) / size
    np.subtract.at(class_amounts, (source_class[source_index], target_class[target_index]), inside_amount)
    return (sources[:, None] * len(ports) + targets[None, :]).ravel(), class_amounts.ravel()


def _find_first_positions(numbers: Ints) -> Ints:
    """For each member of each row the position of the first member with the same number; shape as `numbers`."""
    order = np.argsort(numbers, axis=1, kind="stable")
    ordered = np.take_along_axis(numbers, order, axis=1)
    is_first = np.ones(ordered.shape, dtype=bool)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # of equal numbers the first comes first: its place holds until the next number
    first_index = np.maximum.accumulate(np.where(is_first, np.arange(numbers.shape[1])[None, :], 0), axis=1)
    first = np.take_along_axis(order, first_index, axis=1)
    positions = np.empty_like(order)
    np.put_along_axis(positions, order, first, axis=1)
    return positions
