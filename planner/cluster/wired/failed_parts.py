"""Parts of a wiring that do not give what they should: hosts that are gone, cards and links with less, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.model.spec import FaultSpec
from planner.cluster.model.wiring import Wiring, joined_parts
from planner.cluster.wired.hostlist import expand, expand_at
from planner.errors import InputError, find_nearest_name

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TOLD = re.compile(r"(?P<part>[^=]+?)\s*(?:=\s*(?P<rate>[0-9.]+)\s*(?P<percent>%)?)?")
_LONGEST = 10_000  # characters
_EXPECTED = "a host (node-3), its card (node-3:2), a switch (leaf-0) or a link (node-3 - leaf-0)"


def read_fault(text: str) -> FaultSpec:
    """A fault as the command line tells it: `node-3`, `node-3:2=0.5`, `node-3 - leaf-0=50%`. Raises InputError."""
    match = _TOLD.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    rate = None if match is None else _rate(match)
    if match is None or rate is None:
        expected = f"{_EXPECTED}, with =0.5 or =50% where half of it is left"
        raise InputError("not a fault", key="--fault", value=text, expected=expected)
    return FaultSpec(part=match["part"], rate=rate)


def _rate(match: re.Match[str]) -> float | None:
    if match["rate"] is None:
        return 0.0
    try:
        rate = float(match["rate"]) / (100 if match["percent"] else 1)
    except ValueError:
        return None
    return rate if rate <= 1 else None


def with_faults(wiring: Wiring, faults: Sequence[FaultSpec], origin: str, key: str = "faults") -> Wiring:
    """The wiring as it is with the faults; hosts that these cut off are left out.

    Raises InputError for a part that it does not have.
    """
    places = {name: place for place, name in enumerate(wiring.vertices)}
    gone = np.zeros(len(wiring.hosts), dtype=bool)
    rate = wiring.bandwidth_bytes_per_s.copy()
    for index, fault in enumerate(faults):
        here = f"{key}[{index}].part" if origin else key
        touched = _links_of(wiring, fault.part, places, origin, here)
        if fault.rate > 0 and not touched.any():
            expected = _expected(wiring)
            raise InputError("has no link to be slower", origin=origin, key=here, value=fault.part, expected=expected)
        rate[touched] *= fault.rate
        if fault.rate == 0 and " - " not in fault.part:
            lost = [places.get(name, len(gone)) for name in expand(fault.part)]
            gone[[place for place in lost if place < len(gone)]] = True
    if gone.all():
        raise InputError("no host is left", origin=origin, key=key, expected="at least one that works")
    left = without_hosts(replace(wiring, bandwidth_bytes_per_s=rate), gone)
    return _still_joined(left) if (_joined(wiring) == 0).all() else left


def _joined(wiring: Wiring) -> Ints:
    """For each host the first one that it is joined to at all, shape [hosts]."""
    return joined_parts(wiring, wiring.bandwidth_bytes_per_s > 0)


def _still_joined(wiring: Wiring) -> Wiring:
    """The most hosts that are joined to each other, of equal ones the first: the others are cut off."""
    part = _joined(wiring)
    return without_hosts(wiring, part != np.bincount(part).argmax())


def _links_of(wiring: Wiring, text: str, places: dict[str, int], origin: str, key: str) -> Bools:
    """The links that a part stands for; a name may hold ranges."""
    left, joined, right = text.partition(" - ")
    touched = np.zeros(len(wiring.ends), dtype=bool)
    for one in _ends(wiring, left, places, origin, key):
        if not joined:
            touched |= one
            continue
        for other in _ends(wiring, right, places, origin, key):
            touched |= one & other
    if joined and not touched.any():
        raise InputError("are not joined", origin=origin, key=key, value=text, expected="two ends of one link")
    return touched


def _ends(wiring: Wiring, text: str, places: dict[str, int], origin: str, key: str) -> list[Bools]:
    """For each named host, card or switch the links that it is an end of."""
    found = []
    for name in expand_at(text, origin, key):
        part, _, told = (name, "", "") if name in places else name.rpartition(":")
        if part not in places:
            suggestion = find_nearest_name(name, places) if len(places) < 20_000 else ""
            raise InputError(
                "no part has this name",
                origin=origin,
                key=key,
                value=name,
                expected=_expected(wiring),
                suggestion=suggestion,
            )
        links = (wiring.ends == places[part]).any(axis=1)
        if told:
            links &= wiring.card == (int(told) if told.isdecimal() and len(told) < 10 else -2)
            if not links.any():
                cards = np.unique(wiring.card[(wiring.ends == places[part]).any(axis=1)]).tolist()
                numbers = ", ".join(str(card) for card in cards if card >= 0)
                expected = f"a card of {part}: {numbers}" if numbers else _expected(wiring)
                raise InputError("has no such card", origin=origin, key=key, value=name, expected=expected)
        found.append(links)
    return found


def _expected(wiring: Wiring) -> str:
    """What can be told as faulty, with names of this wiring."""
    host = wiring.hosts[min(3, len(wiring.hosts) - 1)]
    carded = np.unique(wiring.card[(wiring.ends == wiring.hosts.index(host)).any(axis=1)])
    kinds = [f"a host ({host})"]
    kinds += [f"its card ({host}:{number})" for number in carded[carded >= 0][:1].tolist()]
    kinds += [f"a switch ({wiring.switches[0]})"] if wiring.switches else []
    kinds += [_a_link(wiring, wiring.hosts.index(host))] if len(wiring.ends) else []
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]]) if len(kinds) > 1 else kinds[0]


def _a_link(wiring: Wiring, place: int) -> str:
    """One link of a vertex, as it is told."""
    names = wiring.vertices
    for one, other in wiring.ends[(wiring.ends == place).any(axis=1)][:1].tolist():
        return f"a link ({names[place]} - {names[other if one == place else one]})"
    return "a link"


def without_hosts(wiring: Wiring, gone: Bools) -> Wiring:
    """The wiring without some hosts and their links."""
    if not gone.any():
        return wiring
    return with_hosts(wiring, np.flatnonzero(~gone))


def with_hosts(wiring: Wiring, chosen: Ints) -> Wiring:
    """The wiring of the chosen hosts alone, in their order, with all switches; shape [hosts]."""
    hosts, count = len(wiring.hosts), len(chosen)
    place = np.full(hosts + len(wiring.switches), -1)
    place[chosen] = np.arange(count)
    place[hosts:] = np.arange(count, count + len(wiring.switches))
    ends = place[wiring.ends]
    kept = (ends >= 0).all(axis=1)
    return replace(
        wiring,
        hosts=tuple(wiring.hosts[host] for host in chosen.tolist()),
        devices=wiring.devices[chosen],
        scale_up_bytes_per_s=wiring.scale_up_bytes_per_s[chosen],
        scale_up_latency_s=wiring.scale_up_latency_s[chosen],
        card_latency_s=wiring.card_latency_s[chosen],
        ends=ends[kept],
        card=wiring.card[kept],
        bandwidth_bytes_per_s=wiring.bandwidth_bytes_per_s[kept],
        scale_up=wiring.scale_up[kept],
    )
