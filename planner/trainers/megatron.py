"""Megatron with the distributed optimizer, today's and that of up to NeMo 26.04; what its three programs support."""

from __future__ import annotations

from dataclasses import replace

from planner.trainers.program import (
    ACCEPT_DECODERS,
    REJECT_EXPERT_BIAS,
    Program,
    Rule,
    accept_accelerators,
    accept_degrees,
    accept_offloads,
    accept_orders,
    accept_values,
    reject_model,
    reject_model_parts,
)
from planner.trainers.trainer import Trainer

MEGATRON_ORDER, MEGATRON_PP_DP_ORDER = "tp-cp-dp-pp", "tp-cp-pp-dp"
"""Supported orders of ranks; the second is `use_tp_pp_dp_mapping`."""

# 32-bit gradient buffers, reduced in 32 bit (Megatron-LM, docs: dist_optimizer.md)
MEGATRON = Trainer(
    name="megatron",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    weight_bytes=2.0,
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=4.0,
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

# the assertions in megatron-core's TransformerConfig and ModelParallelConfig, and in Megatron-LM's `validate_args`
_MEGATRON_CORE_RULES = (
    ACCEPT_DECODERS,
    accept_accelerators("NVIDIA gpu", "AMD gpu"),
    *accept_degrees("tp", "pp", "cp", "ep", "vpp"),
    accept_values("schedule", "1f1b"),
    accept_values("precision", "bf16", "fp16", "fp32", "tf32", "fp8", "mxfp8", "nvfp4"),
    accept_offloads("optimizer"),
    accept_orders(MEGATRON_ORDER, MEGATRON_PP_DP_ORDER),
    *reject_model_parts("embedding_norm", "relative_positions", "token_types"),
    reject_model("model.final_norm", "true", lambda model: not model.final_norm, "false"),
    accept_values("model.head", "lm"),
    reject_model(
        "model.norm_bias",
        "true, or rmsnorm",
        lambda model: model.norm == "layernorm" and not model.norm_bias,
        "false",
    ),
    reject_model(
        "model.attention_out_bias",
        "biases everywhere, nowhere, or of QKV",
        lambda model: (
            (model.qkv_bias, model.attention_out_bias, model.mlp_bias)
            not in ((True,) * 3, (False,) * 3, (True, False, False))
        ),
    ),
    REJECT_EXPERT_BIAS,
    Rule(
        "communication",
        "the format of gradients in memory: bf16",
        lambda plan: plan.gradients == "bf16" and plan.communication == "fp32",
    ),
    Rule(
        "sequence_parallel",
        "experts under tensor parallelism: --sequence-parallel",
        lambda plan: plan.has_experts & (plan.tp > 1) & (plan.sequence_parallel == 0),
    ),
    Rule(
        "tp_overlap",
        "also --sequence-parallel",
        lambda plan: plan.tp_overlap & (plan.tp > 1) & (plan.sequence_parallel == 0),
    ),
    # for a balanced causal mask each of the cp ranks takes one chunk from the front of the sequence and one from its
    # end (megatron-core, `get_batch_on_this_cp_rank`)
    Rule(
        "cp",
        "a sequence that 2 x cp divides",
        lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.cp) != 0),
    ),
    Rule(
        "zero_stage",
        "zero_stage 1 where the optimizer is on the host",
        lambda plan: ("optimizer" in plan.offload) & (plan.zero_stage != 1),
    ),
    Rule("shard_group", "shard_group all", lambda plan: (plan.shard_group is not None) & (plan.zero_stage == 0)),
    Rule("dp_overlap", "dp_overlap yes, or ZeRO 0 or 1", lambda plan: (plan.zero_stage > 1) & (not plan.dp_overlap)),
)
MEGATRON_LM = Program("megatron-lm", "core_v0.16.1", _MEGATRON_CORE_RULES)
MEGATRON_BRIDGE = Program(
    "megatron-bridge",
    "0.3",
    (
        *_MEGATRON_CORE_RULES,
        Rule(
            "order",
            f"order {MEGATRON_ORDER}",
            lambda plan: (plan.zero_stage > 1) & (plan.order != MEGATRON_ORDER),
        ),
    ),
)
NEMO = Program(
    "nemo",
    "2.5",
    (
        *_MEGATRON_CORE_RULES,
        Rule("precision", "precision bf16, fp16, fp8 or mxfp8", lambda plan: plan.precision == "nvfp4"),
        *reject_model_parts("mla"),
    ),
)
"""NeMo 3 has no language models; they moved to Megatron-Bridge."""
