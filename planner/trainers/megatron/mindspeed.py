"""MindSpeed-LLM: Megatron on Huawei's Ascend; which plans it runs.

gitcode.com/Ascend/MindSpeed-LLM at c77308a1 (26.1, August 2026), on MindSpeed at 028de58c and megatron-core 0.12.1.
"""

from __future__ import annotations

from dataclasses import replace

from planner.trainers import model_rules, rules
from planner.trainers.megatron.programs import (
    MEGATRON_CLASSIC,
    MEGATRON_DEFAULTS,
    MEGATRON_ORDER,
    MEGATRON_PP_DP_ORDER,
    accept_expert_orders,
)
from planner.trainers.program import Program

# it replaces functions of megatron-core; parameters, gradients and optimizer are Megatron's
MINDSPEED = replace(
    MEGATRON_CLASSIC,
    name="mindspeed",
    programs=("mindspeed",),
    calibration="megatron-classic",
    # layers of its own, without Transformer Engine
    keeps_dummy_gradients=False,
    # `--moe-token-dispatcher-type alltoall`: DeepEP is for NVIDIA's GPUs
    ep_exchange="nccl",
    caches_narrow_weights=False,
    # --recompute-activation-function and --recompute-norm: the MLP's activation and the norms are repeated, their
    # outputs dropped (mindspeed/features_manager/recompute/activation_function.py, norm_function.py;
    # mindspeed/core/memory/recompute, activation/activation_recompute_forward.py, norm/norm_recompute_forward.py)
    selective_recompute="cheap",
)

_DUALPIPE_SOURCE = "mindspeed/features_manager/pipeline_parallel/dualpipev_feature.py, validate_args"
_DUALPIPE_RULES = (
    rules.Rule("cp", "cp 1 with schedule dualpipe-v", lambda plan: plan.cp > 1, source=_DUALPIPE_SOURCE),
    rules.Rule(
        "dp_overlap",
        "dp_overlap no with schedule dualpipe-v",
        lambda plan: plan.dp_overlap,
        source=_DUALPIPE_SOURCE,
    ),
    rules.Rule(
        "micro_batch",
        "at least 2 pp - 1 micro-batches with schedule dualpipe-v",
        lambda plan: plan.micro_batches < 2 * plan.pp - 1,
        source=_DUALPIPE_SOURCE,
    ),
    model_rules.reject_model(
        "model.tied_embeddings",
        "false",
        lambda model: model.tied_embeddings,
        "true",
        source=_DUALPIPE_SOURCE,
    ),
)

MINDSPEED_PROGRAM = Program(
    "mindspeed",
    "26.1",
    (
        model_rules.accept_decoders("pretrain_gpt.py"),
        rules.accept_accelerators("Huawei npu", source="requirements: torch_npu"),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "tp",
            "a divisor or a multiple of the model's KV heads",
            lambda plan: (
                plan.model is not None
                and (plan.model.kv_head_count % plan.tp != 0) & (plan.tp % plan.model.kv_head_count != 0)
            ),
            source="megatron-core 0.12.1, megatron/core/transformer/transformer_config.py",
        ),
        rules.accept_values(
            *("precision", "bf16", "fp16", "fp32"),
            source="megatron-core 0.12.1, megatron/training/arguments.py: --bf16, --fp16; FP8 is not modelled",
        ),
        rules.accept_values(
            *("zero_stage", 0, 1),
            source="megatron-core 0.12.1, --use-distributed-optimizer; its FSDP2 is not modelled",
        ),
        *rules.restrict_rules(
            [
                rules.accept_values(
                    *("schedule", "1f1b", "dualpipe-v"),
                    source="mindspeed/features_manager/pipeline_parallel/dualpipev_feature.py, --schedules-method",
                )
            ],
            lambda plan: plan.pp > 1,
        ),
        *rules.restrict_rules(_DUALPIPE_RULES, lambda plan: (plan.pp > 1) & (plan.schedule == "dualpipe-v")),
        # --context-parallel-algo megatron_cp_algo, kvallgather_cp_algo, hybrid_cp_algo with --ulysses-degree-in-cp;
        # or ulysses_cp_algo (mindspeed/features_manager/context_parallel)
        rules.Rule(
            "cp_exchange",
            "cp_exchange ring, all-gather or hierarchical, or heads that tp x cp divides",
            lambda plan: (
                plan.cp_exchange == "all-to-all"
                and (plan.cp > 1) & (plan.model is not None and plan.model.heads % (plan.cp * plan.tp) != 0)
            ),
            source="mindspeed/features_manager/context_parallel/ulysses_context_parallel.py",
        ),
        rules.Rule(
            "cp",
            "a sequence that 2 x cp divides",
            lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.cp) != 0),
            source="mindspeed/features_manager/context_parallel/context_parallel_feature.py",
        ),
        rules.Rule(
            "model.sliding_window",
            "0, or a window of the whole sequence, with context parallelism",
            lambda plan: (plan.cp > 1) & (plan.model is not None and 0 < plan.model.sliding_window < plan.seq_length),
            source="mindspeed_llm/features_manager/context_parallel/context_parallel_feature.py",
        ),
        rules.Rule(
            "sequence_parallel",
            "experts under tensor parallelism: --sequence-parallel",
            lambda plan: plan.has_experts & (plan.tp > 1) & (plan.sequence_parallel == 0),
            source="megatron-core 0.12.1, megatron/core/transformer/moe/moe_layer.py, MoELayer.forward",
        ),
        rules.accept_orders(
            *(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
            source="megatron-core 0.12.1, megatron/training/initialize.py, --use-tp-pp-dp-mapping",
        ),
        *accept_expert_orders("megatron-core 0.12.1, megatron/core/parallel_state.py, initialize_model_parallel"),
        rules.accept_offloads(source="not modelled: --swap-optimizer and --swap-attention of MindSpeed"),
        rules.Rule(
            "communication",
            "the format of gradients in memory: bf16",
            lambda plan: plan.gradients == "bf16" and plan.communication == "fp32",
            source="megatron-core 0.12.1, megatron/core/distributed/distributed_data_parallel_config.py, "
            "grad_reduce_in_fp32",
        ),
        rules.reject_shard_groups("not modelled: num_distributed_optimizer_instances of megatron-core 0.12.1"),
        rules.accept_whole_sequences(
            "attention of variable lengths (--reset-attention-mask) is not modelled on Ascend", source="not modelled"
        ),
    ),
    source="gitcode.com/Ascend/MindSpeed-LLM",
    nearest_exports=("megatron-lm",),
    defaults=MEGATRON_DEFAULTS,
)
