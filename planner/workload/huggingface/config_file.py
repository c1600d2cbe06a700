"""A Hugging Face `config.json` as a table of typed keys: keys of the same meaning, and the bounds of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import InputError
from planner.workload.limits import MAX_HEADS_OR_EXPERTS, MAX_LAYERS, MAX_SEQ_LENGTH, MAX_WIDTH
from planner.workload.spec import Activation

EQUIVALENT_KEYS = {
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
    "moe.router_groups": ("n_group",),
    "moe.router_topk_groups": ("topk_group",),
}
"""The keys of a model file, with the keys of the same meaning in Hugging Face's libraries."""

_ZERO_ALLOWED_KEYS = {
    "sliding_window",
    "max_window_layers",
    "first_k_dense_replace",
    "n_shared_experts",
    "shared_expert_intermediate_size",
    "q_lora_rank",
    "qk_rope_head_dim",
    "type_vocab_size",
    "relative_attention_num_buckets",
    "num_nextn_predict_layers",
    "num_mtp_layers",
    "n_group",
    "topk_group",
    "original_max_position_embeddings",
}
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_fast": "gelu-tanh",
    "gelu_accurate": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "quick_gelu": "quick-gelu",
    "relu": "relu",
    "relu2": "squared-relu",
    "xielu": "xielu",
    "gelu_python": "gelu",
    "gelu_10": "gelu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
"""Activation functions, by their names in the library (transformers, activations.py, `ACT2CLS`)."""
_ROPE_TYPES = {"linear": "linear", "dynamic": "dynamic", "llama3": "llama3", "yarn": "yarn"} | dict.fromkeys(
    ("longrope", "su"), "longrope"
)
_ROPE_NUMBER_KEYS = (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
)
_MAX_BY_KEY = {
    **dict.fromkeys((*EQUIVALENT_KEYS["layers"], "num_decoder_layers"), MAX_LAYERS),
    **dict.fromkeys(
        (*EQUIVALENT_KEYS["heads"], "num_key_value_heads", *EQUIVALENT_KEYS["moe.experts"]), MAX_HEADS_OR_EXPERTS
    ),
    **dict.fromkeys(EQUIVALENT_KEYS["seq_length"], MAX_SEQ_LENGTH),
}

_MAX_NUMBER = 1e12
"""Bound of numbers with a fraction."""

SpecFields = dict[str, object]
"""Fields of a `ModelSpec` by name."""


@dataclass(frozen=True)
class HuggingFaceConfig:
    """Typed access to the keys of a config.json. Raises InputError with the key where it is missing or invalid."""

    raw: Mapping[str, object]

    def read_sizes(self) -> SpecFields:
        """The sizes that every configuration states."""
        return {key: self.read_size(key) for key in ("hidden_size", "layers", "heads", "vocab_size")}

    def read_size(self, spec_key: str) -> int:
        """The whole number for a key of a model file, under whichever name this configuration has for it."""
        return self.read_integer(*EQUIVALENT_KEYS[spec_key])

    def read_integer(self, *keys: str, default: int | None = None) -> int:
        """The first of `keys` that is present, as a whole number in the bounds of a model file's key."""
        for key in keys:
            value = self.raw.get(key)
            if value is not None:
                return self._check_integer(key, value)
        if default is None:
            problem = "must not be null" if keys[0] in self.raw else "missing key"
            raise InputError(problem, key=keys[0], expected="a whole number")
        return default

    def _check_integer(self, key: str, value: object) -> int:
        minimum, maximum = int(key not in _ZERO_ALLOWED_KEYS), _MAX_BY_KEY.get(key, MAX_WIDTH)
        expected = f"a whole number from {minimum} to {maximum:,}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.build_type_error(key, expected)
        if not minimum <= value <= maximum:
            raise InputError("out of range", key=key, value=value, expected=expected)
        return value

    def read_optional_integer(self, key: str, default: int | None = None) -> int | None:
        """A whole number of at least 1; `default` where the key is missing, None where it is null."""
        if key not in self.raw:
            return default
        return None if self.raw[key] is None else self.read_integer(key)

    def map_spec_keys(self) -> dict[str, str]:
        """The key of this configuration for each key of a model file."""
        return {
            spec_key: next((key for key in keys if self.raw.get(key) is not None), keys[0])
            for spec_key, keys in EQUIVALENT_KEYS.items()
        }

    def read_number(self, *keys: str, default: float) -> float:
        """The first of `keys` that is present, as a number of at least 0."""
        for key in keys:
            value = self.raw.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self.build_type_error(key, "a number of at least 0")
            if not 0 <= value <= _MAX_NUMBER:
                expected = f"a number from 0 to {_MAX_NUMBER:g}"
                raise InputError("out of range", key=key, value=value, expected=expected)
            return float(value)
        return default

    def read_activation(self, *keys: str, default: str) -> Activation:
        """The activation function of the MLP under the first of `keys` that is present. Raises InputError for one
        that no program of a trainer has.
        """
        key = next((key for key in keys if self.raw.get(key) is not None), keys[0])
        name = self.read_string(key, default) if key in self.raw else default
        if name not in _ACTIVATIONS:
            raise self.build_unsupported_error(key, name, f"one of {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[name]

    def read_rope(
        self,
        *,
        base: float = 10_000.0,
        base_key: str = "rope_theta",
        default_fraction: float = 1.0,
        default_scaling: Mapping[str, object] | None = None,
    ) -> SpecFields:
        """Base, share and scaling of rotary positions: the keys of the configuration itself, and those of the tables
        `rope_scaling` and, from transformers 5 on, `rope_parameters`; without both, `default_scaling`. Raises
        InputError for an unknown type.
        """
        tables = [self._read_table(key) for key in ("rope_scaling", "rope_parameters")]
        if default_scaling is not None and not any(tables):
            tables[1] = default_scaling
        keys = HuggingFaceConfig({**self.raw, **{key: value for table in tables for key, value in table.items()}})
        scaling = None
        for name, table in zip(("rope_scaling", "rope_parameters"), tables, strict=True):
            rope_type = table.get("rope_type", table.get("type", "default"))
            if rope_type == "default":
                continue
            if not isinstance(rope_type, str) or rope_type not in _ROPE_TYPES:
                expected = f"one of default, {', '.join(_ROPE_TYPES)}"
                raise self.build_unsupported_error(f"{name}.rope_type", str(rope_type), expected)
            scaling = self._build_rope_scaling(_ROPE_TYPES[rope_type], HuggingFaceConfig(table))
        return {
            "rope_base": keys.read_number(base_key, "rope_theta", default=base),
            "rope_fraction": keys.read_number("partial_rotary_factor", "rotary_pct", default=default_fraction),
            "rope_scaling": scaling,
        }

    def _read_table(self, key: str) -> Mapping[str, object]:
        value = self.raw.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.build_type_error(key, "a table")
        return value or {}

    def _build_rope_scaling(self, rope_type: str, table: HuggingFaceConfig) -> dict[str, object]:
        numbers = {key: table.read_number(key, default=0.0) for key in _ROPE_NUMBER_KEYS if table.raw.get(key)}
        original = table.read_integer("original_max_position_embeddings", default=0)
        original = original or self.read_integer("original_max_position_embeddings", default=0)
        if not original and rope_type == "yarn":
            original = self.read_integer("max_position_embeddings", default=0)
        truncate = table.read_flag("truncate", True)
        return {"type": rope_type, **numbers, "original_seq_length": original, "truncate": truncate}

    def read_flag(self, key: str, default: bool) -> bool:
        """A true/false key."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            raise self.build_type_error(key, "true or false")
        return value

    def read_string(self, key: str, default: str) -> str:
        """A text key."""
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            raise self.build_type_error(key, "a text")
        return value

    def read_layer_types(self) -> list[str]:
        """The `layer_types` list of newer configurations; empty without it."""
        value = self.raw.get("layer_types")
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def build_type_error(self, key: str, expected: str) -> InputError:
        """The error for a key with a value of the wrong type."""
        value_text = json.dumps(self.raw[key])
        return InputError("wrong type", key=key, value=value_text, expected=expected)

    def build_unsupported_error(self, key: str, value: object, expected: str) -> InputError:
        """The error for a value that the model of costs cannot represent."""
        return InputError("is not supported", key=key, value=value, expected=expected)
