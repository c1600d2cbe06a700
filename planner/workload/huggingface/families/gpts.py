"""Decoders of GPT's form and near it, as tables.

Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import read_windows
from planner.workload.huggingface.table import LAYER_NORM, Family, Keys

_BIASES = {"qkv_bias": True, "attention_out_bias": True, "mlp_bias": True}
_NO_BIAS = {"qkv_bias": False, "attention_out_bias": False, "mlp_bias": False}
_NO_ROPE = {"rotary": False}
_GPT_KEYS = {
    "kv_heads": "",
    "head_dim": "",
    "ffn_size": "",
    "qkv_bias": "",
    "attention_out_bias": "",
    "mlp_bias": "",
}
_GPT_J_KEYS = {
    **_GPT_KEYS,
    "hidden_size": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "seq_length": "n_positions",
    "activation": "activation_function",
    "norm_epsilon": "layer_norm_epsilon",
}


def _fill_width(inner: str = "n_inner", factor: int = 4) -> object:
    """The MLP's width, or so many times the hidden size."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        hidden = fields["hidden_size"]
        assert isinstance(hidden, int)
        return {"ffn_size": keys.count(inner, 0) or factor * hidden}

    return read


def _read_positions(extra_rows: int = 0) -> object:
    """Learned positions as many as the sequence is long, and rows beside them."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        length = fields["seq_length"]
        assert isinstance(length, int)
        return {"learned_positions": length + extra_rows}

    return read


def _read_opt(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Biases, norms before or after, and an embedding of another width where the file says so."""
    has_bias, is_before = keys.is_true("enable_bias", True), keys.is_true("do_layer_norm_before", True)
    width = keys.count("word_embed_proj_dim", 0)
    found: dict[str, object] = {
        **dict.fromkeys(_BIASES, has_bias),
        "norm_placement": "before" if is_before else "after",
        "norm_weight": keys.is_true("layer_norm_elementwise_affine", True),
        "final_norm": is_before and not keys.is_true("_remove_final_layer_norm"),
    }
    hidden, rows = fields["hidden_size"], fields["learned_positions"]
    assert isinstance(hidden, int) and isinstance(rows, int)
    if width in (0, hidden):
        return found
    # positions are as wide as the layers, not as the embedding
    return {**found, "embedding_size": width, "outer_parameters": rows * (hidden - width)}


def _read_gpt_neo(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Windows by a list of pairs: names of layers, and how often they come."""
    pairs = keys.get("attention_types") or [[["global", "local"], 12]]
    names: list[str] = []
    for kinds, count in pairs:
        names += list(kinds) * count

    def list_types(keys: Keys, layers: int) -> list[str]:
        listed = keys.list_names("attention_layers") or names
        return ["sliding_attention" if name == "local" else "full_attention" for name in listed][:layers]

    layers = fields["layers"]
    assert isinstance(layers, int)
    if len(names) != layers:
        raise keys.build_unsupported_error("attention_types", len(names), f"names of {layers} layers")
    return read_windows(list_types, window="window_size")(keys, fields)


def _read_bigcode(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """One head of keys and values for all, or as many as of queries."""
    return {"kv_heads": 1 if keys.is_true("multi_query", True) else None}


def _read_falcon(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """One or two norms of parallel blocks, one or several heads of keys, with a newer form of both."""
    is_new, is_parallel = keys.is_true("new_decoder_architecture"), keys.is_true("parallel_attn", True)
    norms = keys.count("num_ln_in_parallel_attn", 2 if is_new else 1)
    heads = fields["heads"]
    kv_heads = keys.count("num_kv_heads", 0) or heads if is_new else 1 if keys.is_true("multi_query", True) else heads
    return {
        "kv_heads": kv_heads,
        "parallel_residual": is_new or is_parallel,
        "shared_norm": (is_new and norms == 1) or (not is_new and is_parallel),
        **dict.fromkeys(_BIASES, keys.is_true("bias")),
        "relative_positions": "alibi" if keys.is_true("alibi") else "none",
    }


def _read_mpt(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """ALiBi where the table of attention says so (the default), else learned positions."""
    table = keys.get("attn_config") or {}
    has_alibi = table.get("alibi", True)
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    kv_heads = table.get("kv_n_heads")
    return {
        # whatever `expansion_ratio` says (MptMLP)
        "ffn_size": 4 * hidden,
        "relative_positions": "alibi" if has_alibi else "none",
        "kv_heads": kv_heads,
    }


def _read_japanese(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """The width as a multiple; the last layer alone has a bias of attention's output."""
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    return {"ffn_size": int(hidden * keys.get("intermediate_multiple_size", 4)), "outer_parameters": hidden}


def _read_xlm(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A table of languages where there are several."""
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    languages = keys.count("n_langs", 1)
    has_table = languages > 1 and keys.is_true("use_lang_emb", True)
    if keys.is_true("asm"):
        raise keys.build_unsupported_error("asm", "true", "false: an adaptive softmax")
    return {
        "ffn_size": 4 * hidden,
        "activation": "gelu" if keys.is_true("gelu_activation", True) else "relu",
        "learned_positions": keys.count("max_position_embeddings"),
        "token_types": languages if has_table else 0,
    }


FAMILIES: dict[str, Family] = {
    "opt": Family(
        {**_GPT_KEYS, "ffn_size": "ffn_dim", "activation": "activation_function", "norm_epsilon": ""},
        {**LAYER_NORM, "dropout": True},
        parts=(_read_positions(2), _read_opt),  # type: ignore[arg-type]
    ),
    "bloom": Family(
        {**_GPT_KEYS, "layers": "n_layer", "heads": "n_head", "norm_epsilon": "layer_norm_epsilon", "seq_length": ""},
        {
            **LAYER_NORM,
            **_BIASES,
            "relative_positions": "alibi",
            "embedding_norm": True,
            "activation": "gelu-tanh",
            "seq_length": 2048,
        },
        parts=(_fill_width(),),  # type: ignore[arg-type]
        extra=("n_inner", "seq_length"),
    ),
    "gptj": Family(
        _GPT_J_KEYS,
        {
            **LAYER_NORM,
            "qkv_bias": False,
            "attention_out_bias": False,
            "mlp_bias": True,
            "parallel_residual": True,
            "shared_norm": True,
            "head_bias": True,
        },
        parts=(_fill_width(),),  # type: ignore[arg-type]
    ),
    "codegen": Family(
        _GPT_J_KEYS,
        {
            **LAYER_NORM,
            "qkv_bias": False,
            "attention_out_bias": False,
            "mlp_bias": True,
            "parallel_residual": True,
            "shared_norm": True,
            "head_bias": True,
        },
        parts=(_fill_width(),),  # type: ignore[arg-type]
    ),
    "gpt_neo": Family(
        {
            **_GPT_KEYS,
            "layers": "num_layers",
            "heads": "num_heads",
            "activation": "activation_function",
            "norm_epsilon": "layer_norm_epsilon",
        },
        {**LAYER_NORM, "qkv_bias": False, "attention_out_bias": True, "mlp_bias": True, "dropout": True},
        parts=(_fill_width("intermediate_size"), _read_positions(), _read_gpt_neo),  # type: ignore[arg-type]
        extra=("attention_layers",),
    ),
    "gpt_bigcode": Family(
        _GPT_J_KEYS,
        {**LAYER_NORM, **_BIASES, "dropout": True},
        parts=(_fill_width(), _read_positions(), _read_bigcode),  # type: ignore[arg-type]
    ),
    "mpt": Family(
        {
            **_GPT_KEYS,
            "hidden_size": "d_model",
            "layers": "n_layers",
            "heads": "n_heads",
            "seq_length": "max_seq_len",
            "activation": "",
            "norm_epsilon": "layer_norm_epsilon",
        },
        {**LAYER_NORM, **_NO_BIAS, "norm_bias": False, "activation": "gelu"},
        parts=(_read_mpt,),
    ),
    "falcon": Family(
        {
            **_GPT_KEYS,
            "activation": "activation",
            "norm_epsilon": "layer_norm_epsilon",
        },
        LAYER_NORM,
        parts=(_fill_width("ffn_hidden_size"), _read_falcon),  # type: ignore[arg-type]
    ),
    "xglm": Family(
        {
            **_GPT_KEYS,
            "hidden_size": "d_model",
            "layers": "num_layers",
            "heads": "attention_heads",
            "ffn_size": "ffn_dim",
            "activation": "activation_function",
            "norm_epsilon": "",
        },
        {**LAYER_NORM, **_BIASES, **_NO_ROPE, "dropout": True},
    ),
    "biogpt": Family(
        {**_GPT_KEYS, "ffn_size": "intermediate_size", "norm_epsilon": "layer_norm_eps"},
        {**LAYER_NORM, **_BIASES, "dropout": True},
        parts=(_read_positions(2),),  # type: ignore[arg-type]
    ),
    "ctrl": Family(
        {**_GPT_J_KEYS, "ffn_size": "dff", "activation": ""},
        {**LAYER_NORM, **_BIASES, **_NO_ROPE, "head_bias": True, "activation": "relu", "dropout": True},
    ),
    "openai-gpt": Family(
        {**_GPT_J_KEYS, "activation": "afn"},
        {**LAYER_NORM, **_BIASES, "norm_placement": "after", "final_norm": False, "dropout": True},
        parts=(_fill_width(), _read_positions()),  # type: ignore[arg-type]
    ),
    "gpt_neox_japanese": Family(
        {**_GPT_KEYS, "norm_epsilon": "layer_norm_eps"},
        {**LAYER_NORM, **_NO_BIAS},
        parts=(_read_japanese,),
    ),
    "xlm": Family(
        {
            **_GPT_KEYS,
            "hidden_size": "emb_dim",
            "layers": "n_layers",
            "heads": "n_heads",
            "norm_epsilon": "layer_norm_eps",
            "activation": "",
        },
        {
            **LAYER_NORM,
            **_BIASES,
            "architecture": "decoder",
            "norm_placement": "after",
            "final_norm": False,
            "embedding_norm": True,
            "head_bias": True,
            "dropout": True,
        },
        parts=(_read_xlm,),
    ),
    "flaubert": Family(
        {
            **_GPT_KEYS,
            "hidden_size": "emb_dim",
            "layers": "n_layers",
            "heads": "n_heads",
            "norm_epsilon": "layer_norm_eps",
            "activation": "",
        },
        {
            **LAYER_NORM,
            **_BIASES,
            "norm_placement": "after",
            "final_norm": False,
            "embedding_norm": True,
            "head_bias": True,
            "dropout": True,
        },
        parts=(_read_xlm,),
    ),
}
