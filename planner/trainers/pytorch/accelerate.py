"""Accelerate, over one of three engines: which plans it runs.

ZeRO 0 is DistributedDataParallel, ZeRO 2 and 3 are FSDP2 (without and with resharding after the forward pass), ZeRO 1
is DeepSpeed's; so is everything of a plan that was made for DeepSpeed.
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.pytorch.deepspeed import DEEPSPEED_RULES, DEEPSPEED_WRITTEN_SETTINGS


def uses_deepspeed(plan: rules.PlanValues) -> rules.Flags:
    """Whether DeepSpeed shards the model."""
    return (plan.framework == "deepspeed") | (plan.zero_stage == 1)


def uses_ddp(plan: rules.PlanValues) -> rules.Flags:
    """Whether every rank has the whole model, under DistributedDataParallel."""
    return (plan.framework != "deepspeed") & (plan.zero_stage == 0)


def uses_fsdp(plan: rules.PlanValues) -> rules.Flags:
    """Whether FSDP2 shards the model."""
    return (plan.framework != "deepspeed") & (plan.zero_stage > 1)


_FSDP_SETTINGS = ("gather", *DEEPSPEED_WRITTEN_SETTINGS)
ACCELERATE = Program(
    "accelerate",
    "1.15",
    (
        rules.accept_trainer_stages(
            ("ddp",),
            "zero_stage 0; others shard: --trainer deepspeed, fsdp2",
            0,
            source="accelerate/accelerator.py, prepare_model",
        ),
        rules.accept_trainer_stages(
            ("fsdp2", "fsdp"),
            "zero_stage 2 or 3; stage 1 is DeepSpeed's: --trainer deepspeed",
            *(2, 3),
            source="accelerate/utils/dataclasses.py, FullyShardedDataParallelPlugin: reshard_after_forward",
        ),
        *rules.restrict_rules(
            (
                *DEEPSPEED_RULES,
                rules.accept_own_value("gather"),
                rules.Rule(
                    "tp",
                    "also ZeRO 2 or 3, or tp 1",
                    lambda plan: plan.tp > 1,
                    source=f"{rules.NOT_WRITTEN}: autotp_size of accelerate/accelerator.py, _prepare_deepspeed",
                ),
            ),
            uses_deepspeed,
        ),
        *rules.restrict_rules(
            (
                fsdp.ACCEPT_PYTORCH_ACCELERATORS,
                rules.REJECT_FLASH_BEFORE_AMPERE,
                *rules.restrict_rules(
                    rules.accept_degrees(source="accelerate/parallelism_config.py, __post_init__"), uses_ddp
                ),
                *rules.restrict_rules(
                    rules.accept_degrees("tp", "cp", source="accelerate/parallelism_config.py, ParallelismConfig"),
                    uses_fsdp,
                ),
                rules.accept_values(
                    *("precision", "bf16", "fp16", "fp8", "fp32", "tf32"),
                    source="accelerate/utils/dataclasses.py, PrecisionType",
                ),
                model_rules.REJECT_PREDICTION_LAYERS,
                rules.REJECT_GRAPH_SCOPES,
                rules.accept_whole_layers_recomputed("accelerate/utils/fsdp_utils.py, fsdp2_apply_ac"),
                rules.accept_all_layers_recomputed(rules.NOT_WRITTEN),
                *rules.restrict_rules(
                    [
                        rules.accept_values(
                            *("cp_exchange", "ring", "all-gather"),
                            source="accelerate/utils/dataclasses.py, TorchContextParallelConfig",
                        )
                    ],
                    lambda plan: plan.cp > 1,
                ),
                rules.reject_sequence_parallel("transformers 4.57, integrations/tensor_parallel.py, RowwiseParallel"),
                rules.reject_tp_overlap("transformers 4.57, integrations/tensor_parallel.py, RowwiseParallel"),
                rules.accept_orders("tp-cp-dp-pp", source="accelerate/parallelism_config.py, _get_mesh"),
                fsdp.ACCEPT_DP_OVERLAP,
                *rules.restrict_rules(
                    [rules.accept_offloads(source="torch 2.13, torch/nn/parallel/distributed.py")], uses_ddp
                ),
                *rules.restrict_rules(
                    [
                        *rules.accept_narrow_parameters(
                            "fp32", precisions=("bf16",), source="accelerate/utils/fsdp_utils.py, fsdp2_prepare_model"
                        ),
                        rules.accept_setting(
                            "reshard",
                            "default",
                            "never",
                            source="accelerate/utils/fsdp_utils.py, fsdp2_prepare_model",
                        ),
                        rules.Rule(
                            "gather",
                            "the trainer's own gather, or fp8 with precision fp8",
                            lambda plan: (
                                rules.accept_own_value("gather").is_broken(plan)
                                and not plan.settings["gather"] == plan.precision == "fp8"
                            ),
                            source="accelerate/utils/dataclasses.py, AORecipeKwargs",
                        ),
                        rules.accept_offloads(
                            *("optimizer", "weights", "activations"),
                            source="accelerate/utils/dataclasses.py, FullyShardedDataParallelPlugin: cpu_offload, "
                            "activation_checkpointing_offload",
                        ),
                        rules.Rule(
                            "offload",
                            "offload optimizer+weights, both or neither: FSDP keeps them together",
                            lambda plan: ("optimizer" in plan.offload) != ("weights" in plan.offload),
                            lambda plan: "weights" if "weights" in plan.offload else "optimizer",
                            source="torch 2.13, torch/distributed/fsdp/_fully_shard/_fsdp_api.py, CPUOffloadPolicy",
                        ),
                        rules.Rule(
                            "offload",
                            "also full recomputation",
                            lambda plan: ("activations" in plan.offload) & (plan.recompute != "full"),
                            "activations",
                            source="accelerate/utils/dataclasses.py, FullyShardedDataParallelPlugin.__post_init__",
                        ),
                    ],
                    uses_fsdp,
                ),
                *rules.restrict_rules(map(rules.accept_own_value, _FSDP_SETTINGS), uses_ddp),
                rules.Rule(
                    "shard_group",
                    "shard_group all, or cp times a divisor of dp under ZeRO 2 or 3",
                    lambda plan: (plan.shard_group is not None) & uses_ddp(plan) | rules.breaks_shard_groups(plan),
                    source="accelerate/parallelism_config.py, dp_replicate_size and dp_shard_size",
                ),
                rules.Rule(
                    "shard_group",
                    "shard_group of more than one data-parallel rank beside tp or cp",
                    lambda plan: (
                        plan.shard_group is not None
                        and (plan.shard_group == plan.cp) & (plan.dp > 1) & (plan.tp * plan.cp > 1)
                    ),
                    source="accelerate/parallelism_config.py, __post_init__",
                ),
                rules.Rule(
                    "tp",
                    "a divisor of the model's KV heads",
                    lambda plan: plan.model is not None and plan.model.kv_head_count % plan.tp != 0,
                    source="transformers 4.57, integrations/tensor_parallel.py, ColwiseParallel",
                ),
            ),
            lambda plan: uses_ddp(plan) | uses_fsdp(plan),
        ),
        fsdp.ACCEPT_WHOLE_SEQUENCES,
    ),
    written_settings=_FSDP_SETTINGS,
    source="github.com/huggingface/accelerate",
    versions=(
        ProgramVersion(
            name="1.15",
            since="2025-04",
            behaviour="gradients are whole until the last micro-batch, and of 32 bits where autocast computes",
            source="v1.6.0, accelerate/accelerator.py, no_sync and prepare_model; torch/amp/autocast_mode.py",
            trainer_changes={
                "ddp": {"gradient_bytes": 4.0, "gradient_bucket_bytes": 4.0, "unsharded_reduce_bytes": 4.0},
                # embedding and head are units of their own (accelerate/utils/fsdp_utils.py, fsdp2_prepare_model)
                "fsdp2": {**fsdp.LIBRARY_MODULES, "accumulates_unsharded": "always"},
                "fsdp": {**fsdp.LIBRARY_MODULES, "accumulates_unsharded": "always"},
            },
        ),
    ),
)
