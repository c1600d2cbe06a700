"""Formats of descriptions: the reader of each by its name, and detection of a text's format."""

from __future__ import annotations

from collections.abc import Callable

from planner.cluster.importers.graph import read_graph
from planner.cluster.importers.hostfile import looks_like_hostfile, read_hostfile
from planner.cluster.importers.ibnetdiscover import looks_like_ibnetdiscover, read_ibnetdiscover
from planner.cluster.importers.imported_cluster import HostPatterns, ParsedCluster, build_description_error
from planner.cluster.importers.kubernetes import looks_like_kubernetes, read_kubernetes
from planner.cluster.importers.link_list import looks_like_link_list, read_link_list
from planner.cluster.importers.nccl import read_nccl_topology
from planner.cluster.importers.nvidia_smi import looks_like_nvidia_smi, read_nvidia_smi_topology
from planner.cluster.importers.slurm import looks_like_slurm, read_slurm_config
from planner.errors import build_unknown_name_error

_MAX_LINES = 300_000

DescriptionReader = Callable[[str, str, HostPatterns], ParsedCluster]
"""Takes the text, its file's name for messages, and the patterns of host names."""

DESCRIPTION_READERS: dict[str, DescriptionReader] = {
    "nvidia-smi": read_nvidia_smi_topology,
    "slurm": read_slurm_config,
    "ibnetdiscover": read_ibnetdiscover,
    "links": read_link_list,
    "hostfile": read_hostfile,
    "kubernetes": read_kubernetes,
    "nccl": read_nccl_topology,
    "graph": read_graph,
}

FORMAT_TITLES = {
    "nvidia-smi": "nvidia-smi topo -m",
    "slurm": "Slurm",
    "ibnetdiscover": "ibnetdiscover",
    "links": "a list of links",
    "hostfile": "a hostfile",
    "kubernetes": "Kubernetes",
    "nccl": "NCCL's topology",
    "graph": "a graph",
}


def read_description(
    text: str, origin: str, format_name: str, host_patterns: HostPatterns
) -> tuple[str, ParsedCluster]:
    """The parsed description, and the name of its format. Raises InputError for an unknown format."""
    if format_name not in ("auto", *DESCRIPTION_READERS):
        raise build_unknown_name_error("format", format_name, ["auto", *DESCRIPTION_READERS], key="--from")
    if not text.strip("\ufeff \t\r\n\0"):
        raise build_description_error("is empty", origin, expected="a description of a cluster")
    if text.count("\n") > _MAX_LINES:
        raise build_description_error("has too many lines", origin, expected=f"at most {_MAX_LINES:,}")
    name = detect_description_format(text, origin) if format_name == "auto" else format_name
    return name, DESCRIPTION_READERS[name](text, origin, host_patterns)


def detect_description_format(text: str, origin: str) -> str:
    """The format's name. Raises InputError for an unknown format."""
    first_character = text.lstrip("\ufeff \t\r\n")[:1]
    if first_character == "<":
        return "graph" if "<graphml" in text[:10_000] else "nccl"
    if first_character in ("{", "["):
        return "kubernetes" if looks_like_kubernetes(text) else "graph"
    for name, is_format in (
        ("slurm", looks_like_slurm),
        ("ibnetdiscover", looks_like_ibnetdiscover),
        ("nvidia-smi", looks_like_nvidia_smi),
        ("links", looks_like_link_list),
        ("hostfile", looks_like_hostfile),
    ):
        if is_format(text):
            return name
    raise build_description_error(
        "unknown format", origin, expected=f"one of {', '.join(DESCRIPTION_READERS)}; --from selects it"
    )
