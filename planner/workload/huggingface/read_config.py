"""Read the text of a Hugging Face `config.json` as a `ModelSpec`."""

from __future__ import annotations

import msgspec

from planner.decode import parse_mapping
from planner.errors import InputError, build_unknown_name_error, escape_nonprintable, name_origin
from planner.workload.huggingface.config_file import HuggingFaceConfig
from planner.workload.huggingface.families import FAMILY_READERS
from planner.workload.spec import ModelSpec, check_model_spec


def parse_huggingface_config(text: str, origin: str, name: str) -> ModelSpec:
    """Read the text of a config.json. Raises InputError for a missing, mistyped or unknown key."""
    name = escape_nonprintable(name)
    with name_origin(origin):
        config = HuggingFaceConfig(parse_mapping(text, "json", origin))
        model_type = config.raw.get("model_type")
        expected = f"one of {', '.join(FAMILY_READERS)}"
        if model_type is None:
            raise InputError("missing key", key="model_type", expected=expected)
        if not isinstance(model_type, str):
            raise config.build_type_error("model_type", expected)
        if model_type not in FAMILY_READERS:
            raise build_unknown_name_error("model type", model_type, FAMILY_READERS, key="model_type")
        fields = {"name": name, "title": f"{name} ({model_type})", **FAMILY_READERS[model_type](config)}
        try:
            spec = msgspec.convert({k: msgspec.to_builtins(v) for k, v in fields.items() if v is not None}, ModelSpec)
        except msgspec.ValidationError as error:
            raise InputError(f"cannot be used: {error}") from None
        return check_model_spec(spec, origin, config.map_spec_keys())
