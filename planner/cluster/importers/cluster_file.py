"""The cluster file: hosts and switches as lists of names with ranges, links by whole groups of equal ones."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from planner.cluster.importers.draft import Draft, HostDraft, LevelDraft, NodeDraft
from planner.cluster.importers.imported_cluster import depths
from planner.cluster.importers.link_speeds import rate_text
from planner.cluster.wired.hostlist import compress, natural

_WRAPS = {True: 4, False: 16}
"""Axes of a TPU slice are rings where their length is a multiple of this: cubes of 4x4x4, whole pods of 16x16 (Google
Cloud documentation, TPU architecture)."""


def write_toml(draft: Draft, sources: Sequence[str], notes: Sequence[str]) -> str:
    """The text of the file; what was assumed stands in its head. The same draft gives the same bytes."""
    lines = [f"# Made by `planner cluster import` from {_plain(', '.join(sources))}."]
    lines += [f"# - {_plain(note)}" for note in notes]
    lines += ["", f"name = {_string(draft.name)}", f"title = {_string(draft.title)}"]
    if isinstance(draft.node, str):
        lines.append(f"node = {_string(draft.node)}")
    if draft.nodes is not None:
        lines.append(f"nodes = {draft.nodes}")
    if isinstance(draft.node, NodeDraft):
        lines += _node(draft.node)
    for level in draft.levels:
        lines += _level(level)
    lines += [*_hosts(draft.hosts), *_switches(draft), *_links(draft)]
    for name in sorted(draft.gone, key=natural):
        lines += ["", "[[faults]]", f"part = {_string(name)}"]
    return "\n".join(lines) + "\n"


def _node(node: NodeDraft) -> list[str]:
    lines = ["", "[node]", f"accelerator = {_string(node.accelerator)}", f"devices = {node.devices}"]
    bandwidth = rate_text(node.bandwidth_bytes_per_s, network=False)
    lines += ["", "[node.link] # one device, one direction", f"topology = {_string(node.topology)}"]
    lines.append(f"bandwidth = {_string(bandwidth)}")
    if node.nics:
        lines += ["", "[node.nic]", f"count = {node.nics}"]
        lines.append(f"bandwidth = {_string(rate_text(node.nic_bytes_per_s, network=True))} # each")
    return lines


def _level(level: LevelDraft) -> Iterator[str]:
    yield from ("", "[[fabric]]", f"name = {_string(level.name)}", f"topology = {_string(level.topology)}")
    if level.nodes is not None:
        yield f"nodes = {level.nodes}"
    if level.shape:
        yield f"shape = [{', '.join(map(str, level.shape))}]"
        yield f"wrap_multiple = {_WRAPS[len(level.shape) > 2]}"
    rate = level.bandwidth_bytes_per_s
    if rate is not None:
        yield f"bandwidth = {_string(rate_text(rate, network=not level.shape))} # of a device"


def _hosts(hosts: Iterable[HostDraft]) -> Iterator[str]:
    """The hosts, those with the same node and as many devices together."""
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for host in hosts:
        groups[host.node, host.devices or 0].append(host.name)
    entries = [(name, key) for key, names in groups.items() for name in compress(names)]
    for name, (node, devices) in sorted(entries, key=lambda entry: natural(entry[0])):
        yield from ("", "[[hosts]]", f"name = {_string(name)}")
        if node:
            yield f"node = {_string(node)}"
        if devices:
            yield f"devices = {devices}"


def _switches(draft: Draft) -> Iterator[str]:
    groups: dict[bool, list[str]] = defaultdict(list)
    for switch in draft.switches:
        groups[switch.in_network].append(switch.name)
    entries = [(name, in_network) for in_network, names in groups.items() for name in compress(names)]
    for name, in_network in sorted(entries, key=lambda entry: natural(entry[0])):
        yield from ("", "[[switches]]", f"name = {_string(name)}")
        if in_network:
            yield "in_network = true"


def _links(draft: Draft) -> Iterator[str]:
    """Links in groups of which each joins every name of its one end with every name of its other."""
    depth = depths((host.name for host in draft.hosts), ((link.lower, link.upper) for link in draft.links))
    groups: dict[tuple[bool, int, float, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for link in draft.links:
        lower, upper = sorted((link.lower, link.upper), key=lambda name: (depth.get(name, 0), natural(name)))
        card = -1 if link.card is None else link.card
        groups[link.scale_up, card, link.bandwidth_bytes_per_s, link.cables][upper].add(lower)
    for key in sorted(groups):
        for low, up in sorted(_bicliques(groups[key]), key=lambda pair: (natural(pair[1]), natural(pair[0]))):
            yield from _link(low, up, *key)


def _link(lower: str, upper: str, scale_up: bool, card: int, rate: float, cables: int) -> Iterator[str]:
    end = lower if card < 0 else f"{lower}:{card}"
    yield from ("", "[[links]]", f"ends = [{_string(end)}, {_string(upper)}]")
    yield f"bandwidth = {_string(rate_text(rate, network=not scale_up))}"
    if cables > 1:
        yield f"cables = {cables}"
    if scale_up:
        yield 'kind = "scale-up"'


def _bicliques(lowers: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Texts of both ends: upper ends with the same lower ends go together."""
    alike: dict[frozenset[str], list[str]] = defaultdict(list)
    for upper, below in lowers.items():
        alike[frozenset(below)].append(upper)
    for lower_names, uppers in alike.items():
        for upper in compress(uppers):
            for lower in compress(lower_names):
                yield lower, upper


def _string(text: str) -> str:
    """A TOML string: its escapes are those of JSON."""
    return json.dumps(_plain(text), ensure_ascii=False)


def _plain(text: str) -> str:
    """One line without signs that a comment or a terminal must not have."""
    return "".join(character if character.isprintable() else " " for character in text)
