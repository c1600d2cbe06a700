"""Qwen 2 and 3, dense and with experts."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families.llama import read_llama_like
from planner.workload.spec import MoeSpec


def read_qwen2(config: HuggingFaceConfig) -> SpecFields:
    """Biases of queries, keys and values only."""
    return {**_read_qwen(config), "qkv_bias": True, "attention_out_bias": False}


def read_qwen2_moe(config: HuggingFaceConfig) -> SpecFields:
    """The same with experts."""
    return {**read_qwen2(config), "moe": _read_experts(config)}


def read_qwen3(config: HuggingFaceConfig) -> SpecFields:
    """Norms of queries and keys."""
    return {**_read_qwen(config), "qk_norm": True}


def read_qwen3_moe(config: HuggingFaceConfig) -> SpecFields:
    """The same with experts."""
    return {**read_qwen3(config), "moe": _read_experts(config)}


def _read_qwen(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form; layers from `max_window_layers` on have the sliding window (transformers, Qwen2Config)."""
    fields = read_llama_like(config)
    full_attention_layers = config.read_integer("max_window_layers", default=28)
    layers = config.read_size("layers")
    if not config.read_flag("use_sliding_window", False) or full_attention_layers >= layers:
        return {**fields, "sliding_window": 0}
    if full_attention_layers and fields["sliding_window"]:
        expected = f"0, or the {layers} layers: a window in all or in none"
        raise config.build_unsupported_error("max_window_layers", full_attention_layers, expected)
    return fields


def _read_experts(config: HuggingFaceConfig) -> MoeSpec:
    if config.raw.get("mlp_only_layers"):
        raise config.build_unsupported_error("mlp_only_layers", config.raw["mlp_only_layers"], "an empty list")
    shared_ffn_size = config.read_integer("shared_expert_intermediate_size", default=0)
    return MoeSpec(
        experts=config.read_integer("num_experts"),
        topk=config.read_integer("num_experts_per_tok"),
        expert_ffn_size=config.read_integer("moe_intermediate_size"),
        shared_ffn_size=shared_ffn_size,
        shared_gate=shared_ffn_size > 0,
        every=config.read_integer("decoder_sparse_step", default=1),
        router_normalized=config.read_flag("norm_topk_prob", False),
        aux_loss=config.read_number("router_aux_loss_coef", default=0.001),
    )
