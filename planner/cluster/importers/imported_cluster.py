"""The result of a reader: hosts, switches, links and the inside of a node, as a description states them.

What a description does not state is None; `planner.cluster.importers.complete_draft` fills it from the user's
options.
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from planner.cluster.model.spec import LevelTopology, NodeTopology
from planner.errors import InputError

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
    """`link_count` equal cables from `lower` (a host, or the switch that is nearer to hosts) to `upper`, a switch.

    `bandwidth_bytes_per_s` is per cable and direction. `link_count` None: the description only states that `lower` is
    below `upper`. `nic_index`: the host's NIC, counted from 0.
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


def check_import_size(host_count: int, link_count: int, origin: str) -> None:
    """Raise InputError where a description has too many hosts or links."""
    for count, maximum, noun in ((host_count, MAX_HOSTS, "hosts"), (link_count, MAX_LINKS, "links")):
        if count > maximum:
            raise InputError(f"too many {noun}", origin=origin, expected=f"at most {maximum:,}")


def build_description_error(
    problem: str, origin: str, line: int = 0, value: object = None, expected: str = ""
) -> InputError:
    """The error for a place in a description: its line, the value there, the expected value."""
    key = f"line {line}" if line else ""
    short_value = value[:200] if isinstance(value, str) else value
    return InputError(problem, origin=origin, key=key, value=short_value, expected=expected)
