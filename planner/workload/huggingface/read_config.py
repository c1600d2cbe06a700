"""Read the text of a Hugging Face `config.json` as a `ModelSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from planner.decode import parse_mapping
from planner.errors import InputError, escape_nonprintable, find_nearest_name, name_origin
from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families import FAMILY_NAMES, find_family_reader
from planner.workload.huggingface.heads import read_head
from planner.workload.huggingface.library_defaults import LIBRARY_VERSION, find_library_class
from planner.workload.spec import ModelSpec, check_model_spec

TEXT_PARTS = ("text_config", "llm_config", "language_config")
"""Keys of the language model of a configuration of several models."""
_TOWERS = {
    "vision_config": "the vision tower",
    "audio_config": "the audio tower",
    "vq_config": "the image tokenizer",
    "qformer_config": "the Q-Former",
    "perceiver_config": "the perceiver",
    "high_res_vision_config": "the tower of high resolution",
}


@dataclass(frozen=True)
class ReadModel:
    """A model that was read, and what its file says that is not modelled, or does not say."""

    spec: ModelSpec
    model_type: str
    notes: tuple[str, ...] = ()


def parse_huggingface_config(text: str, origin: str, name: str) -> ModelSpec:
    """Read the text of a config.json. Raises InputError for a missing, mistyped or unknown key."""
    return read_huggingface_config(text, origin, name).spec


def read_huggingface_config(text: str, origin: str, name: str) -> ReadModel:
    """Read the text of a config.json, with notes. Raises InputError for a missing, mistyped or unknown key."""
    name = escape_nonprintable(name)
    with name_origin(origin):
        raw = parse_mapping(text, "json", origin)
        if raw.get("add_cross_attention"):
            expected = "false: a decoder without an encoder has no cross-attention"
            raise HuggingFaceConfig(raw).build_unsupported_error("add_cross_attention", "true", expected)
        config, model_type, notes = _select_language_model(HuggingFaceConfig(raw))
        fields = {
            "name": name,
            "title": f"{name} ({raw['model_type']})",
            **find_family_reader(model_type)(config),
        }
        fields |= read_head(HuggingFaceConfig(raw), fields)
        notes += _describe_ignored(config, fields)
        try:
            spec = msgspec.convert({k: msgspec.to_builtins(v) for k, v in fields.items() if v is not None}, ModelSpec)
        except msgspec.ValidationError as error:
            raise InputError(f"cannot be used: {error}") from None
        checked = check_model_spec(spec, origin, config.map_spec_keys())
        return ReadModel(checked, str(raw["model_type"]), tuple(notes))


def _select_language_model(config: HuggingFaceConfig) -> tuple[HuggingFaceConfig, str, list[str]]:
    """The keys of the language model, its type, and a note on the parts beside it. Raises InputError for a type that
    is not read.
    """
    raw = config.raw
    model_type = _read_model_type(config)
    if model_type in FAMILY_NAMES:
        return config, model_type, []
    library = find_library_class(model_type)
    parts = dict(library.parts) if library is not None else {}
    key = next((key for key in TEXT_PARTS if isinstance(raw.get(key), dict)), None)
    if key is None and not any(key in parts for key in TEXT_PARTS):
        raise _build_type_error(config, model_type)
    key = key or "text_config"
    text = raw.get(key) or {}
    assert isinstance(text, dict)
    if not text and raw.get("hidden_size") is not None:
        # before transformers 5 some files have the keys of the language model beside those of the tower
        text = {name: value for name, value in raw.items() if name != "model_type"}
    text_type = text.get("model_type") or parts.get(key)
    if not isinstance(text_type, str) or text_type not in FAMILY_NAMES:
        raise _build_type_error(config, f"{model_type} with a language model of type {text_type or 'unknown'}")
    keys = dict(text)
    # the library ties the head of the whole by the whole's own key
    whole_default = library.defaults.get("tie_word_embeddings") if library is not None else None
    tied = raw.get("tie_word_embeddings", text.get("tie_word_embeddings") if library is None else whole_default)
    if isinstance(tied, bool):
        keys["tie_word_embeddings"] = tied
    towers = [description for part, description in _TOWERS.items() if part in raw or part in parts]
    notes = (
        [f"the language model alone is read: {', '.join(towers)} and the projector are left out"] if towers else []
    )
    return HuggingFaceConfig(keys), text_type, notes


def _read_model_type(config: HuggingFaceConfig) -> str:
    model_type = config.raw.get("model_type")
    expected = "a text, such as llama (`planner models families` lists all)"
    if model_type is None:
        raise InputError("missing key", key="model_type", expected=expected)
    if not isinstance(model_type, str):
        raise config.build_type_error("model_type", expected)
    return model_type


def _build_type_error(config: HuggingFaceConfig, model_type: str) -> InputError:
    """The error for a type that is not read: what it has that nothing describes, and the nearest preset."""
    from planner.workload.huggingface.missing_parts import describe_missing_parts, find_nearest_preset

    missing = describe_missing_parts(config.raw)
    preset = find_nearest_preset(config.raw)
    expected = "a type of `planner models families`, or a model TOML (docs/how-to/models.md)"
    if preset:
        expected += f", for instance from the preset {preset}, the nearest in size"
    return InputError(
        f"unknown model type, with {missing}" if missing else "unknown model type",
        key="model_type",
        value=model_type,
        expected=expected,
        suggestion=find_nearest_name(model_type, FAMILY_NAMES),
    )


def _describe_ignored(config: HuggingFaceConfig, fields: SpecFields) -> list[str]:
    """What the file says and nothing models."""
    notes, raw = [], config.raw
    quantization = raw.get("quantization_config")
    if isinstance(quantization, Mapping):
        method = quantization.get("quant_method", "unknown")
        notes.append(f"quantization_config ({method}) is ignored: training is planned in --precision")
    prediction = next(
        (
            raw[key]
            for key in ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
            if raw.get(key)
        ),
        0,
    )
    if prediction and not fields.get("mtp_layers") and isinstance(prediction, int):
        notes.append(f"{prediction} MTP layer{'s' if prediction > 1 else ''} left out; --mtp-layers adds them")
    left_out = [key for key in ("num_attention_heads", "vocab_size", "intermediate_size") if key not in raw]
    aliases = {
        "n_head",
        "num_heads",
        "n_inner",
        "d_inner",
        "d_ff",
        "ffn_config",
        "encoder_attention_heads",
        "attn_config",
    }
    if left_out and raw.get("hidden_size") is not None and not aliases & set(raw):
        values = {"num_attention_heads": "heads", "vocab_size": "vocab_size", "intermediate_size": "ffn_size"}
        stated = ", ".join(f"{key} {fields.get(values[key])}" for key in left_out)
        notes.append(f"left out in the file, so as transformers {LIBRARY_VERSION} has it: {stated}")
    return notes
