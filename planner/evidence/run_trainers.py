"""Which trainer of ours a table's word for a trainer is, and what that trainer does where a row does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from planner.errors import find_nearest_name
from planner.evidence.runs import MeasuredRun, RowError
from planner.trainers.names import TrainerName

SHARDING_WORDS: dict[str, tuple[TrainerName | None, int | None]] = {
    # Megatron-LM: --data-parallel-sharding-strategy, --use-distributed-optimizer
    "fsdp": ("megatron-fsdp", 3),
    "distributed-optimizer": (None, 1),
    # PyTorch: torch.distributed.fsdp.fully_shard; the members of ShardingStrategy of FullyShardedDataParallel
    "fsdp2": ("fsdp2", 3),
    "full_shard": ("fsdp", 3),
    "shard_grad_op": ("fsdp", 2),
    "hybrid_shard": ("fsdp", None),
    "no_shard": (None, 0),
    # DeepSpeed: zero_optimization.stage
    "zero-3": ("deepspeed", 3),
    "zero-2": ("deepspeed", 2),
    # a ZeRO stage without a trainer
    "zero3": (None, 3),
    "zero2": (None, 2),
    "zero-1": (None, 1),
    "zero1": (None, 1),
    "ddp": (None, 0),
    "none": (None, 0),
}
"""By the value of the column `sharding`, in lower case: the trainer that uses this word, where it is the word of one
trainer, and the ZeRO stage (arXiv 1910.02054), where the word determines it."""


@dataclass(frozen=True)
class TrainerWord:
    """A table's word for a trainer.

    `stand_in`: the trainer of ours whose runs are closest. `defaults`: by column, what the trainer does where it is
    not stated, as a table writes it.
    """

    stand_in: TrainerName
    defaults: Mapping[str, str] = field(default_factory=dict)


# Megatron-LM core_v0.16.1: the switches of megatron/training/arguments.py are off; recompute_granularity is None
# (megatron/core/transformer/transformer_config.py); expert_tensor_parallel_size is tensor_model_parallel_size
# (megatron/core/model_parallel_config.py)
_MEGATRON_DEFAULTS = {
    "vpp": "1",
    "cp": "1",
    "ep": "1",
    "etp": "tp",
    "recompute": "none",
    "seq_parallel": "no",
    "zero_stage": "0",
    "dp_overlap": "no",
}
# megatron-bridge 0.3.0, megatron/bridge/recipes: use_distributed_optimizer and overlap_grad_reduce in nearly all;
# NeMo is taken to be alike: its models moved there
_BRIDGE_DEFAULTS = _MEGATRON_DEFAULTS | {"zero_stage": "1", "dp_overlap": "yes"}
_NO_MODEL_PARALLELISM = {"tp": "1", "pp": "1", "vpp": "1", "cp": "1", "ep": "1", "seq_parallel": "no"}

TRAINER_WORDS: Mapping[str, TrainerWord] = {
    "megatron-lm": TrainerWord("megatron-classic", _MEGATRON_DEFAULTS),
    "megatron-deepspeed": TrainerWord("megatron-classic", _MEGATRON_DEFAULTS),
    "megatron-bridge": TrainerWord("megatron-classic", _BRIDGE_DEFAULTS),
    "nemo": TrainerWord("megatron-classic", _BRIDGE_DEFAULTS),
    "mindspeed": TrainerWord("megatron-classic", _MEGATRON_DEFAULTS),
    "neuronx": TrainerWord("megatron-classic", {"vpp": "1", "cp": "1", "ep": "1"}),
    "nanotron": TrainerWord("megatron-classic", {"vpp": "1", "cp": "1", "ep": "1", "recompute": "none"}),
    # torchtitan at b5bcd76c, torchtitan/config/configs.py: all degrees 1
    "torchtitan": TrainerWord("fsdp2", {"tp": "1", "pp": "1", "cp": "1", "ep": "1", "etp": "1"}),
    "torchtune": TrainerWord("fsdp2", _NO_MODEL_PARALLELISM | {"recompute": "none"}),
    "fms-fsdp": TrainerWord("fsdp", _NO_MODEL_PARALLELISM),
    "composer": TrainerWord("fsdp", _NO_MODEL_PARALLELISM),
    # transformers 4.57.1, TrainingArguments.gradient_checkpointing: false
    "deepspeed": TrainerWord("deepspeed", _NO_MODEL_PARALLELISM | {"recompute": "none"}),
    # MaxText at e591f30c, src/maxtext/configs/base.yml: remat_policy full
    "maxtext": TrainerWord("maxtext", {"vpp": "1", "cp": "1", "ep": "1", "recompute": "full"}),
}
"""By the value of the column `trainer`."""

_WHOLE_STEP_GRAPH_DATE = "2026-06"
"""From this month on NVIDIA's recipes capture whole steps (Megatron-Bridge, scripts/performance/configs)."""


def find_trainer_name(run: MeasuredRun) -> TrainerName:
    """The column `framework` or `trainer`; where both are empty, MaxText on TPUs, else the trainer of the sharding or
    Megatron. Raises RowError for an unknown trainer.
    """
    sharding_trainer, _ = SHARDING_WORDS.get(run.get_text("sharding").lower(), (None, None))
    word = run.trainer_word
    for name in get_args(TrainerName):
        if word == name:
            return name  # type: ignore[no-any-return]
    if not word:
        return "maxtext" if run.accelerator.startswith("tpu") else sharding_trainer or "megatron-classic"
    if word not in TRAINER_WORDS:
        known = dict.fromkeys((*get_args(TrainerName), *TRAINER_WORDS))
        nearest = find_nearest_name(word, known)
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise RowError(f"trainer {word[:40]!r} is not one of {', '.join(known)}{hint}")
    if word.startswith(("megatron", "nemo")) and sharding_trainer == "megatron-fsdp":
        return "megatron-fsdp"
    is_captured = run.get_text("launch").startswith("graph") and run.get_text("date") >= _WHOLE_STEP_GRAPH_DATE
    if word == "megatron-bridge" and is_captured:
        return "megatron"
    return TRAINER_WORDS[word].stand_in


def get_trainer_defaults(run: MeasuredRun) -> Mapping[str, str]:
    """What the row's trainer does where the row does not say, by column; nothing for one named by `framework`."""
    word = TRAINER_WORDS.get(run.get_text("trainer"))
    return {} if word is None or run.get_text("framework") else word.defaults
