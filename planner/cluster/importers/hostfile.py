"""Hostfiles of MPI and DeepSpeed: one host a line, with `slots=8` or `:8`."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import (
    Found,
    FoundHost,
    HostPatterns,
    broken,
    check_size,
    distinct,
)
from planner.units import format_counted_noun

_LINE = re.compile(
    r"(?P<host>[A-Za-z0-9_.-]{1,255})(?::(?P<colon>[^\s:=]+))?(?P<rest>(?:\s+[A-Za-z_-]+\s*=\s*[^\s=]+)*)"
)
_SLOTS = re.compile(r"(?<![\w-])(?:slots|count|cpu)\s*=\s*([^\s=]+)", re.IGNORECASE)
_MOST_SLOTS = 4096
"""Of one host: more than any machine has devices or cores."""
_EXPECTED = "a host and its slots, such as `worker-1 slots=8` or `worker-1:8`"


def looks_like_hostfile(text: str) -> bool:
    """Whether the first lines that hold something are such ones."""
    lines = [line for line in (_content(line) for line in text[:20_000].splitlines()[:50]) if line]
    told = sum(1 for line in lines if _SLOTS.search(line) or re.fullmatch(r"[^\s:]+:[0-9]+", line))
    alike = (
        match is not None and re.fullmatch(r"-?[0-9]*", match["colon"] or "") for match in map(_LINE.fullmatch, lines)
    )
    return bool(lines) and all(alike) and (told > 0 or len(lines) > 1)


def read_hostfile(text: str, origin: str, hosts: HostPatterns) -> Found:
    """Hosts with their slots as devices. A host that is told several times has the slots of all its lines."""
    lines: dict[str, list[int | None]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = _content(line)
        if not content:
            continue
        match = _LINE.fullmatch(content)
        if match is None:
            raise broken("not a line of a hostfile", origin, number, line, _EXPECTED)
        given = match["colon"] or next(iter(_SLOTS.findall(match["rest"])), None)
        lines.setdefault(match["host"], []).append(None if given is None else _slots(given, origin, number))
        check_size(len(lines), 0, origin)
    # a machinefile names a host once for each process
    slots = {host: told[0] if len(told) == 1 else sum(one or 1 for one in told) for host, told in lines.items()}
    kept = {name: count for name, count in slots.items() if not hosts or hosts.match(name)}
    if not kept:
        raise broken("names no host", origin, expected=_EXPECTED)
    zero = [name for name, count in kept.items() if count == 0]
    notes = (f"left out: {format_counted_noun(len(zero), 'host')} without slots",) if zero else ()
    names = distinct(name for name, count in kept.items() if count != 0)
    return Found(hosts=tuple(FoundHost(names[name], kept[name]) for name in names), notes=notes)


def _slots(text: str, origin: str, number: int) -> int:
    """How many slots a host has. Raises InputError for what is no such number."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) > _MOST_SLOTS:
        expected = f"a whole number from 0 to {_MOST_SLOTS:,}"
        raise broken("not a number of slots", origin, number, text, expected)
    return int(text)


def _content(line: str) -> str:
    return line.split("#", 1)[0].strip()
