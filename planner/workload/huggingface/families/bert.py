"""Encoders: BERT, RoBERTa, XLNet."""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families.gpt import read_gpt_like


def read_bert(config: HuggingFaceConfig) -> SpecFields:
    """BertModel with its pooler, as in the published parameter counts."""
    fields = read_gpt_like(config)
    positions = config.read_integer("max_position_embeddings", default=512)
    return {
        **fields,
        "architecture": "encoder",
        "activation": config.read_activation("hidden_act", default="gelu"),
        "norm_epsilon": config.read_number("layer_norm_eps", default=1e-12),
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": positions,
        "learned_positions": positions,
        "token_types": config.read_integer("type_vocab_size", default=2),
        "embedding_norm": True,
        "final_norm": False,
        "tied_embeddings": config.read_flag("tie_word_embeddings", True),
        "head": "pooler",
        "dropout": True,
    }


def read_roberta(config: HuggingFaceConfig) -> SpecFields:
    """RobertaModel with its pooler; two of its positions are padding."""
    fields = read_bert(config)
    positions = config.read_integer("max_position_embeddings", default=512)
    return {
        **fields,
        "seq_length": max(1, positions - 2),
        "token_types": config.read_integer("type_vocab_size", default=2),
    }


def read_xlnet(config: HuggingFaceConfig) -> SpecFields:
    """XLNetModel, with relative positions and without a head."""
    return {
        **read_gpt_like(config),
        "architecture": "encoder",
        "qkv_bias": False,
        "attention_out_bias": False,
        "head_dim": config.read_optional_integer("d_head"),
        "activation": config.read_activation("ff_activation", default="gelu"),
        "norm_epsilon": config.read_number("layer_norm_eps", default=1e-12),
        "ffn_size": config.read_integer("d_inner"),
        "seq_length": 512,
        "final_norm": False,
        "relative_positions": "xlnet",
        "head": "none",
        "dropout": True,
    }
