"""GPT-2, GPT-NeoX, gpt-oss."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families.llama import FamilyDefaults, read_llama_like
from planner.workload.spec import MoeSpec

GPT_OSS_DEFAULTS = FamilyDefaults(
    kv_heads=8,
    head_dim=64,
    seq_length=131_072,
    norm_epsilon=1e-5,
    rope_base=150_000.0,
    rope_scaling={
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    },
    has_window=True,
    window=128,
)


def read_gpt_like(config: HuggingFaceConfig) -> SpecFields:
    """The GPT form, which BERT has too: LayerNorm, biases everywhere."""
    return {**config.read_sizes(), "qkv_bias": True, "attention_out_bias": True, "mlp_bias": True}


def read_gpt2(config: HuggingFaceConfig) -> SpecFields:
    """The GPT form with learned positions and tied embeddings."""
    fields = read_gpt_like(config)
    positions = config.read_integer("n_positions", "n_ctx", default=1024)
    return {
        **fields,
        "activation": config.read_activation("activation_function", default="gelu_new"),
        "norm_epsilon": config.read_number("layer_norm_epsilon", default=1e-5),
        "ffn_size": config.read_optional_integer("n_inner") or 4 * config.read_size("hidden_size"),
        "seq_length": positions,
        "learned_positions": positions,
        "tied_embeddings": config.read_flag("tie_word_embeddings", True),
        "dropout": True,
    }


def read_gpt_neox(config: HuggingFaceConfig) -> SpecFields:
    """The GPT form with rotary positions."""
    fields = read_gpt_like(config)
    has_bias = config.read_flag("attention_bias", True)
    return {
        **fields,
        "activation": config.read_activation("hidden_act", default="gelu"),
        "norm_epsilon": config.read_number("layer_norm_eps", default=1e-5),
        **config.read_rope(base_key="rotary_emb_base", default_fraction=0.25),
        "parallel_residual": config.read_flag("use_parallel_residual", True),
        "qkv_bias": has_bias,
        "attention_out_bias": has_bias,
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": config.read_integer("max_position_embeddings", default=2048),
        "tied_embeddings": config.read_flag("tie_word_embeddings", False),
    }


def read_gpt_oss(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with experts, biases, attention sinks and a window in every second layer."""
    moe = MoeSpec(
        experts=config.read_integer("num_local_experts", "num_experts"),
        topk=config.read_integer("num_experts_per_tok", "experts_per_token"),
        expert_ffn_size=config.read_integer("intermediate_size"),
        router_bias=True,
        expert_bias=True,
        aux_loss=config.read_number("router_aux_loss_coef", default=0.001),
    )
    layer_types = config.read_layer_types()
    sliding_count = layer_types.count("sliding_attention")
    sliding_every = 2 if not layer_types else max(1, len(layer_types) // sliding_count) if sliding_count else 1
    fields = read_llama_like(config, GPT_OSS_DEFAULTS)
    return {
        **fields,
        # the library has this function for every gpt-oss, whatever `hidden_act` says (GptOssExperts)
        "activation": "quick-gelu",
        "activation_limit": config.read_number("swiglu_limit", default=7.0),
        "qkv_bias": config.read_flag("attention_bias", True),
        "attention_out_bias": config.read_flag("attention_bias", True),
        "attention_sinks": True,
        "sliding_window": fields["sliding_window"] if not layer_types or sliding_count else 0,
        "sliding_every": sliding_every,
        "moe": moe,
    }
