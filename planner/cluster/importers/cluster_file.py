"""The contents of a cluster file before it is written, every figure in SI units, and its writer.

Names of hosts and switches are written as ranges, equal links in groups.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import ParsedSwitch, compute_host_distances
from planner.cluster.importers.link_speeds import format_bandwidth
from planner.cluster.model.spec import LevelTopology, NodeTopology
from planner.cluster.wired.hostlist import build_natural_key, compress_names

_WRAP_MULTIPLES = {True: 4, False: 16}
"""An axis of a TPU slice is a ring where its length is a multiple of this: 4 in three dimensions (cubes of 4x4x4), 16
in two (pods of 16x16). Source: Google Cloud documentation, TPU architecture."""


@dataclass(frozen=True, slots=True)
class NodeDraft:
    """Devices, links and NICs of a node. Rates: per device and per NIC, one direction."""

    accelerator: str
    devices: int
    topology: NodeTopology
    bandwidth_bytes_per_s: float
    nic_count: int
    nic_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class HostDraft:
    """A host; `node` where it differs from the cluster's, `devices` where it has fewer than its node."""

    name: str
    node: str = ""
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """`link_count` links of `bandwidth_bytes_per_s` each from a host or switch to a switch."""

    lower: str
    upper: str
    bandwidth_bytes_per_s: float
    link_count: int
    nic_index: int | None
    scale_up: bool


@dataclass(frozen=True, slots=True)
class LevelDraft:
    """A level of a regular fabric. The bandwidth is per device; None: that of its node's NICs."""

    name: str
    topology: LevelTopology
    nodes: int | None
    bandwidth_bytes_per_s: float | None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterDraft:
    """The whole cluster: `nodes` and `levels`, or `hosts`, `switches`, `links` and the `unavailable_hosts` hosts
    among them.
    """

    name: str
    title: str
    node: str | NodeDraft
    nodes: int | None = None
    levels: tuple[LevelDraft, ...] = ()
    hosts: tuple[HostDraft, ...] = ()
    switches: tuple[ParsedSwitch, ...] = ()
    links: tuple[LinkDraft, ...] = ()
    unavailable_hosts: tuple[str, ...] = ()


def render_cluster_toml(draft: ClusterDraft, sources: Sequence[str], notes: Sequence[str]) -> str:
    """The text of the cluster file; comments at its top list the assumptions. The same draft gives the same bytes."""
    lines = [f"# Made by `planner cluster import` from {_replace_unprintable(', '.join(sources))}."]
    lines += [f"# - {_replace_unprintable(note)}" for note in notes]
    preset = draft.node if isinstance(draft.node, str) else None
    lines += _render_table("", name=draft.name, title=draft.title, node=preset, nodes=draft.nodes)
    if isinstance(draft.node, NodeDraft):
        lines += _render_node(draft.node)
    for level in draft.levels:
        lines += _render_level(level)
    lines += [*_render_hosts(draft.hosts), *_render_switches(draft.switches), *_render_links(draft)]
    for name in sorted(draft.unavailable_hosts, key=build_natural_key):
        lines += _render_table("[[faults]]", part=name)
    return "\n".join(lines) + "\n"


def _render_table(header: str, /, **values: str | int | tuple[int | str, ...] | None) -> Iterator[str]:
    """The lines of a TOML table after an empty one; keys without a value are left out. No header: top-level keys."""
    yield from ("", header) if header else ("",)
    for key, value in values.items():
        if value is not None:
            yield f"{key} = {_format_toml_value(value)}"


def _format_toml_value(value: str | int | tuple[int | str, ...]) -> str:
    """The value in TOML; a text with the escapes of JSON, which TOML shares."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_format_toml_value, value))}]"
    return json.dumps(_replace_unprintable(value) if isinstance(value, str) else value, ensure_ascii=False)


def _render_node(node: NodeDraft) -> list[str]:
    lines = [*_render_table("[node]", accelerator=node.accelerator, devices=node.devices)]
    bandwidth = format_bandwidth(node.bandwidth_bytes_per_s, is_network=False)
    lines += _render_table("[node.link] # one device, one direction", topology=node.topology, bandwidth=bandwidth)
    if node.nic_count:
        nic_bandwidth = format_bandwidth(node.nic_bytes_per_s, is_network=True)
        lines += _render_table("[node.nic]", count=node.nic_count, bandwidth=nic_bandwidth)
        lines[-1] += " # each"
    return lines


def _render_level(level: LevelDraft) -> list[str]:
    wrap_multiple = _WRAP_MULTIPLES[len(level.shape) > 2] if level.shape else None
    lines = [
        *_render_table(
            "[[fabric]]",
            name=level.name,
            topology=level.topology,
            nodes=level.nodes,
            shape=level.shape or None,
            wrap_multiple=wrap_multiple,
        )
    ]
    if level.bandwidth_bytes_per_s is not None:
        bandwidth = format_bandwidth(level.bandwidth_bytes_per_s, is_network=not level.shape)
        lines.append(f"bandwidth = {_format_toml_value(bandwidth)} # of a device")
    return lines


def _render_hosts(hosts: Iterable[HostDraft]) -> Iterator[str]:
    """The [[hosts]] tables: hosts with the same node and number of devices share a table."""
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for host in hosts:
        groups[host.node, host.devices or 0].append(host.name)
    entries = [(name, key) for key, names in groups.items() for name in compress_names(names)]
    for name, (node, devices) in sorted(entries, key=lambda entry: build_natural_key(entry[0])):
        yield from _render_table("[[hosts]]", name=name, node=node or None, devices=devices or None)


def _render_switches(switches: Iterable[ParsedSwitch]) -> Iterator[str]:
    groups: dict[bool, list[str]] = defaultdict(list)
    for switch in switches:
        groups[switch.in_network].append(switch.name)
    entries = [(name, in_network) for in_network, names in groups.items() for name in compress_names(names)]
    for name, in_network in sorted(entries, key=lambda entry: build_natural_key(entry[0])):
        yield from _render_table("[[switches]]", name=name, in_network=in_network or None)


def _render_links(draft: ClusterDraft) -> Iterator[str]:
    """The [[links]] tables: a table joins every name of its first end with every name of its second end."""
    host_distances = compute_host_distances(
        (host.name for host in draft.hosts), ((link.lower, link.upper) for link in draft.links)
    )
    groups: dict[tuple[bool, int, float, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for link in draft.links:
        lower, upper = sorted(
            (link.lower, link.upper), key=lambda name: (host_distances.get(name, 0), build_natural_key(name))
        )
        nic_index = -1 if link.nic_index is None else link.nic_index
        groups[link.scale_up, nic_index, link.bandwidth_bytes_per_s, link.link_count][upper].add(lower)
    for scale_up, nic_index, rate, link_count in sorted(groups):
        name_pairs = _enumerate_link_groups(groups[scale_up, nic_index, rate, link_count])
        for lower, upper in sorted(name_pairs, key=lambda pair: tuple(map(build_natural_key, reversed(pair)))):
            yield from _render_table(
                "[[links]]",
                ends=(lower if nic_index < 0 else f"{lower}:{nic_index}", upper),
                bandwidth=format_bandwidth(rate, is_network=not scale_up),
                cables=link_count if link_count > 1 else None,
                kind="scale-up" if scale_up else None,
            )


def _enumerate_link_groups(lowers: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """The lower and the upper end of each table: upper ends with the same lower ends share a table."""
    uppers_by_lowers: dict[frozenset[str], list[str]] = defaultdict(list)
    for upper, lower_set in lowers.items():
        uppers_by_lowers[frozenset(lower_set)].append(upper)
    for lower_names, uppers in uppers_by_lowers.items():
        for upper in compress_names(uppers):
            for lower in compress_names(lower_names):
                yield lower, upper


def _replace_unprintable(text: str) -> str:
    """The text on one line, with a space for each unprintable character."""
    return "".join(character if character.isprintable() else " " for character in text)
