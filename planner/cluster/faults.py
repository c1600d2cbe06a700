"""Parts of a wiring that do not give what they should: hosts that are gone, cards and links with less, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.cluster.hostlist import expand, expand_at
from planner.cluster.spec import FaultSpec
from planner.cluster.wiring import Wiring
from planner.errors import InputError, nearest

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TOLD = re.compile(r"(?P<part>[^=]+?)\s*(?:=\s*(?P<rate>[0-9.]+)\s*(?P<percent>%)?)?")
_EXPECTED = "a host (node-3), its card (node-3:2), a switch (leaf-0) or a link (node-3 - leaf-0)"


def read_fault(text: str) -> FaultSpec:
    """A fault as the command line tells it: `node-3`, `node-3:2=0.5`, `node-3 - leaf-0=50%`. Raises InputError."""
    match = _TOLD.fullmatch(text.strip())
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
    """The wiring as it is with the faults. Raises InputError for a part that it does not have."""
    places = {name: place for place, name in enumerate(wiring.vertices)}
    gone = np.zeros(len(wiring.hosts), dtype=bool)
    rate = wiring.bandwidth_bytes_per_s.copy()
    for index, fault in enumerate(faults):
        here = f"{key}[{index}].part" if origin else key
        touched = _links_of(wiring, fault.part, places, origin, here)
        if fault.rate > 0 and not touched.any():
            raise InputError(
                "has no link that could be slower", origin=origin, key=here, value=fault.part, expected=_there(wiring)
            )
        rate[touched] *= fault.rate
        if fault.rate == 0 and " - " not in fault.part:
            lost = [places.get(name, len(gone)) for name in expand(fault.part)]
            gone[[place for place in lost if place < len(gone)]] = True
    if gone.all():
        raise InputError("no host is left", origin=origin, key=key, expected="at least one that works")
    return without_hosts(replace(wiring, bandwidth_bytes_per_s=rate), gone)


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
            suggestion = nearest(name, places) if len(places) < 20_000 else ""
            raise InputError(
                "no part has this name",
                origin=origin,
                key=key,
                value=name,
                expected=_there(wiring),
                suggestion=suggestion,
            )
        links = (wiring.ends == places[part]).any(axis=1)
        if told:
            links &= wiring.card == (int(told) if told.isdecimal() else -2)
            if not links.any():
                cards = np.unique(wiring.card[(wiring.ends == places[part]).any(axis=1)]).tolist()
                numbers = ", ".join(str(card) for card in cards if card >= 0)
                expected = f"a card of {part}: {numbers}" if numbers else _there(wiring, places[part])
                raise InputError("has no such card", origin=origin, key=key, value=name, expected=expected)
        found.append(links)
    return found


def _there(wiring: Wiring, host: int = 0) -> str:
    """The kinds of parts that there are, each with one of its names: a host's, and what it is wired to."""
    names, name = wiring.vertices, wiring.vertices[host]
    told = [f"a host ({name})"]
    links = np.flatnonzero((wiring.ends == host).any(axis=1))
    told += [f"its card ({name}:{card})" for card in wiring.card[links].tolist() if card >= 0][:1]
    told += [f"a switch ({wiring.switches[0]})"] if wiring.switches else []
    if len(links):
        other = names[int(wiring.ends[links[0]].sum()) - host]
        told.append(f"a link ({name} - {other})")
    return " or ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]


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
