"""Slurm: `topology.conf` (tree and block plugins), node lines of `slurm.conf`, and `scontrol show node`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.cluster.importers.imported_cluster import (
    MOST_HOSTS,
    Found,
    FoundHost,
    FoundLink,
    FoundSwitch,
    HostPatterns,
    broken,
    check_size,
    distinct,
)
from planner.cluster.wired.hostlist import expand
from planner.errors import InputError

_LOOKS = re.compile(r"^[ \t]*(?:SwitchName|BlockName|NodeName)[ \t]*=", re.IGNORECASE | re.MULTILINE)
_PAIR = re.compile(r"(?<!\w)([A-Za-z]\w*)=(\S*)")
_GPU = re.compile(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?(?:[:=]([0-9]{1,4}))?(?:\([^)]*\))?(?=,|$)", re.IGNORECASE)
_LONGEST = 1000
_MIG = re.compile(r"_?[0-9]g\.[0-9]+gb", re.IGNORECASE)
_GONE = frozenset({"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "NOT_RESPONDING"})
_TEXTS = re.compile(r"(?:^|\s)(?:Reason|Comment|Extra)=")  # what people wrote, to the end of the line
_EXPECTED = "lines such as `SwitchName=s1 Nodes=a[01-16]`, `BlockName=b1 Nodes=a[01-18]` or `NodeName=a01 ...`"

Record = tuple[int, dict[str, str]]
"""A line's number and its pairs of key and value, the keys in small letters."""


def looks_like_slurm(text: str) -> bool:
    """Whether some line names a switch, a block or a node as Slurm does."""
    return bool(_LOOKS.search(text))


def read_slurm(text: str, origin: str, hosts: HostPatterns) -> Found:
    """What one file tells, of whichever of the three kinds its records are. Raises InputError."""
    nodes: dict[str, FoundHost] = {}
    named: dict[str, None] = {}  # in the order of the file
    switches: dict[str, None] = {}
    below: dict[tuple[bool, str, str], None] = {}  # whether a switch, which, under which
    blocks: set[str] = set()
    notes: dict[str, None] = {}
    for number, record in _records(text, origin):
        if "nodename" in record:
            for host in _names(record["nodename"], origin, number, len(nodes)):
                nodes[host] = _node(host, record)
            continue
        block = "blockname" in record
        switch = record["blockname" if block else "switchname"]
        _names(switch, origin, number, 0, single=True)
        switches[switch] = None
        if "linkspeed" in record:
            notes["LinkSpeed has no unit in Slurm and is left out"] = None
        hosts_below = _names(record.get("nodes", ""), origin, number, len(named))
        named.update(dict.fromkeys(hosts_below))
        below.update(dict.fromkeys((False, host, switch) for host in hosts_below))
        if block:
            blocks.add(switch)
        else:
            switches_below = _names(record.get("switches", ""), origin, number, len(switches))
            switches.update(dict.fromkeys(switches_below))
            below.update(dict.fromkeys((True, one, switch) for one in switches_below))
        check_size(len(nodes) + len(named), len(below), origin)
    if not (nodes or named):
        raise broken("names no node", origin, expected=_EXPECTED)
    all_hosts = [name for name in dict.fromkeys([*named, *nodes]) if not hosts or hosts.match(name)]
    clean = distinct(all_hosts)
    used = dict.fromkeys(one for is_switch, low, up in below for one in ((low, up) if is_switch else (up,)))
    vertices = distinct(used, taken=clean.values())
    told = [(clean[name], nodes.get(name, FoundHost(name))) for name in all_hosts]
    found = [FoundHost(name, host.devices, host.part, host.gone) for name, host in told]
    links = [
        FoundLink(vertices[low] if is_switch else clean[low], vertices[up], cables=None, scale_up=up in blocks)
        for is_switch, low, up in below
        if is_switch or low in clean
    ]
    names = [vertices[name] for name in switches if name in vertices]
    return Found(tuple(found), tuple(map(FoundSwitch, names)), tuple(links), notes=tuple(notes))


def _records(text: str, origin: str) -> Iterator[Record]:
    """The records of a file: a line each, or in `scontrol`'s output a line and the indented ones below it."""
    current: dict[str, str] = {}
    start = 0
    # `scontrol` has no comments, but kernels have a `#1` in their names
    comments = "NodeAddr=" not in text
    # Slurm joins a line that ends in a backslash with the next one
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        content = line.split("#", 1)[0] if comments else line
        content = _TEXTS.split(content, maxsplit=1)[0]
        pairs = {key.casefold(): value for key, value in _PAIR.findall(content)}
        if pairs.keys() & {"nodename", "switchname", "blockname"}:
            if current:
                yield start, current
            current, start = pairs, number
        elif current and "nodename" in current and line[:1] in (" ", "\t"):
            current |= {key: value for key, value in pairs.items() if key not in current}
        # what else stands in a slurm.conf is no part of the topology
    if current:
        yield start, current


def _names(text: str, origin: str, line: int, before: int, *, single: bool = False) -> list[str]:
    """The names of a list; `before`: how many the file has already."""
    if not text or text.casefold() == "(null)":
        return []
    try:
        plain = "[" not in text and "," not in text and len(text) < _LONGEST
        names = (text,) if plain else expand(text)
    except InputError as error:
        raise broken(error.problem, origin, line, text, error.expected) from None
    if len(names) + before > MOST_HOSTS:
        raise broken("too many names", origin, line, text, f"at most {MOST_HOSTS:,}")
    if single and len(names) != 1:
        raise broken("is not one name", origin, line, text, "one switch or block a line")
    return list(names)


def _node(name: str, record: dict[str, str]) -> FoundHost:
    """A host with its GPUs and whether it is there."""
    states = set(re.findall(r"[A-Z_]+", record.get("state", "").upper()))
    if "*" in record.get("state", ""):  # it does not respond
        states.add("NOT_RESPONDING")
    gone = "+".join(sorted(states & _GONE))
    gres = record.get("gres")
    if gres is None:
        return FoundHost(name, None, "", gone)
    gpus = [(kind, int(count or 1)) for kind, count in _GPU.findall(gres[:_LONGEST]) if not _MIG.search(kind)]
    parts = {kind for kind, _ in gpus}
    return FoundHost(name, sum(count for _, count in gpus), parts.pop() if len(parts) == 1 else "", gone)
