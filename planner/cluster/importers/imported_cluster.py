"""The result of a reader: hosts, switches, links and the inside of a node, as a description states them.

What a description does not state is None; `planner.cluster.importers.complete_draft` fills it from the user's
options. Several descriptions of one cluster, such as one of its links and one of its hosts, are merged.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.cluster.model.spec import LevelTopology, NodeTopology
from planner.errors import InputError, name_origin
from planner.units import format_counted_noun

MAX_HOSTS = 32_768
MAX_LINKS = 400_000
_MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class ParsedHost:
    """A host. `accelerator_label`: its accelerator in the description's words; `unavailable_reason`: why it does not
    count, empty where it does.
    """

    name: str
    devices: int | None = None
    accelerator_label: str = ""
    unavailable_reason: str = ""


@dataclass(frozen=True, slots=True)
class ParsedSwitch:
    """A switch; `in_network`: it reduces data in the network (SHARP)."""

    name: str
    in_network: bool = False


@dataclass(frozen=True, slots=True)
class ParsedLink:
    """`link_count` equal links from `lower` (a host, or the switch that is nearer to hosts) to `upper`, a switch.

    `bandwidth_bytes_per_s`: of one of them, one direction. `link_count` None: the description only states that
    `lower` is below `upper`. `nic_index`: the host's NIC, counted from 0.
    """

    lower: str
    upper: str
    bandwidth_bytes_per_s: float | None = None
    link_count: int | None = 1
    nic_index: int | None = None
    scale_up: bool = False


@dataclass(frozen=True, slots=True)
class ParsedNode:
    """The inside of a node.

    `topology` None: not stated. `links_per_device`: NVLink or xGMI links of a device, to all its peers together; 0
    for PCI Express. `pcie_bytes_per_s`: of a device's link, one direction. `nic_bytes_per_s`: of a NIC.
    """

    devices: int
    topology: NodeTopology | None
    links_per_device: int = 0
    pcie_bytes_per_s: float | None = None
    nic_count: int = 0
    nic_bytes_per_s: float | None = None
    accelerator_label: str = ""


@dataclass(frozen=True, slots=True)
class ParsedLevel:
    """A level of a regular fabric: `nodes` joined (None: all). `shape`: devices along each axis of a torus."""

    name: str
    topology: LevelTopology
    nodes: int | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedCluster:
    """The content of one description. `notes`: sentences on what was left out or approximated."""

    hosts: tuple[ParsedHost, ...] = ()
    switches: tuple[ParsedSwitch, ...] = ()
    links: tuple[ParsedLink, ...] = ()
    node: ParsedNode | None = None
    levels: tuple[ParsedLevel, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostPatterns:
    """The shell patterns of `--hosts`: a name is a host's where one of them matches."""

    patterns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def keep_host(self, name: str) -> bool:
        """Whether a host is part of the cluster: every one where no pattern is given."""
        return not self.patterns or self.match_name(name)

    def match_name(self, name: str) -> bool:
        """Whether the name is a host's; upper and lower case are equal."""
        folded = name[:_MAX_NAME_CHARS].casefold()
        return any(fnmatch.fnmatchcase(folded, pattern.casefold()) for pattern in self.patterns)


def clean_name(text: str) -> str:
    """The name with `_` for characters that a cluster file reserves for ranges and NICs."""
    replaced = "".join(c if c.isalnum() or c in "._-" else "_" for c in text.strip()[:_MAX_NAME_CHARS])
    return replaced.strip("_-") or "unnamed"


def assign_distinct_names(names: Iterable[str], taken_names: Iterable[str] = ()) -> dict[str, str]:
    """A distinct, clean name for each name: where two would be equal, the later has a number appended."""
    used, clean = set(taken_names), {}
    for name in dict.fromkeys(names):
        base = candidate = clean_name(name)
        number = 2
        while candidate in used:
            candidate, number = f"{base}.{number}", number + 1
        used.add(candidate)
        clean[name] = candidate
    return clean


def assign_vertex_names(labels: Mapping[str, str], taken_names: Iterable[str] = ()) -> dict[str, str]:
    """A distinct, clean name for each vertex, from its label by identifier; equal labels get the identifier too."""
    label_counts = Counter(labels.values())
    distinct_labels = {key: label if label_counts[label] == 1 else f"{label}-{key}" for key, label in labels.items()}
    clean_names = assign_distinct_names(distinct_labels.values(), taken_names)
    return {key: clean_names[label] for key, label in distinct_labels.items()}


def number_nics(labels: Iterable[str]) -> dict[str, int]:
    """Numbers for the cluster's labels of NICs (`mlx5_0`, `HCA-2`), from 0 in their natural order.

    `HCA-1` and `mlx5_0` are the same NIC: drivers use the second name.
    """
    keys = {label: _parse_nic_label(label) for label in labels}
    order = {key: index for index, key in enumerate(sorted(set(keys.values())))}
    return {label: order[key] for label, key in keys.items()}


def format_nic_note(nic_numbers: dict[str, int]) -> tuple[str, ...]:
    """A note with the number of each NIC label; empty without labels."""
    names: dict[int, str] = {}
    for label in sorted(nic_numbers, reverse=True):  # mlx5_0 goes before HCA-1
        names.setdefault(nic_numbers[label], label)
    numbered_names = ", ".join(f"{number}: {clean_name(names[number])}" for number in sorted(names)[:16])
    return (f"NICs are numbered {numbered_names}",) if names else ()


def _parse_nic_label(label: str) -> tuple[str, tuple[int, ...]]:
    folded = label.casefold()
    hca = re.fullmatch(r"hca-([0-9]{1,6})", folded)
    if hca:
        return "mlx_", (int(hca[1]) - 1,)
    mlx = re.fullmatch(r"mlx[0-9]_([0-9]{1,6})", folded)
    if mlx:
        return "mlx_", (int(mlx[1]),)
    numbers = tuple(int(number[:18]) for number in re.findall(r"[0-9]+", folded))
    return re.sub(r"[0-9]+", "", folded), numbers


def compute_host_distances(hosts: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The number of links from each vertex to the nearest host; vertices that reach no host are absent."""
    neighbours: dict[str, list[str]] = defaultdict(list)
    for vertex, other in pairs:
        neighbours[vertex].append(other)
        neighbours[other].append(vertex)
    distances = dict.fromkeys(hosts, 0)
    pending = deque(distances)
    while pending:
        name = pending.popleft()
        for other in neighbours[name]:
            if other not in distances:
                distances[other] = distances[name] + 1
                pending.append(other)
    return distances


def format_left_out(count: int, noun: str, description: str) -> tuple[str, ...]:
    """The note on parts that are left out; empty where there are none."""
    return (f"left out: {format_counted_noun(count, noun)} {description}",) if count else ()


def check_import_size(host_count: int = 0, link_count: int = 0) -> None:
    """Raise InputError where a description has too many hosts or links."""
    for count, maximum, noun in ((host_count, MAX_HOSTS, "hosts"), (link_count, MAX_LINKS, "links")):
        if count > maximum:
            raise InputError(f"too many {noun}", expected=f"at most {maximum:,}")


def build_line_error(problem: str, line: int, value: object, expected: str = "") -> InputError:
    """The error for a line of a description: the value there, and the expected one."""
    return InputError(problem, key=f"line {line}", value=value, expected=expected)


def merge_descriptions(descriptions: Sequence[tuple[str, ParsedCluster]]) -> ParsedCluster:
    """The merged content of all files, each with its file's name. Raises InputError where they contradict each other.

    Of a host, the first file that states a figure counts; a host is unavailable where it is in any file.
    """
    hosts: dict[str, ParsedHost] = {}
    for origin, parsed in descriptions:
        host_names = {host.name for host in parsed.hosts}
        if hosts and host_names and not host_names & hosts.keys():
            expected = "descriptions of the same cluster"
            raise InputError("shares no host with the other files", origin=origin, expected=expected)
        for host in parsed.hosts:
            hosts[host.name] = _merge_hosts(hosts.get(host.name, host), host)
    first_origin = descriptions[0][0]
    switches = {switch.name: switch for _, parsed in descriptions for switch in parsed.switches}
    shared_name = next((name for name in switches if name in hosts), None)
    if shared_name is not None:
        problem = "a host and a switch have the same name"
        raise InputError(problem, origin=first_origin, value=shared_name, expected="distinct names")
    nodes = [(origin, parsed.node) for origin, parsed in descriptions if parsed.node is not None]
    if len(nodes) > 1:
        expected = "a single description of a node"
        raise InputError("describes a node a second time", origin=nodes[1][0], expected=expected)
    links = tuple(link for _, parsed in descriptions for link in parsed.links)
    with name_origin(first_origin):
        check_import_size(len(hosts), len(links))
    return ParsedCluster(
        hosts=tuple(hosts.values()),
        switches=tuple(switches.values()),
        links=links,
        node=nodes[0][1] if nodes else None,
        levels=next((parsed.levels for _, parsed in descriptions if parsed.levels), ()),
        notes=tuple(dict.fromkeys(note for _, parsed in descriptions for note in parsed.notes)),
    )


def _merge_hosts(first: ParsedHost, second: ParsedHost) -> ParsedHost:
    return replace(
        first,
        devices=second.devices if first.devices is None else first.devices,
        accelerator_label=first.accelerator_label or second.accelerator_label,
        unavailable_reason=first.unavailable_reason or second.unavailable_reason,
    )
