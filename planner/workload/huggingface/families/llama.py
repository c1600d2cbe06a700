"""Llama, and the families of the same form: Mistral, Phi-3, Mixtral."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.spec import MoeSpec


def read_llama_like(
    config: HuggingFaceConfig,
    *,
    default_seq_length: int = 2048,
    default_epsilon: float = 1e-6,
    default_rope_base: float = 10_000.0,
) -> SpecFields:
    """The Llama form, which most models follow: RMSNorm, rotary positions, gated MLP, no biases."""
    sizes = config.read_sizes()
    window = config.read_integer("sliding_window", default=0) if config.read_flag("use_sliding_window", True) else 0
    seq_length = config.read_integer("max_position_embeddings", default=default_seq_length)
    return {
        **sizes,
        "kv_heads": config.read_optional_integer("num_key_value_heads"),
        "head_dim": config.read_optional_integer("head_dim"),
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": seq_length,
        "gated_mlp": True,
        "activation": config.read_activation("hidden_act", default="silu"),
        "norm": "rmsnorm",
        "norm_epsilon": config.read_number("rms_norm_eps", default=default_epsilon),
        **config.read_rope(base=default_rope_base),
        "qkv_bias": config.read_flag("attention_bias", False),
        "attention_out_bias": config.read_flag("attention_bias", False),
        "mlp_bias": config.read_flag("mlp_bias", False),
        "tied_embeddings": config.read_flag("tie_word_embeddings", False),
        "sliding_window": window if window < seq_length else 0,
    }


def read_phi3(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with another default sequence."""
    return read_llama_like(config, default_seq_length=4096, default_epsilon=1e-5)


def read_mixtral(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with experts in every layer."""
    moe = MoeSpec(
        experts=config.read_integer("num_local_experts", default=8),
        topk=config.read_integer("num_experts_per_tok", default=2),
        expert_ffn_size=config.read_integer("intermediate_size"),
        aux_loss=config.read_number("router_aux_loss_coef", default=0.001),
    )
    return {**read_llama_like(config, default_epsilon=1e-5, default_rope_base=1e6), "moe": moe}
