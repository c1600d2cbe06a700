"""What a measured run's sharding and free text reveal of its trainer: two tables of facts, each with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from planner.evidence.runs import MeasuredRun
from planner.trainers.names import GradientDtype, LaunchMode, TrainerName


@dataclass(frozen=True)
class ShardingFact:
    """What a value of the column `sharding` stands for."""

    trainer: TrainerName | None
    """The trainer that uses this word; None: Megatron, or nothing is known."""
    zero_stage: int | None
    """The ZeRO stage (arXiv 1910.02054); None: the word leaves it open."""


@dataclass(frozen=True)
class TextFact:
    """What to look for in the text of a run, and why it reveals something."""

    columns: tuple[Literal["notes", "source", "locator"], ...]
    pattern: re.Pattern[str]
    reason: str

    def search(self, run: MeasuredRun) -> re.Match[str] | None:
        """The first match in the columns' text."""
        return self.pattern.search(" ".join(getattr(run, column) for column in self.columns))


SHARDING_FACTS = {
    # Megatron-LM: --data-parallel-sharding-strategy, --use-distributed-optimizer
    "fsdp": ShardingFact("megatron-fsdp", 3),
    "distributed-optimizer": ShardingFact(None, 1),
    # PyTorch: torch.distributed.fsdp.fully_shard; the members of ShardingStrategy of FullyShardedDataParallel
    "fsdp2": ShardingFact("fsdp2", 3),
    "full_shard": ShardingFact("fsdp", 3),
    "shard_grad_op": ShardingFact("fsdp", 2),
    "hybrid_shard": ShardingFact("fsdp", None),
    "no_shard": ShardingFact(None, 0),
    # DeepSpeed: zero_optimization.stage
    "zero-3": ShardingFact("deepspeed", 3),
    "zero-2": ShardingFact("deepspeed", 2),
    # a ZeRO stage without a trainer
    "zero3": ShardingFact(None, 3),
    "zero2": ShardingFact(None, 2),
    "zero-1": ShardingFact(None, 1),
    "zero1": ShardingFact(None, 1),
    "ddp": ShardingFact(None, 0),
    "none": ShardingFact(None, 0),
}
"""By the value of the column `sharding`, in lower case."""
_UNKNOWN_SHARDING = ShardingFact(None, None)

_NOTED_UNFUSED_ATTENTION = TextFact(
    ("notes", "source"), re.compile("no flashattention", re.IGNORECASE), "the source says that attention is not fused"
)
_PAPER = TextFact(
    ("source",),
    re.compile(r"arXiv (\d{4})\.\d{4,5}"),
    "papers up to May 2022 are older than FlashAttention (arXiv 2205.14135), than sequence parallelism (arXiv "
    "2205.05198), and than the distributed optimizer of Megatron-LM, which came in the summer of 2022",
)
_TORCH_COMPILE = TextFact(
    ("notes", "source"), re.compile(r"torch\.compile", re.IGNORECASE), "the source says that kernels are compiled"
)
_ASYNC_TP = TextFact(
    ("notes",), re.compile("async tp", re.IGNORECASE), "torchtitan's name for overlapped tensor parallelism"
)
_NEMO_RELEASE = TextFact(
    ("locator",),
    re.compile(r"(\d\d)\.(\d\d)\S* NeMo"),
    "tables of NVIDIA's performance recipes name their NeMo container; the recipes reduce gradients in 16 bit, and "
    "from container 26.06 on, on Blackwell alone, capture whole steps as one graph and overlap the all-to-all of "
    "experts (Megatron-Bridge, scripts/performance/configs)",
)
_LAST_PAPER_WITHOUT_FLASH_ATTENTION = 2205
_FIRST_GRAPH_RELEASE = (26, 6)
_BLACKWELL_PATTERN = re.compile(r"g?b\d")


def get_sharding_fact(run: MeasuredRun) -> ShardingFact:
    """What the run's `sharding` stands for."""
    return SHARDING_FACTS.get(run.sharding.lower(), _UNKNOWN_SHARDING)


def infer_trainer_name(run: MeasuredRun) -> TrainerName:
    """MaxText on TPUs, the trainer of the sharding, else Megatron: today's or the classic one by NeMo's release."""
    if run.accelerator.startswith("tpu"):
        return "maxtext"
    trainer_name = get_sharding_fact(run).trainer
    if trainer_name is not None:
        return trainer_name
    release = _NEMO_RELEASE.search(run)
    captures_graphs = release is not None and (int(release[1]), int(release[2])) >= _FIRST_GRAPH_RELEASE
    return "megatron" if captures_graphs and _BLACKWELL_PATTERN.match(run.accelerator) else "megatron-classic"


def infer_launch_mode(run: MeasuredRun) -> LaunchMode | None:
    """How kernels are launched; None: as the trainer does by default.

    PyTorch's 8-bit multiplies need torch.compile: without it each cast is a kernel of its own (torchao, float8).
    """
    is_8bit = get_sharding_fact(run).trainer == "fsdp2" and "8" in run.precision
    return "compiled" if is_8bit or _TORCH_COMPILE.search(run) else None


def infer_gradient_dtype(run: MeasuredRun) -> GradientDtype | None:
    """The dtype in which gradients are accumulated and reduced; None: the trainer's own."""
    return "bf16" if _NEMO_RELEASE.search(run) else None


def infer_tp_overlap(run: MeasuredRun) -> bool:
    """Whether tensor-parallel communication is overlapped with multiplies."""
    return _ASYNC_TP.search(run) is not None


def is_before_flash_attention(run: MeasuredRun) -> bool:
    """Whether the run is without FlashAttention: by its notes, or by the date of its paper."""
    paper = _PAPER.search(run)
    is_old_paper = paper is not None and int(paper[1]) <= _LAST_PAPER_WITHOUT_FLASH_ATTENTION
    return is_old_paper or _NOTED_UNFUSED_ATTENTION.search(run) is not None


def infer_zero_stage(run: MeasuredRun) -> int | None:
    """The ZeRO stage that the sharding stands for; None: the row leaves it open."""
    zero_stage = get_sharding_fact(run).zero_stage
    return 0 if zero_stage == 3 and run.require_number("devices") == 1 else zero_stage
