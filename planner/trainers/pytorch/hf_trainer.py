"""Hugging Face's Trainer (`transformers.Trainer`): Accelerate with autocast, over DistributedDataParallel or FSDP.

transformers 4.57.1, trainer.py and training_args.py; accelerate 1.15, accelerator.py. With a DeepSpeed configuration
it is DeepSpeed's trainer: `--trainer deepspeed`.
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import NO_MODEL_PARALLELISM, Program
from planner.trainers.pytorch import fsdp
from planner.trainers.trainer import Trainer

HF_TRAINER = Trainer(
    name="hf-trainer",
    programs=("hf-trainer",),
    calibration="fsdp2",
    # `bf16=True` is autocast over 32-bit parameters, which are the optimizer's: 4 of its 12 bytes. Autocast caches
    # the 16-bit copies of a forward pass, and they are saved for the backward pass (torch, amp/autocast_mode.py)
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    # FSDP's mixed precision reduces in 16 bit (accelerate/utils/dataclasses.py, set_mixed_precision);
    # DistributedDataParallel reduces the 32-bit gradients
    grad_reduce_bytes=2.0,
    unsharded_reduce_bytes=4.0,
    # `DistributedDataParallelKwargs` of accelerate/utils/dataclasses.py
    gradient_bucket_bytes=4.0,
    frees_gradients=True,
    # `no_sync` of accelerate/accelerator.py, which `_inner_training_loop` of trainer.py enters
    accumulates_unsharded="always",
    # FullyShardedDataParallel gathers on a stream of its own too (torch/distributed/fsdp/_runtime_utils.py)
    has_stream_pools=True,
    offloads_gradients=True,
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
    keeps_embedding_gathered=True,
    saves_quantized_inputs=False,
    kernels="autocast",
    adapts_parts=True,
    uses_flash_attention_2=True,
    shares_world_communicator=True,
)

HF_TRAINER_PROGRAM = Program(
    "hf-trainer",
    "4.57",
    (
        fsdp.ACCEPT_PYTORCH_ACCELERATORS,
        *rules.accept_degrees(source="not modelled: tp and cp of transformers/training_args.py, parallelism_config"),
        *model_rules.reject_model_parts("mtp_layers", source=model_rules.REJECT_PREDICTION_LAYERS.source),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "zero_stage",
            "zero_stage 0, 2 or 3; stage 1 is DeepSpeed's: --trainer deepspeed",
            lambda plan: plan.zero_stage == 1,
            source="transformers/trainer_utils.py, FSDPOption",
        ),
        rules.accept_values(
            *("precision", "bf16", "fp16", "fp32", "tf32"),
            source="transformers/training_args.py, TrainingArguments: bf16, fp16, tf32",
        ),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_values(
            *("launch", "eager", "compiled"),
            source="transformers/training_args.py, TrainingArguments: torch_compile",
        ),
        fsdp.ACCEPT_DP_OVERLAP,
        rules.accept_values("gradients", "fp32", source="transformers/training_args.py: bf16 is autocast"),
        rules.accept_all_layers_recomputed(
            "transformers/training_args.py, TrainingArguments: gradient_checkpointing"
        ),
        rules.accept_whole_layers_recomputed(
            "transformers/training_args.py, TrainingArguments: gradient_checkpointing"
        ),
        *rules.restrict_rules(
            [rules.accept_offloads(source="transformers/trainer_utils.py, FSDPOption.OFFLOAD")],
            lambda plan: plan.zero_stage == 0,
        ),
        *fsdp.ACCEPT_FSDP_OFFLOADS,
        rules.Rule(
            "shard_group",
            "shard_group all, or a divisor of dp under ZeRO 2 or 3",
            lambda plan: (
                plan.shard_group is not None and ((plan.zero_stage == 0) | (plan.dp % plan.shard_group != 0))
            ),
            source="transformers/trainer_utils.py, FSDPOption.HYBRID_SHARD",
        ),
        rules.accept_setting(
            "loss", "plain", "fused", source="transformers/training_args.py, TrainingArguments: use_liger_kernel"
        ),
        fsdp.ACCEPT_WHOLE_SEQUENCES,
    ),
    written_settings=("loss",),
    source="github.com/huggingface/transformers",
    nearest_exports=("accelerate",),
    # TrainingArguments: gradient_checkpointing False
    defaults=NO_MODEL_PARALLELISM | {"recompute": "none"},
)
