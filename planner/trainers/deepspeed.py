"""DeepSpeed: ZeRO, and tensor parallelism as its AutoTP; which plans it runs."""

from __future__ import annotations

from collections.abc import Callable

from planner.trainers.fsdp2 import ACCEPT_PYTORCH_ACCELERATORS
from planner.trainers.program import (
    REJECT_SEQUENCE_PARALLEL_AND_TP_OVERLAP,
    Flags,
    PlanValues,
    Program,
    Rule,
    accept_degrees,
    accept_offloads,
    accept_values,
)
from planner.trainers.trainer import Trainer

# 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
DEEPSPEED = Trainer(
    name="deepspeed",
    programs=("deepspeed", "accelerate"),
    weight_bytes=2.0,
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
)


def _require_for_offload(state: str, requirement: str, is_missing: Callable[[PlanValues], Flags]) -> Rule:
    """A state on the host needs something else."""
    return Rule("offload", f"also {requirement}", lambda plan: (state in plan.offload) & is_missing(plan), state)


DEEPSPEED_RULES = (
    ACCEPT_PYTORCH_ACCELERATORS,
    *accept_degrees("tp"),
    accept_values("precision", "bf16", "fp16", "fp32", "tf32"),
    Rule("tp", "tp 1, or ZeRO up to 2", lambda plan: (plan.tp > 1) & (plan.zero_stage == 3)),
    *REJECT_SEQUENCE_PARALLEL_AND_TP_OVERLAP,
    # MiCS was removed (github.com/deepspeedai/DeepSpeed/issues/8489)
    Rule("shard_group", "shard_group all", lambda plan: plan.shard_group is not None),
    accept_offloads("optimizer", "activations", "weights"),
    _require_for_offload("weights", "ZeRO 3", lambda plan: plan.zero_stage != 3),
    _require_for_offload("optimizer", "ZeRO 1, 2 or 3", lambda plan: plan.zero_stage == 0),
    _require_for_offload("activations", "full recomputation", lambda plan: plan.recompute != "full"),
)
DEEPSPEED_PROGRAM = Program("deepspeed", "0.19", DEEPSPEED_RULES)
