"""Megatron with the distributed optimizer, today's and that of up to NeMo 26.04; Megatron-FSDP; its programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.trainers import rules
from planner.trainers.trainer import Trainer

MEGATRON_ORDER, MEGATRON_PP_DP_ORDER = "tp-cp-dp-pp", "tp-cp-pp-dp"
"""Supported orders of ranks; the second is `use_tp_pp_dp_mapping`."""

# 32-bit gradient buffers, reduced in 32 bit (Megatron-LM, docs: dist_optimizer.md)
MEGATRON = Trainer(
    name="megatron",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=4.0,
    rank_orders=(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    overlaps_expert_comm=True,
    fuses_expert_kernels=True,
)

# before whole steps were captured as one graph and the all-to-all of experts was overlapped
MEGATRON_CLASSIC = replace(
    MEGATRON,
    name="megatron-classic",
    launch_mode="fused",
    overlaps_expert_comm=False,
    fuses_expert_kernels=False,
)

# fully sharded data parallelism: 32-bit sharded parameters are the master weights, as in FSDP2
MEGATRON_FSDP = replace(
    MEGATRON_CLASSIC,
    name="megatron-fsdp",
    sharded_weight_bytes=0.0,
    grad_reduce_bytes=2.0,
    keeps_embedding_gathered=True,
    fragmentation_share=0.08,
)

# the assertions in megatron-core's TransformerConfig and ModelParallelConfig, and in Megatron-LM's `validate_args`
_MEGATRON_CORE_RULES = (
    rules.ACCEPT_DECODERS,
    rules.accept_accelerators("NVIDIA gpu", "AMD gpu"),
    *rules.accept_degrees("tp", "pp", "cp", "ep", "vpp"),
    rules.accept_values("schedule", "1f1b"),
    rules.accept_values("precision", "bf16", "fp16", "fp32", "tf32", "fp8", "mxfp8", "nvfp4"),
    rules.accept_offloads("optimizer"),
    rules.accept_orders(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
    # a model without experts has their groups too, with ep 1 and etp = tp (the assertions on the order in
    # megatron-core's `initialize_model_parallel`)
    *rules.restrict_rules(
        [replace(rules.accept_orders(MEGATRON_ORDER), supported=f"order {MEGATRON_ORDER}, or ep x etp = tp x cp")],
        lambda plan: plan.ep * np.where(plan.has_experts, plan.etp, plan.tp) != plan.tp * plan.cp,
    ),
    *rules.reject_model_parts("embedding_norm", "relative_positions", "token_types"),
    rules.reject_model("model.final_norm", "true", lambda model: not model.final_norm, "false"),
    rules.accept_values("model.head", "lm"),
    rules.reject_model(
        "model.norm_bias",
        "true, or rmsnorm",
        lambda model: model.norm == "layernorm" and not model.norm_bias,
        "false",
    ),
    rules.reject_model(
        "model.attention_out_bias",
        "biases everywhere, nowhere, or of QKV",
        lambda model: (
            (model.qkv_bias, model.attention_out_bias, model.mlp_bias)
            not in ((True,) * 3, (False,) * 3, (True, False, False))
        ),
    ),
    rules.REJECT_EXPERT_BIAS,
    rules.Rule(
        "communication",
        "the format of gradients in memory: bf16",
        lambda plan: plan.gradients == "bf16" and plan.communication == "fp32",
    ),
    rules.Rule(
        "sequence_parallel",
        "experts under tensor parallelism: --sequence-parallel",
        lambda plan: plan.has_experts & (plan.tp > 1) & (plan.sequence_parallel == 0),
    ),
    rules.Rule(
        "tp_overlap",
        "also --sequence-parallel",
        lambda plan: plan.tp_overlap & (plan.tp > 1) & (plan.sequence_parallel == 0),
    ),
    # for a balanced causal mask each of the cp ranks takes one chunk from the front of the sequence and one from its
    # end (megatron-core, `get_batch_on_this_cp_rank`)
    rules.Rule(
        "cp",
        "a sequence that 2 x cp divides",
        lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.cp) != 0),
    ),
    rules.Rule(
        "zero_stage",
        "zero_stage 1 where the optimizer is on the host",
        lambda plan: ("optimizer" in plan.offload) & (plan.zero_stage != 1),
    ),
    rules.Rule(
        "shard_group", "shard_group all", lambda plan: (plan.shard_group is not None) & (plan.zero_stage == 0)
    ),
    rules.Rule(
        "shard_group",
        "tp x shard_group a multiple of etp x ep",
        rules.breaks_expert_shard_groups,
    ),
    rules.Rule(
        "dp_overlap", "dp_overlap yes, or ZeRO 0 or 1", lambda plan: (plan.zero_stage > 1) & (not plan.dp_overlap)
    ),
)
MEGATRON_LM = rules.Program("megatron-lm", "core_v0.16.1", _MEGATRON_CORE_RULES)
MEGATRON_BRIDGE = rules.Program(
    "megatron-bridge",
    "0.3",
    (
        *_MEGATRON_CORE_RULES,
        rules.Rule(
            "order",
            f"order {MEGATRON_ORDER}",
            lambda plan: (plan.zero_stage > 1) & (plan.order != MEGATRON_ORDER),
        ),
    ),
)
NEMO = rules.Program(
    "nemo",
    "2.5",
    (
        *_MEGATRON_CORE_RULES,
        rules.Rule("precision", "precision bf16, fp16, fp8 or mxfp8", lambda plan: plan.precision == "nvfp4"),
        *rules.reject_model_parts("mla"),
    ),
)
"""NeMo 3 has no language models; they moved to Megatron-Bridge."""
