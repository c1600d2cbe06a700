"""Cluster files of every fabric, for tests."""

from __future__ import annotations

import math

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import parse_cluster_spec

PART = """
name = "fabric"
nodes = {nodes}
[node]
devices = {devices}
{link}
[node.accelerator]
name = "chip"
peak_flops = {{ bf16 = "300TFLOP/s" }}
memory = {{ capacity = "40GiB", bandwidth = "1.5TB/s" }}
"""
NIC = """
[node.nic]
count = {nics}
bandwidth = "200Gb/s"
"""
SWITCHED = 'link = { topology = "nvswitch", bandwidth = "300GB/s" }'


def load_preset(name: str, nodes: int) -> Cluster:
    """A preset with so many nodes."""
    return resolve_cluster(presets.load_cluster_spec(name), name, nodes=nodes)


def build_fabric(
    *levels: str, nodes: int = 1, devices: int = 8, link: str = SWITCHED, nics: int = 8, used: int | None = None
) -> Cluster:
    """A cluster of levels given as lines of a [[fabric]] table each; `used`: of its devices, so many."""
    text = PART.format(nodes=nodes, devices=devices, link=link) + (NIC.format(nics=nics) if nics else "")
    text += "".join(f"[[fabric]]\n{level}\n" for level in levels)
    return resolve_cluster(parse_cluster_spec(text, "toml", "fabric.toml"), "fabric.toml", devices=used)


def level(name: str, topology: str, nodes: int = 0, **keys: object) -> str:
    """The lines of one level."""
    lines = [f'name = "{name}"', f'topology = "{topology}"', *([f"nodes = {nodes}"] if nodes else [])]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items())])


def build_torus(shape: list[int], wrap: str = "true", *, devices: int = 1) -> Cluster:
    """A torus of links of 10 GB/s."""
    nodes = 1
    for side in shape:
        nodes *= side
    rate = f'"{20 * len(shape)}GB/s"'
    ici = level("ici", "torus", nodes // devices, shape=shape, wrap=wrap, bandwidth=rate)
    link = f'link = {{ topology = "torus", bandwidth = {rate} }}'
    return build_fabric(ici, nodes=nodes // devices, devices=devices, link=link, nics=0)


def build_tori(shape: list[int], wrap: str, *, nodes: int) -> Cluster:
    """Tori of nodes of one device and links of 10 GB/s, joined by a network that gives each 12.5 GB/s."""
    size, rate = math.prod(shape), f'"{20 * len(shape)}GB/s"'
    ici = level("ici", "torus", size, shape=shape, wrap=wrap, bandwidth=rate)
    link = f'link = {{ topology = "torus", bandwidth = {rate} }}'
    return build_fabric(ici, level("dcn", "fat-tree", oversubscription=2), nodes=nodes, devices=1, link=link, nics=1)


def build_node_cluster(topology: str, devices: int = 8, used: int | None = None, **keys: object) -> Cluster:
    """One node whose devices have 70 GB/s each."""
    figures = "".join(f", {key} = {value}" for key, value in keys.items())
    link = f'link = {{ topology = "{topology}", bandwidth = "70GB/s"{figures} }}'
    return build_fabric(devices=devices, link=link, nics=0, used=used)
