"""DeepSpeed: ZeRO, and tensor parallelism as its AutoTP; which plans it runs."""

from __future__ import annotations

from collections.abc import Callable

from planner.trainers import fsdp, rules
from planner.trainers.trainer import Trainer

# 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
DEEPSPEED = Trainer(
    name="deepspeed",
    programs=("deepspeed", "accelerate"),
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
)


def _require_for_offload(
    state: str, requirement: str, is_missing: Callable[[rules.PlanValues], rules.Flags]
) -> rules.Rule:
    """A state on the host needs something else."""
    return rules.Rule(
        "offload", f"also {requirement}", lambda plan: (state in plan.offload) & is_missing(plan), state
    )


DEEPSPEED_RULES = (
    fsdp.ACCEPT_PYTORCH_ACCELERATORS,
    *rules.accept_degrees("tp"),
    rules.accept_values("precision", "bf16", "fp16", "fp32", "tf32"),
    rules.REJECT_PREDICTION_LAYERS,
    rules.Rule(
        "tp",
        "a divisor of the model's KV heads: further ranks would have no attention",
        lambda plan: plan.model is not None and plan.model.kv_head_count % plan.tp != 0,
        source="deepspeed/runtime/engine.py, _apply_autotp_partitioning",
    ),
    rules.accept_orders("tp-cp-dp-pp"),
    rules.Rule(
        "gradients",
        "gradients bf16 without ZeRO: in the format of the weights",
        lambda plan: (plan.zero_stage == 0) & (plan.precision in ("bf16", "fp16")) & (plan.gradients == "fp32"),
        source="deepspeed/runtime/engine.py, _do_optimizer_sanity_check",
    ),
    rules.REJECT_FLASH_BEFORE_AMPERE,
    *rules.REJECT_SEQUENCE_PARALLEL_AND_TP_OVERLAP,
    # MiCS was removed (github.com/deepspeedai/DeepSpeed/issues/8489)
    rules.Rule("shard_group", "shard_group all", lambda plan: plan.shard_group is not None),
    rules.accept_offloads("optimizer", "activations", "weights"),
    _require_for_offload("weights", "ZeRO 3", lambda plan: plan.zero_stage != 3),
    _require_for_offload("optimizer", "ZeRO 1, 2 or 3", lambda plan: plan.zero_stage == 0),
    _require_for_offload("activations", "full recomputation", lambda plan: plan.recompute != "full"),
)
DEEPSPEED_PROGRAM = rules.Program("deepspeed", "0.19", DEEPSPEED_RULES, source="github.com/deepspeedai/DeepSpeed")
