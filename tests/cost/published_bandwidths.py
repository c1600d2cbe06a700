"""The published nccl-tests runs, and what the model says of each."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.spec import ClusterSpec, LevelSpec
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cost import collectives
from planner.cost.rank_groups import build_rank_group

PUBLISHED = Path(__file__).parents[1] / "published" / "nccl_tests.csv"
NODES = {
    "a100": "dgx-a100",
    "h100": "dgx-h100",
    "h200": "dgx-h200",
    "b200": "dgx-b200",
    "b300": "dgx-b300",
    "gb200": "gb200-nvl72-tray",
    "gb300": "gb300-nvl72-tray",
    "mi300x": "mi300x-oam8",
    "mi325x": "mi325x-oam8",
    "mi355x": "mi355x-oam8",
}
NETWORK_NODES = {"efa": "aws-p5", "roce": "grand-teton-h100", "tcpxo": "aws-p5"}
"""Whose NICs' latency a kind of network has, where it is not InfiniBand."""
FACTORS = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "all_to_all": 1.0}
COLLECTIVES = {name: getattr(collectives, f"compute_{name}_s") for name in FACTORS}


@dataclass(frozen=True)
class Bandwidth:
    """One row; `measured` is bus bandwidth in bytes/s, `gbps` a device's share of the NICs, `racks` the domains of
    links that join several nodes (0: none do), `fabric` the kind of network between nodes.
    """

    id: str
    source: str
    accelerator: str
    nodes: int
    devices: int
    racks: int
    fabric: str
    gbps: float
    collective: str
    algorithm: str
    size_bytes: int
    measured: float
    fitted: bool

    @property
    def curve(self) -> str:
        """The run that the row is from."""
        return self.id.rsplit("-", 1)[0]

    @property
    def generation(self) -> str:
        """The accelerator without its form and its memory."""
        return self.accelerator.split("-")[0]

    @property
    def ranks(self) -> int:
        """All ranks of the collective."""
        return self.nodes * self.devices

    @property
    def network(self) -> Network:
        """The machine: the node of the generation with the row's NICs."""
        adds = self.algorithm == "collnet"
        if self.generation == "tpu":
            return build_network(
                resolve_cluster(presets.load_cluster_spec(self.accelerator), self.accelerator, nodes=self.nodes)
            )
        return build_machine(self.generation, self.nodes, self.racks, self.fabric, self.gbps, adds)


@cache
def build_machine(generation: str, nodes: int, racks: int, fabric: str, gbps: float, adds: bool) -> Network:
    """A cluster of whole nodes, at what the library reaches of its links."""
    node = presets.load_node_spec(NODES[generation])
    network_node = "aws-p4d" if (fabric, generation) == ("efa", "a100") else NETWORK_NODES.get(fabric, "dgx-h100")
    nic = presets.load_node_spec(network_node).nic
    assert nic is not None
    nic = msgspec.structs.replace(nic, count=node.devices, bandwidth=f"{gbps or 400:g}Gb/s")
    node = msgspec.structs.replace(node, nic=nic)
    levels = [LevelSpec(name="leaf", topology="rail", latency=0.0, in_network=adds)]
    if racks and nodes > racks:
        link = node.link
        assert link is not None
        rack = LevelSpec(
            name="rack", topology="nvswitch", nodes=nodes // racks, bandwidth=link.bandwidth, latency=link.latency
        )
        levels = [rack, *levels]
    cluster = resolve_cluster(ClusterSpec(name=generation, node=node, nodes=nodes, fabric=tuple(levels)), generation)
    return build_network(cluster)


def compute_bandwidths(rows: Iterable[Bandwidth]) -> dict[Bandwidth, float]:
    """The model's bus bandwidths, bytes/s."""
    runs: dict[tuple[object, ...], list[Bandwidth]] = defaultdict(list)
    for row in rows:
        key = (row.generation, row.nodes, row.devices, row.racks, row.fabric, row.gbps, row.algorithm, row.collective)
        runs[key].append(row)
    predicted: dict[Bandwidth, float] = {}
    for run in runs.values():
        first, ones = run[0], np.ones(len(run), dtype=np.int64)
        size_bytes = np.array([float(row.size_bytes) for row in run])
        group = build_rank_group(first.ranks * ones, ones)
        seconds = COLLECTIVES[first.collective](first.network, size_bytes, group)
        bytes_per_s = FACTORS[first.collective] * (first.ranks - 1) / first.ranks * size_bytes / seconds
        predicted |= dict(zip(run, bytes_per_s.tolist(), strict=True))
    return predicted


def read_rows() -> list[Bandwidth]:
    """All rows, in the file's order."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return [
            Bandwidth(
                id=row["id"],
                source=row["source"],
                accelerator=row["accelerator"],
                nodes=int(row["nodes"]),
                devices=int(row["devices_per_node"]),
                racks=int(row["racks"] or 0),
                fabric=row["fabric"],
                gbps=float(row["inter_gbps_per_device"] or 0),
                collective=row["collective"],
                algorithm=row["algorithm"],
                size_bytes=int(row["size_bytes"]),
                measured=1e9 * float(row["busbw_GBps"]),
                fitted=row["fitted"] == "yes",
            )
            for row in csv.DictReader(file)
        ]
