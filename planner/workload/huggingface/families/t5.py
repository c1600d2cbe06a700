"""T5, an encoder and a decoder."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.spec import Activation

_ACTIVATIONS_BY_PROJECTION: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "gated-gelu": "gelu-tanh",
    "gated-relu": "relu",
    "gated-silu": "silu",
}
"""Activation functions by `feed_forward_proj`: GELU is approximated in the gated form only (transformers 5.24.0,
models/t5/configuration_t5.py).
"""


def read_umt5(config: HuggingFaceConfig) -> SpecFields:
    """T5 with a table of distances in each layer."""
    return {**read_t5(config), "relative_every_layer": True}


def read_t5(config: HuggingFaceConfig) -> SpecFields:
    """T5Model: RMSNorm, relative positions, no biases; `layers` are those of the encoder."""
    projection = config.read_string("feed_forward_proj", "relu")
    if projection not in _ACTIVATIONS_BY_PROJECTION:
        expected = f"one of {', '.join(_ACTIVATIONS_BY_PROJECTION)}"
        raise config.build_unsupported_error("feed_forward_proj", projection, expected)
    return {
        "architecture": "encoder-decoder",
        **config.read_sizes(),
        "decoder_layers": config.read_integer("num_decoder_layers", default=config.read_size("layers")),
        "head_dim": config.read_integer("d_kv"),
        "ffn_size": config.read_integer("d_ff"),
        "seq_length": config.read_integer("n_positions", default=512),
        "gated_mlp": config.read_flag("is_gated_act", projection.startswith("gated-")),
        "activation": _ACTIVATIONS_BY_PROJECTION[projection],
        "norm": "rmsnorm",
        "norm_epsilon": config.read_number("layer_norm_epsilon", default=1e-6),
        "relative_positions": "t5",
        "relative_buckets": config.read_integer("relative_attention_num_buckets", default=32),
        "tied_embeddings": config.read_flag("tie_word_embeddings", True),
        "dropout": True,
    }
