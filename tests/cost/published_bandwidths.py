"""The published nccl-tests runs, and what the model says of each."""

from __future__ import annotations

import csv
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
from planner.cost.collectives import load_collective_library
from planner.cost.rank_groups import build_rank_group

PUBLISHED = Path(__file__).parents[1] / "published" / "nccl_tests.csv"
NODES = {"a100": "dgx-a100", "h100": "dgx-h100", "h200": "dgx-h100", "b200": "dgx-b200"}
FACTORS = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "all_to_all": 1.0}
COLLECTIVES = {name: getattr(collectives, f"compute_{name}_s") for name in FACTORS}


@dataclass(frozen=True)
class Bandwidth:
    """One row; `measured` is bus bandwidth in bytes/s, `gbps` a device's share of the NICs."""

    id: str
    source: str
    accelerator: str
    nodes: int
    devices: int
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
    def network(self) -> Network:
        """The machine: a DGX of the generation with the row's NICs."""
        return machine(
            self.accelerator.split("-")[0], self.nodes, self.devices, self.gbps, self.algorithm == "collnet"
        )

    def predicted(self) -> float:
        """The model's bus bandwidth, bytes/s."""
        ranks = self.nodes * self.devices
        over = build_rank_group(np.array([ranks]), np.array([1]))
        seconds = COLLECTIVES[self.collective](self.network, np.array([float(self.size_bytes)]), over)[0]
        return float(FACTORS[self.collective] * (ranks - 1) / ranks * self.size_bytes / seconds)

    def log_error(self) -> float:
        """Logarithm of predicted over measured."""
        return float(np.log(self.predicted() / self.measured))


@cache
def machine(generation: str, nodes: int, devices: int, gbps: float, adds: bool) -> Network:
    """A cluster of DGX nodes, at the shares of its links that NCCL itself counts with."""
    node = presets.load_node_spec(NODES[generation])
    assert node.nic is not None
    node = msgspec.structs.replace(node, nic=msgspec.structs.replace(node.nic, bandwidth=f"{gbps or 400:g}Gb/s"))
    leaf = LevelSpec(name="leaf", topology="rail", latency=0.0, in_network=adds)
    cluster = resolve_cluster(
        ClusterSpec(name=generation, node=node, nodes=nodes, fabric=(leaf,)), generation, devices=nodes * devices
    )
    nccl = load_collective_library("nccl")
    known = nccl.find_generation(cluster.accelerator.architecture)
    assert known is not None and known.link_share is not None
    return build_network(cluster, link_efficiency=known.link_share, nic_efficiency=nccl.nic_bandwidth_share)


def rows() -> list[Bandwidth]:
    """All rows, in the file's order."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return [
            Bandwidth(
                id=row["id"],
                source=row["source"],
                accelerator=row["accelerator"],
                nodes=int(row["nodes"]),
                devices=int(row["devices_per_node"]),
                gbps=float(row["inter_gbps_per_device"] or 0),
                collective=row["collective"],
                algorithm=row["algorithm"],
                size_bytes=int(row["size_bytes"]),
                measured=1e9 * float(row["busbw_GBps"]),
                fitted=row["fitted"] == "yes",
            )
            for row in csv.DictReader(file)
        ]
