"""Which format a description is in, by what stands in it; and the readers by their formats' names."""

from __future__ import annotations

from collections.abc import Callable

from planner.cluster.importers.graph import read_graph
from planner.cluster.importers.hostfile import looks_like_hostfile, read_hostfile
from planner.cluster.importers.ibnetdiscover import looks_like_ibnetdiscover, read_ibnetdiscover
from planner.cluster.importers.imported_cluster import Found, HostPatterns, broken
from planner.cluster.importers.kubernetes import looks_like_kubernetes, read_kubernetes
from planner.cluster.importers.link_list import looks_like_link_list, read_link_list
from planner.cluster.importers.nccl import read_nccl
from planner.cluster.importers.nvidia_smi import looks_like_topo, read_topo
from planner.cluster.importers.slurm import looks_like_slurm, read_slurm
from planner.errors import build_unknown_name_error

_MOST_LINES = 300_000

Reader = Callable[[str, str, HostPatterns], Found]
"""The text, its file's name for messages, which names are hosts."""

READERS: dict[str, Reader] = {
    "nvidia-smi": read_topo,
    "slurm": read_slurm,
    "ibnetdiscover": read_ibnetdiscover,
    "links": read_link_list,
    "hostfile": read_hostfile,
    "kubernetes": read_kubernetes,
    "nccl": read_nccl,
    "graph": read_graph,
}

TITLES = {
    "nvidia-smi": "nvidia-smi topo -m",
    "slurm": "Slurm",
    "ibnetdiscover": "ibnetdiscover",
    "links": "a list of links",
    "hostfile": "a hostfile",
    "kubernetes": "Kubernetes",
    "nccl": "NCCL's topology",
    "graph": "a graph",
}


def read(text: str, origin: str, format_name: str, hosts: HostPatterns) -> tuple[str, Found]:
    """What a description tells, and in which format it is. Raises InputError for an unknown format."""
    if format_name not in ("auto", *READERS):
        raise build_unknown_name_error("format", format_name, ["auto", *READERS], key="--from")
    if not text.strip("\ufeff \t\r\n\0"):
        raise broken("is empty", origin, expected="a description of a cluster")
    if text.count("\n") > _MOST_LINES:
        raise broken("has too many lines", origin, expected=f"at most {_MOST_LINES:,}")
    name = recognise(text, origin) if format_name == "auto" else format_name
    return name, READERS[name](text, origin, hosts)


def recognise(text: str, origin: str) -> str:
    """The format's name. Raises InputError where it is none of them."""
    first = text.lstrip("\ufeff \t\r\n")[:1]
    if first == "<":
        return "graph" if "<graphml" in text[:10_000] else "nccl"
    if first in ("{", "["):
        return "kubernetes" if looks_like_kubernetes(text) else "graph"
    for name, looks in (
        ("slurm", looks_like_slurm),
        ("ibnetdiscover", looks_like_ibnetdiscover),
        ("nvidia-smi", looks_like_topo),
        ("links", looks_like_link_list),
        ("hostfile", looks_like_hostfile),
    ):
        if looks(text):
            return name
    raise broken("is in no format that is known", origin, expected=f"one of {', '.join(READERS)}; --from names it")
