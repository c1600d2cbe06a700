"""Formats of descriptions: the reader of each by its name, and detection of a text's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.cluster.importers import hostfile, ibnetdiscover, kubernetes, link_list, nvidia_smi, slurm
from planner.cluster.importers.graph import read_graph
from planner.cluster.importers.imported_cluster import HostPatterns, ParsedCluster
from planner.cluster.importers.nccl import read_nccl_topology
from planner.errors import InputError, build_unknown_name_error, name_origin

_MAX_LINES = 300_000


@dataclass(frozen=True, slots=True)
class DescriptionFormat:
    """`read_text` takes the text and the patterns of host names; `is_like`: whether a text has the format, None where
    its first character decides.
    """

    title: str
    read_text: Callable[[str, HostPatterns], ParsedCluster]
    is_like: Callable[[str], bool] | None = None


DESCRIPTION_FORMATS = {
    "nvidia-smi": DescriptionFormat(
        "nvidia-smi topo -m", nvidia_smi.read_nvidia_smi_topology, nvidia_smi.looks_like_nvidia_smi
    ),
    "slurm": DescriptionFormat("Slurm", slurm.read_slurm_config, slurm.looks_like_slurm),
    "ibnetdiscover": DescriptionFormat(
        "ibnetdiscover", ibnetdiscover.read_ibnetdiscover, ibnetdiscover.looks_like_ibnetdiscover
    ),
    "links": DescriptionFormat("a list of links", link_list.read_link_list, link_list.looks_like_link_list),
    "hostfile": DescriptionFormat("a hostfile", hostfile.read_hostfile, hostfile.looks_like_hostfile),
    "kubernetes": DescriptionFormat("Kubernetes", kubernetes.read_kubernetes),
    "nccl": DescriptionFormat("NCCL's topology", read_nccl_topology),
    "graph": DescriptionFormat("a graph", read_graph),
}
_DETECTION_ORDER = ("slurm", "ibnetdiscover", "nvidia-smi", "links", "hostfile")


def read_description(
    text: str, origin: str, format_name: str, host_patterns: HostPatterns
) -> tuple[str, ParsedCluster]:
    """The parsed description, and the name of its format. Raises InputError naming the file `origin`."""
    if format_name not in ("auto", *DESCRIPTION_FORMATS):
        raise build_unknown_name_error("format", format_name, ["auto", *DESCRIPTION_FORMATS], key="--from")
    with name_origin(origin):
        if not text.strip("\ufeff \t\r\n\0"):
            raise InputError("is empty", expected="a description of a cluster")
        if text.count("\n") > _MAX_LINES:
            raise InputError("has too many lines", expected=f"at most {_MAX_LINES:,}")
        name = detect_description_format(text) if format_name == "auto" else format_name
        return name, DESCRIPTION_FORMATS[name].read_text(text, host_patterns)


def detect_description_format(text: str) -> str:
    """The format's name. Raises InputError for an unknown format."""
    first_character = text.lstrip("\ufeff \t\r\n")[:1]
    if first_character == "<":
        return "graph" if "<graphml" in text[:10_000] else "nccl"
    if first_character in ("{", "["):
        return "kubernetes" if kubernetes.looks_like_kubernetes(text) else "graph"
    for name in _DETECTION_ORDER:
        is_like = DESCRIPTION_FORMATS[name].is_like
        if is_like is not None and is_like(text):
            return name
    raise InputError("unknown format", expected=f"one of {', '.join(DESCRIPTION_FORMATS)}; --from selects it")
