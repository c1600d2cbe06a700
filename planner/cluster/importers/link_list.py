"""Lists of links as CSV: what UFM's web pages export, its NDT files, and tables of cables of one's own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    Found,
    FoundHost,
    FoundLink,
    FoundSwitch,
    HostPatterns,
    broken,
    card_note,
    cards,
    check_size,
    distinct,
)
from planner.cluster.importers.link_speeds import link_rate
from planner.errors import InputError
from planner.units import format_counted_noun

_SOURCE, _TARGET = "source|src|start|from|local|a|1|node1", "destination|dest|dst|target|end|to|peer|remote|b|2|node2"
_SIDES = {"lower": _SOURCE, "upper": _TARGET}
_WHAT = {
    "name": "|name|node|nodename|device|system|systemname|host|nodedescription|nodedesc",
    "guid": "guid|nodeguid|systemguid",
    "port": "port|portname|portdname|portnumber|portnum",
    "type": "type|nodetype|devicetype|kind",
}
_SPEED = re.compile(r"(?:link|active|port|cable)?(?:speed|rate|bandwidth)(?:active)?")
_WIDTH = re.compile(r"(?:link|active|port)?width(?:active)?")
_HOST_TYPE = re.compile(r"host|hca|ca|server|computer|node|adapter", re.IGNORECASE)
_CARD = re.compile(
    r"(?:.*\s)?((?:HCA-[0-9]+)|(?:mlx|bnxt|ibp|ibs|ens|enp|eth|rdma|roce|nic)[\w.-]*)(?:/[0-9]+)?", re.I
)
_EXPECTED = "a line of headings such as source,source_port,destination,destination_port,speed"

Row = dict[str, str]
"""What one link's line holds, by `lower name`, `lower port`, `upper name`, ..., `speed`, `width`."""


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a cable: whose, which port, and whether that tells a host."""

    name: str
    port: str
    card: str
    host: bool


def looks_like_link_list(text: str) -> bool:
    """Whether one of the first lines heads the columns of a list of links."""
    first = io.StringIO(text[:5000].replace("\0", ""), newline="")
    try:
        return any(_columns(cells) for cells in csv.reader(first))
    except csv.Error:
        return False


def read_link_list(text: str, origin: str, hosts: HostPatterns) -> Found:
    """Hosts, switches and a cable a line; one that is told from both its ends counts once. Raises InputError."""
    cables: dict[object, tuple[_End, _End, float | None]] = {}
    for number, row in _rows(text, origin):
        ends = _end(row, "lower", hosts), _end(row, "upper", hosts)
        if not ends[0].name or not ends[1].name:
            continue
        try:
            rate = link_rate(row.get("speed", ""), row.get("width", ""))
        except InputError as error:
            raise broken(error.problem, origin, number, error.value, error.expected) from None
        told_ports = ends[0].port and ends[1].port
        key = frozenset((end.name, end.port) for end in ends) if told_ports else number
        cables.setdefault(key, (*ends, rate))
        check_size(0, len(cables), origin)
    names = dict.fromkeys(end.name for one, other, _ in cables.values() for end in (one, other))
    are_hosts = {end.name for one, other, _ in cables.values() for end in (one, other) if end.host}
    if not are_hosts:
        raise broken("tells no end that is a host", origin, expected="--hosts with a pattern of the hosts' names")
    clean = distinct(names)
    numbers = cards(end.card for one, other, _ in cables.values() for end in (one, other) if end.host and end.card)
    links, loose = [], 0
    for one, other, rate in cables.values():
        lower, upper = (other, one) if other.name in are_hosts else (one, other)
        if upper.name in are_hosts:
            loose += 1
            continue
        card = numbers.get(lower.card) if lower.name in are_hosts else None
        links.append(FoundLink(clean[lower.name], clean[upper.name], rate, card=card))
    check_size(len(are_hosts), 0, origin)
    return Found(
        hosts=tuple(FoundHost(clean[name]) for name in names if name in are_hosts),
        switches=tuple(FoundSwitch(clean[name]) for name in names if name not in are_hosts),
        links=tuple(links),
        notes=((f"left out: {format_counted_noun(loose, 'cable')} from host to host",) if loose else ())
        + card_note(numbers),
    )


def _rows(text: str, origin: str) -> Iterator[tuple[int, Row]]:
    """The lines below the headings. Raises InputError where there are none, or for what csv cannot read."""
    columns: dict[int, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if not columns:
                columns = _columns(cells)
                if reader.line_num > 100:
                    break
            elif len(cells) > 1:
                at = {name: cells[index].strip() for index, name in columns.items() if index < len(cells)}
                yield reader.line_num, at
    except csv.Error as error:
        raise broken(f"not valid CSV: {error}", origin, reader.line_num, expected="a table with commas") from None
    if not columns:
        raise broken("has no headings of a list of links", origin, expected=_EXPECTED)


def _columns(cells: list[str]) -> dict[int, str]:
    """What each column holds, by its heading; empty where the cells do not head a list of links."""
    columns: dict[int, str] = {}
    for index, cell in enumerate(cells[:200]):
        heading = re.sub(r"[^a-z0-9]", "", cell[:100].casefold().rpartition(":")[2])
        for name in _meanings(heading):
            if name not in columns.values():
                columns[index] = name
    found = set(columns.values())
    whole = all({f"{side} name", f"{side} guid"} & found for side in _SIDES)
    return columns if whole else {}


def _meanings(heading: str) -> Iterator[str]:
    for side, prefixes in _SIDES.items():
        for what, words in _WHAT.items():
            if re.fullmatch(f"(?:{prefixes})(?:{words})|(?:{words or '-'})(?:{prefixes})", heading):
                yield f"{side} {what}"
                return
    if _SPEED.fullmatch(heading):
        yield "speed"
    elif _WIDTH.fullmatch(heading):
        yield "width"


def _end(row: Row, side: str, hosts: HostPatterns) -> _End:
    """One end. It is a host's where the pattern says so, or else its type or its port is an adapter's."""
    name = row.get(f"{side} name") or row.get(f"{side} guid", "")
    port, told = row.get(f"{side} port", "")[:200], row.get(f"{side} type", "")
    card = _CARD.fullmatch(port)
    if hosts:
        host = hosts.match(name)
    elif told:
        host = bool(_HOST_TYPE.fullmatch(told))
    else:
        host = card is not None
    return _End(name, port, card[1] if card else "", host)
