"""A measured run as a question to the cost model: which model, cluster, settings, and what the row leaves open."""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario, build_scenario
from planner.errors import InputError
from planner.evidence.model_and_cluster import build_run_cluster, build_run_workload
from planner.evidence.runs import MeasuredRun, RowError
from planner.search.space import Space
from planner.trainers.trainer import LaunchMode, TrainerName

_PRECISION_ALIASES = {"amp_bf16": "bf16", "amp_fp16": "fp16", "amp_fp8": "fp8", "": "bf16"}
_FRAMEWORK_BY_SHARDING: dict[str, TrainerName] = {
    "fsdp": "megatron-fsdp",
    "fsdp2": "fsdp2",
    "full_shard": "fsdp",
    "shard_grad_op": "fsdp",
    "hybrid_shard": "fsdp",
    "zero-2": "deepspeed",
    "zero-3": "deepspeed",
}
_ARXIV_PATTERN = re.compile(r"arXiv (\d{4})\.\d{4,5}")
_CONTAINER_PATTERN = re.compile(r"(\d\d)\.(\d\d)\S* NeMo")


@dataclass(frozen=True)
class BoundRun:
    """What the cost model is asked, and which columns the row left to it."""

    scenario: Scenario
    cluster: Cluster
    space: Space
    unstated_columns: tuple[str, ...]


def bind_run(run: MeasuredRun) -> BoundRun:
    """The question of a row. Raises RowError where the row does not say enough or contradicts itself."""
    try:
        workload = build_run_workload(run)
        cluster = build_run_cluster(run)
        global_batch = run.numbers["global_batch"]
        if global_batch is None:
            raise RowError("global_batch is empty")
        scenario = build_scenario(
            workload,
            cluster,
            global_batch=global_batch,
            precision=_PRECISION_ALIASES.get(run.precision, run.precision),
            attention="unfused" if _is_before_flash_attention(run) else "flash",
            framework=_infer_framework(run),
            launch=_infer_launch(run),
            tp_overlap="async tp" in run.notes.lower(),
            # NVIDIA's performance recipes reduce gradients in 16 bit (Megatron-Bridge, scripts/performance)
            gradients="bf16" if _CONTAINER_PATTERN.search(run.locator) else None,
        )
    except InputError as error:
        raise RowError(" ".join(str(error).split())) from None
    allowed, unstated_columns = _build_allowed_values(run)
    return BoundRun(scenario, cluster, Space(cluster.devices, global_batch, allowed), unstated_columns)


def _join_notes(run: MeasuredRun) -> str:
    return f"{run.notes} {run.source}".lower()


def _is_before_flash_attention(run: MeasuredRun) -> bool:
    """Whether the notes say so, or the paper is older than FlashAttention's (arXiv 2205.14135)."""
    paper = _ARXIV_PATTERN.search(run.source)
    return "no flashattention" in _join_notes(run) or (paper is not None and int(paper[1]) <= 2205)


def _infer_framework(run: MeasuredRun) -> TrainerName:
    """By the sharding; Megatron is today's from the NeMo release on that the row's place in its source names.

    Whole steps as one graph and the hidden exchange of experts are in NVIDIA's recipes for Blackwell alone
    (Megatron-Bridge, scripts/performance/configs).
    """
    if run.accelerator.startswith("tpu"):
        return "maxtext"
    if run.sharding.lower() in _FRAMEWORK_BY_SHARDING:
        return _FRAMEWORK_BY_SHARDING[run.sharding.lower()]
    container = _CONTAINER_PATTERN.search(run.locator)
    is_current_release = container is not None and (int(container[1]), int(container[2])) >= (26, 6)
    return "megatron" if is_current_release and re.match(r"g?b\d", run.accelerator) else "megatron-classic"


def _infer_launch(run: MeasuredRun) -> LaunchMode | None:
    """How kernels are launched, as far as the notes say; else as the framework does by itself.

    PyTorch's 8-bit multiplies are made for torch.compile: without it each cast is a kernel of its own.
    """
    is_8bit = _FRAMEWORK_BY_SHARDING.get(run.sharding.lower()) == "fsdp2" and "8" in run.precision
    return "compiled" if is_8bit or "torch.compile" in _join_notes(run) else None


def _build_allowed_values(run: MeasuredRun) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Pinned values by dimension, and the columns that the row leaves open."""
    allowed: dict[str, tuple[int, ...]] = {}
    unstated_columns = []
    for column in ("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch"):
        value = run.numbers[column]
        if value is None:
            unstated_columns.append(column)
        else:
            allowed[column] = (value,)
    modes = {"none": 0, "no": 0, "selective": 1, "full": 2}
    if run.recompute in modes:
        allowed["recompute"] = (modes[run.recompute],)
    else:
        unstated_columns.append("recompute")
    if run.seq_parallel is None:
        # sequence parallelism (arXiv 2205.05198) goes with tensor parallelism unless a row says no, or is older
        is_disabled = run.numbers["tp"] == 1 or _is_before_flash_attention(run)
        allowed["sequence_parallel"] = (0,) if is_disabled else (1,)
        unstated_columns += [] if run.numbers["tp"] == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (int(run.seq_parallel),)
    zero_stage = _infer_zero_stage(run)
    ranks = (run.numbers["dp"] or 2) * (run.numbers["cp"] or 1)
    if zero_stage is None:
        unstated_columns.append("sharding")
        # today's Megatron shares the optimizer; it came to it in the summer of 2022, as FlashAttention did
        zero_stage = 0 if _is_before_flash_attention(run) else 1
    allowed["zero_stage"] = (zero_stage if ranks > 1 else 0,)
    return allowed, tuple(unstated_columns)


def _infer_zero_stage(run: MeasuredRun) -> int | None:
    name = run.sharding.lower()
    if name in ("full_shard", "fsdp", "fsdp2", "zero3", "zero-3"):
        return 3 if run.require_number("devices") > 1 else 0
    if name in ("shard_grad_op", "zero2", "zero-2"):
        return 2
    if name in ("distributed-optimizer", "zero1", "zero-1"):
        return 1
    return 0 if name in ("ddp", "none", "no_shard") else None
