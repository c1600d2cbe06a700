"""Families as tables: which key of a config.json is which field of a `ModelSpec`, and what is fixed in the family.

A `Family` is data. Keys are read as the library's class has them: a key that the class lacks is ignored, as there,
and one that the file leaves out has the class's default. What keys say together (lists of layers, experts, latent
attention, state spaces) is read by the parts of `parts.py`, each a function from the keys to fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from planner.errors import InputError
from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.library_defaults import LibraryClass, find_library_class

LLAMA_KEYS = {
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn_size": "intermediate_size",
    "vocab_size": "vocab_size",
    "seq_length": "max_position_embeddings",
    "activation": "hidden_act",
    "norm_epsilon": "rms_norm_eps",
    "qkv_bias": "attention_bias",
    "attention_out_bias": "attention_bias",
    "mlp_bias": "mlp_bias",
    "tied_embeddings": "tie_word_embeddings",
}
_OPTIONAL = ("kv_heads", "head_dim")
_STATED = ("hidden_size", "layers")
_FLAGS = (
    *("qkv_bias", "attention_out_bias", "mlp_bias", "tied_embeddings", "qk_norm", "parallel_residual", "norm_bias"),
    *("head_bias", "embedding_norm"),
)
_LEGACY_LAYER_TYPES = {
    "attention": "full_attention",
    "mamba": "linear_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "hybrid": "hybrid",
}
"""Names of layers before transformers 5.24 (configuration_utils.py, `_LEGACY_LAYER_TYPE_REMAP`)."""


class Keys(HuggingFaceConfig):
    """The keys of a file as the family's class has them: with its defaults, under its names."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it is; `default` where there is none, or null."""
        value = self.raw.get(key)
        return default if value is None else value

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number from 0 on. Raises InputError for anything else."""
        value = self.raw.get(key)
        if value is None:
            if default is None:
                raise InputError("missing key", key=key, expected="a whole number")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**9:
            raise self.build_type_error(key, "a whole number of at least 0")
        return value

    def is_true(self, key: str, default: bool = False) -> bool:
        """A true/false key; null is `default`."""
        return default if self.raw.get(key) is None else self.read_flag(key, default)

    def list_names(self, key: str) -> list[str] | None:
        """A list of names, of which there is one for each layer; None without it. Raises InputError."""
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.build_type_error(key, "a list of names")
        return [_LEGACY_LAYER_TYPES.get(str(item), str(item)) for item in value]

    def list_layer_types(self, layers: int, default: Sequence[str], key: str = "layer_types") -> list[str]:
        """The list of layers of the file, or the family's default. Raises InputError for one of another length."""
        listed = self.list_names(key)
        if listed is None:
            return list(default)
        if len(listed) < layers:
            expected = f"as many as layers, {layers}"
            raise InputError("has too few layers", key=key, value=len(listed), expected=expected)
        return listed[:layers]


Part = Callable[[Keys, SpecFields], Mapping[str, object]]
"""Reads fields from the keys, given the fields read so far."""


@dataclass(frozen=True)
class Family:
    """`keys`: the key for each field, beside Llama's, empty for a field that the family has not; `fixed`: fields that
    the family determines; `parts`: what several keys say together; `extra`: keys that files have and the library's
    class lacks or takes apart; `defaults`: of those; `like`: the type whose class the family has.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    extra: tuple[str, ...] = ()
    like: str = ""
    base: Mapping[str, str] = field(default_factory=lambda: LLAMA_KEYS)


RMS: Mapping[str, object] = {"norm": "rmsnorm", "gated_mlp": True}
LAYER_NORM: Mapping[str, object] = {"norm": "layernorm", "gated_mlp": False}


def fill_defaults(raw: Mapping[str, object], library: LibraryClass, extra: Sequence[str] = ()) -> dict[str, object]:
    """The keys of the class with the file's values, under the class's names; others are ignored but for `extra`.

    A key under another name has precedence, since the library sets it after the class's own.
    """
    filled = dict(library.defaults)
    others = []
    for key, value in raw.items():
        if key in library.defaults or key in extra:
            filled[key] = value
        else:
            others.append((key, value))
    for key, value in others:
        name = find_own_name(key, library)
        if name is not None:
            filled[name] = value
    return filled


def find_own_name(key: str, library: LibraryClass) -> str | None:
    """The class's own name of a key that has two; None for a key that the class does not have."""
    if key in library.defaults:
        return key
    names = (library.aliases.get(key), *(name for name, other in library.aliases.items() if other == key))
    return next((name for name in names if name is not None and name in library.defaults), None)


def read_family(config: HuggingFaceConfig, family: Family, model_type: str) -> SpecFields:
    """The fields of a model of `family`. Raises InputError for a missing, mistyped or unsupported key."""
    library = find_library_class(family.like or model_type)
    assert library is not None, model_type
    # attention reads it where there is one, whether or not the class has it (modeling_llama.py, LlamaAttention)
    rope_keys = (
        "head_dim",
        "rope_scaling",
        "rope_theta",
        "rope_parameters",
        "partial_rotary_factor",
        "rotary_pct",
        "rotary_emb_base",
    )
    keys = Keys(fill_defaults(config.raw, library, (*family.extra, *rope_keys)))
    given = {find_own_name(key, library) or key for key in config.raw}
    fields: SpecFields = {}
    for name, key in {**family.base, **family.keys}.items():
        if name in family.fixed or not key or key not in keys.raw:
            continue
        if name in _STATED and key not in given:
            # what a whole model's size follows from is never assumed
            raise InputError("missing key", key=key, expected="a whole number")
        fields[name] = _read_field(keys, name, key)
    fields |= family.fixed
    if fields.get("rotary", True) and not fields.get("learned_positions") and "relative_positions" not in fields:
        fields |= read_rope(keys)
    for part in family.parts:
        fields |= part(keys, fields)
    hidden, heads = fields.get("hidden_size"), fields.get("heads")
    if isinstance(hidden, int) and isinstance(heads, int) and hidden % heads and fields.get("mla") is None:
        # the library rounds down where the file says no dimension of a head
        fields["head_dim"] = fields.get("head_dim") or hidden // heads
    moe = fields.get("moe")
    if fields.get("ffn_size") is None and isinstance(moe, dict):
        # the width of dense layers, of which there are none
        fields["ffn_size"] = moe["expert_ffn_size"]
    return fields


def _read_field(keys: Keys, name: str, key: str) -> object:
    """A field by its kind: a flag, an activation, a number, a size."""
    if name in _FLAGS:
        return keys.is_true(key)
    if name == "activation":
        return keys.read_activation(key, default="gelu")
    if name == "norm_epsilon":
        return keys.read_number(key, default=1e-5)
    if name in ("attention_softcap", "logit_softcap"):
        return keys.read_number(key, default=0.0)
    if name in _OPTIONAL and keys.raw.get(key) is None:
        return None
    if name in ("sliding_window", "token_types") and not keys.raw.get(key):
        return 0
    return keys.read_integer(key)


def read_rope(keys: Keys) -> SpecFields:
    """Rotary positions: of layers of several types, those of full attention."""
    raw = dict(keys.raw)
    for name in ("rope_parameters", "rope_scaling"):
        table = raw.get(name)
        if (
            isinstance(table, dict)
            and table
            and all(isinstance(item, dict) or item is None for item in table.values())
        ):
            raw[name] = table.get("full_attention") or next((item for item in table.values() if item), None)
    rope = raw.get("rope_parameters")
    if isinstance(rope, dict) and rope.get("rope_type", rope.get("type")) not in _DESCRIBED_ROPE_TYPES:
        raw["rope_parameters"] = {key: value for key, value in rope.items() if key not in ("rope_type", "type")}
    return HuggingFaceConfig(raw).read_rope()


_DESCRIBED_ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn", "longrope", "su", None)
"""Rotary positions that `RopeScaling` describes; others ("proportional") cost the same and are left out."""


def build_layers(fields: SpecFields, types: Sequence[str], kinds: Mapping[str, Mapping[str, object]]) -> SpecFields:
    """The fields of layers of these types in order, of the kinds of that name: what is the same in all of them is
    the model's, and the rest a pattern. Raises InputError for a type that the family does not have.
    """
    for place, name in enumerate(types):
        if name not in kinds:
            expected = f"one of {', '.join(kinds)}"
            raise InputError("is not supported", key=f"layer_types[{place}]", value=name, expected=expected)
    used = list(dict.fromkeys(types))
    distinct = {tuple(sorted((key, repr(value)) for key, value in kinds[name].items())) for name in used}
    if len(distinct) == 1:
        only = dict(kinds[used[0]])
        mlp = only.pop("mlp", None)
        if mlp in (None, "dense" if fields.get("moe") is None else "moe") and only.get("mixer") != "none":
            return only
    return {
        "pattern": find_period([name.replace("_attention", "") for name in types]),
        "kinds": [{"name": name.replace("_attention", ""), **kinds[name]} for name in used],
    }


def find_period(names: Sequence[str]) -> list[str]:
    """The shortest beginning of `names` that repeats to the whole of it."""
    for length in range(1, len(names) + 1):
        if all(name == names[place % length] for place, name in enumerate(names)):
            return list(names[:length])
    return list(names)


def count_changes(names: Sequence[str]) -> int:
    """How often neighbours differ."""
    return sum(first != second for first, second in pairwise(names))
