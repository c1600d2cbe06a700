"""The matrix of `nvidia-smi topo -m`: the links between the GPUs and NICs of a node."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedNode,
    build_line_error,
    clean_name,
)
from planner.cluster.model.spec import NodeTopology
from planner.errors import InputError

_RELATION_PATTERN = re.compile(r"X|NV([0-9]{1,2})|PIX|PXB|PHB|NODE|SYS|SOC")
_HEADER_PATTERN = re.compile(r"\s*GPU0(?:\s|$)")
_ANSI_PATTERN = re.compile(r"\x1b\[[0-9;]*m")
_NEAR_RELATIONS = frozenset({"PIX", "PXB"})
_MAX_COLUMNS = 512
_MAX_NVLINKS = 18
"""NVLinks of a GPU (NVLink 4 and 5): where the pairs list more than these together, a switch joins the GPUs."""

RelationMatrix = dict[str, dict[str, str]]


def looks_like_nvidia_smi(text: str) -> bool:
    """Whether the text contains a matrix."""
    return any(_is_header(line) for line in _ANSI_PATTERN.sub("", text[:100_000]).splitlines())


def read_nvidia_smi_topology(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """The node of the first matrix. Raises InputError for an incomplete matrix."""
    matrix = _parse_matrix(text)
    gpus = [name for name in matrix if name.startswith("GPU")]
    nic_count, nic_note = _count_nics(matrix, gpus)
    topology, links_per_device, note = infer_node_topology(
        [[_parse_nvlink_count(matrix[item].get(other, "")) for other in gpus if other != item] for item in gpus]
    )
    node = ParsedNode(devices=len(gpus), topology=topology, links_per_device=links_per_device, nic_count=nic_count)
    return ParsedCluster(node=node, notes=tuple(item for item in (note, nic_note) if item))


def infer_node_topology(link_counts: list[list[int]]) -> tuple[NodeTopology, int, str]:
    """The topology of devices with these numbers of links to each other device, shape [devices][devices - 1].

    Returns the topology, the links of a device (the least of all), and notes on approximations.
    """
    if not link_counts or not any(map(any, link_counts)):
        return "pcie", 0, ""
    links_per_device = [sum(row) for row in link_counts]
    is_full_mesh = all(map(all, link_counts))
    if is_full_mesh and max(links_per_device) > _MAX_NVLINKS:
        return "nvswitch", min(min(row) for row in link_counts), ""
    if is_full_mesh:
        return "fully-connected", min(links_per_device), ""
    if _is_connected(link_counts):
        mesh_note = (
            "" if len(link_counts) == 8 else f"{len(link_counts)} devices in a mesh are treated as a hybrid cube mesh"
        )
        return "hybrid-cube-mesh", min(links_per_device), mesh_note
    return "pcie", 0, "NVLink joins only some of the devices: PCI Express is assumed to join all of them"


def _is_connected(link_counts: list[list[int]]) -> bool:
    """Whether each device reaches each other device over links."""
    reached, pending = {0}, [0]
    while pending:
        device = pending.pop()
        others = [index if index < device else index + 1 for index, count in enumerate(link_counts[device]) if count]
        new_devices = [other for other in others if other not in reached]
        reached.update(new_devices)
        pending += new_devices
    return len(reached) == len(link_counts)


def _parse_matrix(text: str) -> RelationMatrix:
    """Rows by name, each a relation by column."""
    lines = _ANSI_PATTERN.sub("", text).splitlines()
    start = next((index for index, line in enumerate(lines) if _is_header(line)), None)
    if start is None:
        raise InputError("contains no matrix", expected="the output of `nvidia-smi topo -m` with its first line")
    columns = []
    for word in lines[start].split(maxsplit=_MAX_COLUMNS + 8):
        if word in ("CPU", "NUMA", "GPU"):  # the first word of `CPU Affinity` and those after it
            break
        columns.append(word)
    if len(columns) > _MAX_COLUMNS or len(set(columns)) != len(columns):
        raise build_line_error("invalid header of the matrix", start + 1, lines[start])
    matrix: RelationMatrix = {}
    for number, line in enumerate(lines[start + 1 :], start + 2):
        words = line.split(maxsplit=_MAX_COLUMNS)
        if not words or words[0] not in columns:
            if matrix and (not words or len(matrix) == len(columns)):
                break
            continue
        relations = words[1 : len(columns) + 1]
        invalid_relations = [word for word in relations if not _RELATION_PATTERN.fullmatch(word)]
        if len(relations) < len(columns) or invalid_relations:
            expected = f"{len(columns)} of X, NV#, PIX, PXB, PHB, NODE, SYS"
            value = invalid_relations[0] if invalid_relations else line
            raise build_line_error("invalid row of the matrix", number, value, expected)
        matrix[words[0]] = dict(zip(columns, relations, strict=True))
    missing_rows = [name for name in columns if name.startswith("GPU") and name not in matrix]
    if missing_rows:
        raise InputError(f"the matrix has no row for {clean_name(missing_rows[0])}", expected="a row for each GPU")
    return matrix


def _is_header(line: str) -> bool:
    """Whether a line is the header of the matrix: it begins with GPU0, and no relation follows."""
    words = line.split(maxsplit=2)
    return bool(_HEADER_PATTERN.match(line)) and (len(words) < 2 or not _RELATION_PATTERN.fullmatch(words[1]))


def _parse_nvlink_count(relation: str) -> int:
    match = _RELATION_PATTERN.fullmatch(relation)
    return int(match[1] or 0) if match else 0


def _count_nics(matrix: RelationMatrix, gpus: list[str]) -> tuple[int, str]:
    """The number of NICs that serve the GPUs: those behind a PCIe switch with a GPU, or all where none is; and a
    note on the others.
    """
    columns = list(next(iter(matrix.values())))
    nics = [name for name in columns if not name.startswith("GPU")]
    near_nics = [nic for nic in nics if any(matrix[gpu][nic] in _NEAR_RELATIONS for gpu in gpus)]
    if near_nics and len(near_nics) < len(nics):
        return len(near_nics), f"{len(nics) - len(near_nics)} of {len(nics)} NICs are near no GPU and are not counted"
    return len(nics), ""
