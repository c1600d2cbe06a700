"""torchtune: FSDP2 with parameters, gradients and moments in 16 bit; which plans it runs.

github.com/pytorch/torchtune at bd2a0fc7 (0.7, April 2026), recipes/full_finetune_distributed.py.
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import NO_MODEL_PARALLELISM, Program, ProgramVersion
from planner.trainers.pytorch import fsdp
from planner.trainers.trainer import Trainer

TORCHTUNE = Trainer(
    name="torchtune",
    programs=("torchtune",),
    calibration="fsdp2",
    # `dtype: bf16` of the recipes: parameters, gradients and both moments; no mixed precision, so no 32-bit master
    # weights and no 32-bit reduction (`shard_model` of training/_distributed.py passes no MixedPrecisionPolicy)
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    optimizer_bytes=4.0,
    moments="bf16",
    moment_bytes=4.0,
    master="none",
    grad_reduce_bytes=2.0,
    shares_world_communicator=True,
    # `zero_grad(set_to_none=True)` of the recipes
    frees_gradients=True,
    # the logits are deleted before the backward pass (`del logits` of the recipes): the logarithm of the softmax, its
    # gradient and that of the 32-bit logits
    loss_bytes_per_logit=12.0,
    # the same: what `compile_loss` returns of a loss without chunks is not used (training/_compile.py; recipes)
    wide_logit_bytes=12.0,
    # LinearCrossEntropyLoss of the recipes: 8 chunks of the sequence, with the head's multiply
    # (modules/loss/cross_entropy_loss.py)
    loss="chunked",
    # the logarithm of the softmax: the backward pass begins after the last chunk (`forward` there)
    kept_logit_bytes=4.0,
    # `compile: False`
    launch_mode="eager",
    usual_zero_stage=3,
    # `context_parallel_rotate_method` of the recipe
    cp_comm_type="all-gather",
    keeps_gathered_sequence=True,
    # `expand(expand_shape).flatten(1, 2)` of modules/attention.py; compiled, they are not made again
    copies_grouped_keys=True,
    # `custom_sharded_layers` of the recipes: embedding and head are sharded apart from the root
    keeps_embedding_gathered=False,
    saves_quantized_inputs=False,
    kernels="transformers",
    adapts_parts=True,
    uses_flash_attention_2=True,
)

_REJECT_SHARD_GROUPS = rules.reject_shard_groups("hybrid sharding came with d3ab3b7c")

_ACCEPT_WHOLE_SEQUENCES = rules.accept_whole_sequences(
    "the mask of packed data is for unfused attention", source="FlexAttention came with 8451b0df"
)

TORCHTUNE_PROGRAM = Program(
    "torchtune",
    "0.7",
    (
        model_rules.accept_decoders("torchtune/modules/transformer.py, TransformerDecoder"),
        *rules.state_source("torchtune/utils/_device.py", fsdp.ACCEPT_PYTORCH_ACCELERATORS),
        *rules.accept_degrees("tp", "cp", source="torchtune/training/_distributed.py, ParallelDims"),
        *model_rules.reject_model_parts("mtp_layers", source="torchtune/modules/transformer.py, TransformerDecoder"),
        rules.REJECT_GRAPH_SCOPES,
        model_rules.reject_tp_beyond_kv_heads("torchtune/training/_distributed.py, prepare_mha_for_tp"),
        model_rules.accept_activations(
            gated=("silu", "gelu", "gelu-tanh"),
            plain=(),
            source="torchtune/models, _component_builders.py of Llama, Qwen, Mistral, Phi-3 (silu) and Gemma (gelu)",
        ),
        rules.accept_values("model.norm", "rmsnorm", source="torchtune/models, _component_builders.py"),
        rules.accept_values(
            *("precision", "bf16", "fp32", "fp8"),
            source="recipes/full_finetune_distributed.py: dtype, enable_fp8_training",
        ),
        rules.Rule(
            "precision",
            "bf16 or fp32 with context parallelism",
            lambda plan: (plan.precision == "fp8") & (plan.cp > 1),
            source="recipes/full_finetune_distributed.py, _setup_model",
        ),
        rules.Rule(
            "zero_stage",
            "zero_stage 2 or 3",
            lambda plan: (plan.zero_stage < 2) & (plan.dp * plan.cp > 1),
            source="torchtune/training/_distributed.py, shard_model: reshard_after_forward",
        ),
        rules.Rule(
            "cp",
            "a sequence that 2 x tp x cp divides",
            lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.tp * plan.cp) != 0),
            source="torchtune/training/_distributed.py, ParallelDims.min_seq_len_divisor",
        ),
        *rules.restrict_rules(
            [
                rules.accept_values(
                    *("cp_exchange", "all-gather", "ring"),
                    source="torchtune/training/_distributed.py, get_context_parallel_manager: alltoall is a ring",
                )
            ],
            lambda plan: plan.cp > 1,
        ),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_orders("tp-cp-dp-pp", source="torchtune/training/_distributed.py, ParallelDims.build_mesh"),
        rules.accept_values(
            "gradients", "bf16", source="torchtune/training/_distributed.py, shard_model: no MixedPrecisionPolicy"
        ),
        rules.accept_values(
            "communication", "bf16", source="torchtune/training/_distributed.py, shard_model: no MixedPrecisionPolicy"
        ),
        fsdp.ACCEPT_DP_OVERLAP,
        rules.reject_tp_overlap("torchtune/models/llama3/_parallelism.py, base_llama_tp_plan: no async tp"),
        rules.accept_all_layers_recomputed("torchtune/training/memory.py, set_activation_checkpointing"),
        rules.accept_whole_layers_recomputed("torchtune/training/memory.py, set_activation_checkpointing"),
        *rules.state_source(
            "torchtune/training/_distributed.py, shard_model: cpu_offload", *fsdp.ACCEPT_FSDP_OFFLOADS
        ),
        rules.Rule(
            "shard_group",
            "shard_group all, or cp times a divisor of dp",
            rules.breaks_shard_groups,
            source="torchtune/training/_distributed.py, ParallelDims: dp_replicate",
        ),
        rules.accept_setting("loss", "plain", "chunked", source="torchtune/modules/loss/cross_entropy_loss.py"),
        rules.accept_setting(
            "reshard",
            *("default", "never"),
            source="recipes/full_finetune_distributed.py: fsdp_reshard_after_forward",
        ),
        *rules.restrict_rules(
            [
                rules.accept_whole_sequences(
                    "FlexAttention of packed data has no context parallelism",
                    source="torchtune/training/_distributed.py, get_context_parallel_manager",
                )
            ],
            lambda plan: plan.cp > 1,
        ),
    ),
    written_settings=("loss", "reshard"),
    source="github.com/pytorch/torchtune",
    versions=(
        ProgramVersion(
            name="0.7",
            since="2025-05",
            behaviour="the loss in chunks with the head's multiply, context parallelism",
            source="9c06c8bd, 43094198",
        ),
        ProgramVersion(
            name="0.6.1",
            since="2025-04",
            behaviour="hybrid sharding; no context parallelism",
            source="d3ab3b7c",
            rules=rules.accept_degrees("tp", source="context parallelism came with 43094198"),
        ),
        ProgramVersion(
            name="0.6",
            since="2025-03",
            behaviour="tensor parallelism; no hybrid sharding",
            source="9da35c74, v0.6.0",
            rules=(
                *rules.accept_degrees("tp", source="context parallelism came with 43094198"),
                _REJECT_SHARD_GROUPS,
            ),
        ),
        ProgramVersion(
            name="0.3",
            since="2024-09",
            behaviour="the loss in chunks (CEWithChunkedOutputLoss); data parallelism alone",
            source="4fba6cd4, v0.3.0",
            rules=(*rules.accept_degrees(source="tensor parallelism came with 9da35c74"), _REJECT_SHARD_GROUPS),
        ),
        ProgramVersion(
            name="0.1",
            since="2024-04",
            behaviour="a plain loss",
            source="v0.1.0, recipes/configs",
            changes={"loss": "plain"},
            rules=(
                *rules.accept_degrees(source="tensor parallelism came with 9da35c74"),
                _REJECT_SHARD_GROUPS,
                _ACCEPT_WHOLE_SEQUENCES,
            ),
        ),
    ),
    nearest_exports=("torchtitan", "fsdp2"),
    defaults=NO_MODEL_PARALLELISM | {"recompute": "none"},
)
