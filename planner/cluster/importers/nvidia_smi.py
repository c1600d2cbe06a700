"""The matrix of `nvidia-smi topo -m`: how the GPUs and network cards of one node are joined."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import Found, FoundNode, HostPatterns, broken, clean_name
from planner.cluster.model.spec import NodeTopology

_RELATION = re.compile(r"X|NV([0-9]{1,2})|PIX|PXB|PHB|NODE|SYS|SOC")
_HEADER = re.compile(r"\s*GPU0(?:\s|$)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NEAR = frozenset({"PIX", "PXB"})
_MOST_COLUMNS = 512
_MOST_LINKS = 18
"""NVLinks of one GPU (NVLink 4 and 5): where the pairs have more between them, a switch is what joins them."""

Matrix = dict[str, dict[str, str]]


def looks_like_topo(text: str) -> bool:
    """Whether a matrix is in it."""
    return any(_is_header(line) for line in _ANSI.sub("", text[:100_000]).splitlines())


def read_topo(text: str, origin: str, hosts: HostPatterns) -> Found:
    """The node that the first matrix shows. Raises InputError where the matrix is not whole."""
    matrix = _matrix(text, origin)
    gpus = [name for name in matrix if name.startswith("GPU")]
    nics, nic_note = _nics(matrix, gpus)
    topology, links, note = joined(
        [[_nvlinks(matrix[one].get(other, "")) for other in gpus if other != one] for one in gpus]
    )
    node = FoundNode(devices=len(gpus), topology=topology, links=links, nics=nics)
    return Found(node=node, notes=tuple(one for one in (note, nic_note) if one))


def joined(pairs: list[list[int]]) -> tuple[NodeTopology, int, str]:
    """What joins devices of which each has so many links to each other one, shape [devices][devices - 1].

    Gives the topology, the links of one device (the least), and what had to be taken for something else.
    """
    if not pairs or not any(map(any, pairs)):
        return "pcie", 0, ""
    totals = [sum(row) for row in pairs]
    every_pair = all(map(all, pairs))
    if every_pair and max(totals) > _MOST_LINKS:
        return "nvswitch", min(min(row) for row in pairs), ""
    if every_pair:
        return "fully-connected", min(totals), ""
    if _connected(pairs):
        shape = "" if len(pairs) == 8 else f"{len(pairs)} devices in a mesh are taken as a hybrid cube mesh"
        return "hybrid-cube-mesh", min(totals), shape
    return "pcie", 0, "NVLink joins some of the devices only: the node is taken as joined by PCI Express"


def _connected(pairs: list[list[int]]) -> bool:
    """Whether each device reaches each other one over links."""
    reached, new = {0}, [0]
    while new:
        one = new.pop()
        others = [index if index < one else index + 1 for index, count in enumerate(pairs[one]) if count]
        fresh = [other for other in others if other not in reached]
        reached.update(fresh)
        new += fresh
    return len(reached) == len(pairs)


def _matrix(text: str, origin: str) -> Matrix:
    """Rows by name, each a relation by column."""
    lines = _ANSI.sub("", text).splitlines()
    start = next((index for index, line in enumerate(lines) if _is_header(line)), None)
    if start is None:
        raise broken("holds no matrix", origin, expected="the output of `nvidia-smi topo -m`, its first line too")
    columns = []
    for word in lines[start].split(maxsplit=_MOST_COLUMNS + 8):
        if word in ("CPU", "NUMA", "GPU"):  # the first word of `CPU Affinity` and those after it
            break
        columns.append(word)
    if len(columns) > _MOST_COLUMNS or len(set(columns)) != len(columns):
        raise broken("not a header of the matrix", origin, start + 1, lines[start])
    matrix: Matrix = {}
    for number, line in enumerate(lines[start + 1 :], start + 2):
        words = line.split(maxsplit=_MOST_COLUMNS)
        if not words or words[0] not in columns:
            if matrix and (not words or len(matrix) == len(columns)):
                break
            continue
        relations = words[1 : len(columns) + 1]
        wrong = [word for word in relations if not _RELATION.fullmatch(word)]
        if len(relations) < len(columns) or wrong:
            expected = f"{len(columns)} of X, NV#, PIX, PXB, PHB, NODE, SYS"
            raise broken("a row of the matrix is broken", origin, number, wrong[0] if wrong else line, expected)
        matrix[words[0]] = dict(zip(columns, relations, strict=True))
    missing = [name for name in columns if name.startswith("GPU") and name not in matrix]
    if missing:
        raise broken(f"the matrix has no row for {clean_name(missing[0])}", origin, expected="a row for each GPU")
    return matrix


def _is_header(line: str) -> bool:
    """The line above the matrix: it begins with GPU0, and no relation follows."""
    words = line.split(maxsplit=2)
    return bool(_HEADER.match(line)) and (len(words) < 2 or not _RELATION.fullmatch(words[1]))


def _nvlinks(relation: str) -> int:
    match = _RELATION.fullmatch(relation)
    return int(match[1] or 0) if match else 0


def _nics(matrix: Matrix, gpus: list[str]) -> tuple[int, str]:
    """How many network cards serve the GPUs: those behind a PCIe switch with one, or all where none is."""
    columns = list(next(iter(matrix.values())))
    nics = [name for name in columns if not name.startswith("GPU")]
    near = [nic for nic in nics if any(matrix[gpu][nic] in _NEAR for gpu in gpus)]
    if near and len(near) < len(nics):
        return len(near), f"{len(nics) - len(near)} of {len(nics)} network cards are near no GPU and are not counted"
    return len(nics), ""
