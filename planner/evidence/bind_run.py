"""A measured run as a question to the cost model: which model, cluster, settings, and what the row leaves open."""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import FrameworkName, Launch, Training, training
from planner.errors import InputError
from planner.evidence.model_and_cluster import cluster_of, workload_of
from planner.evidence.runs import RowError, Run
from planner.search.space import Space

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
        workload = workload_of(run)
        cluster = cluster_of(run)
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
            tp_overlap="async tp" in run.notes.lower(),
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
    """By the sharding; Megatron is today's from the NeMo release on that the row's place in its source names.

    Whole steps as one graph and the hidden exchange of experts are in NVIDIA's recipes for Blackwell alone
    (Megatron-Bridge, scripts/performance/configs).
    """
    if run.accelerator.startswith("tpu"):
        return "maxtext"
    if run.sharding.lower() in _FRAMEWORKS:
        return _FRAMEWORKS[run.sharding.lower()]
    container = _CONTAINER.search(run.locator)
    today = container is not None and (int(container[1]), int(container[2])) >= (26, 6)
    return "megatron" if today and re.match(r"g?b\d", run.accelerator) else "megatron-classic"


def _launch(run: Run) -> Launch | None:
    """How kernels are launched, as far as the notes say; else as the framework does by itself.

    PyTorch's 8-bit multiplies are made for torch.compile: without it each cast is a kernel of its own.
    """
    narrow = _FRAMEWORKS.get(run.sharding.lower()) == "fsdp2" and "8" in run.precision
    return "compiled" if narrow or "torch.compile" in _told(run) else None


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
        # sequence parallelism (arXiv 2205.05198) goes with tensor parallelism unless a row says no, or is older
        without = run.numbers["tp"] == 1 or _before_flash_attention(run)
        allowed["sequence_parallel"] = (0,) if without else (1,)
        filled += [] if run.numbers["tp"] == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (int(run.seq_parallel),)
    zero = _zero_stage(run)
    ranks = (run.numbers["dp"] or 2) * (run.numbers["cp"] or 1)
    if zero is None:
        filled.append("sharding")
        # today's Megatron shares the optimizer; it came to it in the summer of 2022, as FlashAttention did
        zero = 0 if _before_flash_attention(run) else 1
    allowed["zero_stage"] = (zero if ranks > 1 else 0,)
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
