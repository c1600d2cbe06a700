"""Megatron-DeepSpeed: Megatron's layers under DeepSpeed's pipeline and ZeRO; which plans it runs.

github.com/deepspeedai/Megatron-DeepSpeed at 4efb479d (July 2025) on DeepSpeed 0.19;
github.com/bigscience-workshop/Megatron-DeepSpeed at 8387ae17, of which BLOOM was trained.
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.megatron.programs import MEGATRON_DEFAULTS
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.trainer import Trainer

MEGATRON_DEEPSPEED = Trainer(
    name="megatron-deepspeed",
    programs=("megatron-deepspeed",),
    calibration="megatron-classic",
    sharded_weight_bytes=2.0,
    # DeepSpeed's runtime/bf16_optimizer.py: 16-bit gradients are added to 32-bit ones after each backward pass, and
    # stay (`update_hp_grads(clear_lp_grads=False)` of runtime/pipe/engine.py)
    gradient_bytes=6.0,
    gradient_copy_bytes=2.0,
    # `communication_data_type` of runtime/engine.py: bf16, whatever gradients are accumulated in
    grad_reduce_bytes=2.0,
    # the 32-bit passes of Megatron's loss (megatron/core/tensor_parallel/cross_entropy.py)
    loss_bytes_per_logit=8.0,
    loss_launches=20,
    # `reduce_bucket_size` of deepspeed/runtime/zero/config.py
    message_elements=(5e8, 0.0),
    # `FlashSelfAttention` of megatron/model/transformer.py
    uses_flash_attention_2=True,
    launch_mode="fused",
    # `--zero-stage` of megatron/arguments.py
    usual_zero_stage=1,
    cp_comm_type="all-to-all",
)

MEGATRON_DEEPSPEED_PROGRAM = Program(
    "megatron-deepspeed",
    "2025.7",
    (
        model_rules.accept_decoders("pretrain_gpt.py; BERT and T5 are not modelled"),
        rules.accept_accelerators(
            *("NVIDIA gpu", "AMD gpu", "Intel gpu", "Intel npu"), source="megatron/initialize.py, get_accelerator"
        ),
        *rules.accept_degrees(
            *("tp", "pp", "cp"),
            source="not modelled: --moe-expert-parallel-size; megatron/arguments.py, "
            "--num-layers-per-virtual-pipeline-stage is not DeepSpeed's pipeline",
        ),
        *model_rules.reject_model_parts("mtp_layers", source="megatron/model/gpt_model.py"),
        rules.REJECT_GRAPH_SCOPES,
        model_rules.reject_tp_beyond_kv_heads("megatron/model/transformer.py, ParallelAttention"),
        rules.Rule(
            "zero_stage",
            "zero_stage 0 or 1 with pipeline stages",
            lambda plan: (plan.zero_stage > 1) & (plan.pp > 1),
            source="deepspeed/runtime/pipe/engine.py, PipelineEngine",
        ),
        rules.accept_values(
            *("precision", "bf16", "fp16", "fp32", "fp8"),
            source="megatron/arguments.py: --bf16, --fp16, --fp8-hybrid",
        ),
        rules.Rule(
            "cp",
            "cp 1 beside tp or pp",
            lambda plan: (plan.cp > 1) & ((plan.tp > 1) | (plan.pp > 1)),
            source="megatron/core/parallel_state.py, initialize_model_parallel",
        ),
        *rules.restrict_rules(
            [
                rules.accept_values(
                    "cp_exchange", "all-to-all", source="megatron/arguments.py, --ds-sequence-parallel-size: Ulysses"
                )
            ],
            lambda plan: plan.cp > 1,
        ),
        rules.Rule(
            "schedule",
            "schedule 1f1b; zero-bubble without sequence parallelism",
            lambda plan: (
                (plan.pp > 1)
                & (plan.schedule != "1f1b")
                & ((plan.schedule != "zero-bubble") | (plan.sequence_parallel != 0))
            ),
            source="megatron/arguments.py, validate_args",
        ),
        rules.accept_orders("tp-cp-dp-pp", source="megatron/core/parallel_state.py, initialize_model_parallel"),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_values("communication", "bf16", source="deepspeed/runtime/engine.py, communication_data_type"),
        rules.accept_offloads("optimizer", source="megatron/arguments.py, --cpu-optimizer"),
        rules.reject_shard_groups("megatron/arguments.py: no option of hybrid sharding"),
        rules.accept_whole_sequences(
            "FlashAttention gets no lengths of documents, and --reset-attention-mask is for unfused attention",
            source="megatron/model/transformer.py, FlashSelfAttention",
        ),
    ),
    source="github.com/deepspeedai/Megatron-DeepSpeed",
    versions=(
        ProgramVersion(
            name="2023-08",
            since="2023-08",
            behaviour="sequence parallelism of DeepSpeed-Ulysses, FlashAttention",
            source="megatron/arguments.py: --ds-sequence-parallel-size",
        ),
        ProgramVersion(
            name="bigscience",
            since="2021-07",
            behaviour="of BLOOM: unfused attention, no sequence parallelism, ZeRO 0 and 1",
            source="github.com/bigscience-workshop/Megatron-DeepSpeed at 8387ae17",
            rules=(
                *rules.accept_degrees("tp", "pp", source="megatron/mpu/initialize.py, initialize_model_parallel"),
                rules.accept_values(
                    "attention", "unfused", source="megatron/model/transformer.py, ParallelAttention"
                ),
                rules.accept_values(
                    *("zero_stage", 0, 1), source="deepspeed/runtime/bf16_optimizer.py, BF16_Optimizer"
                ),
                rules.accept_values(
                    *("precision", "bf16", "fp16", "fp32"), source="megatron/arguments.py: --bf16, --fp16"
                ),
                rules.Rule(
                    "sequence_parallel",
                    "sequence_parallel no",
                    lambda plan: plan.sequence_parallel != 0,
                    source="megatron/arguments.py: no --sequence-parallel",
                ),
            ),
        ),
    ),
    nearest_exports=("megatron-lm", "deepspeed"),
    defaults=MEGATRON_DEFAULTS,
)
