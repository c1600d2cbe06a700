"""Encoders of BERT's form, as tables. Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py."""

from __future__ import annotations

from collections.abc import Mapping

from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import every, read_windows
from planner.workload.huggingface.table import Family, Keys

_BERT_KEYS = {
    "kv_heads": "",
    "head_dim": "",
    "norm_epsilon": "layer_norm_eps",
    "qkv_bias": "",
    "attention_out_bias": "",
    "mlp_bias": "",
    "token_types": "type_vocab_size",
    "tied_embeddings": "tie_word_embeddings",
}
_BERT_FIXED: Mapping[str, object] = {
    "architecture": "encoder",
    "norm": "layernorm",
    "gated_mlp": False,
    "qkv_bias": True,
    "attention_out_bias": True,
    "mlp_bias": True,
    "embedding_norm": True,
    "final_norm": False,
    "norm_placement": "after",
    "head": "masked-lm",
    "dropout": True,
}
_PRE_NORM = {"norm_placement": "before", "embedding_norm": False, "final_norm": True}


def _read_positions(*, padding: int = 0, has_second_bias: bool = True) -> object:
    """Learned positions, of which some rows are padding."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        rows = keys.count("max_position_embeddings")
        # a head whose matrix is not the embedding's has a second bias (BertLMPredictionHead)
        biases = 0 if fields.get("tied_embeddings", True) or not has_second_bias else fields["vocab_size"]
        return {"learned_positions": rows, "seq_length": max(1, rows - padding), "outer_parameters": biases}

    return read


def _read_embedding_size(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """An embedding of another width."""
    width = keys.count("embedding_size", 0)
    return {"embedding_size": width, "embedding_bias": True} if width not in (0, fields["hidden_size"]) else {}


def _read_modernbert(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Full attention in each third layer; the first layer has no norm before attention."""
    return _drop_first_norm(
        {
            **fields,
            **read_windows(
                every("global_attn_every_n_layers", "full_attention", "sliding_attention", first=True),
                window="local_attention",
            )(keys, fields),
        }
    )


def _read_modernbert_decoder(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    return _drop_first_norm(
        {
            **fields,
            **read_windows(
                every("global_attn_every_n_layers", "full_attention", "sliding_attention", first=True),
                window="local_attention",
            )(keys, fields),
        }
    )


def _read_modernbert_biases(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Biases of norms and of the layer before the head; the head itself has one."""
    if not keys.is_true("decoder_bias", True):
        raise keys.build_unsupported_error("decoder_bias", "false", "true")
    return {"norm_bias": keys.is_true("norm_bias"), "head_transform_bias": keys.is_true("classifier_bias")}


def _drop_first_norm(fields: SpecFields) -> Mapping[str, object]:
    """The same layers, the first of them without its norm before attention."""
    layers, pattern, kinds = fields["layers"], fields.get("pattern") or ["full"], fields.get("kinds")
    kinds = list(kinds or [{"name": "full"}])  # type: ignore[call-overload]
    assert isinstance(layers, int) and isinstance(pattern, list)
    names = [pattern[index % len(pattern)] for index in range(layers)]
    first = next(dict(kind) for kind in kinds if kind["name"] == names[0])
    first |= {"name": "first", "opening_norm": False}
    used = set(names[1:])
    return {
        "pattern": ["first", *names[1:]],
        "kinds": [first, *(kind for kind in kinds if kind["name"] in used)],
        **({"sliding_window": fields["sliding_window"]} if "sliding_window" in fields else {}),
    }


def _read_tasks(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A table of tasks, beside that of token types."""
    hidden, outer = fields["hidden_size"], fields["outer_parameters"]
    assert isinstance(hidden, int) and isinstance(outer, int)
    rows = keys.count("task_type_vocab_size", 0) if keys.is_true("use_task_id") else 0
    return {"outer_parameters": outer + rows * hidden}


def _read_pooler(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A pooler that models with other heads have too."""
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    outer = fields["outer_parameters"]
    assert isinstance(outer, int)
    return {"outer_parameters": outer + hidden * (hidden + 1)}


def _read_roformer(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A table of sines with a row for each position, as wide as a head, that is counted as a parameter."""
    hidden, heads = fields["hidden_size"], fields["heads"]
    assert isinstance(hidden, int) and isinstance(heads, int)
    biases = 0 if fields.get("tied_embeddings", True) else fields["vocab_size"]
    assert isinstance(biases, int)
    return {"outer_parameters": keys.count("max_position_embeddings") * (hidden // heads) + biases}


_ROBERTA = Family(_BERT_KEYS, _BERT_FIXED, parts=(_read_positions(padding=2),))  # type: ignore[arg-type]
_BERT = Family(_BERT_KEYS, _BERT_FIXED, parts=(_read_positions(),))  # type: ignore[arg-type]
_MODERN_BERT = {
    "norm": "layernorm",
    "norm_bias": False,
    "gated_mlp": True,
    "embedding_norm": True,
    "final_norm": True,
    "head": "masked-lm",
    "head_transform_bias": False,
}

FAMILIES: dict[str, Family] = {
    "camembert": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "ernie": Family(_BERT_KEYS, _BERT_FIXED, parts=(_read_positions(), _read_tasks)),  # type: ignore[arg-type]
    "megatron-bert": Family(_BERT_KEYS, {**_BERT_FIXED, **_PRE_NORM}, parts=(_read_positions(),)),  # type: ignore[arg-type]
    "roberta-prelayernorm": Family(
        _BERT_KEYS,
        {**_BERT_FIXED, "norm_placement": "before", "final_norm": True},
        parts=(_read_positions(padding=2),),  # type: ignore[arg-type]
    ),
    "xlm-roberta-xl": Family(_BERT_KEYS, {**_BERT_FIXED, **_PRE_NORM}, parts=(_read_positions(padding=2),)),  # type: ignore[arg-type]
    "bert-generation": Family(
        {**_BERT_KEYS, "token_types": ""},
        {**_BERT_FIXED, "head": "lm", "head_bias": True},
        parts=(_read_positions(),),  # type: ignore[arg-type]
    ),
    "electra": Family(_BERT_KEYS, _BERT_FIXED, parts=(_read_positions(has_second_bias=False), _read_embedding_size)),  # type: ignore[arg-type]
    "distilbert": Family(
        {
            **_BERT_KEYS,
            "hidden_size": "dim",
            "layers": "n_layers",
            "heads": "n_heads",
            "ffn_size": "hidden_dim",
            "activation": "activation",
            "norm_epsilon": "",
            "token_types": "",
        },
        _BERT_FIXED,
        parts=(_read_positions(has_second_bias=False),),  # type: ignore[arg-type]
    ),
    "layoutlm": Family(_BERT_KEYS, _BERT_FIXED, parts=(_read_positions(), lambda k, f: _read_layout(k, f))),  # type: ignore[arg-type]
    "modernbert": Family(
        {"norm_epsilon": "norm_eps", "activation": "hidden_activation"},
        {**_MODERN_BERT, "architecture": "encoder"},
        parts=(_read_modernbert_biases, _read_modernbert),
    ),
    "modernbert-decoder": Family(
        {"norm_epsilon": "norm_eps", "activation": "hidden_activation"},
        {**_MODERN_BERT, "architecture": "decoder"},
        parts=(_read_modernbert_biases, _read_modernbert_decoder),
    ),
    "big_bird": Family(
        {**_BERT_KEYS, "qkv_bias": "use_bias"},
        {key: value for key, value in _BERT_FIXED.items() if key != "qkv_bias"},
        parts=(_read_positions(), _read_pooler),  # type: ignore[arg-type]
    ),
    "roformer": Family(
        _BERT_KEYS,
        {**_BERT_FIXED, "rotary": True},
        parts=(_read_roformer, _read_embedding_size),
    ),
    "ibert": _ROBERTA,
    "nomic_bert": Family(
        {key: name for key, name in _BERT_KEYS.items() if key != "head_dim"},
        {
            **_BERT_FIXED,
            "gated_mlp": True,
            "qkv_bias": False,
            "attention_out_bias": False,
            "mlp_bias": False,
            "rotary": True,
            "tied_embeddings": True,
        },
    ),
    "jina_embeddings_v3": Family(_BERT_KEYS, {**_BERT_FIXED, "rotary": True}),
    "gte": Family(
        _BERT_KEYS,
        # the last matrix of the gated MLP alone has a bias
        {**_BERT_FIXED, "gated_mlp": True, "mlp_bias": False, "rotary": True},
        parts=(lambda keys, fields: {"extra_parameters": fields["hidden_size"]},),
    ),
    "eurobert": Family(
        {"head_bias": "mlp_bias"},
        {"norm": "rmsnorm", "gated_mlp": True, "architecture": "encoder", "head": "lm"},
    ),
}


def _read_layout(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Tables of two-dimensional positions: four of corners and sizes."""
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    pooler = hidden * (hidden + 1)
    outer = fields["outer_parameters"]
    assert isinstance(outer, int)
    return {"outer_parameters": outer + 4 * keys.count("max_2d_position_embeddings") * hidden + pooler}
