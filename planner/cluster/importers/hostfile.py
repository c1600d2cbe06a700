"""Hostfiles of MPI and DeepSpeed: a host per line, with `slots=8` or `:8`."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    assign_distinct_names,
    build_line_error,
    check_import_size,
    format_left_out,
)
from planner.errors import InputError

_LINE_PATTERN = re.compile(
    r"(?P<host>[A-Za-z0-9_.-]{1,255})(?::(?P<colon>[^\s:=]+))?(?P<rest>(?:\s+[A-Za-z_-]+\s*=\s*[^\s=]+)*)"
)
_SLOTS_PATTERN = re.compile(r"(?<![\w-])(?:slots|count|cpu)\s*=\s*([^\s=]+)", re.IGNORECASE)
_MAX_SLOTS = 4096
"""Most slots of a host: more than any machine has devices or cores."""
_EXPECTED_LINE = "a host and its slots, such as `worker-1 slots=8` or `worker-1:8`"


def looks_like_hostfile(text: str) -> bool:
    """Whether the first lines that are not empty are lines of a hostfile."""
    lines = [line for line in (_strip_comment(line) for line in text[:20_000].splitlines()[:50]) if line]
    slot_lines = sum(1 for line in lines if _SLOTS_PATTERN.search(line) or re.fullmatch(r"[^\s:]+:[0-9]+", line))
    matches = map(_LINE_PATTERN.fullmatch, lines)
    are_valid = all(match is not None and re.fullmatch(r"-?[0-9]*", match["colon"] or "") for match in matches)
    return bool(lines) and are_valid and (slot_lines > 0 or len(lines) > 1)


def read_hostfile(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts with their slots as devices. A host on several lines has the sum of their slots. Raises InputError."""
    lines: dict[str, list[int | None]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = _strip_comment(line)
        if not content:
            continue
        match = _LINE_PATTERN.fullmatch(content)
        if match is None:
            raise build_line_error("not a line of a hostfile", number, line, _EXPECTED_LINE)
        slot_text = match["colon"] or next(iter(_SLOTS_PATTERN.findall(match["rest"])), None)
        lines.setdefault(match["host"], []).append(None if slot_text is None else _parse_slots(slot_text, number))
        check_import_size(len(lines), 0)
    # a machinefile names a host once for each process
    slots = {
        host: line_slots[0] if len(line_slots) == 1 else sum(slot_count or 1 for slot_count in line_slots)
        for host, line_slots in lines.items()
    }
    kept_slots = {name: count for name, count in slots.items() if host_patterns.keep_host(name)}
    if not kept_slots:
        raise InputError("no line names a host", expected=_EXPECTED_LINE)
    names = assign_distinct_names(name for name, count in kept_slots.items() if count != 0)
    notes = format_left_out(len(kept_slots) - len(names), "host", "without slots")
    return ParsedCluster(hosts=tuple(ParsedHost(names[name], kept_slots[name]) for name in names), notes=notes)


def _parse_slots(text: str, number: int) -> int:
    """The number of slots of a host. Raises InputError for an invalid number."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) > _MAX_SLOTS:
        expected = f"a whole number from 0 to {_MAX_SLOTS:,}"
        raise build_line_error("not a number of slots", number, text, expected)
    return int(text)


def _strip_comment(line: str) -> str:
    return line.split("#", 1)[0].strip()
