"""A measured run as a question to the cost model: which model, cluster, settings, and what the row leaves open."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from planner.cluster import database
from planner.cluster.accelerator import AcceleratorSpec
from planner.cluster.cluster import Cluster, resolve_cluster
from planner.cost.training import FrameworkName, Launch, Training, training
from planner.errors import InputError
from planner.search.space import Space
from planner.validation.runs import RowError, Run
from planner.workload.build import build_workload
from planner.workload.operators import Workload
from planner.workload.presets import preset
from planner.workload.spec import ModelSpec, checked

# Which preset lends what the table has no column for (gating, norms, MLA, experts' width), by the model's name.
_FAMILIES = (
    (r"deepseek-?v3", "deepseek-v3"),
    (r"deepseek-?v2", "deepseek-v2"),
    (r"gpt[ _-]?oss", "gpt-oss-120b"),
    (r"qwen3.*a3b", "qwen3-30b-a3b"),
    (r"mixtral", "mixtral-8x7b"),
    (r"llama", "llama-3-70b"),
    (r"mpt", "mpt-7b"),
    (r"gpt|megatron", "megatron-22b"),
)
# Which cluster an accelerator of a row stands in.
_CLUSTERS = (
    (r"gb[23]00", "gb200-nvl72"),
    (r"b[23]00", "dgx-b200"),
    (r"h[12]00", "dgx-h100"),
    (r"a[18]00", "dgx-a100"),
    (r"v100", "dgx-v100"),
)
_ACCELERATORS = {"h100": "h100-sxm-80gb", "a100": "a100-sxm-80gb", "v100": "v100-sxm2-32gb", "h200": "h200-sxm"}
_PRECISIONS = {"amp_bf16": "bf16", "amp_fp16": "fp16", "amp_fp8": "fp8", "": "bf16"}
_FRAMEWORKS: dict[str, FrameworkName] = {
    "fsdp": "megatron-fsdp",
    "fsdp2": "fsdp2",
    "full_shard": "fsdp",
    "shard_grad_op": "fsdp",
    "hybrid_shard": "fsdp",
    "zero-2": "deepspeed",
    "zero-3": "deepspeed",
}
_ARXIV = re.compile(r"arXiv (\d{4})\.\d{4,5}")
_CONTAINER = re.compile(r"(\d\d)\.(\d\d)\S* NeMo")


@dataclass(frozen=True)
class Question:
    """What the cost model is asked, and which columns the row left to it."""

    training: Training
    cluster: Cluster
    space: Space
    filled: tuple[str, ...]


def bind(run: Run) -> Question:
    """The question of a row. Raises RowError where the row does not say enough or contradicts itself."""
    try:
        workload = _workload(run)
        cluster = _cluster(run)
        batch = run.numbers["global_batch"]
        if batch is None:
            raise RowError("global_batch is empty")
        bound = training(
            workload,
            cluster,
            global_batch=batch,
            precision=_PRECISIONS.get(run.precision, run.precision),
            attention="unfused" if _before_flash_attention(run) else "flash",
            framework=_framework(run),
            launch=_launch(run),
            # NVIDIA's performance recipes reduce gradients in 16 bit (Megatron-Bridge, scripts/performance)
            gradients="bf16" if _CONTAINER.search(run.locator) else None,
        )
    except InputError as error:
        raise RowError(" ".join(str(error).split())) from None
    allowed, filled = _allowed(run)
    return Question(bound, cluster, Space(cluster.devices, batch, allowed), filled)


def _told(run: Run) -> str:
    return f"{run.notes} {run.source}".lower()


def _before_flash_attention(run: Run) -> bool:
    """Whether the notes say so, or the paper is older than FlashAttention's (arXiv 2205.14135)."""
    paper = _ARXIV.search(run.source)
    return "no flashattention" in _told(run) or (paper is not None and int(paper[1]) <= 2205)


def _framework(run: Run) -> FrameworkName:
    """By the sharding; Megatron is today's from the NeMo release on that the row's place in its source names."""
    if run.sharding.lower() in _FRAMEWORKS:
        return _FRAMEWORKS[run.sharding.lower()]
    container = _CONTAINER.search(run.locator)
    today = container is not None and (int(container[1]), int(container[2])) >= (26, 6)
    return "megatron" if today else "megatron-classic"


def _launch(run: Run) -> Launch | None:
    """How kernels are launched, as far as the notes say; else as the framework does by itself.

    PyTorch's 8-bit multiplies are made for torch.compile: without it each cast is a kernel of its own.
    """
    narrow = _FRAMEWORKS.get(run.sharding.lower()) == "fsdp2" and "8" in run.precision
    return "compiled" if narrow or "torch.compile" in _told(run) else None


def _workload(run: Run) -> Workload:
    name = next((base for pattern, base in _FAMILIES if re.search(pattern, run.model.lower())), "")
    base = preset(name) if name else _generic(run)
    layers = run.need("layers")
    moe = base.moe
    if moe is not None and run.numbers["experts"]:
        first_dense = (
            min(moe.first_dense_layers, max(layers // 4, 0)) if layers < base.layers else moe.first_dense_layers
        )
        moe = msgspec.structs.replace(
            moe,
            experts=run.need("experts"),
            topk=run.numbers["topk"] or moe.topk,
            first_dense_layers=first_dense,
        )
    hidden, heads, seq = run.need("hidden"), run.need("heads"), run.need("seq")
    spec = msgspec.structs.replace(
        base,
        name=run.model,
        title=run.model,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=None if base.mla else run.numbers["kv_heads"],
        head_dim=base.head_dim if base.moe else None,
        ffn_size=run.need("ffn"),
        vocab_size=run.need("vocab"),
        seq_length=seq,
        learned_positions=seq if base.learned_positions else 0,
        moe=moe,
        published=None,
    )
    return build_workload(checked(spec, run.id))


def _generic(run: Run) -> ModelSpec:
    """A decoder of no known family: gated where the MLP is narrower than four times the hidden size."""
    gated = run.need("ffn") < 4 * run.need("hidden")
    return preset("llama-3-70b" if gated else "megatron-22b")


def _cluster(run: Run) -> Cluster:
    name = next((cluster for pattern, cluster in _CLUSTERS if re.match(pattern, run.accelerator)), "")
    if not name:
        raise RowError(f"accelerator {run.accelerator!r} stands in no known cluster")
    spec = database.cluster_spec(name)
    node = database.node_spec(spec.node) if isinstance(spec.node, str) else spec.node
    part: AcceleratorSpec = database.accelerator_spec(_ACCELERATORS.get(run.accelerator, run.accelerator))
    nic = node.nic
    if nic is not None and run.inter_gbps_per_device:
        per_card = run.inter_gbps_per_device * 1e9 / 8 * node.devices / nic.count
        nic = msgspec.structs.replace(nic, bandwidth=per_card)
    node = msgspec.structs.replace(node, accelerator=part, nic=nic)
    return resolve_cluster(
        msgspec.structs.replace(spec, node=node, max_nodes=None), run.id, devices=run.need("devices")
    )


def _allowed(run: Run) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Pinned values by dimension, and the columns that the row leaves open."""
    allowed: dict[str, tuple[int, ...]] = {}
    filled = []
    for column in ("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch"):
        value = run.numbers[column]
        if value is None:
            filled.append(column)
        else:
            allowed[column] = (value,)
    modes = {"none": 0, "no": 0, "selective": 1, "full": 2}
    if run.recompute in modes:
        allowed["recompute"] = (modes[run.recompute],)
    else:
        filled.append("recompute")
    if run.seq_parallel is None:
        # sequence parallelism goes with tensor parallelism unless a row says otherwise
        tp = run.numbers["tp"]
        allowed["sequence_parallel"] = (0,) if tp == 1 else (1,)
        filled += [] if tp == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (int(run.seq_parallel),)
    zero = _zero_stage(run)
    if zero is None:
        filled.append("sharding")
        ranks = (run.numbers["dp"] or 2) * (run.numbers["cp"] or 1)
        # today's Megatron shares the optimizer; it came to it in the summer of 2022, as FlashAttention did
        allowed["zero_stage"] = (1,) if ranks > 1 and not _before_flash_attention(run) else (0,)
    else:
        allowed["zero_stage"] = (zero,)
    return allowed, tuple(filled)


def _zero_stage(run: Run) -> int | None:
    name = run.sharding.lower()
    if name in ("full_shard", "fsdp", "fsdp2", "zero3", "zero-3"):
        return 3 if run.need("devices") > 1 else 0
    if name in ("shard_grad_op", "zero2", "zero-2"):
        return 2
    if name in ("distributed-optimizer", "zero1", "zero-1"):
        return 1
    return 0 if name in ("ddp", "none", "no_shard") else None
