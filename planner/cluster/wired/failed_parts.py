"""Failed parts of a wiring: hosts that are gone, NICs and links with less bandwidth, or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.cluster.model.spec import FailedPartSpec
from planner.cluster.model.wiring import Bools, Ints, Wiring, find_connected_parts
from planner.cluster.wired.hostlist import expand_hostlist, expand_hostlist_at
from planner.errors import InputError, find_nearest_name

_FAILED_PART_PATTERN = re.compile(r"(?P<part>[^=]+?)\s*(?:=\s*(?P<rate>[0-9.]+)\s*(?P<percent>%)?)?")
_MAX_FAILED_PART_CHARS = 10_000  # characters
_MAX_PRINTED_PARTS = 4
_EXPECTED_PARTS = "a host (node-3), its NIC (node-3:2), a switch (leaf-0) or a link (node-3 - leaf-0)"


def parse_failed_part(text: str) -> FailedPartSpec:
    """A failed part of the command line: `node-3`, `node-3:2=0.5`, `node-3 - leaf-0=50%`. Raises InputError."""
    match = _FAILED_PART_PATTERN.fullmatch(text.strip()) if len(text) <= _MAX_FAILED_PART_CHARS else None
    rate = None if match is None else _parse_remaining_share(match)
    if match is None or rate is None:
        expected = f"{_EXPECTED_PARTS}, with =0.5 or =50% where half of it is left"
        raise InputError("not a failed part", key="--fault", value=text, expected=expected)
    return FailedPartSpec(part=match["part"], rate=rate)


def format_failed_parts(failed_parts: Sequence[FailedPartSpec]) -> str:
    """`node-3, node-3:2 at 50 %`: the parts that failed or are slow; of many the first."""
    texts = [
        part.part if part.rate == 0 else f"{part.part} at {100 * part.rate:.4g} %"
        for part in failed_parts[:_MAX_PRINTED_PARTS]
    ]
    more = len(failed_parts) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more" if more else "")


def _parse_remaining_share(match: re.Match[str]) -> float | None:
    if match["rate"] is None:
        return 0.0
    try:
        rate = float(match["rate"]) / (100 if match["percent"] else 1)
    except ValueError:
        return None
    return rate if rate <= 1 else None


def apply_failed_parts(wiring: Wiring, failed_parts: Sequence[FailedPartSpec], key: str = "faults") -> Wiring:
    """The wiring with the failed parts; hosts that these cut off are left out.

    Raises InputError for a part that it does not have.
    """
    vertex_by_name = {name: vertex for vertex, name in enumerate(wiring.vertex_names)}
    is_lost = np.zeros(len(wiring.hosts), dtype=bool)
    rate = wiring.bandwidth_bytes_per_s.copy()
    for index, failed_part in enumerate(failed_parts):
        part_key = f"{key}[{index}].part" if key == "faults" else key
        affected_links = _find_part_links(wiring, failed_part.part, vertex_by_name, part_key)
        if failed_part.rate > 0 and not affected_links.any():
            expected = _format_expected_parts(wiring)
            raise InputError("has no links", key=part_key, value=failed_part.part, expected=expected)
        rate[affected_links] *= failed_part.rate
        if failed_part.rate == 0 and " - " not in failed_part.part:
            lost_vertices = [vertex_by_name.get(name, len(is_lost)) for name in expand_hostlist(failed_part.part)]
            is_lost[[vertex for vertex in lost_vertices if vertex < len(is_lost)]] = True
    if is_lost.all():
        raise InputError("no working host is left", key=key, expected="at least one that works")
    remaining = remove_hosts(replace(wiring, bandwidth_bytes_per_s=rate), is_lost)
    return _keep_largest_part(remaining) if (_find_working_parts(wiring) == 0).all() else remaining


def _find_working_parts(wiring: Wiring) -> Ints:
    """For each host the first one that it is joined to at all, shape [hosts]."""
    return find_connected_parts(wiring, wiring.bandwidth_bytes_per_s > 0)


def _keep_largest_part(wiring: Wiring) -> Wiring:
    """The most hosts that are joined to each other, of equal ones the first: the others are cut off."""
    part = _find_working_parts(wiring)
    return remove_hosts(wiring, part != np.bincount(part).argmax())


def _find_part_links(wiring: Wiring, text: str, vertex_by_name: dict[str, int], key: str) -> Bools:
    """The links that a part stands for; a name may hold ranges."""
    left, separator, right = text.partition(" - ")
    affected_links = np.zeros(len(wiring.endpoints), dtype=bool)
    for left_links in _find_named_links(wiring, left, vertex_by_name, key):
        if not separator:
            affected_links |= left_links
            continue
        for right_links in _find_named_links(wiring, right, vertex_by_name, key):
            affected_links |= left_links & right_links
    if separator and not affected_links.any():
        raise InputError("no link between these two", key=key, value=text, expected="two ends of one link")
    return affected_links


def _find_named_links(wiring: Wiring, text: str, vertex_by_name: dict[str, int], key: str) -> list[Bools]:
    """For each named host, NIC or switch the links that it is an end of."""
    named_links = []
    for name in expand_hostlist_at(text, key):
        part, _, nic_text = (name, "", "") if name in vertex_by_name else name.rpartition(":")
        if part not in vertex_by_name:
            suggestion = find_nearest_name(name, vertex_by_name) if len(vertex_by_name) < 20_000 else ""
            problem, expected = "no part has this name", _format_expected_parts(wiring)
            raise InputError(problem, key=key, value=name, expected=expected, suggestion=suggestion)
        links = (wiring.endpoints == vertex_by_name[part]).any(axis=1)
        if nic_text:
            links &= wiring.nic_index == (int(nic_text) if nic_text.isdecimal() and len(nic_text) < 10 else -2)
            if not links.any():
                nic_indices = np.unique(
                    wiring.nic_index[(wiring.endpoints == vertex_by_name[part]).any(axis=1)]
                ).tolist()
                numbers = ", ".join(str(nic_index) for nic_index in nic_indices if nic_index >= 0)
                expected = f"a NIC of {part}: {numbers}" if numbers else _format_expected_parts(wiring)
                raise InputError("no NIC has this number", key=key, value=name, expected=expected)
        named_links.append(links)
    return named_links


def _format_expected_parts(wiring: Wiring) -> str:
    """Parts that can be named as failed, with names of this wiring."""
    host = wiring.hosts[min(3, len(wiring.hosts) - 1)]
    nic_indices = np.unique(wiring.nic_index[(wiring.endpoints == wiring.hosts.index(host)).any(axis=1)])
    examples = [f"a host ({host})"]
    examples += [f"its NIC ({host}:{number})" for number in nic_indices[nic_indices >= 0][:1].tolist()]
    examples += [f"a switch ({wiring.switches[0]})"] if wiring.switches else []
    examples += [_format_example_link(wiring, wiring.hosts.index(host))] if len(wiring.endpoints) else []
    return " or ".join([", ".join(examples[:-1]), examples[-1]]) if len(examples) > 1 else examples[0]


def _format_example_link(wiring: Wiring, vertex: int) -> str:
    """One link of a vertex, as a user writes it."""
    names = wiring.vertex_names
    for source, target in wiring.endpoints[(wiring.endpoints == vertex).any(axis=1)][:1].tolist():
        return f"a link ({names[vertex]} - {names[target if source == vertex else source]})"
    return "a link"


def remove_hosts(wiring: Wiring, is_removed: Bools) -> Wiring:
    """The wiring without some hosts and their links."""
    if not is_removed.any():
        return wiring
    return select_hosts(wiring, np.flatnonzero(~is_removed))


def select_hosts(wiring: Wiring, host_indices: Ints) -> Wiring:
    """The wiring of the chosen hosts alone, in their order, with all switches; shape [hosts]."""
    hosts, count = len(wiring.hosts), len(host_indices)
    new_vertex = np.full(hosts + len(wiring.switches), -1)
    new_vertex[host_indices] = np.arange(count)
    new_vertex[hosts:] = np.arange(count, count + len(wiring.switches))
    endpoints = new_vertex[wiring.endpoints]
    is_kept = (endpoints >= 0).all(axis=1)
    return replace(
        wiring,
        hosts=tuple(wiring.hosts[host] for host in host_indices.tolist()),
        devices=wiring.devices[host_indices],
        scale_up_bytes_per_s=wiring.scale_up_bytes_per_s[host_indices],
        scale_up_latency_s=wiring.scale_up_latency_s[host_indices],
        nic_latency_s=wiring.nic_latency_s[host_indices],
        endpoints=endpoints[is_kept],
        nic_index=wiring.nic_index[is_kept],
        bandwidth_bytes_per_s=wiring.bandwidth_bytes_per_s[is_kept],
        scale_up=wiring.scale_up[is_kept],
    )
