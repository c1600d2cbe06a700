"""Build the model and the cluster of a measured run from the columns of its row and from presets."""

from __future__ import annotations

import math
import re

import msgspec

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import ClusterSpec, LevelSpec, NicSpec, NodeLinkSpec, NodeSpec
from planner.evidence.runs import MeasuredRun, RowError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec, DevicePowerSpec
from planner.workload.operators import Workload
from planner.workload.presets import read_transformer_preset
from planner.workload.spec import ModelSpec, MoeSpec, check_model_spec
from planner.workload.transformer import build_workload

# The preset for what the table has no column for (gating, norms, MLA, width of experts), by a pattern of the model's
# name; the first match counts.
_FAMILY_PRESETS = (
    (r"deep-?seek[ _-]*v?2", "deepseek-v2"),
    (r"deep-?seek", "deepseek-v3"),
    (r"kimi", "kimi-k2"),
    (r"moonlight", "moonlight-16b-a3b"),
    (r"gpt[ _-]?oss[ _-]?20", "gpt-oss-20b"),
    (r"gpt[ _-]?oss", "gpt-oss-120b"),
    (r"qwen3.*235", "qwen3-235b-a22b"),
    (r"qwen3.*(30|moe)", "qwen3-30b-a3b"),
    (r"mixtral.*22", "mixtral-8x22b"),
    (r"mixtral", "mixtral-8x7b"),
    (r"nemotron.*340", "nemotron-4-340b"),
    (r"nemotron", "nemotron-4-15b"),
    (r"llama|mistral|qwen|yi-", "llama-3-70b"),
    (r"mpt", "mpt-7b"),
    (r"bert", "bert-large"),
    (r"gpt|megatron|opt|bloom|mt-?nlg|turing", "megatron-22b"),
)
_ACCELERATOR_ALIASES = {
    "h100": "h100-sxm-80gb",
    "a100": "a100-sxm-80gb",
    "a100-80gb": "a100-sxm-80gb",
    "a100-40gb": "a100-sxm-40gb",
    "a800": "a800-sxm-80gb",
    "h800": "h800-sxm-80gb",
    "v100": "v100-sxm2-32gb",
    "v100-16gb": "v100-sxm2-16gb",
    "h200": "h200-sxm",
    "gh200": "gh200-96gb",
    "tpu7x": "tpu-v7",
    "p100": "p100-sxm2-16gb",
}
"""Names in hardware_db of accelerators with a short name in tables."""
_DEVICES_PER_NODE = 8
_NIC_LATENCY_S = 5e-6
_LINK_LATENCY_S = 3e-6
_DEFAULT_LINK = "100GB/s"
_DEFAULT_NIC_GBPS = 200.0


def build_run_workload(run: MeasuredRun) -> Workload:
    """The model of a row. Raises RowError where the row is incomplete, InputError where the model is not valid."""
    base = _find_base_preset(run)
    layers, hidden, heads, seq = (run.require_count(column) for column in ("layers", "hidden", "heads", "seq"))
    tied = run.get_flag("tied")
    spec = msgspec.structs.replace(
        base,
        name=run.model,
        title=run.model,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=None if base.mla else run.get_count("kv_heads"),
        head_dim=_find_head_dim(run, base),
        ffn_size=run.require_count("ffn"),
        vocab_size=run.require_count("vocab"),
        seq_length=seq,
        learned_positions=seq if base.learned_positions else 0,
        tied_embeddings=base.tied_embeddings if tied is None else tied,
        moe=_build_moe(run, base, layers),
        published=None,
        mtp_layers=run.get_count("mtp_layers") or 0,
    )
    return build_workload(check_model_spec(spec, run.id))


def list_unused_facts(run: MeasuredRun, cluster: Cluster) -> list[str]:
    """What the row states of the model and of the machine, and no field of these says, as `column=value`."""
    unused = []
    devices = run.get_count("devices_per_node")
    if devices is not None and cluster.devices_per_node != min(devices, run.require_count("devices")):
        unused.append(f"devices_per_node={devices} (as {cluster.devices_per_node})")
    if cluster.nics is None:
        # a torus of tori has no NICs
        columns = ("nics_per_node", "nic_gbps", "inter_gbps_per_device")
        unused += [f"{column}={run.get_number(column):g}" for column in columns if run.get_text(column)]
    return unused


def _find_base_preset(run: MeasuredRun) -> ModelSpec:
    """The preset `model_config`, else that of the model's family; of an unknown family, by the MLP (gated below four
    times the hidden size). Raises InputError for an unknown `model_config`.
    """
    preset = run.get_text("model_config")
    if preset:
        return read_transformer_preset(preset)
    for pattern, name in _FAMILY_PRESETS:
        if re.search(pattern, run.model.lower()):
            return read_transformer_preset(name)
    is_gated = run.require_count("ffn") < 4 * run.require_count("hidden")
    return read_transformer_preset("llama-3-70b" if is_gated else "megatron-22b")


def _find_head_dim(run: MeasuredRun, base: ModelSpec) -> int | None:
    """The stated dimension of a head; else that of the preset of a mixture of experts with as many heads."""
    stated = run.get_count("head_dim")
    if stated is not None and base.mla is None:
        return stated
    is_preset_shape = bool(run.get_text("model_config")) or base.moe is not None
    return base.head_dim if is_preset_shape and base.heads == run.require_count("heads") else None


def _build_moe(run: MeasuredRun, base: ModelSpec, layers: int) -> MoeSpec | None:
    experts = run.get_count("experts")
    if not experts:
        return None
    topk, expert_ffn, shared_ffn, first_dense = (
        run.get_count(column) for column in ("topk", "expert_ffn", "shared_ffn", "first_dense_layers")
    )
    if base.moe is None:
        return MoeSpec(
            experts=experts,
            topk=topk or 2,
            expert_ffn_size=expert_ffn or run.require_count("ffn"),
            shared_ffn_size=shared_ffn or 0,
            first_dense_layers=first_dense or 0,
        )
    if first_dense is None:
        # a model with fewer layers than its preset has at most a quarter dense layers
        first_dense = base.moe.first_dense_layers
        first_dense = min(first_dense, layers // 4) if layers < base.layers else first_dense
    if expert_ffn is None:
        is_preset_width = base.hidden_size == run.require_count("hidden")
        expert_ffn = base.moe.expert_ffn_size if is_preset_width else run.require_count("ffn")
    return msgspec.structs.replace(
        base.moe,
        experts=experts,
        topk=topk or base.moe.topk,
        first_dense_layers=first_dense,
        expert_ffn_size=expert_ffn,
        shared_ffn_size=base.moe.shared_ffn_size if shared_ffn is None else shared_ffn,
    )


def build_run_cluster(run: MeasuredRun) -> Cluster:
    """The cluster of a row: the reference cluster of its accelerator, else a preset of it, else a simple one with
    nodes of eight devices; with what the row states of its nodes.

    Raises RowError for an unknown accelerator.
    """
    name = _ACCELERATOR_ALIASES.get(run.accelerator, run.accelerator)
    if name not in database.list_database_names("accelerators"):
        raise RowError(f"accelerator {run.accelerator!r} is not in hardware_db")
    part = database.load_accelerator_spec(name)
    power_w = run.get_number("power_w")
    if power_w is not None:
        idle = None if part.power is None else part.power.idle
        part = msgspec.structs.replace(part, power=DevicePowerSpec(tdp=f"{power_w:.6g}W", idle=idle))
    spec, node = _find_preset_cluster(part) or _build_plain_cluster(part)
    node = msgspec.structs.replace(node, accelerator=part)
    node = _replace_nics(run, _replace_devices(run, node))
    spec = msgspec.structs.replace(spec, node=node, max_nodes=None)
    return resolve_cluster(spec, run.id, devices=run.require_count("devices"))


def _replace_devices(run: MeasuredRun, node: NodeSpec) -> NodeSpec:
    """The node with the stated number of devices, each with its share of the NICs."""
    devices = run.get_count("devices_per_node")
    # a cube mesh and a torus are of their own number of devices
    if devices is None or devices == node.devices or node.link.topology in ("hybrid-cube-mesh", "torus"):
        return node
    nic = node.nic
    if nic is not None:
        nic = msgspec.structs.replace(nic, count=max(1, nic.count * devices // node.devices))
    link = node.link
    # as many switches as the devices need, each with the same number of them
    if link.bridges > 1 or link.switch_devices > 1:
        bridges = math.gcd(link.bridges, devices)
        link = msgspec.structs.replace(
            link, bridges=bridges, switch_devices=math.gcd(link.switch_devices, devices // bridges)
        )
    return msgspec.structs.replace(node, devices=devices, nic=nic, link=link)


def _replace_nics(run: MeasuredRun, node: NodeSpec) -> NodeSpec:
    """The node with the stated NICs: their number, and the bandwidth of each or of a device's share."""
    nic, count, nic_gbps, device_gbps = (
        node.nic,
        run.get_count("nics_per_node"),
        run.get_number("nic_gbps"),
        run.get_number("inter_gbps_per_device"),
    )
    if nic is None:
        return node
    if count is not None:
        nic = msgspec.structs.replace(nic, count=count)
    if nic_gbps is not None:
        nic = msgspec.structs.replace(nic, bandwidth=_format_nic_bandwidth(nic_gbps, 1))
    elif device_gbps is not None:
        nic = msgspec.structs.replace(nic, bandwidth=_format_nic_bandwidth(device_gbps, node.devices / nic.count))
    return msgspec.structs.replace(node, nic=nic)


def _format_nic_bandwidth(gbps_per_device: float, devices_per_nic: float) -> str:
    return f"{gbps_per_device * devices_per_nic:.6g}Gb/s"


def _find_preset_cluster(part: AcceleratorSpec) -> tuple[ClusterSpec, NodeSpec] | None:
    """The reference cluster of this accelerator, of another variant of it, or of its generation; else any cluster of
    this accelerator; None without one.
    """
    candidates = []
    for name in database.list_database_names("clusters"):
        spec = presets.load_cluster_spec(name)
        if spec.node is None:
            continue
        node = presets.load_node_spec(spec.node) if isinstance(spec.node, str) else spec.node
        other_part = (
            database.load_accelerator_spec(node.accelerator)
            if isinstance(node.accelerator, str)
            else node.accelerator
        )
        similarity = _rank_similarity(part, other_part)
        if similarity and (spec.reference or part.name == other_part.name):
            candidates.append((spec.reference, similarity, name, spec, node))
    if not candidates:
        return None
    *_, spec, node = max(candidates, key=lambda candidate: candidate[:3])
    return spec, node


def _rank_similarity(part: AcceleratorSpec, other: AcceleratorSpec) -> int:
    """3: the same accelerator; 2: the same family (b200 and b300, not gb200); 1: the same generation and form factor;
    0: none of these.
    """
    if part.name == other.name:
        return 3
    family = re.match(r"[a-z-]+", part.name)
    is_same_family = family is not None and other.name.startswith(family[0]) and family[0] != "tpu-v"
    if is_same_family and part.architecture.split("-")[0] == other.architecture.split("-")[0]:
        return 2
    return 1 if part.architecture == other.architecture and "sxm" in part.name else 0


def _build_plain_cluster(part: AcceleratorSpec) -> tuple[ClusterSpec, NodeSpec]:
    link = part.link.bandwidth if part.link is not None else _DEFAULT_LINK
    node = NodeSpec(
        name=f"{part.name}-node",
        accelerator=part,
        devices=_DEVICES_PER_NODE,
        link=NodeLinkSpec(bandwidth=link, latency=_LINK_LATENCY_S),
        nic=NicSpec(
            count=_DEVICES_PER_NODE, bandwidth=_format_nic_bandwidth(_DEFAULT_NIC_GBPS, 1), latency=_NIC_LATENCY_S
        ),
    )
    spec = ClusterSpec(
        name=part.name, node=node, nodes=1, fabric=(LevelSpec(name="fabric", topology="fat-tree", latency=1e-6),)
    )
    return spec, node
