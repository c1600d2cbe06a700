"""Who sends what to whom in a group of ranks, as flows between ports: rings, exchanges of all with all, neighbours.

Devices below one part of the scale-up network (a host, a rack of NVLink) reach each other inside; what goes between
two parts leaves by the sender's own port and arrives by the port of the same rail, from where the scale-up network
takes it on (NCCL's PXN; DeepSeek-V3, arXiv 2412.19437, section 3.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cluster.network.ecmp_routing import Flows, Ports, flows_between, summed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PAIRWISE = 2_000_000
"""Pairs of an exchange that are told one by one; those of larger ones are summed up by kinds of port."""


@dataclass(frozen=True)
class Layout:
    """Devices on hosts: `ports`, the scale-up part of each host (`domain`, shape [hosts]), devices of every host."""

    ports: Ports
    domain: Ints
    devices_per_host: int

    def host(self, device: Ints) -> Ints:
        """The host of each device."""
        return device // self.devices_per_host

    def domain_of(self, device: Ints) -> Ints:
        """The scale-up part of each device."""
        return self.domain[self.host(device)]

    def between(self, device: Ints, other: Ints, amount: Floats) -> Flows:
        """Flows from devices to others; those inside one scale-up part are no flows."""
        out = self.domain_of(device) != self.domain_of(other)
        card = self.ports.card[self.ports.of_device[device[out]]]
        ends = self.ports.common(self.host(device[out]), self.host(other[out]), card)
        return flows_between(*ends, amount[out], len(self.ports))


def ring(layout: Layout, groups: Ints) -> Flows:
    """Rings through every group, one for each of its members in a part, each with as large a share of the bytes.

    Of a part with m members the k-th sends 1/m to the k-th of the next part, in proportion where sizes differ.
    `groups`: devices in the order of their ranks, shape [groups, size].
    """
    # a ring goes through all of a part before it leaves it
    order = np.argsort(_first_places(layout.domain_of(groups)), axis=1, kind="stable")
    groups = np.take_along_axis(groups, order, axis=1)
    domain = layout.domain_of(groups)
    begin = np.ones(groups.shape, dtype=bool)
    begin[:, 1:] = domain[:, 1:] != domain[:, :-1]
    begins = np.flatnonzero(begin)
    count = np.diff(np.append(begins, groups.size))
    group = begins // groups.shape[1]
    following = np.append(np.arange(1, len(begins)), 0)
    last = np.append(group[1:] != group[:-1], True)
    following[last] = np.searchsorted(group, np.arange(len(groups)))
    part = np.repeat(np.arange(len(begins)), count)
    nth = np.arange(groups.size) - begins[part]
    target = begins[following[part]] + nth * count[following[part]] // count[part]
    devices = groups.ravel()
    return layout.between(devices, devices[target], 1.0 / count[part])


def neighbours(layout: Layout, device: Ints, following: Ints) -> Flows:
    """One unit from each device to the one that follows it."""
    return layout.between(device, following, np.ones(len(device)))


def exchange(layout: Layout, groups: Ints) -> Flows:
    """Every device of a group sends every other the same, one unit in all; shape [groups, size]."""
    size = groups.shape[1]
    if groups.size * size <= _PAIRWISE:
        here, there = np.repeat(groups, size, axis=1).ravel(), np.tile(groups, (1, size)).ravel()
        return layout.between(here, there, np.full(len(here), 1.0 / size))
    ports = len(layout.ports)
    leaving, arriving = np.zeros(ports), np.zeros(ports)
    pairs: Ints = np.zeros(0, dtype=np.int64)
    amounts: Floats = np.zeros(0)
    for group in groups:
        some, more = _summed(layout, group, leaving, arriving)
        pairs, of = np.unique(np.concatenate([pairs, some]), return_inverse=True)
        amounts = summed(of, np.concatenate([amounts, more]), len(pairs))
    # what stays inside was counted in and taken out again: a rest of rounding is no flow
    real = np.flatnonzero(amounts > 1e-9)
    return Flows(pairs[real] // ports, pairs[real] % ports, amounts[real], leaving, arriving)


def _summed(layout: Layout, group: Ints, leaving: Floats, arriving: Floats) -> tuple[Ints, Floats]:
    """One group's exchange between kinds of port: pairs of kinds as source * ports + target, and their amounts.

    Devices of one host with one card are `out` together; each sends `held` / size of its bytes to a host, all hosts
    but those of its own part. What each port sends and gets is added to `leaving` and `arriving`, shape [ports].
    """
    ports, size = layout.ports, len(group)
    own, out = np.unique(ports.of_device[group], return_counts=True)
    host, held = np.unique(layout.host(group), return_counts=True)
    pairs, amounts = [], []
    for card in np.unique(ports.card[own]).tolist():
        mine = np.flatnonzero(ports.card[own] == card)
        source = _Block(own[mine], out[mine], layout.domain[ports.host[own[mine]]])
        port = ports.by_card[host, card + 1]
        has = port >= 0
        target = _Block(port[has], held[has], layout.domain[host[has]])
        found = [_crossed(ports, source, target, size, leaving, arriving)]
        # hosts without this card are reached by the nearest one that both ends have
        one, other = (index.ravel() for index in np.meshgrid(mine, np.flatnonzero(~has), indexing="ij"))
        apart = layout.domain[ports.host[own[one]]] != layout.domain[host[other]]
        one, other = one[apart], other[apart]
        ends = ports.common(ports.host[own[one]], host[other], np.array(card))
        amount = out[one] * held[other] / size
        for end, sum_of in zip(ends, (leaving, arriving), strict=True):
            np.add.at(sum_of, end, amount)
        found.append((ports.kind[ends[0]] * len(ports) + ports.kind[ends[1]], amount))
        for some, more in found:
            pairs.append(some)
            amounts.append(more)
    return np.concatenate(pairs), np.concatenate(amounts)


@dataclass(frozen=True)
class _Block:
    """Ports, how many devices each stands for, and the scale-up part of each; arrays of one shape."""

    port: Ints
    count: Ints
    domain: Ints


def _crossed(
    ports: Ports, source: _Block, target: _Block, size: int, leaving: Floats, arriving: Floats
) -> tuple[Ints, Floats]:
    """Every source to every target of another part, by kinds of port; what stays inside is taken out again."""
    by_domain = np.argsort(target.domain, kind="stable")
    ordered = target.domain[by_domain]
    each, nth = _runs(np.searchsorted(ordered, source.domain), np.searchsorted(ordered, source.domain, side="right"))
    stays = by_domain[nth]
    inside = source.count[each] * target.count[stays] / size
    sent = source.count * target.count.sum() / size - summed(each, inside, len(source.port))
    got = target.count * source.count.sum() / size - summed(stays, inside, len(target.port))
    np.add.at(leaving, source.port, sent)
    np.add.at(arriving, target.port, got)
    sources, of = np.unique(ports.kind[source.port], return_inverse=True)
    targets, at = np.unique(ports.kind[target.port], return_inverse=True)
    whole = np.outer(summed(of, source.count, len(sources)), summed(at, target.count, len(targets))) / size
    np.subtract.at(whole, (of[each], at[stays]), inside)
    return (sources[:, None] * len(ports) + targets[None, :]).ravel(), whole.ravel()


def _runs(first: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Every number from each first to before each end, and which run it is of."""
    count = end - first
    of = np.repeat(np.arange(len(count)), count)
    return of, first[of] + np.arange(len(of)) - (np.cumsum(count) - count)[of]


def _first_places(number: Ints) -> Ints:
    """For each member of each row the place of the first one in the row that has the same number; shape as given."""
    order = np.argsort(number, axis=1, kind="stable")
    ordered = np.take_along_axis(number, order, axis=1)
    fresh = np.ones(ordered.shape, dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # of equal numbers the first comes first: its place holds until the next number
    place = np.maximum.accumulate(np.where(fresh, np.arange(number.shape[1])[None, :], 0), axis=1)
    first = np.take_along_axis(order, place, axis=1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, first, axis=1)
    return places
