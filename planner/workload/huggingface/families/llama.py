"""Llama, and the families of the same form: Mistral, Phi-3, Mixtral."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import InputError
from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.spec import MoeSpec


@dataclass(frozen=True)
class FamilyDefaults:
    """What a family's configuration class takes for a key that config.json leaves out.

    Source of all families' values: transformers 5.24.0, models/FAMILY/configuration_FAMILY.py.
    """

    kv_heads: int | None = None
    """None: as many as attention heads."""
    head_dim: int | None = None
    """None: `hidden_size` / heads."""
    seq_length: int = 2048
    norm_epsilon: float = 1e-6
    rope_base: float = 10_000.0
    rope_scaling: Mapping[str, object] | None = None
    has_window: bool = False
    """Whether the family's attention obeys `sliding_window`."""
    window: int | None = None


LLAMA_DEFAULTS = FamilyDefaults()
MISTRAL_DEFAULTS = FamilyDefaults(kv_heads=8, seq_length=131_072, has_window=True, window=4096)
MIXTRAL_DEFAULTS = FamilyDefaults(
    kv_heads=8, seq_length=131_072, norm_epsilon=1e-5, rope_base=1_000_000.0, has_window=True
)
PHI3_DEFAULTS = FamilyDefaults(seq_length=4096, norm_epsilon=1e-5, has_window=True)


def read_llama_like(config: HuggingFaceConfig, defaults: FamilyDefaults = LLAMA_DEFAULTS) -> SpecFields:
    """The Llama form, which most models follow: RMSNorm, rotary positions, gated MLP, no biases."""
    sizes = config.read_sizes()
    window = 0
    if defaults.has_window and config.read_flag("use_sliding_window", True):
        window = config.read_optional_integer("sliding_window", defaults.window) or 0
    seq_length = config.read_integer("max_position_embeddings", default=defaults.seq_length)
    return {
        **sizes,
        "kv_heads": _read_kv_heads(config, defaults),
        "head_dim": config.read_optional_integer("head_dim", defaults.head_dim),
        "ffn_size": config.read_integer("intermediate_size"),
        "seq_length": seq_length,
        "gated_mlp": True,
        "activation": config.read_activation("hidden_act", default="silu"),
        "norm": "rmsnorm",
        "norm_epsilon": config.read_number("rms_norm_eps", default=defaults.norm_epsilon),
        **config.read_rope(base=defaults.rope_base, default_scaling=defaults.rope_scaling),
        "qkv_bias": config.read_flag("attention_bias", False),
        "attention_out_bias": config.read_flag("attention_bias", False),
        "mlp_bias": config.read_flag("mlp_bias", False),
        "tied_embeddings": config.read_flag("tie_word_embeddings", False),
        "sliding_window": window if window < seq_length else 0,
    }


def _read_kv_heads(config: HuggingFaceConfig, defaults: FamilyDefaults) -> int | None:
    """Key and value heads. Raises InputError where the key is missing and the family's default does not fit."""
    key, heads = "num_key_value_heads", config.read_size("heads")
    if key not in config.raw and defaults.kv_heads is not None and heads % defaults.kv_heads:
        expected = f"a divisor of the {heads} attention heads; the family's default, {defaults.kv_heads}, is none"
        raise InputError("missing key", key=key, expected=expected)
    return config.read_optional_integer(key, defaults.kv_heads)


def read_mistral(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with a sliding window."""
    return read_llama_like(config, MISTRAL_DEFAULTS)


def read_phi3(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with other defaults."""
    return read_llama_like(config, PHI3_DEFAULTS)


def read_mixtral(config: HuggingFaceConfig) -> SpecFields:
    """The Llama form with experts in every layer."""
    moe = MoeSpec(
        experts=config.read_integer("num_local_experts", default=8),
        topk=config.read_integer("num_experts_per_tok", default=2),
        expert_ffn_size=config.read_integer("intermediate_size"),
        aux_loss=config.read_number("router_aux_loss_coef", default=0.001),
    )
    return {**read_llama_like(config, MIXTRAL_DEFAULTS), "moe": moe}
