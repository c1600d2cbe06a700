"""Hugging Face `config.json`, read as it is: one function a model type, defaults as its library has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from planner.decode import parse
from planner.errors import InputError, unknown_name, visible
from planner.workload.spec import MOST_LAYERS, WIDEST, MlaSpec, ModelSpec, MoeSpec, checked

_COUNTED = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "decoder_layers": ("num_decoder_layers",),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim", "d_head", "d_kv"),
    "vocab_size": ("vocab_size",),
    "ffn_size": ("intermediate_size", "n_inner", "d_inner", "d_ff"),
    "seq_length": ("max_position_embeddings", "n_positions", "n_ctx"),
    "moe.experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "moe.topk": ("num_experts_per_tok", "experts_per_token"),
    "moe.expert_ffn_size": ("moe_intermediate_size", "intermediate_size"),
    "moe.first_dense_layers": ("first_k_dense_replace",),
    "moe.every": ("decoder_sparse_step",),
}
"""The keys of a model file, and those that Hugging Face's libraries have for the same."""

_MAY_BE_ZERO = {
    "sliding_window",
    "first_k_dense_replace",
    "n_shared_experts",
    "shared_expert_intermediate_size",
    "q_lora_rank",
    "qk_rope_head_dim",
    "type_vocab_size",
    "relative_attention_num_buckets",
}
_MOST = {
    **dict.fromkeys((*_COUNTED["layers"], "num_decoder_layers"), MOST_LAYERS),
    **dict.fromkeys((*_COUNTED["heads"], "num_key_value_heads", *_COUNTED["moe.experts"]), 65_536),
    **dict.fromkeys(_COUNTED["seq_length"], 2**24),
}


@dataclass(frozen=True)
class _Config:
    """Typed access to the keys of a config.json; a missing or mistyped key is told with file and key."""

    raw: Mapping[str, object]
    origin: str

    def number(self, *keys: str, default: int | None = None) -> int:
        """The first of `keys` that is there, as a whole number in the bounds of a model file's key."""
        for key in keys:
            value = self.raw.get(key)
            if value is not None:
                return self._whole(key, value)
        if default is None:
            problem = "must not be null" if keys[0] in self.raw else "missing key"
            raise InputError(problem, origin=self.origin, key=keys[0], expected="a whole number")
        return default

    def _whole(self, key: str, value: object) -> int:
        least, most = int(key not in _MAY_BE_ZERO), _MOST.get(key, WIDEST)
        expected = f"a whole number from {least} to {most:,}"
        if not isinstance(value, int) or isinstance(value, bool):
            shown = json.dumps(value)
            raise InputError("wrong type", origin=self.origin, key=key, value=shown, expected=expected)
        if not least <= value <= most:
            raise InputError("out of range", origin=self.origin, key=key, value=value, expected=expected)
        return value

    def maybe(self, key: str) -> int | None:
        """A whole number of at least 1, or None where the key is missing or null."""
        return None if self.raw.get(key) is None else self.number(key)

    def names(self) -> dict[str, str]:
        """For each key of a model file, the one that this configuration has it under."""
        found = {own: [key for key in keys if self.raw.get(key) is not None] for own, keys in _COUNTED.items()}
        return {own: keys[0] if keys else _COUNTED[own][0] for own, keys in found.items()}

    def flag(self, key: str, default: bool) -> bool:
        """A true/false key."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            shown = json.dumps(value)
            raise InputError("wrong type", origin=self.origin, key=key, value=shown, expected="true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """A text key."""
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            shown = json.dumps(value)
            raise InputError("wrong type", origin=self.origin, key=key, value=shown, expected="a text")
        return value

    def layer_types(self) -> list[str]:
        """The `layer_types` list of newer configurations; empty where there is none."""
        value = self.raw.get("layer_types")
        if not isinstance(value, list):
            return []
        return [one for one in value if isinstance(one, str)]


@dataclass(frozen=True)
class _Shape:
    """The keys that nearly every decoder's configuration has under the same names."""

    hidden_size: int
    layers: int
    heads: int
    vocab_size: int

    @classmethod
    def of(cls, c: _Config) -> _Shape:
        return cls(
            c.number(*_COUNTED["hidden_size"]),
            c.number(*_COUNTED["layers"]),
            c.number(*_COUNTED["heads"]),
            c.number("vocab_size"),
        )


def parse_huggingface(text: str, origin: str, name: str) -> ModelSpec:
    """Read the text of a config.json. Raises InputError for what is missing, mistyped or unknown."""
    config, name = _Config(parse(text, "json", origin), origin), visible(name)
    model_type = config.raw.get("model_type")
    expected = f"one of {', '.join(FAMILIES)}"
    if model_type is None:
        raise InputError("missing key", origin=origin, key="model_type", expected=expected)
    if not isinstance(model_type, str):
        shown = json.dumps(model_type)
        raise InputError("wrong type", origin=origin, key="model_type", value=shown, expected=expected)
    if model_type not in FAMILIES:
        raise unknown_name("model type", model_type, FAMILIES, origin=origin, key="model_type")
    fields = FAMILIES[model_type](config)
    return _validated({"name": name, "title": f"{name} ({model_type})", **fields}, config)


def _validated(fields: dict[str, object], config: _Config) -> ModelSpec:
    """Through the same bounds as a model file of one's own."""
    plain = {k: msgspec.to_builtins(v) for k, v in fields.items() if v is not None}
    try:
        spec = msgspec.convert(plain, ModelSpec)
    except msgspec.ValidationError as error:
        raise InputError(f"cannot be used: {error}", origin=config.origin) from None
    return checked(spec, config.origin, config.names())


Fields = dict[str, object]


def _llama_like(c: _Config, *, seq_default: int = 2048) -> Fields:
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


def _mixtral(c: _Config) -> Fields:
    moe = MoeSpec(
        experts=c.number("num_local_experts", default=8),
        topk=c.number("num_experts_per_tok", default=2),
        expert_ffn_size=c.number("intermediate_size"),
    )
    return {**_llama_like(c), "moe": moe}


def _qwen2(c: _Config) -> Fields:
    fields = {**_llama_like(c), "qkv_bias": True, "attention_out_bias": False}
    if not c.flag("use_sliding_window", False):
        fields["sliding_window"] = 0
    return fields


def _qwen3(c: _Config) -> Fields:
    fields = {**_llama_like(c), "qk_norm": True}
    if not c.flag("use_sliding_window", False):
        fields["sliding_window"] = 0
    return fields


def _qwen_experts(c: _Config) -> MoeSpec:
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


def _deepseek_v3(c: _Config) -> Fields:
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


def _gpt_oss(c: _Config) -> Fields:
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


def _gpt2(c: _Config) -> Fields:
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


def _gpt_neox(c: _Config) -> Fields:
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


def _bert(c: _Config) -> Fields:
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


def _roberta(c: _Config) -> Fields:
    """RobertaModel with its pooler; two of its positions are padding."""
    fields = _bert(c)
    positions = c.number("max_position_embeddings", default=514)
    return {
        **fields,
        "seq_length": max(1, positions - 2),
        "token_types": c.number("type_vocab_size", default=1),
    }


def _xlnet(c: _Config) -> Fields:
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


def _t5(c: _Config) -> Fields:
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


FAMILIES: dict[str, Callable[[_Config], Fields]] = {
    "bert": _bert,
    "deepseek_v3": _deepseek_v3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gpt_oss": _gpt_oss,
    "llama": _llama_like,
    "mistral": _llama_like,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen2_moe": lambda c: {**_qwen2(c), "moe": _qwen_experts(c)},
    "qwen3": _qwen3,
    "qwen3_moe": lambda c: {**_qwen3(c), "moe": _qwen_experts(c)},
    "roberta": _roberta,
    "t5": _t5,
    "xlnet": _xlnet,
}
