"""Readers of Hugging Face's `config.json`: a function for each model type, with the defaults of its library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from planner.decode import parse_mapping
from planner.errors import InputError, build_unknown_name_error, escape_nonprintable
from planner.workload.huggingface.config_file import EQUIVALENT_KEYS, HuggingFaceConfig
from planner.workload.spec import MlaSpec, ModelSpec, MoeSpec, check_model_spec


@dataclass(frozen=True)
class _CommonSizes:
    """The keys that are the same in nearly every decoder's configuration."""

    hidden_size: int
    layers: int
    heads: int
    vocab_size: int

    @classmethod
    def read_sizes(cls, config: HuggingFaceConfig) -> _CommonSizes:
        return cls(
            config.read_integer(*EQUIVALENT_KEYS["hidden_size"]),
            config.read_integer(*EQUIVALENT_KEYS["layers"]),
            config.read_integer(*EQUIVALENT_KEYS["heads"]),
            config.read_integer("vocab_size"),
        )


def parse_huggingface_config(text: str, origin: str, name: str) -> ModelSpec:
    """Read the text of a config.json. Raises InputError for a missing, mistyped or unknown key."""
    config, name = HuggingFaceConfig(parse_mapping(text, "json", origin), origin), escape_nonprintable(name)
    model_type = config.raw.get("model_type")
    expected = f"one of {', '.join(FAMILY_READERS)}"
    if model_type is None:
        raise InputError("missing key", origin=origin, key="model_type", expected=expected)
    if not isinstance(model_type, str):
        value_text = json.dumps(model_type)
        raise InputError("wrong type", origin=origin, key="model_type", value=value_text, expected=expected)
    if model_type not in FAMILY_READERS:
        raise build_unknown_name_error("model type", model_type, FAMILY_READERS, origin=origin, key="model_type")
    fields = FAMILY_READERS[model_type](config)
    return _build_model_spec({"name": name, "title": f"{name} ({model_type})", **fields}, config)


def _build_model_spec(fields: dict[str, object], config: HuggingFaceConfig) -> ModelSpec:
    """The spec, checked against the bounds of a model file."""
    plain_fields = {k: msgspec.to_builtins(v) for k, v in fields.items() if v is not None}
    try:
        spec = msgspec.convert(plain_fields, ModelSpec)
    except msgspec.ValidationError as error:
        raise InputError(f"cannot be used: {error}", origin=config.origin) from None
    return check_model_spec(spec, config.origin, config.map_spec_keys())


SpecFields = dict[str, object]


def _read_llama_like(config: HuggingFaceConfig, *, default_seq_length: int = 2048) -> SpecFields:
    """The Llama form, which most models follow: RMSNorm, rotary positions, gated MLP, no biases."""
    sizes = _CommonSizes.read_sizes(config)
    window = config.read_integer("sliding_window", default=0) if config.read_flag("use_sliding_window", True) else 0
    seq_length = config.read_integer("max_position_embeddings", default=default_seq_length)
    return {
        "hidden_size": sizes.hidden_size,
        "layers": sizes.layers,
        "heads": sizes.heads,
        "vocab_size": sizes.vocab_size,
        "kv_heads": config.read_optional_integer("num_key_value_heads"),
        "head_dim": config.read_optional_integer("head_dim"),
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": seq_length,
        "gated_mlp": True,
        "norm": "rmsnorm",
        "qkv_bias": config.read_flag("attention_bias", False),
        "attention_out_bias": config.read_flag("attention_bias", False),
        "mlp_bias": config.read_flag("mlp_bias", False),
        "tied_embeddings": config.read_flag("tie_word_embeddings", False),
        "sliding_window": window if window < seq_length else 0,
    }


def _read_mixtral(config: HuggingFaceConfig) -> SpecFields:
    moe = MoeSpec(
        experts=config.read_integer("num_local_experts", default=8),
        topk=config.read_integer("num_experts_per_tok", default=2),
        expert_ffn_size=config.read_integer("intermediate_size"),
    )
    return {**_read_llama_like(config), "moe": moe}


def _read_qwen2(config: HuggingFaceConfig) -> SpecFields:
    return {**_read_qwen(config), "qkv_bias": True, "attention_out_bias": False}


def _read_qwen3(config: HuggingFaceConfig) -> SpecFields:
    return {**_read_qwen(config), "qk_norm": True}


def _read_qwen(config: HuggingFaceConfig) -> SpecFields:
    """The sliding window, which layers from `max_window_layers` on have (transformers, Qwen2Config)."""
    fields = _read_llama_like(config)
    full_attention_layers, layers = (
        config.read_integer("max_window_layers", default=28),
        config.read_integer(*EQUIVALENT_KEYS["layers"]),
    )
    if not config.read_flag("use_sliding_window", False) or full_attention_layers >= layers:
        return {**fields, "sliding_window": 0}
    if full_attention_layers and fields["sliding_window"]:
        expected = f"0, or the {layers} layers: a window in all or in none"
        raise InputError(
            "is not supported",
            origin=config.origin,
            key="max_window_layers",
            value=full_attention_layers,
            expected=expected,
        )
    return fields


def _read_qwen_moe(config: HuggingFaceConfig) -> MoeSpec:
    if config.raw.get("mlp_only_layers"):
        value = config.raw["mlp_only_layers"]
        raise InputError(
            "is not supported", origin=config.origin, key="mlp_only_layers", value=value, expected="an empty list"
        )
    return MoeSpec(
        experts=config.read_integer("num_experts"),
        topk=config.read_integer("num_experts_per_tok"),
        expert_ffn_size=config.read_integer("moe_intermediate_size"),
        shared_ffn_size=config.read_integer("shared_expert_intermediate_size", default=0),
        shared_gate=config.read_integer("shared_expert_intermediate_size", default=0) > 0,
        every=config.read_integer("decoder_sparse_step", default=1),
    )


def _read_deepseek_v3(config: HuggingFaceConfig) -> SpecFields:
    expert_ffn_size = config.read_integer("moe_intermediate_size")
    moe = MoeSpec(
        experts=config.read_integer("n_routed_experts"),
        topk=config.read_integer("num_experts_per_tok"),
        expert_ffn_size=expert_ffn_size,
        shared_ffn_size=expert_ffn_size * config.read_integer("n_shared_experts", default=0),
        first_dense_layers=config.read_integer("first_k_dense_replace", default=0),
        router_bias=config.read_string("topk_method", "noaux_tc") == "noaux_tc",
    )
    mla = MlaSpec(
        q_lora_rank=config.read_integer("q_lora_rank", default=0),
        kv_lora_rank=config.read_integer("kv_lora_rank"),
        qk_nope_head_dim=config.read_integer("qk_nope_head_dim"),
        qk_rope_head_dim=config.read_integer("qk_rope_head_dim"),
        v_head_dim=config.read_integer("v_head_dim"),
    )
    return {**_read_llama_like(config), "moe": moe, "mla": mla, "head_dim": None}


def _read_gpt_oss(config: HuggingFaceConfig) -> SpecFields:
    moe = MoeSpec(
        experts=config.read_integer("num_local_experts", "num_experts"),
        topk=config.read_integer("num_experts_per_tok", "experts_per_token"),
        expert_ffn_size=config.read_integer("intermediate_size"),
        router_bias=True,
        expert_bias=True,
    )
    layer_types = config.read_layer_types()
    sliding_count = layer_types.count("sliding_attention")
    sliding_every = 2 if not layer_types else max(1, len(layer_types) // sliding_count) if sliding_count else 1
    window = config.read_integer("sliding_window", default=0) if not layer_types or sliding_count else 0
    return {
        **_read_llama_like(config),
        "qkv_bias": config.read_flag("attention_bias", True),
        "attention_out_bias": config.read_flag("attention_bias", True),
        "attention_sinks": True,
        "sliding_window": window,
        "sliding_every": sliding_every,
        "moe": moe,
    }


def _read_gpt2(config: HuggingFaceConfig) -> SpecFields:
    sizes = _CommonSizes.read_sizes(config)
    positions = config.read_integer("n_positions", "n_ctx", default=1024)
    return {
        **_build_biased_fields(sizes),
        "ffn_size": config.read_optional_integer("n_inner") or 4 * sizes.hidden_size,
        "seq_length": positions,
        "learned_positions": positions,
        "tied_embeddings": config.read_flag("tie_word_embeddings", True),
        "dropout": True,
    }


def _build_biased_fields(sizes: _CommonSizes) -> SpecFields:
    """The GPT form, with LayerNorm and biases everywhere: GPT-2, GPT-NeoX, BERT."""
    return {
        "hidden_size": sizes.hidden_size,
        "layers": sizes.layers,
        "heads": sizes.heads,
        "vocab_size": sizes.vocab_size,
        "qkv_bias": True,
        "attention_out_bias": True,
        "mlp_bias": True,
    }


def _read_gpt_neox(config: HuggingFaceConfig) -> SpecFields:
    sizes = _CommonSizes.read_sizes(config)
    has_bias = config.read_flag("attention_bias", True)
    return {
        **_build_biased_fields(sizes),
        "qkv_bias": has_bias,
        "attention_out_bias": has_bias,
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": config.read_integer("max_position_embeddings", default=2048),
        "tied_embeddings": config.read_flag("tie_word_embeddings", False),
    }


def _read_bert(config: HuggingFaceConfig) -> SpecFields:
    """BertModel with its pooler, as in the published parameter counts."""
    sizes = _CommonSizes.read_sizes(config)
    positions = config.read_integer("max_position_embeddings", default=512)
    return {
        **_build_biased_fields(sizes),
        "architecture": "encoder",
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": positions,
        "learned_positions": positions,
        "token_types": config.read_integer("type_vocab_size", default=2),
        "embedding_norm": True,
        "final_norm": False,
        "tied_embeddings": True,
        "head": "pooler",
        "dropout": True,
    }


def _read_roberta(config: HuggingFaceConfig) -> SpecFields:
    """RobertaModel with its pooler; two of its positions are padding."""
    fields = _read_bert(config)
    positions = config.read_integer("max_position_embeddings", default=514)
    return {
        **fields,
        "seq_length": max(1, positions - 2),
        "token_types": config.read_integer("type_vocab_size", default=1),
    }


def _read_xlnet(config: HuggingFaceConfig) -> SpecFields:
    sizes = _CommonSizes.read_sizes(config)
    return {
        **_build_biased_fields(sizes),
        "architecture": "encoder",
        "qkv_bias": False,
        "attention_out_bias": False,
        "head_dim": config.read_optional_integer("d_head"),
        "ffn_size": config.read_integer("d_inner"),
        "seq_length": 512,
        "final_norm": False,
        "relative_positions": "xlnet",
        "head": "none",
        "dropout": True,
    }


def _read_t5(config: HuggingFaceConfig) -> SpecFields:
    sizes = _CommonSizes.read_sizes(config)
    return {
        "architecture": "encoder-decoder",
        "hidden_size": sizes.hidden_size,
        "layers": sizes.layers,
        "decoder_layers": config.read_integer("num_decoder_layers", default=sizes.layers),
        "heads": sizes.heads,
        "head_dim": config.read_integer("d_kv"),
        "ffn_size": config.read_integer("d_ff"),
        "vocab_size": sizes.vocab_size,
        "seq_length": config.read_integer("n_positions", default=512),
        "gated_mlp": "gated" in config.read_string("feed_forward_proj", "relu"),
        "norm": "rmsnorm",
        "relative_positions": "t5",
        "relative_buckets": config.read_integer("relative_attention_num_buckets", default=32),
        "tied_embeddings": config.read_flag("tie_word_embeddings", True),
        "dropout": True,
    }


FAMILY_READERS: dict[str, Callable[[HuggingFaceConfig], SpecFields]] = {
    "bert": _read_bert,
    "deepseek_v3": _read_deepseek_v3,
    "gpt2": _read_gpt2,
    "gpt_neox": _read_gpt_neox,
    "gpt_oss": _read_gpt_oss,
    "llama": _read_llama_like,
    "mistral": _read_llama_like,
    "mixtral": _read_mixtral,
    "phi3": lambda c: _read_llama_like(c, default_seq_length=4096),
    "qwen2": _read_qwen2,
    "qwen2_moe": lambda c: {**_read_qwen2(c), "moe": _read_qwen_moe(c)},
    "qwen3": _read_qwen3,
    "qwen3_moe": lambda c: {**_read_qwen3(c), "moe": _read_qwen_moe(c)},
    "roberta": _read_roberta,
    "t5": _read_t5,
    "xlnet": _read_xlnet,
}
