"""A Hugging Face `config.json` as a table of keys with types: which keys mean the same, and what each may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import InputError
from planner.workload.spec import LONGEST, MOST_LAYERS, MOST_PARTS, WIDEST

COUNTED = {
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
    "max_window_layers",
    "first_k_dense_replace",
    "n_shared_experts",
    "shared_expert_intermediate_size",
    "q_lora_rank",
    "qk_rope_head_dim",
    "type_vocab_size",
    "relative_attention_num_buckets",
}
_MOST = {
    **dict.fromkeys((*COUNTED["layers"], "num_decoder_layers"), MOST_LAYERS),
    **dict.fromkeys((*COUNTED["heads"], "num_key_value_heads", *COUNTED["moe.experts"]), MOST_PARTS),
    **dict.fromkeys(COUNTED["seq_length"], LONGEST),
}


@dataclass(frozen=True)
class Config:
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
        found = {own: [key for key in keys if self.raw.get(key) is not None] for own, keys in COUNTED.items()}
        return {own: keys[0] if keys else COUNTED[own][0] for own, keys in found.items()}

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
