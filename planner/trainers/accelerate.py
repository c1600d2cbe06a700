"""Accelerate, over one of three engines: which plans it runs.

ZeRO 0 is DistributedDataParallel, ZeRO 2 and 3 are FSDP2 (without and with resharding after the forward pass), ZeRO 1
is DeepSpeed's; so is everything of a plan that was made for DeepSpeed.
"""

from __future__ import annotations

from planner.trainers.deepspeed import DEEPSPEED_RULES
from planner.trainers.fsdp2 import (
    ACCEPT_ALL_LAYERS_RECOMPUTED,
    ACCEPT_DP_OVERLAP,
    ACCEPT_FP32_GRADIENTS,
    ACCEPT_FSDP_OFFLOADS,
    ACCEPT_PYTORCH_ACCELERATORS,
)
from planner.trainers.program import (
    REJECT_SEQUENCE_PARALLEL_AND_TP_OVERLAP,
    Flags,
    PlanValues,
    Program,
    Rule,
    accept_degrees,
    accept_offloads,
    accept_orders,
    accept_values,
    breaks_shard_groups,
    restrict_rules,
)


def uses_deepspeed(plan: PlanValues) -> Flags:
    """Whether DeepSpeed shards the model."""
    return (plan.framework == "deepspeed") | (plan.zero_stage == 1)


def uses_ddp(plan: PlanValues) -> Flags:
    """Whether every rank has the whole model, under DistributedDataParallel."""
    return (plan.framework != "deepspeed") & (plan.zero_stage == 0)


def uses_fsdp(plan: PlanValues) -> Flags:
    """Whether FSDP2 shards the model."""
    return (plan.framework != "deepspeed") & (plan.zero_stage > 1)


ACCELERATE = Program(
    "accelerate",
    "1.15",
    (
        *restrict_rules(
            (*DEEPSPEED_RULES, Rule("tp", "also ZeRO 2 or 3, or tp 1", lambda plan: plan.tp > 1)), uses_deepspeed
        ),
        *restrict_rules(
            (
                ACCEPT_PYTORCH_ACCELERATORS,
                *restrict_rules(accept_degrees(), uses_ddp),
                *restrict_rules(accept_degrees("tp", "cp"), uses_fsdp),
                accept_values("precision", "bf16", "fp16", "fp8", "fp32", "tf32"),
                Rule("recompute", "recompute none or full", lambda plan: plan.recompute == "selective"),
                ACCEPT_ALL_LAYERS_RECOMPUTED,
                *restrict_rules([accept_values("cp_exchange", "ring", "all-gather")], lambda plan: plan.cp > 1),
                *REJECT_SEQUENCE_PARALLEL_AND_TP_OVERLAP,
                accept_orders("tp-cp-dp-pp"),
                ACCEPT_DP_OVERLAP,
                *restrict_rules([accept_offloads()], uses_ddp),
                *restrict_rules([ACCEPT_FP32_GRADIENTS, *ACCEPT_FSDP_OFFLOADS], uses_fsdp),
                Rule(
                    "shard_group",
                    "shard_group all, or cp times a divisor of dp under ZeRO 2 or 3",
                    lambda plan: (plan.shard_group is not None) & uses_ddp(plan) | breaks_shard_groups(plan),
                ),
            ),
            lambda plan: uses_ddp(plan) | uses_fsdp(plan),
        ),
    ),
)
