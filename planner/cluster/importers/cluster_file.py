"""Writer of the cluster file: names of hosts and switches as ranges, equal links in groups."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from planner.cluster.importers.draft import ClusterDraft, HostDraft, LevelDraft, NodeDraft
from planner.cluster.importers.imported_cluster import compute_host_distances
from planner.cluster.importers.link_speeds import format_bandwidth
from planner.cluster.wired.hostlist import build_natural_key, compress_names

_WRAP_MULTIPLES = {True: 4, False: 16}
"""An axis of a TPU slice is a ring where its length is a multiple of this: 4 in three dimensions (cubes of 4x4x4), 16
in two (pods of 16x16). Source: Google Cloud documentation, TPU architecture."""


def render_cluster_toml(draft: ClusterDraft, sources: Sequence[str], notes: Sequence[str]) -> str:
    """The text of the cluster file; comments at its top list the assumptions. The same draft gives the same bytes."""
    lines = [f"# Made by `planner cluster import` from {_replace_unprintable(', '.join(sources))}."]
    lines += [f"# - {_replace_unprintable(note)}" for note in notes]
    lines += ["", f"name = {_format_toml_string(draft.name)}", f"title = {_format_toml_string(draft.title)}"]
    if isinstance(draft.node, str):
        lines.append(f"node = {_format_toml_string(draft.node)}")
    if draft.nodes is not None:
        lines.append(f"nodes = {draft.nodes}")
    if isinstance(draft.node, NodeDraft):
        lines += _render_node(draft.node)
    for level in draft.levels:
        lines += _render_level(level)
    lines += [*_render_hosts(draft.hosts), *_render_switches(draft), *_render_links(draft)]
    for name in sorted(draft.unavailable_hosts, key=build_natural_key):
        lines += ["", "[[faults]]", f"part = {_format_toml_string(name)}"]
    return "\n".join(lines) + "\n"


def _render_node(node: NodeDraft) -> list[str]:
    lines = ["", "[node]", f"accelerator = {_format_toml_string(node.accelerator)}", f"devices = {node.devices}"]
    bandwidth = format_bandwidth(node.bandwidth_bytes_per_s, is_network=False)
    lines += ["", "[node.link] # one device, one direction", f"topology = {_format_toml_string(node.topology)}"]
    lines.append(f"bandwidth = {_format_toml_string(bandwidth)}")
    if node.nic_count:
        lines += ["", "[node.nic]", f"count = {node.nic_count}"]
        lines.append(
            f"bandwidth = {_format_toml_string(format_bandwidth(node.nic_bytes_per_s, is_network=True))} # each"
        )
    return lines


def _render_level(level: LevelDraft) -> Iterator[str]:
    yield from (
        "",
        "[[fabric]]",
        f"name = {_format_toml_string(level.name)}",
        f"topology = {_format_toml_string(level.topology)}",
    )
    if level.nodes is not None:
        yield f"nodes = {level.nodes}"
    if level.shape:
        yield f"shape = [{', '.join(map(str, level.shape))}]"
        yield f"wrap_multiple = {_WRAP_MULTIPLES[len(level.shape) > 2]}"
    rate = level.bandwidth_bytes_per_s
    if rate is not None:
        yield f"bandwidth = {_format_toml_string(format_bandwidth(rate, is_network=not level.shape))} # of a device"


def _render_hosts(hosts: Iterable[HostDraft]) -> Iterator[str]:
    """The [[hosts]] tables: hosts with the same node and number of devices share a table."""
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for host in hosts:
        groups[host.node, host.devices or 0].append(host.name)
    entries = [(name, key) for key, names in groups.items() for name in compress_names(names)]
    for name, (node, devices) in sorted(entries, key=lambda entry: build_natural_key(entry[0])):
        yield from ("", "[[hosts]]", f"name = {_format_toml_string(name)}")
        if node:
            yield f"node = {_format_toml_string(node)}"
        if devices:
            yield f"devices = {devices}"


def _render_switches(draft: ClusterDraft) -> Iterator[str]:
    groups: dict[bool, list[str]] = defaultdict(list)
    for switch in draft.switches:
        groups[switch.in_network].append(switch.name)
    entries = [(name, in_network) for in_network, names in groups.items() for name in compress_names(names)]
    for name, in_network in sorted(entries, key=lambda entry: build_natural_key(entry[0])):
        yield from ("", "[[switches]]", f"name = {_format_toml_string(name)}")
        if in_network:
            yield "in_network = true"


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
    for key in sorted(groups):
        for low, up in sorted(
            _enumerate_link_groups(groups[key]),
            key=lambda pair: (build_natural_key(pair[1]), build_natural_key(pair[0])),
        ):
            yield from _render_link(low, up, *key)


def _render_link(
    lower: str, upper: str, scale_up: bool, nic_index: int, rate: float, link_count: int
) -> Iterator[str]:
    lower_text = lower if nic_index < 0 else f"{lower}:{nic_index}"
    yield from ("", "[[links]]", f"ends = [{_format_toml_string(lower_text)}, {_format_toml_string(upper)}]")
    yield f"bandwidth = {_format_toml_string(format_bandwidth(rate, is_network=not scale_up))}"
    if link_count > 1:
        yield f"cables = {link_count}"
    if scale_up:
        yield 'kind = "scale-up"'


def _enumerate_link_groups(lowers: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """The lower and the upper end of each table: upper ends with the same lower ends share a table."""
    uppers_by_lowers: dict[frozenset[str], list[str]] = defaultdict(list)
    for upper, lower_set in lowers.items():
        uppers_by_lowers[frozenset(lower_set)].append(upper)
    for lower_names, uppers in uppers_by_lowers.items():
        for upper in compress_names(uppers):
            for lower in compress_names(lower_names):
                yield lower, upper


def _format_toml_string(text: str) -> str:
    """The text as a TOML string, with the escapes of JSON, which TOML shares."""
    return json.dumps(_replace_unprintable(text), ensure_ascii=False)


def _replace_unprintable(text: str) -> str:
    """The text on one line, with a space for each unprintable character."""
    return "".join(character if character.isprintable() else " " for character in text)
