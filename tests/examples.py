"""Small models and clusters that tests share, and hypothesis strategies for random ones."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from planner.cluster.build.pools import HeteroCluster, resolve_pools
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import parse_cluster_spec
from planner.cost.collectives.library import CollectiveLibrary, GenerationSpec, MessageSpec, load_collective_library
from planner.cost.scenario import Scenario, build_scenario
from planner.workload.operators import Workload
from planner.workload.presets import parse_model_file
from planner.workload.spec import ModelSpec, MoeSpec
from planner.workload.transformer import build_workload

LAB = """
name = "lab"
nodes = {nodes}

[node]
devices = {devices}

[node.accelerator]
name = "chip"
peak_flops = {{ bf16 = "{tflops}TFLOP/s" }}
memory = {{ capacity = "{memory}GiB", bandwidth = "{hbm}GB/s" }}

[node.link]
bandwidth = "{link}GB/s"
latency = "{alpha}us"

[node.nic]
count = {devices}
bandwidth = "{nic}Gb/s"
latency = "5us"

[[fabric]]
name = "leaf"
nodes = 2

[[fabric]]
name = "spine"
oversubscription = {oversubscription}
"""

DEFAULTS = {
    "nodes": 4,
    "devices": 4,
    "tflops": 300,
    "memory": 40,
    "hbm": 2000,
    "link": 300,
    "alpha": 3,
    "nic": 200,
    "oversubscription": 1.0,
}


WIRED = """
[[hosts]]
name = "n[0-3]"

[[switches]]
name = "leaf[0-1]"

[[switches]]
name = "spine"

[[links]]
ends = ["n[0-1]", "leaf0"]
bandwidth = "200Gb/s"
cables = 4

[[links]]
ends = ["n[2-3]", "leaf1"]
bandwidth = "200Gb/s"
cables = 4

[[links]]
ends = ["leaf[0-1]", "spine"]
bandwidth = "{up}Gb/s"
"""


def wired(oversubscription: float = 1.0) -> Cluster:
    """The same cluster as a wired cluster."""
    node = LAB.format(**DEFAULTS).partition("[[fabric]]")[0].replace("nodes = 4", "")
    text = node + WIRED.format(up=1600 / oversubscription)
    return resolve_cluster(parse_cluster_spec(text, "toml", "wired.toml"), "wired.toml")


def lab(**changes: float) -> Cluster:
    """A cluster of a few nodes with any figure changed."""
    return resolve_cluster(parse_cluster_spec(LAB.format(**{**DEFAULTS, **changes}), "toml", "lab.toml"), "lab.toml")


POOL = """
[[pools]]
nodes = {nodes}

[pools.node]
name = "{name}"
devices = {devices}

[pools.node.accelerator]
name = "{name}-chip"
peak_flops = {{ bf16 = "{tflops}TFLOP/s" }}
memory = {{ capacity = "{memory}GiB", bandwidth = "{hbm}GB/s" }}

[pools.node.link]
bandwidth = "{link}GB/s"
latency = "{alpha}us"

[pools.node.nic]
count = {devices}
bandwidth = "{nic}Gb/s"
latency = "5us"
"""


def pools_file(**changes: float) -> str:
    """A cluster file of two pools with any figure changed, of the slow pool as `slow_tflops` and so on."""
    shared = {**DEFAULTS, "nodes": 2, **{name: value for name, value in changes.items() if name in DEFAULTS}}
    slow = {**shared, **{name.removeprefix("slow_"): value for name, value in changes.items() if "slow_" in name}}
    levels = LAB[LAB.index("[[fabric]]") :].format(**shared)
    pools_text = POOL.format(name="fast", **shared) + POOL.format(name="slow", **slow)
    return f'name = "both"\n\n{levels}{pools_text}'


def pools(**changes: float) -> HeteroCluster:
    """The cluster of such a file."""
    return resolve_pools(parse_cluster_spec(pools_file(**changes), "toml", "both.toml"), "both.toml")


def tiny(**changes: object) -> Workload:
    """A small decoder with any key changed."""
    fields: dict[str, object] = {
        "name": "tiny",
        "hidden_size": 512,
        "layers": 8,
        "heads": 8,
        "ffn_size": 2048,
        "vocab_size": 8192,
        "seq_length": 1024,
        "gated_mlp": True,
        "norm": "rmsnorm",
    }
    return build_workload(ModelSpec(**{**fields, **changes}))  # type: ignore[arg-type]


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Small decoders and encoders, dense and MoE."""
    heads = draw(st.sampled_from([2, 4, 6, 8]))
    moe = None
    if draw(st.booleans()):
        experts = draw(st.sampled_from([2, 4, 8]))
        first_dense = draw(st.integers(0, 1))
        moe = MoeSpec(
            experts=experts, topk=draw(st.integers(1, 2)), expert_ffn_size=256, first_dense_layers=first_dense
        )
    architecture = draw(st.sampled_from(["decoder", "encoder"]))
    return tiny(
        hidden_size=heads * 64,
        layers=draw(st.integers(2, 7)),
        heads=heads,
        kv_heads=draw(st.sampled_from([heads, 2, 1])),
        ffn_size=draw(st.sampled_from([512, 768])),
        seq_length=draw(st.sampled_from([128, 256, 4096])),
        tied_embeddings=draw(st.booleans()),
        dropout=draw(st.booleans()),
        architecture=architecture,
        mtp_layers=draw(st.integers(0, 2)) if architecture == "decoder" else 0,
        moe=moe,
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Small clusters, some too small for the model."""
    return lab(
        nodes=draw(st.sampled_from([1, 2, 3, 4])),
        devices=draw(st.sampled_from([1, 2, 4])),
        memory=draw(st.sampled_from([3.3, 3.7, 5, 40])),
        link=draw(st.sampled_from([50, 300])),
        nic=draw(st.sampled_from([25, 200])),
        oversubscription=draw(st.sampled_from([1.0, 4.0])),
    )


def lab_scenario(workload: Workload | None = None, cluster: Cluster | None = None, batch: int = 32) -> Scenario:
    """A workload bound to a cluster."""
    return build_scenario(workload or tiny(), cluster or lab(), global_batch=batch)


def bulk_only() -> CollectiveLibrary:
    """A library without latency, with the plain algorithms and a single protocol, which has all of the bandwidth."""
    nccl = load_collective_library("nccl")
    bulk = nccl.algorithms["ring"][-1]
    plain = replace(bulk, base_s=0.0, link_step_ratio=1.0, network_step_ratio=1.0)
    return replace(
        nccl,
        algorithms=dict.fromkeys(("ring", "pairwise"), (plain,)),
        generations={},
        other_generations=GenerationSpec(link_share=1.0),
        nic_bandwidth_share=1.0,
        message=MessageSpec(),
        own_part=0.0,
        rails=float("inf"),
    )


NETWORK = """
name = "net"
sample = "image"
input = [3, {size}, {size}]

[stem]
operators = [{{ op = "conv2d", out = {width}, kernel = 3, batch_norm = true, relu = true }}]

[[layers]]
repeat = {repeat}
operators = [
  {{ op = "conv2d", out = {width}, kernel = 3, groups = {groups}, batch_norm = true, relu = true }},
  {{ op = "conv2d", out = {width}, kernel = 1, batch_norm = true }},
  {{ op = "add", with = ["input"], relu = true }},
]

[[layers]]
operators = [{{ op = "conv2d", out = {out}, kernel = 3, stride = 2, batch_norm = true, relu = true }}]

[[layers]]
repeat = 2
operators = [
  {{ op = "avg_pool", name = "pooled", kernel = 3, stride = 1, padding = "same" }},
  {{ op = "conv2d", from = "input", out = {out}, kernel = [1, 7] }},
  {{ op = "add", with = ["pooled", "input"] }},
]

[head]
operators = [{{ op = "global_pool" }}, {{ op = "linear", out = 10 }}, {{ op = "loss" }}]
"""


def network(**changes: int) -> Workload:
    """A small convolutional network with any size changed."""
    sizes = {"size": 32, "width": 16, "repeat": 2, "groups": 1, "out": 32, **changes}
    return build_workload(parse_model_file(NETWORK.format(**sizes), "toml", "net.toml"))


@st.composite
def networks(draw: st.DrawFn) -> Workload:
    """Small convolutional networks, some in groups, whose layers pass on larger and smaller tensors."""
    return network(
        size=draw(st.sampled_from([16, 33, 64])),
        width=draw(st.sampled_from([8, 64])),
        repeat=draw(st.integers(1, 3)),
        groups=draw(st.sampled_from([1, 8])),
        out=draw(st.sampled_from([8, 256])),
    )
