"""DeepSeek-V3, and Kimi K2 and Moonlight of the same form."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families.llama import FamilyDefaults, read_llama_like
from planner.workload.spec import MlaSpec, MoeSpec

DEEPSEEK_V3_DEFAULTS = FamilyDefaults(seq_length=4096)
"""Latent attention has a key head for each head, whatever `num_key_value_heads` says."""


def read_deepseek_v3(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with latent attention and shared experts."""
    expert_ffn_size = config.read_integer("moe_intermediate_size")
    groups = config.read_integer("n_group", default=8)
    score = config.read_string("scoring_func", "sigmoid")
    if score not in ("softmax", "sigmoid"):
        raise config.build_unsupported_error("scoring_func", score, "softmax or sigmoid")
    topk_method = config.read_string("topk_method", "noaux_tc")
    moe = MoeSpec(
        experts=config.read_integer("n_routed_experts"),
        topk=config.read_integer("num_experts_per_tok"),
        expert_ffn_size=expert_ffn_size,
        shared_ffn_size=expert_ffn_size * config.read_integer("n_shared_experts", default=1),
        first_dense_layers=config.read_integer("first_k_dense_replace", default=3),
        router_bias=topk_method == "noaux_tc",
        router_score="softmax" if score == "softmax" else "sigmoid",
        router_normalized=config.read_flag("norm_topk_prob", True),
        router_groups=groups if groups > 1 else 0,
        router_topk_groups=config.read_integer("topk_group", default=4) if groups > 1 else 0,
        router_group_experts=1 if topk_method == "group_limited_greedy" else 2,
        router_scaling=config.read_number("routed_scaling_factor", default=2.5),
        aux_loss=config.read_number("aux_loss_alpha", default=0.0),
        aux_loss_scope="sequence" if config.read_flag("seq_aux", True) else "batch",
    )
    mla = MlaSpec(
        q_lora_rank=config.read_optional_integer("q_lora_rank", 1536) or 0,
        kv_lora_rank=config.read_integer("kv_lora_rank"),
        qk_nope_head_dim=config.read_integer("qk_nope_head_dim"),
        qk_rope_head_dim=config.read_integer("qk_rope_head_dim"),
        v_head_dim=config.read_integer("v_head_dim"),
    )
    mtp_layers = config.read_integer("num_nextn_predict_layers", "num_mtp_layers", default=1)
    return {
        **read_llama_like(config, DEEPSEEK_V3_DEFAULTS),
        "moe": moe,
        "mla": mla,
        "head_dim": None,
        "mtp_layers": mtp_layers,
    }
