"""Encoders with decoders of BART's form, as tables. Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py."""

from __future__ import annotations

from collections.abc import Mapping

from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.table import Family, Keys

_KEYS = {
    "hidden_size": "d_model",
    "layers": "encoder_layers",
    "heads": "encoder_attention_heads",
    "kv_heads": "",
    "head_dim": "",
    "ffn_size": "encoder_ffn_dim",
    "activation": "activation_function",
    "norm_epsilon": "",
    "qkv_bias": "",
    "attention_out_bias": "",
    "mlp_bias": "",
}
_FIXED: Mapping[str, object] = {
    "architecture": "encoder-decoder",
    "norm": "layernorm",
    "gated_mlp": False,
    "qkv_bias": True,
    "attention_out_bias": True,
    "mlp_bias": True,
    "norm_placement": "after",
    "final_norm": False,
    "rotary": False,
    "dropout": True,
}
_BEFORE = {"norm_placement": "before", "final_norm": True}


def _read_bart(rows: int | None = 0, key: str = "max_position_embeddings") -> object:
    """Layers of the decoder, learned positions with `rows` more than the sequence is long (None: none), and the
    decoder alone where `architectures` says so.
    """

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        decoder_layers, decoder_heads = keys.count("decoder_layers"), keys.count("decoder_attention_heads")
        decoder_width = keys.count("decoder_ffn_dim")
        positions = keys.count(key)
        other_vocab = keys.get("decoder_vocab_size")
        if other_vocab not in (None, fields["vocab_size"]):
            raise keys.build_unsupported_error("decoder_vocab_size", other_vocab, f"{fields['vocab_size']}")
        found: dict[str, object] = {
            "decoder_layers": decoder_layers,
            "seq_length": positions,
            "learned_positions": 0 if rows is None else positions + rows,
        }
        architectures = keys.get("architectures") or [""]
        if str(architectures[0]).endswith("ForCausalLM"):
            return {**found, **_build_decoder_alone(fields, decoder_layers, decoder_heads, decoder_width)}
        if not fields.get("tied_embeddings", True):
            raise keys.build_unsupported_error("tie_word_embeddings", "false", "true: one embedding for both sides")
        if decoder_heads != fields["heads"]:
            expected = f"{fields['heads']}, as many as of the encoder"
            raise keys.build_unsupported_error("decoder_attention_heads", decoder_heads, expected)
        if decoder_width != fields["ffn_size"]:
            expected = f"{fields['ffn_size']}, as wide as the encoder's"
            raise keys.build_unsupported_error("decoder_ffn_dim", decoder_width, expected)
        return found

    return read


def _build_decoder_alone(fields: SpecFields, layers: int, heads: int, width: int) -> SpecFields:
    """A decoder whose layers have matrices of cross-attention that nothing uses without an encoder."""
    hidden = fields["hidden_size"]
    assert isinstance(hidden, int)
    biases = (3 if fields["qkv_bias"] else 0) + (1 if fields["attention_out_bias"] else 0)
    return {
        "architecture": "decoder",
        "decoder_layers": 0,
        "layers": layers,
        "heads": heads,
        "ffn_size": width,
        "extra_parameters": 4 * hidden * hidden + biases * hidden + 2 * hidden,
    }


def _untie_decoder(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A decoder alone has a head of its own."""
    return {"tied_embeddings": False} if fields["architecture"] == "decoder" else {}


def _build(fixed: Mapping[str, object], rows: int | None = 0, key: str = "max_position_embeddings") -> Family:
    return Family(_KEYS, {**_FIXED, **fixed}, parts=(_read_bart(rows, key),), extra=("architectures",))  # type: ignore[arg-type]


FAMILIES: dict[str, Family] = {
    "bart": _build({"embedding_norm": True}, 2),
    "plbart": _build({"embedding_norm": True}, 2),
    "mvp": _build({"embedding_norm": True}, 2),
    "mbart": _build({"embedding_norm": True, **_BEFORE}, 2),
    "blenderbot": _build(_BEFORE),
    "blenderbot-small": _build({"embedding_norm": True}),
    "marian": _build({}),
    "pegasus": _build(_BEFORE),
    "m2m_100": _build(_BEFORE, None),
    "bigbird_pegasus": Family(
        {**_KEYS, "qkv_bias": "use_bias", "attention_out_bias": "use_bias"},
        {key: value for key, value in {**_FIXED, **_BEFORE}.items() if key not in ("qkv_bias", "attention_out_bias")},
        parts=(_read_bart(), _untie_decoder),  # type: ignore[arg-type]
        extra=("architectures",),
    ),
}
