"""DeepSpeed: ZeRO, and tensor parallelism as its AutoTP; which plans it runs."""

from __future__ import annotations

from collections.abc import Callable

from planner.trainers import model_rules, rules
from planner.trainers.program import NO_MODEL_PARALLELISM, Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.trainer import Trainer

# 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
DEEPSPEED = Trainer(
    name="deepspeed",
    programs=("deepspeed", "accelerate"),
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    grad_reduce_bytes=2.0,
    frees_gradients=True,
    # `reduce_bucket_size` and `stage3_max_reuse_distance` of deepspeed/runtime/zero/config.py
    reduce_bucket_elements=5e8,
    message_elements=(5e8, 0.0),
    reuse_distance_parameters=1e9,
    offloads_gradients=True,
    # gradients in 32 bit for the update, under ZeRO 1 and 2 also the updated weights in 16 bit before they are sent
    # (`single_partition_of_fp32_groups` and `param_buffer_of_bit16_for_cpu_offload_groups` of
    # deepspeed/runtime/zero/stage_1_and_2.py; `fp32_partitioned_groups_flat` of stage3.py), all page-locked
    host_copy_bytes=(0.0, 6.0, 6.0, 4.0),
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
    # modules in 16 bit, without autocast (deepspeed/runtime/engine.py, _configure_distributed_model)
    kernels="transformers",
    adapts_parts=True,
    uses_flash_attention_2=True,
)


def _require_for_offload(
    state: str, requirement: str, is_missing: Callable[[rules.PlanValues], rules.Flags], source: str
) -> rules.Rule:
    """A state on the host needs something else."""
    return rules.Rule(
        "offload",
        f"also {requirement}",
        lambda plan: (state in plan.offload) & is_missing(plan),
        state,
        source=source,
    )


def _has_narrow_master(plan: rules.PlanValues) -> bool:
    return plan.settings.get("master") == "bf16"


_STATE_RULES = (
    rules.accept_setting(
        "master", "fp32", "bf16", source="deepspeed/runtime/precision_config.py, bf16_master_weights_and_grads"
    ),
    rules.Rule(
        "master",
        "master fp32; bf16 with ZeRO 1, 2 or 3, precision bf16 and gradients bf16",
        lambda plan: (
            _has_narrow_master(plan)
            & ((plan.zero_stage == 0) | (plan.precision != "bf16") | (plan.gradients != "bf16"))
        ),
        source="deepspeed/runtime/config.py, _do_error_check; engine.py, _do_optimizer_sanity_check",
    ),
    rules.Rule(
        "moments",
        "moments bf16 with master bf16, unless the optimizer is on the host; else moments fp32",
        lambda plan: (
            plan.settings.get("moments", "fp32") not in ("fp32", "bf16")
            or (plan.settings.get("moments") == "bf16")
            != (_has_narrow_master(plan) and "optimizer" not in plan.offload)
        ),
        source="deepspeed/runtime/base_optimizer.py, _configure_master_weights",
    ),
)
DEEPSPEED_WRITTEN_SETTINGS = ("moments", "master", "reshard")
DEEPSPEED_RULES = (
    *rules.state_source(
        "deepspeed/accelerator/real_accelerator.py, SUPPORTED_ACCELERATOR_LIST", fsdp.ACCEPT_PYTORCH_ACCELERATORS
    ),
    *rules.accept_degrees(
        "tp",
        source=f"{rules.NOT_WRITTEN}: deepspeed/runtime/pipe, deepspeed/sequence and deepspeed/moe change models",
    ),
    rules.accept_values(
        *("precision", "bf16", "fp16", "fp32", "tf32"), source="deepspeed/runtime/precision_config.py"
    ),
    model_rules.REJECT_PREDICTION_LAYERS,
    rules.REJECT_GRAPH_SCOPES,
    rules.Rule(
        "tp",
        "a divisor of the model's KV heads: further ranks would have no attention",
        lambda plan: plan.model is not None and plan.model.kv_head_count % plan.tp != 0,
        source="deepspeed/runtime/engine.py, _apply_autotp_partitioning",
    ),
    rules.accept_orders("tp-cp-dp-pp", source="deepspeed/utils/groups.py, _init_tp_mesh_device"),
    rules.Rule(
        "gradients",
        "gradients bf16 without ZeRO: in the format of the weights",
        lambda plan: (plan.zero_stage == 0) & (plan.precision in ("bf16", "fp16")) & (plan.gradients == "fp32"),
        source="deepspeed/runtime/engine.py, _do_optimizer_sanity_check",
    ),
    *_STATE_RULES,
    rules.REJECT_FLASH_BEFORE_AMPERE,
    rules.reject_sequence_parallel("deepspeed/module_inject/layers.py, LinearAllreduce"),
    rules.reject_tp_overlap(f"{rules.NOT_WRITTEN}: tp_overlap_comm of deepspeed/runtime/tensor_parallel/config.py"),
    rules.reject_shard_groups("MiCS was removed (github.com/deepspeedai/DeepSpeed/issues/8489)"),
    rules.accept_offloads(
        *("optimizer", "activations", "weights"),
        source="deepspeed/runtime/zero/offload_config.py; activation_checkpointing/config.py, cpu_checkpointing",
    ),
    _require_for_offload(
        "weights", "ZeRO 3", lambda plan: plan.zero_stage != 3, "deepspeed/runtime/zero/config.py, offload_param"
    ),
    _require_for_offload(
        "optimizer",
        "ZeRO 1, 2 or 3",
        lambda plan: plan.zero_stage == 0,
        "deepspeed/runtime/zero/config.py, offload_optimizer",
    ),
    _require_for_offload(
        "activations",
        "full recomputation",
        lambda plan: plan.recompute != "full",
        "deepspeed/runtime/activation_checkpointing/checkpointing.py, CheckpointFunction",
    ),
)
DEEPSPEED_PROGRAM = Program(
    "deepspeed",
    "0.19",
    (*DEEPSPEED_RULES, fsdp.ACCEPT_WHOLE_SEQUENCES),
    written_settings=DEEPSPEED_WRITTEN_SETTINGS,
    source="github.com/deepspeedai/DeepSpeed",
    versions=(
        ProgramVersion(
            name="0.16.4",
            since="2025-02",
            behaviour="AutoTP in training",
            source="f04649d2",
        ),
        ProgramVersion(
            name="0.14",
            since="2024-03",
            behaviour="no tensor parallelism of its own in training",
            source="v0.14.0, deepspeed/runtime/engine.py",
            rules=rules.accept_degrees(source="tensor parallelism in training came with f04649d2"),
        ),
    ),
    # most runs are those of Hugging Face's Trainer: gradient_checkpointing is false (transformers 4.57.1,
    # TrainingArguments)
    defaults=NO_MODEL_PARALLELISM | {"recompute": "none"},
)
