"""Slurm: `topology.conf` (tree and block plugins), node lines of `slurm.conf`, and `scontrol show node`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from planner.cluster.importers.imported_cluster import (
    MAX_HOSTS,
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    assign_distinct_names,
    build_line_error,
    check_import_size,
)
from planner.cluster.wired.hostlist import expand_hostlist
from planner.errors import InputError

_RECORD_PATTERN = re.compile(r"^[ \t]*(?:SwitchName|BlockName|NodeName)[ \t]*=", re.IGNORECASE | re.MULTILINE)
_PAIR_PATTERN = re.compile(r"(?<!\w)([A-Za-z]\w*)=(\S*)")
_GPU_PATTERN = re.compile(
    r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?(?:[:=]([0-9]{1,4}))?(?:\([^)]*\))?(?=,|$)", re.IGNORECASE
)
_MAX_LIST_CHARS = 1000
_MIG_PATTERN = re.compile(r"_?[0-9]g\.[0-9]+gb", re.IGNORECASE)
_UNAVAILABLE_STATES = frozenset(
    {"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "NOT_RESPONDING"}
)
_FREE_TEXT_PATTERN = re.compile(r"(?:^|\s)(?:Reason|Comment|Extra)=")  # free text, to the end of the line
_EXPECTED_LINES = "lines such as `SwitchName=s1 Nodes=a[01-16]`, `BlockName=b1 Nodes=a[01-18]` or `NodeName=a01 ...`"

SlurmRecord = tuple[int, dict[str, str]]
"""A line's number and its pairs of key and value, the keys in small letters."""


def looks_like_slurm(text: str) -> bool:
    """Whether a line declares a switch, a block or a node in Slurm's form."""
    return bool(_RECORD_PATTERN.search(text))


def read_slurm_config(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """The content of a file; its records may be switches, blocks and nodes. Raises InputError."""
    nodes: dict[str, ParsedHost] = {}
    named_hosts: dict[str, None] = {}  # in the order of the file
    switches: dict[str, None] = {}
    # whether the member is a switch, the member, the switch or block above it
    memberships: dict[tuple[bool, str, str], None] = {}
    blocks: set[str] = set()
    notes: dict[str, None] = {}
    for number, record in _read_records(text):
        if "nodename" in record:
            for host in _expand_names(record["nodename"], number, len(nodes)):
                nodes[host] = _build_host(host, record)
            continue
        is_block = "blockname" in record
        switch = record["blockname" if is_block else "switchname"]
        _expand_names(switch, number, 0, single=True)
        switches[switch] = None
        if "linkspeed" in record:
            notes["LinkSpeed has no unit in Slurm and is left out"] = None
        hosts_below = _expand_names(record.get("nodes", ""), number, len(named_hosts))
        named_hosts.update(dict.fromkeys(hosts_below))
        memberships.update(dict.fromkeys((False, host, switch) for host in hosts_below))
        if is_block:
            blocks.add(switch)
        else:
            switches_below = _expand_names(record.get("switches", ""), number, len(switches))
            switches.update(dict.fromkeys(switches_below))
            memberships.update(dict.fromkeys((True, vertex, switch) for vertex in switches_below))
        check_import_size(len(nodes) + len(named_hosts), len(memberships))
    if not (nodes or named_hosts):
        raise InputError("no line names a node", expected=_EXPECTED_LINES)
    all_hosts = [name for name in dict.fromkeys([*named_hosts, *nodes]) if host_patterns.keep_host(name)]
    clean_names = assign_distinct_names(all_hosts)
    used_switches = dict.fromkeys(
        vertex for is_switch, low, up in memberships for vertex in ((low, up) if is_switch else (up,))
    )
    vertices = assign_distinct_names(used_switches, taken_names=clean_names.values())
    parsed_hosts = [replace(nodes.get(name, ParsedHost(name)), name=clean_names[name]) for name in all_hosts]
    links = []
    for is_switch, low, up in memberships:
        lower = (vertices if is_switch else clean_names).get(low)
        if lower is not None:
            links.append(ParsedLink(lower, vertices[up], link_count=None, scale_up=up in blocks))
    names = [vertices[name] for name in switches if name in vertices]
    return ParsedCluster(tuple(parsed_hosts), tuple(map(ParsedSwitch, names)), tuple(links), notes=tuple(notes))


def _read_records(text: str) -> Iterator[SlurmRecord]:
    """The records of a file: a line each, or in `scontrol`'s output a line and the indented lines below it."""
    current: dict[str, str] = {}
    start_line = 0
    # `scontrol` has no comments, but kernels have a `#1` in their names
    comments = "NodeAddr=" not in text
    # Slurm joins a line that ends in a backslash with the next line
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        content = line.split("#", 1)[0] if comments else line
        content = _FREE_TEXT_PATTERN.split(content, maxsplit=1)[0]
        pairs = {key.casefold(): value for key, value in _PAIR_PATTERN.findall(content)}
        if pairs.keys() & {"nodename", "switchname", "blockname"}:
            if current:
                yield start_line, current
            current, start_line = pairs, number
        elif current and "nodename" in current and line[:1] in (" ", "\t"):
            current |= {key: value for key, value in pairs.items() if key not in current}
        # other lines of a slurm.conf are no part of the topology
    if current:
        yield start_line, current


def _expand_names(text: str, line: int, known_count: int, *, single: bool = False) -> list[str]:
    """The names of a list; `known_count`: the number of names that the file has so far. Raises InputError."""
    if not text or text.casefold() == "(null)":
        return []
    try:
        is_plain = "[" not in text and "," not in text and len(text) < _MAX_LIST_CHARS
        names = (text,) if is_plain else expand_hostlist(text)
    except InputError as error:
        raise build_line_error(error.problem, line, text, error.expected) from None
    if len(names) + known_count > MAX_HOSTS:
        raise build_line_error("too many names", line, text, f"at most {MAX_HOSTS:,}")
    if single and len(names) != 1:
        raise build_line_error("not a single name", line, text, "a switch or block per line")
    return list(names)


def _build_host(name: str, record: dict[str, str]) -> ParsedHost:
    """A host with its GPUs and the reason why it is unavailable, if it is."""
    states = set(re.findall(r"[A-Z_]+", record.get("state", "").upper()))
    if "*" in record.get("state", ""):  # the node does not respond
        states.add("NOT_RESPONDING")
    unavailable_reason = "+".join(sorted(states & _UNAVAILABLE_STATES))
    gres = record.get("gres")
    if gres is None:
        return ParsedHost(name, None, "", unavailable_reason)
    gpus = [
        (label, int(count or 1))
        for label, count in _GPU_PATTERN.findall(gres[:_MAX_LIST_CHARS])
        if not _MIG_PATTERN.search(label)
    ]
    labels = {label for label, _ in gpus}
    label = labels.pop() if len(labels) == 1 else ""
    return ParsedHost(name, sum(count for _, count in gpus), label, unavailable_reason)
