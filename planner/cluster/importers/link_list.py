"""Lists of links as CSV: exports of UFM's web pages, its NDT files, and a user's table of links."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLink,
    ParsedSwitch,
    assign_distinct_names,
    build_line_error,
    check_import_size,
    format_left_out,
    format_nic_note,
    number_nics,
)
from planner.cluster.importers.link_speeds import parse_link_bytes_per_s
from planner.errors import InputError

_SOURCE_WORDS, _TARGET_WORDS = (
    "source|src|start|from|local|a|1|node1",
    "destination|dest|dst|target|end|to|peer|remote|b|2|node2",
)
_SIDE_WORDS = {"lower": _SOURCE_WORDS, "upper": _TARGET_WORDS}
_FIELD_WORDS = {
    "name": "|name|node|nodename|device|system|systemname|host|nodedescription|nodedesc",
    "guid": "guid|nodeguid|systemguid",
    "port": "port|portname|portdname|portnumber|portnum",
    "type": "type|nodetype|devicetype|kind",
}
_SPEED_PATTERN = re.compile(r"(?:link|active|port|cable)?(?:speed|rate|bandwidth)(?:active)?")
_WIDTH_PATTERN = re.compile(r"(?:link|active|port)?width(?:active)?")
_HOST_TYPE_PATTERN = re.compile(r"host|hca|ca|server|computer|node|adapter", re.IGNORECASE)
_NIC_PATTERN = re.compile(
    r"(?:.*\s)?((?:HCA-[0-9]+)|(?:mlx|bnxt|ibp|ibs|ens|enp|eth|rdma|roce|nic)[\w.-]*)(?:/[0-9]+)?", re.I
)
_EXPECTED_HEADINGS = "a line of headings such as source,source_port,destination,destination_port,speed"

LinkRow = dict[str, str]
"""The cells of a link's line, by `lower name`, `lower port`, `upper name`, ..., `speed`, `width`."""


@dataclass(frozen=True, slots=True)
class _LinkEnd:
    """An end of a link: the name, the port, and whether it is a host's."""

    name: str
    port: str
    nic_label: str
    is_host: bool


def looks_like_link_list(text: str) -> bool:
    """Whether one of the first lines heads the columns of a list of links."""
    first_lines = io.StringIO(text[:5000].replace("\0", ""), newline="")
    try:
        return any(_parse_headings(cells) for cells in csv.reader(first_lines))
    except csv.Error:
        return False


def read_link_list(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts, switches and a link per line; one that is listed at both its ends counts once. Raises InputError."""
    links_by_key: dict[object, tuple[_LinkEnd, _LinkEnd, float | None]] = {}
    for number, row in _read_rows(text):
        end_pair = _build_link_end(row, "lower", host_patterns), _build_link_end(row, "upper", host_patterns)
        if not end_pair[0].name or not end_pair[1].name:
            continue
        try:
            rate = parse_link_bytes_per_s(row.get("speed", ""), row.get("width", ""))
        except InputError as error:
            raise build_line_error(error.problem, number, error.value, error.expected) from None
        has_ports = end_pair[0].port and end_pair[1].port
        key = frozenset((end.name, end.port) for end in end_pair) if has_ports else number
        links_by_key.setdefault(key, (*end_pair, rate))
        check_import_size(0, len(links_by_key))
    link_ends = [end for *end_pair, _ in links_by_key.values() for end in end_pair]
    names = dict.fromkeys(end.name for end in link_ends)
    host_names = {end.name for end in link_ends if end.is_host}
    if not host_names:
        raise InputError("no end of a link is a host", expected="--hosts with a pattern of the hosts' names")
    clean_names = assign_distinct_names(names)
    nic_numbers = number_nics(end.nic_label for end in link_ends if end.is_host and end.nic_label)
    links, dropped_count = [], 0
    for first, second, rate in links_by_key.values():
        lower, upper = (second, first) if second.name in host_names else (first, second)
        if upper.name in host_names:
            dropped_count += 1
            continue
        nic_index = nic_numbers.get(lower.nic_label) if lower.name in host_names else None
        links.append(ParsedLink(clean_names[lower.name], clean_names[upper.name], rate, nic_index=nic_index))
    check_import_size(len(host_names), 0)
    return ParsedCluster(
        hosts=tuple(ParsedHost(clean_names[name]) for name in names if name in host_names),
        switches=tuple(ParsedSwitch(clean_names[name]) for name in names if name not in host_names),
        links=tuple(links),
        notes=format_left_out(dropped_count, "link", "from host to host") + format_nic_note(nic_numbers),
    )


def _read_rows(text: str) -> Iterator[tuple[int, LinkRow]]:
    """The lines below the headings. Raises InputError for missing headings, or invalid CSV."""
    columns: dict[int, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if not columns:
                columns = _parse_headings(cells)
                if reader.line_num > 100:
                    break
            elif len(cells) > 1:
                row = {name: cells[index].strip() for index, name in columns.items() if index < len(cells)}
                yield reader.line_num, row
    except csv.Error as error:
        raise build_line_error(f"not valid CSV: {error}", reader.line_num, None, "a table with commas") from None
    if not columns:
        raise InputError("the headings of a list of links are missing", expected=_EXPECTED_HEADINGS)


def _parse_headings(cells: list[str]) -> dict[int, str]:
    """The field of each column, by its heading; empty where the cells are not headings of a list of links."""
    columns: dict[int, str] = {}
    for index, cell in enumerate(cells[:200]):
        heading = re.sub(r"[^a-z0-9]", "", cell[:100].casefold().rpartition(":")[2])
        for name in _find_heading_meanings(heading):
            if name not in columns.values():
                columns[index] = name
    column_names = set(columns.values())
    has_both_sides = all({f"{side} name", f"{side} guid"} & column_names for side in _SIDE_WORDS)
    return columns if has_both_sides else {}


def _find_heading_meanings(heading: str) -> Iterator[str]:
    for side, prefixes in _SIDE_WORDS.items():
        for field_name, words in _FIELD_WORDS.items():
            if re.fullmatch(f"(?:{prefixes})(?:{words})|(?:{words or '-'})(?:{prefixes})", heading):
                yield f"{side} {field_name}"
                return
    if _SPEED_PATTERN.fullmatch(heading):
        yield "speed"
    elif _WIDTH_PATTERN.fullmatch(heading):
        yield "width"


def _build_link_end(row: LinkRow, side: str, host_patterns: HostPatterns) -> _LinkEnd:
    """An end of a link. It is a host's where `hosts` matches, or without `hosts` where its type or port is an
    adapter's.
    """
    name = row.get(f"{side} name") or row.get(f"{side} guid", "")
    port, type_text = row.get(f"{side} port", "")[:200], row.get(f"{side} type", "")
    nic_match = _NIC_PATTERN.fullmatch(port)
    if host_patterns:
        is_host = host_patterns.match_name(name)
    elif type_text:
        is_host = bool(_HOST_TYPE_PATTERN.fullmatch(type_text))
    else:
        is_host = nic_match is not None
    return _LinkEnd(name, port, nic_match[1] if nic_match else "", is_host)
