"""Qwen 2 and 3, dense and with experts."""

from __future__ import annotations

from dataclasses import replace

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families.llama import FamilyDefaults, read_llama_like
from planner.workload.spec import MoeSpec

QWEN2_DEFAULTS = FamilyDefaults(kv_heads=32, seq_length=32_768, has_window=True, window=4096)
QWEN2_MOE_DEFAULTS = replace(QWEN2_DEFAULTS, kv_heads=16)
QWEN3_DEFAULTS = replace(QWEN2_DEFAULTS, head_dim=128)
QWEN3_MOE_DEFAULTS = replace(QWEN2_DEFAULTS, kv_heads=4)


def read_qwen2(config: HuggingFaceConfig) -> SpecFields:
    """Biases of queries, keys and values only."""
    fields = _read_qwen(config, QWEN2_DEFAULTS)
    return {**fields, **_read_upper_window(config, fields), "qkv_bias": True, "attention_out_bias": False}


def read_qwen2_moe(config: HuggingFaceConfig) -> SpecFields:
    """The same with experts; the window is that of every second layer below `max_window_layers`."""
    fields = _read_qwen(config, QWEN2_MOE_DEFAULTS)
    layers, window_layers = config.read_size("layers"), config.read_integer("max_window_layers", default=28)
    if fields["sliding_window"] and 0 < window_layers < layers:
        expected = f"0, or at least the {layers} layers"
        raise config.build_unsupported_error("max_window_layers", window_layers, expected)
    return {
        **fields,
        "sliding_window": fields["sliding_window"] if window_layers else 0,
        "sliding_every": 2,
        "qkv_bias": config.read_flag("qkv_bias", True),
        "attention_out_bias": False,
        "moe": _read_experts(config, default_shared_ffn_size=5632),
    }


def read_qwen3(config: HuggingFaceConfig) -> SpecFields:
    """Norms of queries and keys."""
    fields = _read_qwen(config, QWEN3_DEFAULTS)
    return {**fields, **_read_upper_window(config, fields), "qk_norm": True}


def read_qwen3_moe(config: HuggingFaceConfig) -> SpecFields:
    """The same with experts; a window is that of all layers (modeling_qwen3_moe.py)."""
    return {**_read_qwen(config, QWEN3_MOE_DEFAULTS), "qk_norm": True, "moe": _read_experts(config)}


def _read_qwen(config: HuggingFaceConfig, defaults: FamilyDefaults) -> SpecFields:
    """The Llama form, whose sliding window is used only where the file says so."""
    fields = read_llama_like(config, defaults)
    return fields if config.read_flag("use_sliding_window", False) else {**fields, "sliding_window": 0}


def _read_upper_window(config: HuggingFaceConfig, fields: SpecFields) -> SpecFields:
    """The window of the layers from `max_window_layers` on. Raises InputError for one of some layers only."""
    layers, full_attention_layers = config.read_size("layers"), config.read_integer("max_window_layers", default=28)
    if full_attention_layers >= layers:
        return {"sliding_window": 0}
    if full_attention_layers and fields["sliding_window"]:
        expected = f"0, or the {layers} layers: a window in all or in none"
        raise config.build_unsupported_error("max_window_layers", full_attention_layers, expected)
    return {}


def _read_experts(config: HuggingFaceConfig, default_shared_ffn_size: int = 0) -> MoeSpec:
    if config.raw.get("mlp_only_layers"):
        raise config.build_unsupported_error("mlp_only_layers", config.raw["mlp_only_layers"], "an empty list")
    shared_ffn_size = config.read_integer("shared_expert_intermediate_size", default=default_shared_ffn_size)
    return MoeSpec(
        # transformers 5 writes Qwen3-MoE's experts as `num_local_experts`
        experts=config.read_integer("num_experts", "num_local_experts"),
        topk=config.read_integer("num_experts_per_tok"),
        expert_ffn_size=config.read_integer("moe_intermediate_size"),
        shared_ffn_size=shared_ffn_size,
        shared_gate=shared_ffn_size > 0,
        every=config.read_integer("decoder_sparse_step", default=1),
        router_normalized=config.read_flag("norm_topk_prob", False),
        aux_loss=config.read_number("router_aux_loss_coef", default=0.001),
    )
