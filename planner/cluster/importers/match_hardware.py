"""Tables of the names that schedulers, drivers and the PCI bus give accelerators.

No other name is guessed. Sources: names of nvidia.com/gpu.product and of Gres as in the samples of
tests/fixtures/clusters; PCI device numbers as in the PCI ID Repository (pci.ids of 2023-04-11, pci-ids.ucw.cz), those
of H200, B200 and MI300X as in NCCL and RCCL dumps and later lists.
"""

from __future__ import annotations

import re
from functools import cache

ACCELERATORS_BY_LABEL = {
    "p100": "p100-sxm2-16gb",
    "p100-sxm2-16gb": "p100-sxm2-16gb",
    "v100": "v100-sxm2-32gb",
    "v100-sxm2-16gb": "v100-sxm2-16gb",
    "v100-sxm2-32gb": "v100-sxm2-32gb",
    "t4": "t4",
    "a10": "a10",
    "a100": "a100-sxm-80gb",
    "a100-sxm4-40gb": "a100-sxm-40gb",
    "a100-sxm4-80gb": "a100-sxm-80gb",
    "a100-pcie-40gb": "a100-pcie-40gb",
    "a100-pcie-80gb": "a100-pcie-80gb",
    "a100-80gb-pcie": "a100-pcie-80gb",
    "a800-sxm4-80gb": "a800-sxm-80gb",
    "geforce-rtx-4090": "rtx-4090",
    "rtx-4090": "rtx-4090",
    "l4": "l4",
    "l40s": "l40s",
    "h20": "h20",
    "h100": "h100-sxm-80gb",
    "h100-80gb-hbm3": "h100-sxm-80gb",
    "h100-pcie": "h100-pcie-80gb",
    "h800": "h800-sxm-80gb",
    "h200": "h200-sxm",
    "b200": "b200",
    "b300": "b300",
    "b300-sxm6-ac": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
    "mi250x": "mi250x",
    "mi300x": "mi300x",
    "amd-instinct-mi300x-oam": "mi300x",
    "instinct-mi300x-oam": "mi300x",
    "mi325x": "mi325x",
    "mi355x": "mi355x",
    "gaudi2": "gaudi2",
    "gaudi3": "gaudi3",
    "tpu-v3-slice": "tpu-v3",
    "tpu-v4-podslice": "tpu-v4",
    "tpu-v5p-slice": "tpu-v5p",
    "tpu-v5-lite-podslice": "tpu-v5e",
    "tpu-v6e-slice": "tpu-v6e",
    "tpu7x": "tpu-v7",
}
"""Accelerators of hardware_db by their names elsewhere: lower case, `-` between words, no vendor."""

AMBIGUOUS_LABELS = {"a100": "40 or 80 GB", "v100": "16 or 32 GB", "p100": "12 or 16 GB"}
"""Names that several accelerators share, with the alternatives."""

ACCELERATORS_BY_PCI_ID = {
    "0x10de:0x15f9": "p100-sxm2-16gb",
    "0x10de:0x1db1": "v100-sxm2-16gb",
    "0x10de:0x1db5": "v100-sxm2-32gb",
    "0x10de:0x1eb8": "t4",
    "0x10de:0x2236": "a10",
    "0x10de:0x20b0": "a100-sxm-40gb",
    "0x10de:0x20b1": "a100-pcie-40gb",
    "0x10de:0x20f1": "a100-pcie-40gb",
    "0x10de:0x20b2": "a100-sxm-80gb",
    "0x10de:0x20b5": "a100-pcie-80gb",
    "0x10de:0x20f3": "a800-sxm-80gb",
    "0x10de:0x2684": "rtx-4090",
    "0x10de:0x27b8": "l4",
    "0x10de:0x2330": "h100-sxm-80gb",
    "0x10de:0x2331": "h100-pcie-80gb",
    "0x10de:0x2324": "h800-sxm-80gb",
    "0x10de:0x2335": "h200-sxm",
    "0x10de:0x2901": "b200",
    "0x1002:0x7408": "mi250x",
    "0x1002:0x740c": "mi250x",
    "0x1002:0x74a1": "mi300x",
}
"""Accelerators of hardware_db by vendor and device on the PCI bus."""

DEVICE_LINK_BYTES_PER_S = {
    "pascal": 20e9,
    "volta": 25e9,
    "ampere": 25e9,
    "hopper": 25e9,
    "blackwell": 50e9,
    "blackwell-ultra": 50e9,
    "cdna2": 50e9,
    "cdna3": 64e9,
    "cdna4": 76.5e9,
}
"""Bytes/s of an NVLink or xGMI link, one direction, by architecture. Source: stas00/ml-engineering,
network/README.md at 744d01e18b79 (NVLink 1 to 5: 80, 150, 300, 450, 900 GB/s on 4, 6, 12, 18, 18 links;
xGMI by pair)."""

RACK_SCALE_ACCELERATORS = frozenset({"gb200", "gb300"})
"""Accelerators whose NVLink joins the nodes of a rack: a block of nodes is a scale-up domain."""

_HOSTNAME_PATTERN = re.compile(
    r"(?<![a-z0-9])(?:dgx|hgx)?-?(gb200|gb300|b200|b300|h100|h200|a100|v100|mi300x)(?![a-z0-9])"
)


def fold_label(label: str) -> str:
    """A part's name in the form of PARTS: `NVIDIA-H100-80GB-HBM3` is `h100-80gb-hbm3`."""
    words = re.split(r"[^a-z0-9]+", label.casefold())
    kept_words = [word for word in words if word not in ("", "nvidia", "tesla", "shared")]
    return "-".join(kept_words)


def find_accelerator_by_label(label: str) -> str:
    """The accelerator of hardware_db with this name, or an empty text."""
    return ACCELERATORS_BY_LABEL.get(fold_label(label), ACCELERATORS_BY_PCI_ID.get(label.casefold(), ""))


def extract_accelerator_label(hostname: str) -> str:
    """The accelerator in a host's name (`dgx-gb200-n01`), in the form of PARTS, or an empty text."""
    labels = set(_HOSTNAME_PATTERN.findall(hostname.casefold()))
    return labels.pop() if len(labels) == 1 else ""


@cache
def index_node_presets() -> dict[tuple[str, int], str]:
    """Nodes of hardware_db by accelerator and number of devices; where several match, the node of a reference
    cluster, else none.
    """
    from planner.cluster.model import presets
    from planner.hardware import database

    clusters = (presets.load_cluster_spec(name) for name in database.list_database_names("clusters"))
    reference = {cluster.node for cluster in clusters if cluster.reference}
    node_names: dict[tuple[str, int], str] = {}
    for name in sorted(database.list_database_names("nodes"), key=lambda name: name not in reference):
        node = presets.load_node_spec(name)
        if isinstance(node.accelerator, str):
            key = (node.accelerator, node.devices)
            node_names[key] = (
                "" if key in node_names and node_names[key] not in reference else node_names.get(key, name)
            )
    return {key: name for key, name in node_names.items() if name}
