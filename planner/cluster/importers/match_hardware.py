"""Accelerators and nodes of hardware_db by the names that schedulers, drivers and the PCI bus give them.

The tables are in `hardware_db/importers/names.toml`; no other name is guessed.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec

from planner.cluster.model import presets
from planner.hardware import database
from planner.hardware.figures import FigureSource, SourcedFigure

_HOSTNAME_PATTERN = re.compile(
    r"(?<![a-z0-9])(?:dgx|hgx)?-?(gb200|gb300|b200|b300|h100|h200|a100|v100|mi300x)(?![a-z0-9])"
)


class ForeignNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """hardware_db/importers/names.toml."""

    title: str
    labels: dict[str, str]
    """Accelerators by their names elsewhere, as `fold_label` writes them."""
    ambiguous: dict[str, str]
    """Labels that several accelerators share, with the alternatives."""
    pci_ids: dict[str, str]
    """Accelerators by vendor and device on the PCI bus."""
    link_bandwidth: dict[str, SourcedFigure]
    """Bytes/s of one NVLink or xGMI link, one direction, by architecture."""
    rack_scale: tuple[str, ...]
    """Accelerators whose links join the nodes of a rack."""
    sources: dict[str, FigureSource]


def read_foreign_names() -> ForeignNames:
    """The tables of names."""
    return database.load_database_entry("importers", "names", ForeignNames, "table", "", "importers")


def fold_label(label: str) -> str:
    """A part's name in the form of the tables: `NVIDIA-H100-80GB-HBM3` is `h100-80gb-hbm3`."""
    words = re.split(r"[^a-z0-9]+", label.casefold())
    return "-".join(word for word in words if word not in ("", "nvidia", "tesla", "shared"))


def find_accelerator_by_label(label: str) -> str:
    """The accelerator of hardware_db with this name or PCI device, or an empty text."""
    names = read_foreign_names()
    return names.labels.get(fold_label(label), names.pci_ids.get(label.casefold(), ""))


def extract_accelerator_label(hostname: str) -> str:
    """The accelerator in a host's name (`dgx-gb200-n01`), in the form of the tables, or an empty text."""
    labels = set(_HOSTNAME_PATTERN.findall(hostname.casefold()))
    return labels.pop() if len(labels) == 1 else ""


@cache
def index_node_presets() -> dict[tuple[str, int], str]:
    """Nodes of hardware_db by accelerator and number of devices; where several match, the node of a reference
    cluster, else none.
    """
    clusters = (presets.load_cluster_spec(name) for name in database.list_database_names("clusters"))
    reference = {cluster.node for cluster in clusters if cluster.reference}
    node_names: dict[tuple[str, int], str] = {}
    for name in sorted(database.list_database_names("nodes"), key=lambda name: name not in reference):
        node = presets.load_node_spec(name)
        if isinstance(node.accelerator, str):
            key = (node.accelerator, node.devices)
            is_ambiguous = key in node_names and node_names[key] not in reference
            node_names[key] = "" if is_ambiguous else node_names.get(key, name)
    return {key: name for key, name in node_names.items() if name}
