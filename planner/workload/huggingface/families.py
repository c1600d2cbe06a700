"""Hugging Face `config.json`, read as it is: one function a model type, defaults as its library has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from planner.decode import parse_mapping
from planner.errors import InputError, build_unknown_name_error, escape_nonprintable
from planner.workload.huggingface.config_file import COUNTED, Config
from planner.workload.spec import MlaSpec, ModelSpec, MoeSpec, checked


@dataclass(frozen=True)
class _Shape:
    """The keys that nearly every decoder's configuration has under the same names."""

    hidden_size: int
    layers: int
    heads: int
    vocab_size: int

    @classmethod
    def of(cls, c: Config) -> _Shape:
        return cls(
            c.number(*COUNTED["hidden_size"]),
            c.number(*COUNTED["layers"]),
            c.number(*COUNTED["heads"]),
            c.number("vocab_size"),
        )


def parse_huggingface(text: str, origin: str, name: str) -> ModelSpec:
    """Read the text of a config.json. Raises InputError for what is missing, mistyped or unknown."""
    config, name = Config(parse_mapping(text, "json", origin), origin), escape_nonprintable(name)
    model_type = config.raw.get("model_type")
    expected = f"one of {', '.join(FAMILIES)}"
    if model_type is None:
        raise InputError("missing key", origin=origin, key="model_type", expected=expected)
    if not isinstance(model_type, str):
        shown = json.dumps(model_type)
        raise InputError("wrong type", origin=origin, key="model_type", value=shown, expected=expected)
    if model_type not in FAMILIES:
        raise build_unknown_name_error("model type", model_type, FAMILIES, origin=origin, key="model_type")
    fields = FAMILIES[model_type](config)
    return _validated({"name": name, "title": f"{name} ({model_type})", **fields}, config)


def _validated(fields: dict[str, object], config: Config) -> ModelSpec:
    """Through the same bounds as a model file of one's own."""
    plain = {k: msgspec.to_builtins(v) for k, v in fields.items() if v is not None}
    try:
        spec = msgspec.convert(plain, ModelSpec)
    except msgspec.ValidationError as error:
        raise InputError(f"cannot be used: {error}", origin=config.origin) from None
    return checked(spec, config.origin, config.names())


Fields = dict[str, object]


def _llama_like(c: Config, *, seq_default: int = 2048) -> Fields:
    """RMSNorm, rotary positions, gated MLP, no biases: what Llama began and most follow."""
    shape = _Shape.of(c)
    window = c.number("sliding_window", default=0) if c.flag("use_sliding_window", True) else 0
    seq_length = c.number("max_position_embeddings", default=seq_default)
    return {
        "hidden_size": shape.hidden_size,
        "layers": shape.layers,
        "heads": shape.heads,
        "vocab_size": shape.vocab_size,
        "kv_heads": c.maybe("num_key_value_heads"),
        "head_dim": c.maybe("head_dim"),
        "ffn_size": c.number("intermediate_size"),
        "seq_length": seq_length,
        "gated_mlp": True,
        "norm": "rmsnorm",
        "qkv_bias": c.flag("attention_bias", False),
        "attention_out_bias": c.flag("attention_bias", False),
        "mlp_bias": c.flag("mlp_bias", False),
        "tied_embeddings": c.flag("tie_word_embeddings", False),
        "sliding_window": window if window < seq_length else 0,
    }


def _mixtral(c: Config) -> Fields:
    moe = MoeSpec(
        experts=c.number("num_local_experts", default=8),
        topk=c.number("num_experts_per_tok", default=2),
        expert_ffn_size=c.number("intermediate_size"),
    )
    return {**_llama_like(c), "moe": moe}


def _qwen2(c: Config) -> Fields:
    return {**_qwen(c), "qkv_bias": True, "attention_out_bias": False}


def _qwen3(c: Config) -> Fields:
    return {**_qwen(c), "qk_norm": True}


def _qwen(c: Config) -> Fields:
    """A window is asked for, and only layers from `max_window_layers` on have it (transformers, Qwen2Config)."""
    fields = _llama_like(c)
    whole, layers = c.number("max_window_layers", default=28), c.number(*COUNTED["layers"])
    if not c.flag("use_sliding_window", False) or whole >= layers:
        return {**fields, "sliding_window": 0}
    if whole and fields["sliding_window"]:
        expected = f"0, or the {layers} layers: a window in all or in none"
        raise InputError("is not read", origin=c.origin, key="max_window_layers", value=whole, expected=expected)
    return fields


def _qwen_experts(c: Config) -> MoeSpec:
    if c.raw.get("mlp_only_layers"):
        value = c.raw["mlp_only_layers"]
        raise InputError("is not read", origin=c.origin, key="mlp_only_layers", value=value, expected="an empty list")
    return MoeSpec(
        experts=c.number("num_experts"),
        topk=c.number("num_experts_per_tok"),
        expert_ffn_size=c.number("moe_intermediate_size"),
        shared_ffn_size=c.number("shared_expert_intermediate_size", default=0),
        shared_gate=c.number("shared_expert_intermediate_size", default=0) > 0,
        every=c.number("decoder_sparse_step", default=1),
    )


def _deepseek_v3(c: Config) -> Fields:
    expert = c.number("moe_intermediate_size")
    moe = MoeSpec(
        experts=c.number("n_routed_experts"),
        topk=c.number("num_experts_per_tok"),
        expert_ffn_size=expert,
        shared_ffn_size=expert * c.number("n_shared_experts", default=0),
        first_dense_layers=c.number("first_k_dense_replace", default=0),
        router_bias=c.text("topk_method", "noaux_tc") == "noaux_tc",
    )
    mla = MlaSpec(
        q_lora_rank=c.number("q_lora_rank", default=0),
        kv_lora_rank=c.number("kv_lora_rank"),
        qk_nope_head_dim=c.number("qk_nope_head_dim"),
        qk_rope_head_dim=c.number("qk_rope_head_dim"),
        v_head_dim=c.number("v_head_dim"),
    )
    return {**_llama_like(c), "moe": moe, "mla": mla, "head_dim": None}


def _gpt_oss(c: Config) -> Fields:
    moe = MoeSpec(
        experts=c.number("num_local_experts", "num_experts"),
        topk=c.number("num_experts_per_tok", "experts_per_token"),
        expert_ffn_size=c.number("intermediate_size"),
        router_bias=True,
        expert_bias=True,
    )
    kinds = c.layer_types()
    sliding = kinds.count("sliding_attention")
    every = 2 if not kinds else max(1, len(kinds) // sliding) if sliding else 1
    window = c.number("sliding_window", default=0) if not kinds or sliding else 0
    return {
        **_llama_like(c),
        "qkv_bias": c.flag("attention_bias", True),
        "attention_out_bias": c.flag("attention_bias", True),
        "attention_sinks": True,
        "sliding_window": window,
        "sliding_every": every,
        "moe": moe,
    }


def _gpt2(c: Config) -> Fields:
    shape = _Shape.of(c)
    positions = c.number("n_positions", "n_ctx", default=1024)
    return {
        **_biased(shape),
        "ffn_size": c.maybe("n_inner") or 4 * shape.hidden_size,
        "seq_length": positions,
        "learned_positions": positions,
        "tied_embeddings": c.flag("tie_word_embeddings", True),
        "dropout": True,
    }


def _biased(shape: _Shape) -> Fields:
    """LayerNorm and biases everywhere: GPT-2, GPT-NeoX, BERT."""
    return {
        "hidden_size": shape.hidden_size,
        "layers": shape.layers,
        "heads": shape.heads,
        "vocab_size": shape.vocab_size,
        "qkv_bias": True,
        "attention_out_bias": True,
        "mlp_bias": True,
    }


def _gpt_neox(c: Config) -> Fields:
    shape = _Shape.of(c)
    biased = c.flag("attention_bias", True)
    return {
        **_biased(shape),
        "qkv_bias": biased,
        "attention_out_bias": biased,
        "ffn_size": c.number("intermediate_size"),
        "seq_length": c.number("max_position_embeddings", default=2048),
        "tied_embeddings": c.flag("tie_word_embeddings", False),
    }


def _bert(c: Config) -> Fields:
    """BertModel with its pooler, as the published counts are made."""
    shape = _Shape.of(c)
    positions = c.number("max_position_embeddings", default=512)
    return {
        **_biased(shape),
        "architecture": "encoder",
        "ffn_size": c.number("intermediate_size"),
        "seq_length": positions,
        "learned_positions": positions,
        "token_types": c.number("type_vocab_size", default=2),
        "embedding_norm": True,
        "final_norm": False,
        "tied_embeddings": True,
        "head": "pooler",
        "dropout": True,
    }


def _roberta(c: Config) -> Fields:
    """RobertaModel with its pooler; two of its positions are padding."""
    fields = _bert(c)
    positions = c.number("max_position_embeddings", default=514)
    return {
        **fields,
        "seq_length": max(1, positions - 2),
        "token_types": c.number("type_vocab_size", default=1),
    }


def _xlnet(c: Config) -> Fields:
    shape = _Shape.of(c)
    return {
        **_biased(shape),
        "architecture": "encoder",
        "qkv_bias": False,
        "attention_out_bias": False,
        "head_dim": c.maybe("d_head"),
        "ffn_size": c.number("d_inner"),
        "seq_length": 512,
        "final_norm": False,
        "relative_positions": "xlnet",
        "head": "none",
        "dropout": True,
    }


def _t5(c: Config) -> Fields:
    shape = _Shape.of(c)
    return {
        "architecture": "encoder-decoder",
        "hidden_size": shape.hidden_size,
        "layers": shape.layers,
        "decoder_layers": c.number("num_decoder_layers", default=shape.layers),
        "heads": shape.heads,
        "head_dim": c.number("d_kv"),
        "ffn_size": c.number("d_ff"),
        "vocab_size": shape.vocab_size,
        "seq_length": c.number("n_positions", default=512),
        "gated_mlp": "gated" in c.text("feed_forward_proj", "relu"),
        "norm": "rmsnorm",
        "relative_positions": "t5",
        "relative_buckets": c.number("relative_attention_num_buckets", default=32),
        "tied_embeddings": c.flag("tie_word_embeddings", True),
        "dropout": True,
    }


FAMILIES: dict[str, Callable[[Config], Fields]] = {
    "bert": _bert,
    "deepseek_v3": _deepseek_v3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gpt_oss": _gpt_oss,
    "llama": _llama_like,
    "mistral": _llama_like,
    "mixtral": _mixtral,
    "phi3": lambda c: _llama_like(c, seq_default=4096),
    "qwen2": _qwen2,
    "qwen2_moe": lambda c: {**_qwen2(c), "moe": _qwen_experts(c)},
    "qwen3": _qwen3,
    "qwen3_moe": lambda c: {**_qwen3(c), "moe": _qwen_experts(c)},
    "roberta": _roberta,
    "t5": _t5,
    "xlnet": _xlnet,
}
